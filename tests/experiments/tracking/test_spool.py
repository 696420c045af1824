"""What waits for a tracking server, on disk and on its way: nothing is lost, nothing is sent twice."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from experiments import replay
from experiments.config import ConfigError
from experiments.tracking import sending
from experiments.tracking.sending import FIRST_WAIT, LONGEST_WAIT, AwayError, Sender
from experiments.tracking.spool import JOURNAL, MOST_METRICS, Operation, Spool, spooled, together

SERVER = "http://127.0.0.1:1"


def batch(*metrics: tuple[str, float, int], **tags: str) -> Operation:
    values = [[key, value, 0, step, None] for key, value, step in metrics]
    return {"do": "batch", "metrics": values, "params": {}, "tags": tags}


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool", "run-1")
    made.make("http://name:secret@server:5000/mlflow")
    return made


def test_what_is_added_is_there_for_the_next_process_until_it_is_done(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "curve.png").write_bytes(b"curve")
    spool.add(batch(("loss", 0.1 + 0.2, 1), ("loss", float("nan"), 2)))
    spool.add({"do": "files", "path": "plots"}, tmp_path / "plots")
    (tmp_path / "plots" / "curve.png").unlink()
    first, second = spool.waiting.values()
    spool.done([first["id"]])
    spool.close()

    again = Spool(tmp_path / "spool", "run-1")
    assert spooled(tmp_path / "spool") == ["run-1"] and again.server() == "http://server:5000/mlflow"
    again.take()
    assert list(again.waiting.values()) == [second]
    assert (again.files(second) / "curve.png").read_bytes() == b"curve"
    again.done([second["id"]])
    again.close()
    assert not again.folder.exists() and spooled(tmp_path / "spool") == []
    assert (tmp_path / "spool" / ".gitignore").read_text() == "*\n"


def test_numbers_come_back_bit_for_bit(spool: Spool, tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1e-320, 1.7976931348623157e308, float("inf")]
    spool.add(batch(*(("loss", value, step) for step, value in enumerate(values))))
    spool.close()
    again = Spool(tmp_path / "spool", "run-1")
    again.take()
    (operation,) = again.waiting.values()
    assert [metric[1] for metric in operation["metrics"]] == values


def test_a_line_cut_off_in_the_middle_never_counted(spool: Spool, tmp_path: Path) -> None:
    spool.add(batch(("loss", 1.0, 1)))
    spool.add(batch(("loss", 2.0, 2)))
    spool.close()
    journal = spool.folder / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-7])
    again = Spool(tmp_path / "spool", "run-1")
    again.take()
    assert [operation["metrics"][0][3] for operation in again.waiting.values()] == [1]
    again.add(batch(("loss", 3.0, 3)))
    again.close()
    last = Spool(tmp_path / "spool", "run-1")
    last.take()
    assert [operation["metrics"][0][3] for operation in last.waiting.values()] == [1, 3]


def test_a_damaged_journal_and_one_in_use_are_one_clear_error(spool: Spool, tmp_path: Path) -> None:
    spool.add(batch(("loss", 1.0, 1)))
    with pytest.raises(ConfigError, match=r"run-1 is in use by another process"):
        Spool(tmp_path / "spool", "run-1").take()
    spool.close()
    with (spool.folder / JOURNAL).open("a") as file:
        file.write("{not json}\n")
    with pytest.raises(ConfigError, match=r"journal.jsonl, line 2, is damaged"):
        Spool(tmp_path / "spool", "run-1").take()


def test_neighbouring_batches_go_together_and_files_keep_their_place() -> None:
    operations = [{"id": str(n), **batch(("loss", float(n), n), note=str(n))} for n in range(3)]
    operations += [{"id": "f", "do": "files", "path": ""}, {"id": "3", **batch(("loss", 3.0, 3))}]
    found = list(together(operations))
    assert [names for names, _ in found] == [["0", "1", "2"], ["f"], ["3"]]
    assert [metric[3] for metric in found[0][1]["metrics"]] == [0, 1, 2] and found[0][1]["tags"] == {"note": "2"}
    large = [{"id": str(n), **batch(*(("loss", 0.0, step) for step in range(400)))} for n in range(6)]
    sizes = [len(operation["metrics"]) for _, operation in together(large)]
    assert sum(sizes) == 2400 and max(sizes) <= MOST_METRICS and len(sizes) == 3


class Server:
    """A tracking server that can be away; it keeps what it got, and counts how often it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away, self.got, self.tries, self.probes, self.time = False, [], 0, 0, 0.0
        self.die_after: int | None = None
        monkeypatch.setattr(sending, "answers", self._answers)

    def _answers(self, _: str) -> bool:
        self.probes += 1
        return not self.away

    def perform(self, operation: Operation, files: Path | None, again: bool) -> None:  # noqa: ARG002
        self.tries += 1
        if self.away:
            raise AwayError("the server does not answer")
        steps = [metric[3] for metric in operation["metrics"]]
        self.got += [step for step in steps if not again or step not in self.got]

    def sender(self, spool: Spool) -> Sender:
        return Sender(SERVER, spool, self.perform, nullcontext, clock=lambda: self.time)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(monkeypatch)


