"""The history of a visitor: kept, bounded, taken along without harm, rated, logged; and never another visitor's."""

import csv
import io
import json
import time
from datetime import UTC, datetime

import pytest
from streamlit.testing.v1 import AppTest

from tasks.runs import StoreUnreachableError
from tasks.runs.answers import AnswerNotFoundError, recent_answers
from tasks.runs.attachments import AnswerTooLargeError
from ui.answers import history_panel
from ui.answers.answer import Asked
from ui.answers.answer_log import AnswerLog
from ui.answers.history import add, history_csv, history_json
from ui.answers.tables import as_csv, cell, picture, short

AT = datetime(2026, 5, 1, 12, 30, 15, tzinfo=UTC)
PNG = "iVBORw0KGgo" + 1000 * "A" + "A"
HOSTILE = ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", '"=1', "=1\n=2", "','=1",
           "＝1", "＋1", "－1", "＠SUM(A1)", "\ufeff=1", "\u200b=1", "\u2060=1", "\0=1", "\u3000＝1"]  # fmt: skip


def asked(number: int = 0, **changes) -> Asked:
    given = {
        "id": str(number),
        "at": AT,
        "task": "sentiment-analysis",
        "reference": "sentiment-analysis/1",
        "model": "tiny",
        "row": {"text": f"text {number}"},
        "parameters": {},
        "result": {"label": "positive", "score": 0.75, "scores": {"positive": 0.75}},
        "seconds": 0.5,
        "tokens": 3,
        "stopped": False,
    }
    return Asked(**{**given, **changes})


def table(content: bytes) -> list[list[str]]:
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_the_newest_comes_first_and_the_oldest_go() -> None:
    kept: list[Asked] = []
    assert sum(add(asked(number), kept, max_answers=3) for number in range(5)) == 2
    assert [one.id for one in kept] == ["4", "3", "2"]


def test_large_answers_push_the_oldest_out_but_the_newest_stays() -> None:
    kept: list[Asked] = []
    for number in range(4):
        add(asked(number, result={"image": "x" * 1000}), kept, max_bytes=2_500)
    assert [one.id for one in kept] == ["3", "2"]
    add(asked(9, row={"messages": [{"role": "user", "content": "x" * 9_000}]}), kept, max_bytes=2_500)
    assert [one.id for one in kept] == ["9"]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_is_a_formula(text) -> None:
    one = asked(row={"text": text}, result={"label": text}, comment=text, model=text, parameters={text: text})
    for line in table(history_csv([one])):
        for value in line:
            assert value.lstrip(" \n\ufffd\ufeff\u200b\u2060\u3000")[:1] not in tuple("=+@-＝＋＠－"), value
            assert value[:1] not in ("\t", "\r"), value


def test_no_part_that_a_spreadsheet_may_divide_is_a_formula_and_lists_stay_lists() -> None:
    assert cell("x;=cmd|' /C calc'!A0") == "x;'=cmd|' /C calc'!A0"
    assert cell("a\n-1+2\t@b") == "a\n'-1+2\t'@b"
    assert cell("x;\u200b＝1\ny;\ufeff-1") == "x;\u200b'＝1\ny;\ufeff'-1"
    assert cell("to buy:\n- bread; butter\n- a=b") == "to buy:\n- bread; butter\n- a=b"


def test_line_breaks_of_every_kind_are_line_breaks() -> None:
    assert cell("one\r\ntwo\rthree") == "one\ntwo\nthree"


def test_numbers_stay_numbers() -> None:
    assert cell(-0.5) == -0.5 and cell(-3) == -3 and cell(True) is True and cell(None) == ""


def test_csv_has_a_column_for_each_input_and_output_and_only_the_size_of_pictures() -> None:
    answers = [asked(), asked(1, task="image-generation", row={"prompt": 'a, "b"\nc'}, result={"image": PNG})]
    header, first, second = table(history_csv(answers))
    lines = [dict(zip(header, line, strict=True)) for line in (first, second)]
    assert lines[0]["input text"] == "text 0" and lines[0]["output label"] == "positive"
    assert json.loads(lines[0]["output scores"]) == {"positive": 0.75}
    assert lines[1]["input prompt"] == 'a, "b"\nc' and lines[1]["input text"] == ""
    assert lines[1]["output image"] == "picture, 1 kB"
    assert PNG not in history_csv(answers).decode()


