"""The browser of the end-to-end tests."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browsing import browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as chromium:
        yield chromium
