"""How a task looks on the page: what a person fills in, how an answer is drawn. Any task has at least this panel.

A panel knows nothing of models, jobs or pages: it makes a row, and draws what came of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from tasks import task_class
from tasks.base import Parameter, Row
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
        examples: inputs to click.
        hidden: parameters that the form leaves out because the page sets them itself.
    """

    examples: Sequence[Example] = ()
    hidden: frozenset[str] = frozenset()

    def __init__(self, task: str) -> None:
        self.task = task
        self.inputs = dict(task_class(task).inputs)
        self.parameters: tuple[Parameter, ...] = task_class(task).parameters

    def fill(self, row: Mapping[str, Any], key: str) -> None:
        """Put a row (an example, one from the history) into the form; call it before the form is drawn."""
        for column in self.inputs:
            st.session_state[f"{key}-{column}"] = str(row.get(column, ""))

    def row(self, key: str) -> dict[str, Any]:
        """Draw the inputs and give what is in them; the task itself checks it. `key` tells forms of one page apart."""
        return {
            column: st.text_area(escaped(column.capitalize()), key=f"{key}-{column}", height=120)
            for column, required in self.inputs.items()
            if required
        }

    def draw_partial(self, events: Sequence[Row]) -> None:
        """Draw what there is of an answer that is still coming: pieces of text, or steps."""
        text = "".join(event["piece"] for event in events if "piece" in event)
        if text:
            st.markdown(escaped(text))
        steps = [event for event in events if "step" in event]
        if steps:
            last = steps[-1]
            st.progress(last["step"] / last["steps"], f"step {last['step']} of {last['steps']}")

    def draw(self, row: Row, result: Row, key: str) -> None:  # noqa: ARG002
        """Draw a whole answer to a row. `key` tells answers of one page apart."""
        st.json(json.dumps({name: value for name, value in result.items() if name not in ("model", "seconds")}))
