"""The chat page with a model that writes little."""

from typing import Any

from tests.support.pages import fine
from ui.conversations.conversation import Conversation
from ui.conversations.store import ConversationStore, conversations_file

ME = "me"


def opened(page: Any, **link: str) -> Any:
    app = page("home")
    app.switch_page("views/chat.py")
    for name, value in link.items():
        app.query_params[name] = value
    app.run()
    if app.selectbox:
        app.selectbox(key="chat-model").set_value("chatbot/1")
        app.number_input(key="chat-set-max_new_tokens").set_value(8).run()
    return fine(app)


def say(app: Any, text: str) -> Any:
    app.chat_input(key="chat-entry").set_value(text).run()
    return fine(app)


def path(app: Any) -> list[tuple[str, str]]:
    return [(one.role, one.content) for one in conversation(app).path()]


def conversation(app: Any) -> Conversation:
    return app.session_state["chat-open"]


def kept() -> list[Conversation]:
    store = ConversationStore(conversations_file())
    return [store.read(ME, one.id) for one in store.listed(ME)]
