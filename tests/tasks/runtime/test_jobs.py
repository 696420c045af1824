"""Jobs in the worker's queue: order, streams, cancelling in every state, time limits, errors."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tasks.base import ModelFolderError, TaskInputError
from tasks.runtime.jobs import JobCancelled, QueueFullError
from tasks.runtime.loaded import ModelTooLargeError
from tasks.runtime.worker import Worker
from tests.support.words import MB, PATIENCE, Loads, Words, text, until


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def worker(loads: Loads) -> Iterator[Worker]:
    with Worker(loads, budget_bytes=100 * MB) as worker:
        yield worker
        loads.gate.set()


def test_a_job_gives_its_pieces_and_then_its_row(worker: Worker) -> None:
    job = worker.submit("a", {"text": "one two"})
    *pieces, row = job.events(PATIENCE)
    assert pieces == [{"piece": "one"}, {"piece": "two"}]
    assert (row["text"], row["model"], row["finish_reason"]) == ("one two", "a", "stop")
    assert job.result() == row
    assert (job.state, job.position) == ("done", None)


def test_pieces_arrive_while_the_model_still_works(worker: Worker) -> None:
    job = worker.submit("a", {"text": "one two three " * 100}, {"pause_ms": 20})
    events = job.events(PATIENCE)
    assert [next(events), next(events)] == [{"piece": "one"}, {"piece": "two"}]
    assert job.state == "running"
    job.cancel()


def test_events_may_be_read_again_and_by_several(worker: Worker) -> None:
    job = worker.submit("a", {"text": "one two three"}, {"pause_ms": 5})
    with ThreadPoolExecutor(3) as threads:
        readings = list(threads.map(lambda _: list(job.events(PATIENCE)), range(3)))
    assert readings[0] == readings[1] == readings[2] == list(job.events())
    assert len(readings[0]) == 4


def test_jobs_are_served_in_order_whatever_model_they_ask_for(worker: Worker, loads: Loads) -> None:
    loads.gate.clear()
    jobs = [worker.submit("ab"[number % 2], {"text": str(number)}) for number in range(8)]
    until(lambda: jobs[0].state == "loading")
    assert [job.position for job in jobs] == [None, *range(1, 8)]
    assert (worker.statistics().queued, worker.statistics().running) == (7, "a")
    with ThreadPoolExecutor(8) as threads:
        read = threads.map(lambda job: job.result(PATIENCE)["text"], jobs)
        loads.gate.set()
        assert list(read) == [str(number) for number in range(8)]
    assert loads.keys == ["a", "b"]
    until(lambda: worker.statistics().running is None)
    assert worker.statistics().loaded == {"a": 10 * MB, "b": 10 * MB}


def test_a_later_job_does_not_overtake(worker: Worker) -> None:
    first = worker.submit("a", {"text": "x " * 10}, {"pause_ms": 5})
    second = worker.submit("b", {"text": "y"})
    third = worker.submit("a", {"text": "z"})
    assert text(third) == "z"
    assert (first.state, second.state) == ("done", "done")


def test_submits_from_eight_threads_all_get_their_own_answer(worker: Worker) -> None:
    def ask(number: int) -> list[str]:
        jobs = [worker.submit(f"m{(number + turn) % 3}", {"text": f"{number} {turn}"}) for turn in range(10)]
        return [text(job) for job in jobs]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(8)))
    assert answers == [[f"{number} {turn}" for turn in range(10)] for number in range(8)]


def test_cancelling_a_queued_job_ends_it_at_once_and_it_never_runs(worker: Worker, loads: Loads) -> None:
    loads.gate.clear()
    first, second, third = (worker.submit(key, {"text": key}) for key in "abc")
    until(lambda: first.state == "loading")
    second.cancel()
    assert (second.state, second.position, third.position) == ("cancelled", None, 1)
    with pytest.raises(JobCancelled, match=r"^cancelled$"):
        second.result(0)
    with pytest.raises(JobCancelled):
        list(second.events(0))
    loads.gate.set()
    assert [text(first), text(third)] == ["a", "c"]
    assert loads.keys == ["a", "c"]


def test_cancelling_a_loading_job_ends_it_when_the_model_is_there(worker: Worker, loads: Loads) -> None:
    loads.gate.clear()
    job, later = worker.submit("a", {"text": "one"}), worker.submit("a", {"text": "two"})
    until(lambda: job.state == "loading")
    job.cancel()
    assert job.state == "loading"
    loads.gate.set()
    with pytest.raises(JobCancelled):
        job.result(PATIENCE)
    assert job.state == "cancelled"
    assert list(job._events) == []  # nothing was computed
    assert text(later) == "two"
    assert loads.keys == ["a"]  # the model stays for the next


def test_cancelling_a_running_job_ends_it_between_tokens(worker: Worker) -> None:
    job = worker.submit("a", {"text": "word " * 1000}, {"pause_ms": 10})
    later = worker.submit("a", {"text": "next"})
    events = job.events(PATIENCE)
    next(events)
    job.cancel()
    with pytest.raises(JobCancelled):
        list(events)
    assert job.state == "cancelled"
    assert len(job._events) < 500
    assert text(later) == "next"


def test_cancelling_a_finished_job_changes_nothing(worker: Worker) -> None:
    job = worker.submit("a", {"text": "one"})
    assert text(job) == "one"
    job.cancel()
    assert (job.state, text(job)) == ("done", "one")


@pytest.mark.parametrize("leave", [True, False])
def test_a_reader_that_goes_away_may_cancel_the_job(worker: Worker, leave: bool) -> None:
    job = worker.submit("a", {"text": "word " * (1000 if leave else 5)}, {"pause_ms": 5})
    events: Any = job.events(PATIENCE, cancel_when_left=leave)
    next(events)
    events.close()
    if leave:
        with pytest.raises(JobCancelled, match="cancelled: its reader left"):
            job.result(PATIENCE)
    else:
        assert text(job) == " ".join(["word"] * 5)


def test_a_job_over_its_time_limit_is_cancelled_and_says_so(worker: Worker) -> None:
    job = worker.submit("a", {"text": "word " * 1000}, {"pause_ms": 10}, timeout_s=0.1)
    with pytest.raises(JobCancelled, match=r"stopped after 0\.1 s, its time limit"):
        job.result(PATIENCE)
    assert job.state == "cancelled"
    assert len(job._events) < 50
    assert text(worker.submit("a", {"text": "quick"}, timeout_s=5)) == "quick"


def test_waiting_in_the_queue_does_not_count_for_the_time_limit(worker: Worker, loads: Loads) -> None:
    loads.gate.clear()
    job = worker.submit("a", {"text": "one"}, timeout_s=0.05)
    time.sleep(0.1)
    loads.gate.set()
    assert text(job) == "one"


def test_impatient_readers_get_a_timeout_and_the_job_goes_on(worker: Worker) -> None:
    job = worker.submit("a", {"text": "one"}, {"pause_ms": 200})
    with pytest.raises(TimeoutError, match=r"the job for a is still \w+ after 0\.01 s"):
        job.result(0.01)
    with pytest.raises(TimeoutError, match=r"nothing new in 0\.01 s"):
        list(job.events(0.01))
    assert text(job) == "one"


@pytest.mark.parametrize(
    ("key", "row", "parameters", "error", "says"),
    [
        ("a", {}, {}, TaskInputError, "column 'text' is missing"),
        ("a", {"text": "x"}, {"pause_ms": -1}, TaskInputError, "pause_ms is -1; valid"),
        ("a", {"text": "x"}, {"pose": 1}, TaskInputError, "unknown parameter 'pose'"),
        ("a", {"text": "one fail"}, {}, RuntimeError, "the device is out of memory"),
        ("a", {"text": "exit"}, {}, RuntimeError, "the model ended with SystemExit"),
        ("broken", {"text": "x"}, {}, ModelFolderError, "broken is damaged"),
        ("big-101", {"text": "x"}, {}, ModelTooLargeError, r"big-101 needs 0\.10 GB"),
    ],
)
def test_what_goes_wrong_reaches_the_reader_and_the_next_job_is_served(
    worker: Worker, key: str, row: Any, parameters: Any, error: type[Exception], says: str
) -> None:
    job = worker.submit(key, row, parameters)
    for _ in range(2):  # every reader gets it
        with pytest.raises(error, match=says):
            job.result(PATIENCE)
        with pytest.raises(error, match=says):
            list(job.events(PATIENCE))
    assert job.state == "failed"
    assert text(worker.submit("b", {"text": "fine"})) == "fine"


def test_a_full_queue_takes_no_more(loads: Loads) -> None:
    with Worker(loads, 100 * MB, max_queue=2) as worker:
        loads.gate.clear()
        first = worker.submit("a", {"text": "1"})
        until(lambda: first.state == "loading")
        jobs = [worker.submit("a", {"text": "2"}) for _ in range(2)]
        with pytest.raises(QueueFullError, match="2 jobs wait already"):
            worker.submit("a", {"text": "3"})
        jobs[0].cancel()
        assert worker.submit("a", {"text": "4"}).position == 2
        loads.gate.set()


class Several(Words):
    """Answers three at once."""

    at_once = 3


@pytest.fixture
def parallel() -> Iterator[Worker]:
    with Worker(lambda key: (Several if key == "several" else Words)(Path(), key), 100 * MB) as worker:
        yield worker


SLOW = {"pause_ms": 5}


def test_a_model_answers_as_many_at_once_as_it_can(parallel: Worker) -> None:
    long = [parallel.submit("several", {"text": "so " * 10_000}, SLOW) for _ in range(4)]
    until(lambda: [job.state for job in long] == ["running"] * 3 + ["queued"])
    assert (parallel.at_once("several"), parallel.at_once("other"), parallel.statistics().queued) == (3, 1, 1)
    long[1].cancel()
    until(lambda: long[3].state == "running")
    assert [long[0].state, long[1].state, long[2].state] == ["running", "cancelled", "running"]
    assert not long[3].position


def test_another_model_waits_for_all_of_them_and_is_overtaken_by_none(parallel: Worker) -> None:
    long = [parallel.submit("several", {"text": "so " * 10_000}, SLOW) for _ in range(2)]
    other = parallel.submit("other", {"text": "one two"})
    behind = parallel.submit("several", {"text": "three"})
    until(lambda: [job.state for job in long] == ["running"] * 2)
    long[0].cancel()
    until(lambda: long[0].state == "cancelled")
    assert (other.position, behind.position) == (1, 2)
    long[1].cancel()
    assert (text(other), text(behind)) == ("one two", "three")
    assert other.state == "done"


def test_an_error_of_one_leaves_the_others_alone(parallel: Worker) -> None:
    long = parallel.submit("several", {"text": "so " * 200}, SLOW)
    until(lambda: long.state == "running")
    with pytest.raises(RuntimeError):
        parallel.submit("several", {"text": "fail"}).result(PATIENCE)
    assert text(long).split() == ["so"] * 200


def test_who_listens_hears_each_event_and_the_end(parallel: Worker) -> None:
    heard: list[Any] = []
    job = parallel.submit("several", {"text": "one two"}, on_event=heard.append, on_end=lambda: heard.append(None))
    job.result(PATIENCE)
    until(lambda: heard[-1:] == [None])
    assert heard[:-1] == list(job.events())
