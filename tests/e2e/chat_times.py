"""How fast the chat page is: `python -m tests.e2e.chat_times` prints medians. Nothing else should run on the machine.

- first token: from Enter until the browser has drawn something of the reply of SmolLM2, which is loaded, in a new chat;
- echo: from Enter until the message stands in a conversation of 100 messages.
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
from tests.support.browsing import browser, drawn, tool_running
from ui.conversations.conversation import Conversation, Message
from ui.conversations.owner import COOKIE, owner_of
from ui.conversations.store import ConversationStore

MESSAGES, TIMES = 100, 10
GOALS = {"first token": 150, f"echo among {MESSAGES} messages": 300}  # milliseconds
PATIENCE_MS = 300_000  # the first question loads the model, and reads the whole conversation
SIZE = {"width": 1440, "height": 900}
REPLY = "Some **bold** text, a list:\n\n- one\n- two\n\nand code:\n\n```python\nprint('hello')\n```"
ECHO = """text => [...document.querySelectorAll('[data-testid=stChatMessage]')].some(e => e.innerText.includes(text))"""
# The reply is the message after the question, and has more in it than the sign that it is coming.
TOKEN = """text => { const all = [...document.querySelectorAll('[data-testid=stChatMessage]')];
    const at = all.findIndex(e => e.innerText.includes(text)); const reply = at >= 0 && all[at + 1];
    const said = reply && reply.querySelector('[data-testid=stMarkdownContainer]');
    return said && said.innerText.trim() && said.innerText.trim() !== '…' }"""


def times(page: Any, seen: str) -> list[float]:
    """Milliseconds from Enter until `seen` is true of the message, in the conversation that is open."""
    found = []
    for number in range(TIMES + 1):
        text = f"Question number {number}?"
        field = page.get_by_test_id("stChatInputTextArea")
        field.fill(text)
        started = time.perf_counter()
        field.press("Enter")
        page.wait_for_function(seen, arg=text, polling=2, timeout=PATIENCE_MS)
        found.append((time.perf_counter() - started) * 1000)
        page.wait_for_function(TOKEN, arg=text, polling=50, timeout=PATIENCE_MS)
        page.get_by_role("button", name="Stop", exact=True).wait_for(state="detached", timeout=PATIENCE_MS)
        drawn(page)
    return found[1:]


def conversation(context: Any, file: Path, messages: int) -> str:
    """A kept conversation of the browser, with so many messages and short replies; its id."""
    owner = owner_of({one["name"]: one["value"] for one in context.cookies() if one["name"] == COOKIE})
    store, made = ConversationStore(file), Conversation(settings={"parameters": {"max_new_tokens": 8}})
    for number in range(messages):
        said = Message("assistant", REPLY, made.leaf) if number % 2 else Message("user", f"{number}?", made.leaf)
        store.add(owner or "", made, said)
    return made.id


def measured(chromium: Any, address: str, file: Path) -> list[list[float]]:
    """The times of `GOALS`, in their order."""
    context = chromium.new_context(viewport=SIZE)
    page = context.new_page()
    page.goto(f"{address}/chat")
    drawn(page)
    found = []
    for messages, seen in ((2, TOKEN), (MESSAGES, ECHO)):
        page.goto(f"{address}/chat?conversation={conversation(context, file, messages)}")
        drawn(page)
        found.append(times(page, seen))
    return found


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
            found = measured(chromium, address, folder / "conversations.db")
        for (name, goal), values in zip(GOALS.items(), found, strict=True):
            spread = f"{min(values):.0f} to {max(values):.0f} (n={TIMES})"
            print(f"{name}: median {statistics.median(values):.0f} ms, {spread}; goal {goal} ms")
        print(f"load of the machine: {', '.join(f'{one:.1f}' for one in os.getloadavg())}")


if __name__ == "__main__":
    main()