def test_json_is_whole() -> None:
    one = asked(row={"image": PNG, "text": "lone \ud800 <script>"}, rating=-1, comment="no", result={"raw": b"\x01"})
    (again,) = json.loads(history_json([one]))
    assert again["row"] == {"image": PNG, "text": "lone ? <script>"} and again["result"] == {"raw": "AQ=="}
    assert (again["rating"], again["comment"], again["at"]) == (-1, "no", "2026-05-01T12:30:15+00:00")


def test_a_very_long_text_is_cut_in_a_cell() -> None:
    (_, (value,)) = table(as_csv([{"text": "x" * 100_000}]))
    assert len(value) < 32_767 and value.endswith("(100,000 characters)")


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"text": "a\n b"}, "a b"),
        ({"question": "who?", "context": "me"}, "who? · me"),
        ({"messages": [{"role": "user", "content": "first"}, {"role": "user", "content": "last"}]}, "last"),
        ({"sequence": [3, 1, 4]}, "3 1 4"),
        ({"prompt": "cat", "image": None}, "cat"),
        ({"image": PNG}, "picture"),
        ({"text": "x" * 100}, "x" * 57 + "..."),
        ({}, ""),
    ],
)
def test_a_row_in_a_line(value, line) -> None:
    assert short(value) == line


def test_pictures_are_told_from_texts() -> None:
    assert picture(PNG) and picture("data:image/png;base64," + PNG) and picture(b"\x89PNG...")
    assert picture("iVBORw0KGgo but not base64") is None and picture("text") is None and picture(5) is None


def finished(one: Asked, timeout: float = 20.0) -> Asked:
    end = time.monotonic() + timeout
    while one.log_state == "waiting" and time.monotonic() < end:
        time.sleep(0.005)
    return one


def test_answers_are_written_with_their_ratings_in_order(store, monkeypatch) -> None:
    monkeypatch.setattr("ui.answers.answer_log.logged_model", lambda reference: "m-1")
    written, rated = [], []

    def write(answer, model_id):
        written.append((answer.row["text"], model_id))
        return f"tr-{len(written)}"

    log = AnswerLog(write, lambda *given: rated.append(given))
    answers = [asked(number) for number in range(3)]
    answers[1].rating, answers[1].comment = 1, "good"
    for one in answers:
        log.submit(one)
    answers[0].rating = -1
    log.submit(finished(answers[0]))
    log.close()
    assert written == [("text 0", "m-1"), ("text 1", "m-1"), ("text 2", "m-1")]
    assert ("tr-2", 1, "good") in rated and rated[-1] == ("tr-1", -1, "")
    assert [(one.run_id, one.log_state) for one in answers] == [(f"tr-{n}", "logged") for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StoreUnreachableError("MLflow's store does not answer"), "MLflow's store does not answer"),
        (AnswerTooLargeError("the answer has 70 MB"), "the answer has 70 MB"),
        (ZeroDivisionError("secret"), "ZeroDivisionError; the terminal of the tool says more"),
    ],
)
def test_what_cannot_be_logged_is_said_and_can_be_logged_later(error, said, monkeypatch) -> None:
    monkeypatch.setattr("ui.answers.answer_log.logged_model", lambda reference: "")
    errors = [error]

    def write(answer, model_id):
        if errors:
            raise errors.pop()
        return "tr-9"

    log, one = AnswerLog(write, lambda *given: None), asked(result={"label": "kept"})
    log.submit(one)
    assert finished(one).log_state == "failed" and one.log_error == said and one.run_id is None
    assert one.result == {"label": "kept"}
    log.submit(one)
    assert finished(one).log_state == "logged" and one.run_id == "tr-9" and one.log_error == ""
    log.close()


def test_an_answer_deleted_in_mlflow_is_logged_anew_when_asked_again(monkeypatch) -> None:
    monkeypatch.setattr("ui.answers.answer_log.logged_model", lambda reference: "")

    def rate(*given):
        if given[0] == "tr-old":
            raise AnswerNotFoundError("MLflow has no answer 'tr-old'")

    log, one = AnswerLog(lambda *given: "tr-new", rate), asked(run_id="tr-old", rating=1)
    log.submit(one)
    assert finished(one).log_error == "MLflow has no answer 'tr-old'" and one.run_id is None
    log.submit(one)
    assert finished(one).run_id == "tr-new"
    log.close()