def test_an_outage_costs_one_try_and_few_questions_and_loses_nothing(server: Server, tmp_path: Path) -> None:
    sender = server.sender(Spool(tmp_path, "run-1"))
    assert sender.send(batch(("loss", 0.0, 0))) and server.probes == 0 and not (tmp_path / "run-1").exists()
    server.away = True
    for step in range(1, 601):  # ten minutes of epochs of a second
        server.time = float(step)
        assert not sender.send(batch(("loss", 0.0, step)))
    assert server.tries == 2
    assert server.probes <= 2 + 600 / LONGEST_WAIT + 5
    server.away = False
    server.time += LONGEST_WAIT
    assert sender.send(batch(("loss", 0.0, 601)))
    assert server.got == list(range(602))
    sender.close()
    assert not (tmp_path / "run-1").exists()


def test_the_server_is_asked_again_after_the_first_wait(server: Server, tmp_path: Path) -> None:
    sender = server.sender(Spool(tmp_path, "run-1"))
    server.away = True
    sender.send(batch(("loss", 0.0, 1)))
    server.away, server.time = False, FIRST_WAIT - 0.1
    assert not sender.send(batch(("loss", 0.0, 2))) and server.probes == 0
    server.time = FIRST_WAIT
    assert sender.send(batch(("loss", 0.0, 3))) and server.got == [1, 2, 3]


@pytest.mark.parametrize("dies", ["before sending", "before marking"])
def test_killed_while_sending_the_next_process_sends_the_rest_once(
    dies: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = server.sender(Spool(tmp_path, "run-1"))
    server.away = True
    for step in range(3):
        sender.send(batch(*(("loss", 0.0, 1000 * step + k) for k in range(600))))  # too many to go together
    server.away = False

    class KilledError(BaseException):
        pass

    def die(*_: Any) -> None:
        raise KilledError

    honest: Callable[..., None] = Spool.done
    calls = iter(range(3))
    with monkeypatch.context() as patch:
        if dies == "before marking":
            patch.setattr(Spool, "done", lambda self, names: die() if next(calls) else honest(self, names))
        else:
            perform = server.perform
            patch.setattr(sender, "_perform", lambda *a, **k: die() if next(calls) else perform(*a, **k))
        with pytest.raises(KilledError):
            sender.flush()
    assert sender.spool._lock is not None
    sender.spool._lock.release()  # as the end of its process does
    following = server.sender(Spool(tmp_path, "run-1"))
    following.spool.take()
    following.flush()
    following.close()
    assert server.got == [1000 * step + k for step in range(3) for k in range(600)]
    assert spooled(tmp_path) == []


def test_replay_says_what_it_cannot_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (*replay.PATIENCE, "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError, match="spool is 'nowhere', and there is no such folder"):
        replay.main(["--spool", "nowhere"])
    replay.main(["--spool", str(tmp_path)])
    assert f"nothing waits in {tmp_path}" in capsys.readouterr().out
    for name in ("a", "b"):
        waiting = Spool(tmp_path, name)
        waiting.make(SERVER)
        waiting.add(batch(("loss", 1.0, 1)))
        waiting.close()
    (tmp_path / "a" / "run.json").write_text(json.dumps({}))
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:1 does not answer"):
        replay.main(["--spool", str(tmp_path)])
    assert "run.json is damaged" in capsys.readouterr().err
    assert spooled(tmp_path) == ["a", "b"]
