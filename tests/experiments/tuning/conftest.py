"""Fixtures of the tests of studies."""

import pytest

from experiments.tuning import report, trial
from tests.support.fake_trials import fake_try_out


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials that train nothing, and no figures of them."""
    monkeypatch.setattr(trial, "try_out", fake_try_out)
    monkeypatch.setattr(report, "draw", lambda *_: [])
