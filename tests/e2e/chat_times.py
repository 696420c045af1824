"""How fast the chat page is: `python -m tests.e2e.chat_times` prints medians. Nothing else should run on the machine.

- echo: from Enter until the message stands in a conversation of 100 messages;
- first token: from Enter until the browser has drawn something of the reply of SmolLM2, which is loaded.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.conftest import PROJECT_ROOT
from tests.e2e.test_browser import drawn
from tests.support.browsing import browser, tool_running
from ui.conversations.conversation import Conversation, Message
from ui.conversations.owner import COOKIE, owner_of
from ui.conversations.store import ConversationStore

MESSAGES, TIMES = 100, 10
SIZE = {"width": 1440, "height": 900}
REPLY = "Some **bold** text, a list:\n\n- one\n- two\n\nand code:\n\n```python\nprint('hello')\n```"
ECHO = """text => [...document.querySelectorAll('[data-testid=stChatMessage]')].some(e => e.innerText.includes(text))"""
# The reply is the message after the question, and has more in it than the sign that it is coming.
TOKEN = """text => { const all = [...document.querySelectorAll('[data-testid=stChatMessage]')];
    const at = all.findIndex(e => e.innerText.includes(text)); const reply = at >= 0 && all[at + 1];
    const said = reply && reply.querySelector('[data-testid=stMarkdownContainer]');
    return said && said.innerText.trim() && said.innerText.trim() !== '…' }"""


def times(chromium: Any, address: str, file: Path) -> tuple[list[float], list[float]]:
    """Milliseconds to the echo and to the first token; the first question loads the model and is left out."""
    context = chromium.new_context(viewport=SIZE)
    page = context.new_page()
    page.goto(f"{address}/chat")
    drawn(page)
    owner = owner_of({one["name"]: one["value"] for one in context.cookies() if one["name"] == COOKIE})
    store, conversation = ConversationStore(file), Conversation(settings={"parameters": {"max_new_tokens": 8}})
    for number in range(MESSAGES):
        role = "assistant" if number % 2 else "user"
        store.add(owner or "", conversation, Message(role, f"{number}. {REPLY}", conversation.leaf))
    page.goto(f"{address}/chat?conversation={conversation.id}")
    drawn(page)
    echoes, tokens = [], []
    for number in range(TIMES + 1):
        text = f"Question number {number}?"
        field = page.get_by_test_id("stChatInputTextArea")
        field.fill(text)
        started = time.perf_counter()
        field.press("Enter")
        page.wait_for_function(ECHO, arg=text, polling=2)
        echoes.append((time.perf_counter() - started) * 1000)
        page.wait_for_function(TOKEN, arg=text, polling=2)
        tokens.append((time.perf_counter() - started) * 1000)
        page.get_by_role("button", name="Stop", exact=True).wait_for(state="detached")
        drawn(page)
    return echoes[1:], tokens[1:]


def main() -> None:
    """Measure, and print a line each."""
    with tempfile.TemporaryDirectory() as temporary, browser() as chromium:
        folder = Path(temporary)
        environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "PYTHONPATH": str(PROJECT_ROOT)}
        for command in (["experiments.setup"], ["experiments.register", "--task", "chatbot"]):
            subprocess.run(
                [sys.executable, "-m", *command],
                env={**os.environ, **environment},
                cwd=folder,
                check=True,
                capture_output=True,
            )
        with tool_running(environment, folder) as address:
            found = times(chromium, address, folder / "conversations.db")
        for name, values in zip((f"echo among {MESSAGES} messages", "first token"), found, strict=True):
            print(
                f"{name}: median {statistics.median(values):.0f} ms, {min(values):.0f} to {max(values):.0f} (n={TIMES})"
            )
        print(f"load of the machine: {', '.join(f'{one:.1f}' for one in os.getloadavg())}")


if __name__ == "__main__":
    main()
