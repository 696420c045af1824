"""How a task looks on the page: what the user fills in, how an answer is drawn. Any task has at least this panel.

A panel knows nothing of models, jobs or pages: it makes a row, and draws what came of it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from tasks import task_class
from tasks.base import Row
from tasks.catalog import catalog
from ui.plain import escaped


@dataclass(frozen=True)
class Example:
    """An input to click: what the button says, and the row that it fills in."""

    label: str
    row: Mapping[str, Any]


class Panel:
    """The form and the answers of a task, as far as its columns and parameters tell; subclasses know the task.

    Attributes:
        task: the contract name.
        purpose: what the task is for, in a line of the home page.
        about: what it does, above its form.
        batch_hint: how to write its columns in a CSV.
        examples: inputs to click.
        starter_examples: those for the model that comes with the project, where it is too small for the others.
        specs: the schemas of the parameters, in the order of the form.
        hidden: parameters that the form leaves out because the page sets them itself.
        starter: whether the model on the page was trained by this project.
        page: the page that asks, in place of the form, for tasks that have one of their own.
        ask: asks the model on the page for another row, from a callback of a button in `draw`; None where an answer is
            only shown (in the history).
    """

    purpose: str = ""
    about: str = ""
    batch_hint: str = ""
    examples: Sequence[Example] = ()
    starter_examples: Sequence[Example] = ()
    hidden: frozenset[str] = frozenset()
    starter: bool = False
    page: str = ""
    ask: Callable[[Row], None] | None = None

    def __init__(self, task: str) -> None:
        self.task = task
        self.inputs = dict(task_class(task).inputs)
        self.parameters = task_class(task).parameters
        self.specs = self.parameters.specs()

    def examples_for(self, *, starter: bool) -> Sequence[Example]:
        """The inputs to click for a model."""
        return self.starter_examples if starter and self.starter_examples else self.examples

    def fill(self, row: Mapping[str, Any], key: str) -> None:
        """Put a row (an example, one from the history) into the form; call it before the form is drawn."""
        for column in self.inputs:
            st.session_state[f"{key}-{column}"] = str(row.get(column, ""))

    def is_filled(self) -> bool:
        """Whether a row waits for the page of its own."""
        return False

    def row(self, key: str) -> dict[str, Any]:
        """Draw the inputs and return their values; the task checks them. `key` distinguishes the forms of one page."""
        return {
            column: text_field(column.capitalize(), f"{key}-{column}")
            for column, required in self.inputs.items()
            if required
        }

    def several(self, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The settings of each answer that a click asks for. Raises TaskInputError."""
        return [dict(parameters)]

    def draw_below(self, key: str) -> None:
        """Draw what stands below the answers; most panels have nothing there."""

    def continued(self, row: Row, text: str) -> Row | None:  # noqa: ARG002
        """The row that continues an answer; None for tasks that have no continuation."""
        return None

    def draw_coming(self, row: Row, events: Sequence[Row], key: str) -> None:  # noqa: ARG002
        """Draw what there is of an answer to a row: while it is coming, and of one that was stopped."""
        self.draw_partial(events)

    def draw_partial(self, events: Sequence[Row]) -> None:
        """Draw the events of an answer that is still coming: pieces of text, or steps."""
        text = text_of(events)
        if text:
            st.markdown(escaped(text))
        steps = [event for event in events if "step" in event]
        if steps:
            last = steps[-1]
            st.progress(last["step"] / last["steps"], f"step {last['step']} of {last['steps']}")

    def draw_answer(self, row: Row, result: Row, key: str) -> None:
        """Draw a whole answer, and what the model did not know of its input."""
        self.draw(row, result, key)
        if result.get("unknown"):
            offers = catalog().get(self.task)
            good_for = offers.good_for(str(result.get("model"))) if offers else ""
            hint = f" It is good for: {good_for}." if good_for else ""
            words = ", ".join(result["unknown"])
            st.warning(escaped(f"This model does not know: {words}.{hint}"), icon=":material/help:")

    def draw(self, row: Row, result: Row, key: str) -> None:  # noqa: ARG002
        """Draw a whole answer to a row. `key` distinguishes the answers of one page."""
        st.json(json.dumps({name: value for name, value in result.items() if name not in ("model", "seconds")}))


def text_field(label: str, key: str, height: int = 120, placeholder: str | None = None) -> str:
    """A box for a text; what was typed stays for the session, also on other pages."""
    text = st.text_area(escaped(label), key=key, height=height, placeholder=placeholder, persist_state="session")
    return text or ""


def text_of(events: Sequence[Row]) -> str:
    """The text that the pieces among the events make up."""
    return "".join(event["piece"] for event in events if "piece" in event)
