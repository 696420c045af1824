"""The tracking store's first moments: several programs at once, and stores that do not answer."""

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.runs import StoreUnreachableError, open_store, readable_errors

OPEN = "from tasks.runs import open_store; print(len(open_store().search_experiments()))"


def test_several_programs_may_open_a_store_that_is_not_there_yet(store: Path) -> None:
    (store / "mlflow.db").unlink()
    programs = [
        subprocess.Popen([sys.executable, "-c", OPEN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for program in programs:
        out, err = program.communicate(timeout=240)
        assert program.returncode == 0 and out.strip() == "1", err


def test_a_store_that_is_no_database_is_said_in_words(store: Path) -> None:
    (store / "mlflow.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreUnreachableError, match="does not answer: "), readable_errors():
        open_store()


def test_the_password_of_a_store_is_not_told(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    mlflow.set_tracking_uri("http://user:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with pytest.raises(StoreUnreachableError) as caught, readable_errors():
        open_store()
    assert "127.0.0.1:9" in str(caught.value) and "secret" not in str(caught.value)
