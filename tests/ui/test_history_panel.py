"""The history on the page: listed, opened, rated, logged, taken along; and never another visitor's."""

from streamlit.testing.v1 import AppTest

from tasks.runs import StoreUnreachableError
from tasks.runs.answers import AnswerNotFoundError, log_answer, recent_answers
from tests.support.answers import asked, finished
from tests.support.pages import press, texts
from tests.support.words import until
from ui.answers import history_panel
from ui.answers.answer import Asked


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


def test_an_empty_history_says_so(empty_tool) -> None:
    app = opened([])
    assert not app.exception and "Nothing has been asked in this session yet." in texts(app)


def test_answers_are_listed_with_what_matters_and_inert(empty_tool) -> None:
    hostile = "<script>alert(1)</script> [x](javascript:alert(1)) $x$ :red[y]"
    app = opened([asked(0, row={"text": hostile}, rating=1), asked(1, task="chatbot")])
    (entry,) = app.expander
    assert "<script>" not in entry.label.replace("\\<", "") and "\\<script" in entry.label and "500 ms" in entry.label
    assert "thumb_up" in entry.icon
    assert not app.exception and [one.label for one in app.get("download_button")] == ["Download JSON", "Download CSV"]


def test_an_opened_answer_is_whole_and_can_be_used_again(empty_tool) -> None:
    app = opened([asked(7, row={"text": "once more"})], "history-session-7")
    assert not app.exception and "once more" in texts(app) and "sentiment-analysis/1" in texts(app)
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


def test_a_text_that_only_begins_like_a_picture_is_no_failure(empty_tool) -> None:
    app = opened([asked(7, row={"text": "iVBORw0KGgo="})], "history-session-7")
    assert not app.exception and "8 bytes that are no picture" in texts(app)


def test_a_stopped_answer_shows_what_there_was(empty_tool) -> None:
    app = opened([asked(7, stopped=True, result={"partial": "Once upon *a*"})], "history-session-7")
    assert "Once upon *a*" in [one.value for one in app.text] and "\\(stopped\\)" in app.expander[0].label


def test_a_result_that_the_panel_cannot_draw_is_still_shown(empty_tool) -> None:
    app = opened([asked(7, result={"odd": 1})], "history-session-7")
    assert not app.exception


def test_long_histories_have_pages(empty_tool) -> None:
    app = opened([asked(number) for number in range(25)])
    assert len(app.expander) == 10
    app.get("pagination")[0].set_value(3).run()
    assert len(app.expander) == 5 and "text 24" in app.expander[-1].label


def test_clearing_forgets_this_tasks_answers_only(empty_tool) -> None:
    app = opened([asked(0), asked(1, task="chatbot")])
    press(app, "Clear them")
    assert [one.task for one in app.session_state["history"]] == ["chatbot"]


def test_a_rating_and_a_comment_are_kept_and_logged_on_request(empty_tool) -> None:
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


def test_logged_answers_are_opened_in_a_new_session(empty_tool) -> None:
    answer_id = log_answer(asked(row={"text": "from long ago"}, model="<b>"))
    log_answer(asked(task="chatbot", row={"messages": []}))
    app = opened([])
    app.session_state[f"history-mlflow-{answer_id}"] = True
    app.get("button_group")[0].set_value("MLflow").run()
    assert not app.exception and len(app.expander) == 1 and "from long ago" in texts(app)
    app.get("feedback")[0].set_value(1).run()
    until(lambda: recent_answers("sentiment-analysis")[0].rating == 1)
    press(app, "Use this input again")
    assert app.session_state["reused"] == {"text": "from long ago"}


def test_a_store_that_is_down_is_said_and_the_session_stays(empty_tool, monkeypatch) -> None:
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

    from tests.support.answers import asked
    from ui.answers.history import remember
    from ui.answers.history_panel import draw_history
    from ui.answers.rating import draw_log_switch, draw_rating

    draw_log_switch()
    if st.button("Ask"):
        remember(asked(text, row={"text": text}))
    for one in st.session_state.get("history", []):
        draw_rating(one)
    draw_history("sentiment-analysis", lambda one: None)


def test_two_visitors_never_see_each_others_history(empty_tool) -> None:
    mine, yours = (
        AppTest.from_function(remembering_page, args=(text,), default_timeout=60) for text in ("mine", "yours")
    )
    for app in (mine, yours):
        press(app.run(), "Ask")
    assert [app.expander[0].label.split("·")[2].split()[0] for app in (mine, yours)] == ["mine", "yours"]
    assert len(mine.session_state["history"]) == len(yours.session_state["history"]) == 1
    assert recent_answers() == []


def test_with_the_switch_on_each_new_answer_is_logged_once(empty_tool) -> None:
    app = AppTest.from_function(remembering_page, args=("hello",), default_timeout=60).run()
    assert "Everyone who uses this MLflow" not in texts(app)
    app.toggle[0].set_value(True).run()
    assert "Everyone who uses this MLflow can read what is logged." in texts(app) and app.toggle[1].value
    press(app, "Ask")
    press(app, "Ask")
    (one,) = app.session_state["history"]
    assert finished(one).log_state == "logged"
    assert [one.row for one in recent_answers()] == [{"text": "hello"}]
