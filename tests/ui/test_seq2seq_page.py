"""The attention page: typed numbers, answers of several networks, accuracy by length."""

import shutil
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.base import TaskInputError
from tests.support.pages import button, fine, press
from tests.support.small_platform import add_sequences, registering
from ui.results import charts, sequences
from ui.results.sequences import Trained

TASK = "sequence-reversal"


@pytest.fixture(scope="module")
def reversers(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A store with two untrained networks, one with attention and one without."""
    database = Path(shutil.copy(empty_store, tmp_path_factory.mktemp("reversers") / "mlflow.db"))
    with registering(database) as add:
        add_sequences(add)
    return database


@pytest.fixture
def reversing_tool(reversers: Path, empty_tool: Path) -> None:
    """The tool over these networks."""
    (empty_tool / "mlflow.db").write_bytes(reversers.read_bytes())


def log_lengths() -> None:
    """Let the runs that registered the networks say what trainings say."""
    client = MlflowClient()
    for version in client.search_model_versions("name = 'seq2seq-reverse'"):
        run_id = version.run_id
        tags = {"task": TASK, "model": version.tags["model"], "dataset": "reversal", "best_epoch": "1"}
        for name, value in tags.items():
            client.set_tag(run_id, name, value)
        for name, value in {"seed": "0", "max_length": "8", "vocab_size": "10"}.items():
            client.log_param(run_id, name, value)
        for length, accuracy in ((4, 1.0), (8, 0.9), (16, 0.1)):
            client.log_metric(run_id, f"test_sequence_accuracy_len_{length}", accuracy)


def finish(app, seconds: float = 60.0):
    """Draw the page again until all answers are there, as the browser does."""
    until = time.monotonic() + seconds
    while any("pending" in caption.value for caption in app.caption):
        assert time.monotonic() < until, "no answer came"
        time.sleep(0.2)
        app.run()
    return app


# The page.


def test_without_networks_the_page_says_which_command_to_type(empty_tool, page) -> None:
    app = fine(page("seq2seq"))
    assert "-e seq2seq" in app.code[0].value
    assert not app.text_input


def test_typed_numbers_are_answered_by_each_network(reversing_tool, page) -> None:
    log_lengths()
    app = fine(page("seq2seq"))
    assert len(app.multiselect[0].value) == 2
    app.text_input[0].set_value("3, 1 4")
    fine(finish(press(app, "Reverse")))
    text = " ".join(element.value for element in (*app.markdown, *app.caption))
    assert r"gru\-dot" in text and r"gru\-none" in text
    assert "no attention" in text or "wrote nothing" in text  # untrained networks write what they want
    assert text.count("of 3 numbers right") + text.count("without a mistake") == 2
    assert "sequences without a mistake" in app.get("vega_lite_chart")[-1].proto.spec
    assert app.text_input[0].value == "3, 1 4"


def test_the_decoding_is_looked_at_step_by_step(reversing_tool, page) -> None:
    app = page("seq2seq")
    app.text_input[0].set_value("3 1 4")
    finish(press(app, "Reverse"))
    slider = next(one for one in app.slider if one.label == "Step")
    key = slider.key.removeprefix("attention-").removesuffix("-step")
    steps = next(one.result["steps"] for one in app.session_state["attention-asked"] if one.reference == key)
    assert (slider.min, slider.max) == (1, len(steps))
    slider.set_value(2).run()
    assert not app.error
    assert "In step 2 the network" in " ".join(one.value for one in app.markdown)
    html = "".join(one.proto.body for one in app.get("html"))
    assert f"{steps[1]['alternatives'][4]['probability']:.1%}" in html
    assert steps[1]["attention"] is None or f"{steps[1]['attention'][0]:.0%}" in html


def test_longer_than_trained_is_said(reversing_tool, page) -> None:
    log_lengths()
    app = page("seq2seq")
    fine(finish(press(app, "Longer than trained")))
    assert len(app.info) == 2
    assert all("longer than anything in its training (up to 8 numbers)" in info.value for info in app.info)
    finish(press(app, "Random example"))
    assert not app.info


@pytest.mark.parametrize(
    ("typed", "reason"), [("3 x 4", "'x' at place 2"), ("  ", "empty"), ("<script>", "place 1"), ("3.5", "3.5")]
)
def test_what_is_no_number_is_said_beside_the_field(reversing_tool, page, typed: str, reason: str) -> None:
    app = page("seq2seq")
    app.text_input[0].set_value(typed)
    press(app, "Reverse")
    (error,) = app.error
    assert reason in error.value.replace("\\", "") and "<script>" not in error.value
    assert app.text_input[0].value == typed


def test_numbers_that_a_network_does_not_know_are_said(reversing_tool, page) -> None:
    app = page("seq2seq")
    app.text_input[0].set_value("3 77")
    finish(press(app, "Reverse"))
    assert len(app.error) == 2
    assert all("0 to 9" in error.value.replace("\\", "") for error in app.error)


def test_a_job_is_waited_for_and_stopped(reversing_tool, page, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from tasks.runtime import worker

    gate = threading.Event()
    monkeypatch.setattr(worker.Worker, "_load_for", lambda self, job: (gate.wait(30), job.check()))
    app = page("seq2seq")
    press(app, "Reverse")
    assert any("pending" in caption.value for caption in app.caption)
    press(app, "Stop")
    gate.set()
    finish(app)
    assert not app.error and sum("Stopped." in caption.value for caption in app.caption) == 2


def test_a_network_that_fails_is_said(reversing_tool, page, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.runtime import worker

    def fail(self, job):
        raise RuntimeError("broken <b>")

    monkeypatch.setattr(worker.Worker, "_load_for", fail)
    app = page("seq2seq")
    finish(press(app, "Reverse"))
    assert ["The model failed (RuntimeError)" in error.value.replace("\\", "") for error in app.error] == [True, True]


def test_no_model_chosen(reversing_tool, page) -> None:
    app = page("seq2seq")
    fine(app.multiselect[0].set_value([]).run())
    assert button(app, "Reverse").disabled


# What the page is made of.


def test_numbers_in_all_their_forms() -> None:
    assert sequences.numbers_in(" 3,1;4\n1\t5 ") == [3, 1, 4, 1, 5]
    assert sequences.numbers_in("-1 +2") == [-1, 2]  # which numbers a network knows, it says itself
    for wrong in ("", ", ;", "1 2 three", "1.0", "٣", "1" * 10, "1 " * 1001):
        with pytest.raises(TaskInputError, match="valid:"):
            sequences.numbers_in(wrong)


def test_examples_suit_all_models() -> None:
    models = [Trained(8, 10), Trained(20, 50), Trained()]
    for _ in range(50):
        numbers = sequences.example(models)
        assert 2 <= len(numbers) <= 8 and all(0 <= number < 10 for number in numbers)
        assert len(sequences.example(models, longer=True)) > 20
    assert sequences.example([])


def test_verdicts_name_the_wrong_places() -> None:
    assert sequences.wrong_places([1, 2, 3], [3, 2, 1]) == []
    assert sequences.wrong_places([1, 2, 3], [3, 1, 1]) == [2]
    assert sequences.wrong_places([1, 2, 3], [3]) == [2, 3]
    assert sequences.wrong_places([1, 2], [2, 1, 1]) == [3]
    assert sequences.verdict([1, 2], [2, 1]) == "Reversed without a mistake."
    assert sequences.verdict([1, 2, 3], [3]) == (
        "1 of 3 numbers right; wrong at place 2, 3. It wrote 1 numbers instead of 3."
    )


def test_chips_mark_mistakes_without_color() -> None:
    right, wrong = sequences.chips([1]), sequences.chips([1], wrong=[1])
    assert "line-through" in wrong and "dashed" in wrong
    assert "line-through" not in right


def test_chart_by_length_marks_the_trained_length() -> None:
    rows = sequences.length_rows({"gru-dot": Trained(8, 10, {4: 1.0, 16: 0.2}), "untold": Trained()})
    assert rows == [
        {"model": "gru-dot", "length": 4, "accuracy": 1.0, "trained": 8},
        {"model": "gru-dot", "length": 16, "accuracy": 0.2, "trained": 8},
    ]
    chart = charts.accuracy_by_length(rows).to_dict()
    assert chart["layer"][0]["data"]["values"] == [{"length": 8}]
