"""The page Runs: a form for every program, wrong values said beside the field, processes with curves and logs."""

import re

import pytest

from tasks.runs import StoreUnreachableError
from tests.support.pages import texts
from tests.support.processes import ID, noted
from ui.running import process_cards, processes
from ui.running.processes import Process, ProcessError

MARKUP = re.compile(r"(?<!\\)<")  # not escaped


def test_every_program_has_a_form_whose_defaults_can_be_started(empty_tool, page) -> None:
    from ui.running.programs import programs

    app = page("runs")
    for name, program in programs().items():
        app.selectbox(key="runs-entry").set_value(name).run()
        assert not app.error
        assert not app.button(key="runs-start").disabled
        assert app.code[-1].value.startswith(f"mlflow run . -e {name} ")
        keys = {widget.key for widget in (*app.text_input, *app.selectbox, *app.toggle)}
        assert {f"run-{name}-{field}" for field in program.specs} <= keys
        labels = [widget.label for widget in (*app.text_input, *app.selectbox, *app.toggle, *app.button)]
        assert all(labels)


def test_start_gives_the_program_what_was_typed(empty_tool, page, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def start(entry: str, values: dict[str, str]) -> Process:
        started.append((entry, values))
        noted(empty_tool, code=None, **values)
        return processes.find(ID)

    monkeypatch.setattr(process_cards, "start", start)
    app = page("runs")
    app.text_input(key="run-cnn-epochs").set_value(" 3 ").run()
    app.selectbox(key="run-cnn-model").set_value("resnet20").run()
    app.toggle(key="run-cnn-register").set_value(False).run()
    assert "-P model=resnet20 -P register=false -P epochs=3" in app.code[-1].value
    app.button(key="runs-start").click().run()
    assert started == [("cnn", {"model": "resnet20", "register": "false", "epochs": "3"})]
    assert "Started: resnet20 on digits" in texts(app)
    assert app.button(key=f"stop-{ID}")
    # What was typed is still there, also after a look at another form.
    app.selectbox(key="runs-entry").set_value("seq2seq").run()
    app.selectbox(key="runs-entry").set_value("cnn").run()
    assert app.text_input(key="run-cnn-epochs").value.strip() == "3"


@pytest.mark.parametrize(
    ("field", "typed", "words"),
    [
        ("epochs", "0", "epochs is 0; valid: auto, a whole number from 1"),
        ("epochs", "<script>alert(1)</script>", "epochs is '<script>alert(1)</script>'; valid: auto, a whole number"),
        ("seed", "", "seed is empty; its default is 0"),
        ("learning_rate", "1e9", "learning_rate is 1000000000.0; valid: auto, a number, above 0 and at most 100"),
    ],
)
def test_a_wrong_value_is_said_in_words_and_kept(empty_tool, page, field: str, typed: str, words: str) -> None:
    app = page("runs")
    app.text_input(key=f"run-cnn-{field}").set_value(typed).run()
    assert any(words in error.value.replace("\\", "") for error in app.error)
    assert not any(MARKUP.search(error.value) for error in app.error)
    assert app.button(key="runs-start").disabled
    assert app.text_input(key=f"run-cnn-{field}").value == typed
    app.text_input(key=f"run-cnn-{field}").set_value("1").run()
    assert not app.error and not app.button(key="runs-start").disabled


def test_a_refusal_is_said_beside_the_button(empty_tool, page, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(entry: str, values: dict[str, str]) -> Process:
        raise ProcessError("20 programs work or wait already")

    monkeypatch.setattr(process_cards, "start", refuse)
    app = page("runs")
    app.button(key="runs-start").click().run()
    assert any("20 programs work" in error.value for error in app.error)


def test_a_process_that_died_says_why_and_nothing_of_it_is_markup(empty_tool, page) -> None:
    noted(
        empty_tool,
        code=1,
        log="begun\nerror: <script>alert(1)</script> **no** $x$ :red[y]\n",
        data_dir="</div><script>alert(2)</script>",
    )
    app = page("runs")
    (error,) = app.error
    assert error.value.replace("\\", "") == "error: <script>alert(1)</script> **no** $x$ :red[y]"
    for element in (*app.markdown, *app.caption, *app.error):
        assert not MARKUP.search(element.value)


def test_remove_takes_an_ended_process_from_the_list(empty_tool, page) -> None:
    place = noted(empty_tool, log="done")
    app = page("runs")
    app.button(key=f"forget-{ID}").click().run()
    assert not place.exists()
    assert "Nothing has been started from here yet" in texts(app)


def test_stop_is_asked_once(empty_tool, page, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(process_cards, "stop", asked.append)
    place = noted(empty_tool, code=None, log="epoch  3/30  loss 0.5\n")
    app = page("runs")
    assert "epoch 3/30 loss 0.5" in " ".join(texts(app).split())
    app.button(key=f"stop-{ID}").click().run()
    assert asked == [ID]
    (place / "stop").touch()
    app.run()
    assert app.button(key=f"stop-{ID}").disabled


def test_a_process_that_was_removed_meanwhile_is_no_traceback(empty_tool, page) -> None:
    place = noted(empty_tool)
    app = page("runs")
    for file in place.iterdir():
        file.unlink()
    place.rmdir()
    app.button(key=f"forget-{ID}").click().run()
    assert "there is no process" in texts(app)


def a_run(identifier: str, status: str = "RUNNING") -> str:
    import mlflow

    with mlflow.start_run(run_name="<b>run</b>", tags={processes.TAG: identifier}) as run:
        for epoch in (1, 2):
            mlflow.log_metrics({"train_loss": 1.0, "val_loss": 0.75, "val_accuracy": 0.5}, step=epoch)
    mlflow.MlflowClient().set_terminated(run.info.run_id, status)
    return run.info.run_id


def test_the_curves_of_a_running_process_are_drawn(empty_tool, page) -> None:
    noted(empty_tool, code=None, log="epoch  2/30  loss 0.5\n")
    run_id = a_run(ID)
    app = page("runs")
    shown = texts(app)
    assert "Loss, epoch 2: train 1.0000, val 0.7500" in shown and "Accuracy, epoch 2: val 0.5000" in shown
    assert any(run_id in link.proto.url for link in app.get("link_button"))


def test_what_was_cut_off_can_be_gone_on_with(empty_tool, page, started: list) -> None:
    noted(empty_tool, code=130, log="stopped")
    run_id = a_run(ID, "KILLED")
    app = page("runs")
    app.button(key=f"again-{ID}").click().run()
    assert started == [("cnn", {"resume": run_id})]
    assert "Started: cnn resume=" in texts(app)


def test_what_ended_before_its_run_cannot_be_gone_on_with(empty_tool, page) -> None:
    noted(empty_tool, code=2, log="error: no data")
    app = page("runs")
    app.button(key=f"again-{ID}").click().run()
    assert "ended before its run began" in texts(app)


def test_an_ended_process_opens_to_its_curves_and_log(empty_tool, page) -> None:
    noted(empty_tool, log="first line\n<b>last</b> line\n")
    a_run(ID, "FINISHED")
    app = page("runs")
    assert "Loss, epoch 2" not in texts(app)  # nothing is read that nobody looks at
    app.session_state[f"open-{ID}"] = True
    app.run()
    assert "Loss, epoch 2: train 1.0000, val 0.7500" in texts(app) and "<b>last</b> line" in app.code[-1].value
    assert f"again-{ID}" not in {button.key for button in app.button}


def test_with_the_store_down_processes_can_still_be_watched_and_stopped(
    empty_tool, page, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(process: Process) -> None:
        raise StoreUnreachableError("MLflow's store at http://x does not answer: <b>refused</b>")

    monkeypatch.setattr(process_cards, "live_run", down)
    noted(empty_tool, code=None, log="epoch  3/30  loss 0.5\n")
    app = page("runs")
    assert "does not answer" in app.warning[0].value.replace("\\", "") and "<b>" not in app.warning[0].value
    assert app.button(key=f"stop-{ID}") and not app.button(key="runs-start").disabled


def test_long_lists_are_shortened(empty_tool, page) -> None:
    for number in range(13):
        noted(empty_tool, f"20260101-120000-0000{number:04x}")
    app = page("runs")
    assert len([button for button in app.button if button.label == "Remove"]) == 10
    next(toggle for toggle in app.toggle if toggle.label == "Show all 13").set_value(True).run()
    assert len([button for button in app.button if button.label == "Remove"]) == 13
