"""A visitor of the tool without a browser: what the server says to a click, and when. Streamlit's own messages."""

import re
import time
from collections.abc import Iterator
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

TIMEOUT_S = 60.0


class WireVisitor:
    """One session of the tool, on one of its pages."""

    def __init__(self, address: str, page: str, query: str) -> None:
        self.socket = connect(
            address.replace("http", "ws", 1) + "/_stcore/stream",
            max_size=None,
            subprotocols=["streamlit"],
            origin=address,
        )  # type: ignore[list-item, arg-type]
        self.page, self.query, self.hash = page, query, ""
        self.widgets: dict[str, str] = {}
        self.values: dict[str, str] = {}

    def close(self) -> None:
        """Leave."""
        self.socket.close()

    def visit(self) -> None:
        """Open the page, and learn its widgets: `widgets[label]` is an id."""
        message = BackMsg()
        message.rerun_script.query_string = self.query
        message.rerun_script.page_name = self.page
        self.socket.send(message.SerializeToString())
        for answer in self._until_finished():
            if answer.HasField("navigation"):
                self.hash = answer.navigation.page_script_hash

    def click(self, label: str, texts: dict[str, str], pattern: str) -> tuple[float, re.Match[str]]:
        """Press a button with texts typed in; seconds until the server has sent a text with `pattern`, and the match.

        Raises LookupError if the page is finished and no such text came.
        """
        message = BackMsg()
        rerun = message.rerun_script
        rerun.query_string, rerun.page_script_hash = self.query, self.hash
        self.values |= {self.widgets[name]: text for name, text in texts.items()}
        for identity, text in self.values.items():
            state = rerun.widget_states.widgets.add()
            state.id, state.string_value = identity, text
        pressed = rerun.widget_states.widgets.add()
        pressed.id, pressed.trigger_value = self.widgets[label], True
        started = time.perf_counter()
        self.socket.send(message.SerializeToString())
        found: tuple[float, re.Match[str]] | None = None
        for answer in self._until_finished():
            match = None if found else _match(answer, pattern)
            if match:
                found = time.perf_counter() - started, match
        if found is None:
            raise LookupError(f"the page said nothing like {pattern!r}")
        return found

    def _until_finished(self) -> Iterator[ForwardMsg]:
        """The server's messages up to the end of the last of the runs that follow each other."""
        while True:
            answer = ForwardMsg()
            answer.ParseFromString(self.socket.recv(timeout=TIMEOUT_S))  # type: ignore[arg-type]
            self._learn(answer)
            yield answer
            # 2: ended early to run again at once, as st.rerun does.
            if answer.HasField("script_finished") and answer.script_finished != 2:
                return

    def _learn(self, answer: ForwardMsg) -> None:
        element: Any = answer.delta.new_element
        for kind in ("text_area", "text_input", "button"):
            if element.HasField(kind):
                widget = getattr(element, kind)
                self.widgets[widget.label] = widget.id


def _match(answer: ForwardMsg, pattern: str) -> re.Match[str] | None:
    element = answer.delta.new_element
    return re.search(pattern, element.markdown.body) if element.HasField("markdown") else None