def test_a_full_or_closed_log_says_so(monkeypatch) -> None:
    monkeypatch.setattr("ui.answers.answer_log.MAX_WAITING", 1)
    monkeypatch.setattr("ui.answers.answer_log.logged_model", lambda reference: "")
    log = AnswerLog(lambda *given: time.sleep(0.3) or "tr-1", lambda *given: None)
    answers = [asked(number) for number in range(4)]
    for one in answers:
        log.submit(one)
    assert answers[3].log_state == "failed" and "too many answers wait" in answers[3].log_error
    assert finished(answers[0]).log_state == "logged"
    log.close()
    log.submit(late := asked(9))
    assert late.log_state == "failed"


def test_a_store_that_is_down_takes_neither_the_answer_nor_the_page(store, monkeypatch) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    log, one = AnswerLog(), asked()
    begun = time.monotonic()
    log.submit(one)
    assert time.monotonic() - begun < 0.1
    assert "does not answer" in finished(one).log_error and one.result["label"] == "positive"
    log.close()


# The panel, on a page of its own.


def history_page(answers: list, task: str = "sentiment-analysis") -> None:
    import streamlit as st

    from ui.answers.history import history
    from ui.answers.history_panel import draw_history

    if "filled" not in st.session_state:
        st.session_state["filled"] = True
        history()[:] = answers
    draw_history(task, lambda one: st.session_state.update(reused=one.row))


def opened(answers: list, *expanded: str, task: str = "sentiment-analysis") -> AppTest:
    app = AppTest.from_function(history_page, args=(answers, task), default_timeout=60)
    for one in expanded:
        app.session_state[one] = True
    return app.run()


def texts(app: AppTest) -> str:
    kinds = (app.markdown, app.text, app.caption, app.info, app.warning, app.error)
    return "\n".join(element.value for kind in kinds for element in kind)


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


@pytest.fixture
def quiet(store, monkeypatch):
    """A fresh store, and nothing left of other tests' caches."""
    import streamlit as st

    st.cache_data.clear()
    st.cache_resource.clear()
    yield store
    st.cache_resource.clear()


def test_an_empty_history_says_so(quiet) -> None:
    app = opened([])
    assert not app.exception and "Nothing has been asked in this session yet." in texts(app)


def test_answers_are_listed_with_what_matters_and_inert(quiet) -> None:
    hostile = "<script>alert(1)</script> [x](javascript:alert(1)) $x$ :red[y]"
    app = opened([asked(0, row={"text": hostile}, rating=1), asked(1, task="chatbot")])
    (entry,) = app.expander
    assert "<script>" not in entry.label.replace("\\<", "") and "\\<script" in entry.label and "500 ms" in entry.label
    assert "thumb_up" in entry.icon
    assert not app.exception and [one.label for one in app.get("download_button")] == ["Download JSON", "Download CSV"]


def test_an_opened_answer_is_whole_and_can_be_used_again(quiet) -> None:
    app = opened([asked(7, row={"text": "once more"})], "history-session-7")
    assert not app.exception and "once more" in texts(app) and "sentiment\\-analysis/1" in texts(app)
    press(app, "Use this input again")
    assert app.session_state["reused"] == {"text": "once more"}


def test_a_download_from_mlflow_has_what_mlflow_keeps_apart(monkeypatch) -> None:
    whole = asked(1, row={"text": "x" * 200_000})

    def read(answer: str) -> Asked:
        if answer != whole.id:
            raise AnswerNotFoundError(answer)
        return whole

    monkeypatch.setattr(history_panel, "read_answer", read)
    monkeypatch.setattr(history_panel, "from_mlflow", lambda answer: answer)
    # The second one was deleted by somebody meanwhile.
    assert history_panel._all_whole([asked(1, row={"text": "a reference"}), asked(2)]) == [whole]


def test_a_text_that_only_begins_like_a_picture_is_no_failure(quiet) -> None:
    app = opened([asked(7, row={"text": "iVBORw0KGgo="})], "history-session-7")
    assert not app.exception and "8 bytes that are no picture" in texts(app)


def test_a_stopped_answer_shows_what_there_was(quiet) -> None:
    app = opened([asked(7, stopped=True, result={"partial": "Once upon *a*"})], "history-session-7")
    assert "Once upon *a*" in [one.value for one in app.text] and "\\(stopped\\)" in app.expander[0].label


def test_a_result_that_the_panel_cannot_draw_is_still_shown(quiet) -> None:
    app = opened([asked(7, result={"odd": 1})], "history-session-7")
    assert not app.exception


