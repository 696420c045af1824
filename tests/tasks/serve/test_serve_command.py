"""The gateway's command line and settings."""

import socket
import subprocess
import sys

import pytest

from tasks.runtime.budget import MEMORY_SWITCH, memory_budget
from tasks.serve.__main__ import listen, main, parse
from tasks.serve.settings import TOKEN_SWITCH, Settings, SettingsError, is_loopback
from tests.conftest import PROJECT_ROOT

HELP = """
import sys
from tasks.serve.__main__ import main
try:
    main(["--help"])
except SystemExit as end:
    print(end.code, "torch" in sys.modules, "mlflow" in sys.modules)
"""


def test_help_needs_neither_torch_nor_mlflow() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False False"
    assert "--body_mb" in done.stdout and TOKEN_SWITCH in done.stdout and "--token" not in done.stdout


def test_settings_come_from_the_command_line_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MEMORY_SWITCH, "3")
    monkeypatch.setenv(TOKEN_SWITCH, "s3cret")
    settings = parse(["--port", "0", "--queue", "5", "--timeout", "1.5", "--body_mb", "2"])
    assert settings == Settings(port=0, queue=5, timeout=1.5, body_mb=2.0, memory_bytes=3 * 10**9, token="s3cret")
    assert settings.body_bytes == 2_000_000 and settings.host == "127.0.0.1"
    assert parse(["--memory_gb", "0.5"]).memory_bytes == 500_000_000
    monkeypatch.setenv(TOKEN_SWITCH, "")
    assert parse([]).token == ""


def test_a_store_that_does_not_answer_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tasks.runs import StoreUnreachableError
    from tasks.serve import server

    def unreachable(*_: object) -> None:
        raise StoreUnreachableError("MLflow's store at http://127.0.0.1:9 does not answer: refused")

    monkeypatch.setattr(server, "open_store", unreachable)
    monkeypatch.setattr(sys, "setswitchinterval", lambda _: None)
    with pytest.raises(SystemExit) as end:
        main(["--port", "0"])
    said = capsys.readouterr()
    assert end.value.code == 2
    assert said.err == "error: MLflow's store at http://127.0.0.1:9 does not answer: refused\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--port", "70000"], "port is 70000; valid: a whole number from 0 to 65535"),
        (["--port", "x"], "port is 'x'; valid: a whole number from 0"),
        (["--queue", "0"], "queue is 0; valid: a whole number from 1 to 10000"),
        (["--timeout", "0"], "timeout is 0.0; valid: a number from 0.001"),
        (["--timeout", "nan"], "timeout is nan; valid"),
        (["--memory_gb", "none"], "memory_gb is 'none'; valid: a number of gigabytes above 0"),
        (["--memory_gb", "inf"], "memory_gb is 'inf'; valid"),
        (["--memory_gb=--"], "memory_gb is '--'; valid: a number of gigabytes above 0"),
        (["--hots", "x"], "unknown argument '--hots'; did you mean 'host'?"),
        (["surplus"], "unknown argument 'surplus'; valid: --host, --port, "),
        (["--host", "nowhere.invalid"], "cannot listen at nowhere.invalid port 8000"),
        (["--host", "x" * 300], "cannot listen at xxx"),
    ],
)
def test_what_cannot_work_is_one_line(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    said = capsys.readouterr()
    assert end.value.code == 2 and said.err.startswith("error: ") and said.err.count("\n") == 1
    assert expected in said.err and said.out == ""


def test_a_token_that_no_header_can_hold_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for token in ("a b", "schlüssel", "a\tb"):
        monkeypatch.setenv(TOKEN_SWITCH, token)
        with pytest.raises(SettingsError, match=TOKEN_SWITCH) as error:
            parse([])
        assert token not in str(error.value)


def test_a_port_that_is_taken_is_named() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(SettingsError, match="choose others: --host, --port"):
        listen("127.0.0.1", taken.getsockname()[1])


def test_small_answers_are_sent_at_once() -> None:
    # asyncio switches Nagle's algorithm off for sockets that say that they are TCP's only.
    with listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_addresses_of_this_machine_are_known() -> None:
    own = ("127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST.", "::1", "[::1]")
    assert all(map(is_loopback, own))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.1", "localhost.example", "127.0.0.1.example", "")))


def test_the_budget_is_half_of_the_memory_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    monkeypatch.delenv(MEMORY_SWITCH, raising=False)
    assert memory_budget() == psutil.virtual_memory().total // 2
    monkeypatch.setenv(MEMORY_SWITCH, "-1")
    with pytest.raises(ValueError, match=f"{MEMORY_SWITCH} is '-1'; valid: a number of gigabytes above 0"):
        memory_budget()
    assert memory_budget("2") == 2 * 10**9


def test_without_docstrings_the_gateway_says_that_it_cannot_work() -> None:
    command = [sys.executable, "-OO", "-m", "tasks.serve", "--port", "0"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT_ROOT, check=False, timeout=240)
    assert result.returncode == 2
    assert result.stderr.startswith("error: python -OO ") and len(result.stderr.splitlines()) == 1
