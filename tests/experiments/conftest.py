"""Fixtures of the tests of the programs."""

import pytest
from accelerate import Accelerator

from experiments.training.devices import make_accelerator


@pytest.fixture
def accelerator() -> Accelerator:
    return make_accelerator("cpu", "fp32")