def test_long_histories_have_pages(quiet) -> None:
    app = opened([asked(number) for number in range(25)])
    assert len(app.expander) == 10
    app.get("pagination")[0].set_value(3).run()
    assert len(app.expander) == 5 and "text 24" in app.expander[-1].label


def test_clearing_forgets_this_tasks_answers_only(quiet) -> None:
    app = opened([asked(0), asked(1, task="chatbot")])
    press(app, "Clear them")
    assert [one.task for one in app.session_state["history"]] == ["chatbot"]


def test_a_rating_and_a_comment_are_kept_and_logged_on_request(quiet) -> None:
    app = opened([asked(7)], "history-session-7")
    app.get("feedback")[0].set_value(0).run()
    app.text_input[0].set_value("  wrong  ").run()
    one = app.session_state["history"][0]
    assert (one.rating, one.comment, one.log_state) == (-1, "wrong", "")
    press(app, "Log to MLflow")
    assert finished(app.session_state["history"][0]).log_state == "logged"
    app.run()
    assert [link.label for link in app.get("link_button")] == ["Open in MLflow"]
    (logged,) = recent_answers("sentiment-analysis")
    assert (logged.row, logged.rating, logged.comment) == ({"text": "text 7"}, -1, "wrong")
    app.get("feedback")[0].set_value(1).run()
    assert finished(app.session_state["history"][0]).log_state == "logged"
    assert recent_answers()[0].rating == 1
    press(app, "Delete it")
    assert recent_answers() == [] and len(app.session_state["history"]) == 1


def test_logged_answers_are_opened_in_a_new_session(quiet) -> None:
    from tasks.runs.answers import log_answer
    from ui.answers.answer_log import as_answer

    answer_id = log_answer(as_answer(asked(row={"text": "from long ago"}, model="<b>")))
    log_answer(as_answer(asked(task="chatbot", row={"messages": []})))
    app = opened([])
    app.session_state[f"history-mlflow-{answer_id}"] = True
    app.get("button_group")[0].set_value("MLflow").run()
    assert not app.exception and len(app.expander) == 1 and "from long ago" in texts(app)
    app.get("feedback")[0].set_value(1).run()
    end = time.monotonic() + 10
    while recent_answers("sentiment-analysis")[0].rating is None and time.monotonic() < end:
        time.sleep(0.05)
    assert recent_answers("sentiment-analysis")[0].rating == 1
    press(app, "Use this input again")
    assert app.session_state["reused"] == {"text": "from long ago"}


def test_a_store_that_is_down_is_said_and_the_session_stays(quiet, monkeypatch) -> None:
    def down(*_):
        raise StoreUnreachableError("MLflow's store at x does not answer")

    monkeypatch.setattr("ui.answers.history_panel.recent_answers", down)
    app = opened([asked(0)])
    app.get("button_group")[0].set_value("MLflow").run()
    assert not app.exception and "does not answer" in texts(app) and not app.expander
    app.get("button_group")[0].set_value("This session").run()
    assert len(app.expander) == 1


def remembering_page(text: str) -> None:
    import streamlit as st

    from tests.ui.test_history import asked
    from ui.answers.history import remember
    from ui.answers.history_panel import draw_history, draw_log_switch, draw_rating

    draw_log_switch()
    if st.button("Ask"):
        remember(asked(text, row={"text": text}))
    for one in st.session_state.get("history", []):
        draw_rating(one)
    draw_history("sentiment-analysis", lambda one: None)


def test_two_visitors_never_see_each_others_history(quiet) -> None:
    mine, yours = (
        AppTest.from_function(remembering_page, args=(text,), default_timeout=60) for text in ("mine", "yours")
    )
    for app in (mine, yours):
        press(app.run(), "Ask")
    assert [app.expander[0].label.split("·")[2].split()[0] for app in (mine, yours)] == ["mine", "yours"]
    assert len(mine.session_state["history"]) == len(yours.session_state["history"]) == 1
    assert recent_answers() == []


def test_with_the_switch_on_each_new_answer_is_logged_once(quiet) -> None:
    app = AppTest.from_function(remembering_page, args=("hello",), default_timeout=60).run()
    assert "Everyone who uses this MLflow" not in texts(app)
    app.toggle[0].set_value(True).run()
    assert "Everyone who uses this MLflow can read what is logged." in texts(app) and app.toggle[1].value
    press(app, "Ask")
    press(app, "Ask")
    (one,) = app.session_state["history"]
    assert finished(one).log_state == "logged"
    assert [one.row for one in recent_answers()] == [{"text": "hello"}]
