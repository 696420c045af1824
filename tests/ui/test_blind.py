"""Blind comparisons: names are kept back until the vote, votes are kept in MLflow, the leaderboard counts them."""

import random
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Feedback

from tasks.runs import StoreUnreachableError
from tasks.runs.votes import Vote, read_votes
from tests.support import chatting
from tests.support.pages import button, fine, opened, page_text, press, texts
from ui.answers.blind import _vote, standings
from ui.chat import session
from ui.conversations.export import as_json, as_markdown

TASK = "story-completion"
NAMES = ("tiny gpt2", "tiny llama")


def answered(page):
    """The page with two answers whose models are not said."""
    app = opened(page, TASK)
    app.toggle(key=f"tasks-blind-{TASK}").set_value(True).run()
    app.button(key=f"tasks-{TASK}-example-1").click().run()
    press(app, "Run")
    return fine(app)


def said_below(app) -> str:
    """What stands on the page, without the choice of models and the note on the one that is chosen there."""
    return "\n".join(one.value for one in (*app.markdown, *app.success)) + "\n".join(
        one.value for one in app.caption if "tokens" in one.value
    )


def test_names_are_hidden_until_the_vote_which_mlflow_keeps(tool, page) -> None:
    app = answered(page)
    assert "**Left**" in page_text(app) and "**Right**" in page_text(app)
    assert not any(name in said_below(app) for name in NAMES)
    assert not [one for one in app.button if one.label == "Continue"]
    left, right = app.session_state["tasks-askings"][TASK]
    press(app, "Left")
    fine(app)
    assert f"Your vote is kept\\: {left.model} is better" in app.success[0].value
    assert all(f"**{name}**" in page_text(app) for name in NAMES)
    assert not [one for one in app.button if one.label in ("Left", "Tie")]  # nobody votes twice on the same
    assert read_votes(TASK) == [Vote(TASK, left.reference, right.reference, "left")]
    assert read_votes("summarization") == []
    experiment = MlflowClient().get_experiment_by_name("votes")
    assert experiment is not None
    [trace] = mlflow.search_traces(locations=[experiment.experiment_id], return_type="list")
    [assessment] = trace.info.assessments
    assert isinstance(assessment, Feedback)
    assert (assessment.name, assessment.value, assessment.source.source_type) == ("preference", "left", "HUMAN")
    assert trace.data.spans[0].outputs["right"]["completion"] == right.result["completion"]

    app.session_state["tasks-tab"] = "Leaderboard"
    table = fine(app.run()).dataframe[0].value
    assert list(table["Won"]) == [1, 0] and left.reference in table["Model"][0]
    assert list(table["Win rate"]) == [100, 0] and 20 < table["Low"][0] < 21  # Wilson's interval of 1 of 1


def test_a_blind_pair_of_the_chat_says_no_names_until_the_vote_and_goes_on_with_the_better(
    tool: Path, page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "owner", lambda: "me")
    monkeypatch.setattr(random, "sample", lambda versions, _count: list(reversed(versions)))
    chat = chatting.opened(page)
    chat.toggle(key="tasks-side-chatbot").set_value(True).run()
    chat.toggle(key="chat-blind").set_value(True).run()
    chatting.say(chat, "cat")
    conversation = chatting.conversation(chat)
    names = {one.facts["model"] for one in conversation.messages.values() if one.role == "assistant"}
    assert (
        len(names) == 2
        and "**Left**" in page_text(chat)
        and not any(f"**{name}**" in page_text(chat) for name in names)
    )
    assert not any(name in caption.value for caption in chat.caption for name in names if "tokens" in caption.value)
    assert "history" not in chat.session_state and not [
        one for one in chat.button if str(one.key).startswith("chat-choose-")
    ]
    assert not any(name in export(conversation) for name in names for export in (as_markdown, as_json))
    right = next(one for one in conversation.messages.values() if one.facts.get("side") == 1)
    press(chat, "Right")
    assert chatting.conversation(fine(chat)).leaf == right.id
    assert read_votes("chatbot") == [Vote("chatbot", "chatbot/2", "chatbot/1", "right")]
    assert all(f"**{name} (chatbot/" in texts(chat) for name in names)
    assert {one.reference for one in chat.session_state["history"]} == {"chatbot/1", "chatbot/2"}
    assert not [one for one in chat.button if one.label in ("Left", "Tie")]
    assert len([one for one in chat.button if str(one.key).startswith("chat-choose-")]) == 2


def test_the_history_gets_the_answers_after_the_vote(tool, page) -> None:
    app = answered(page)
    assert "history" not in app.session_state
    left, right = asked = app.session_state["tasks-askings"][TASK]
    press(app, "Both are bad")
    assert {one.id for one in fine(app).session_state["history"]} == {one.id for one in asked}
    _vote(left, right, "left")  # the second click of a double-click
    assert [vote.choice for vote in read_votes(TASK)] == ["both bad"]


def test_the_history_gets_answers_that_are_left_without_a_vote(tool, page) -> None:
    app = answered(page)
    asked = [*app.session_state["tasks-askings"][TASK]]
    press(app, "Run")
    assert {one.id for one in fine(app).session_state["history"]} == {one.id for one in asked}


def test_a_vote_that_is_not_kept_can_be_given_again(tool, page, monkeypatch: pytest.MonkeyPatch) -> None:
    app = answered(page)

    def fail(*_args):
        raise StoreUnreachableError("no store")

    with monkeypatch.context() as broken:
        broken.setattr("ui.answers.blind.log_vote", fail)
        press(app, "Tie")
    assert "was not kept" in app.error[0].value and "**Left**" in page_text(app)
    press(app, "Tie")
    assert "Your vote is kept" in fine(app).success[0].value and read_votes(TASK)[0].choice == "tie"


def test_the_order_is_random(tool, page, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = set()
    for turn in (0, 1):
        monkeypatch.setattr(random, "sample", lambda keys, count, turn=turn: keys[:: -1 if turn else 1][:count])
        app = answered(page)
        orders.add(tuple(one.reference for one in app.session_state["tasks-askings"][TASK]))
    assert len(orders) == 2


def test_one_answer_alone_is_not_voted_on(tool, page) -> None:
    app = opened(page, TASK)
    app.toggle(key=f"tasks-blind-{TASK}").set_value(True).run()
    models = app.multiselect(key=f"tasks-blind-models-{TASK}")
    models.set_value(models.value[:1]).run()
    assert button(app, "Run").disabled and "at least two" in page_text(fine(app))
    app.session_state["tasks-tab"] = "Leaderboard"
    assert "Nobody has voted" in fine(app.run()).info[0].value


def test_standings_count_wins_of_either_side_and_know_unregistered_models() -> None:
    votes = [Vote("t", "m/1", "m/2", choice) for choice in ("left", "left", "right", "tie", "both bad")]
    votes += [Vote("t", "m/2", "m/1", "right"), Vote("t", "=x/1", "m/3", "tie")]
    rows = standings(votes, {"m/1": "one", "m/2": "two"})
    assert [row["Model"] for row in rows[:2]] == ["one (m/1)", "two (m/2)"]
    assert (rows[0]["Won"], rows[0]["Lost"], rows[0]["Ties"], rows[0]["Both bad"]) == (3, 1, 1, 1)
    assert rows[0]["Win rate"] == 75 and rows[0]["Low"] == pytest.approx(30.06, abs=0.01)  # worked out by hand
    assert rows[2]["Win rate"] is None and {row["Model"] for row in rows[2:]} == {
        "unregistered (=x/1)",
        "unregistered (m/3)",
    }
