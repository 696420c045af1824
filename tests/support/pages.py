"""Pages of the tool as AppTest has them: what is written on one, its buttons, and the task page of a task."""

import time
from collections.abc import Callable
from typing import Any

from tasks.runtime.jobs import Job

# Settings that a tiny model can follow.
SMALL = {"summarization": {"max_length": 8, "num_beams": 1}, "story-completion": {"max_new_tokens": 8}}
WRITTEN = ("title", "header", "markdown", "text", "caption", "error", "warning", "success", "info", "code")


def page_text(app: Any) -> str:
    """All that is written on a page, as Streamlit gets it."""
    parts = [str(one.value) for kind in WRITTEN for one in getattr(app, kind)]
    return "\n".join(parts + [one.proto.body for one in app.get("html")])


def texts(app: Any) -> str:
    """All that is written on a page, without the backslashes that keep it from being Markdown."""
    return page_text(app).replace("\\", "")


def fine(app: Any) -> Any:
    """The page, which says of no error."""
    assert not app.exception and not app.error, [one.value for one in [*app.exception, *app.error]]
    return app


def button(app: Any, label: str) -> Any:
    return next(one for one in app.button if one.label == label)


def press(app: Any, label: str) -> Any:
    """Click a button, and draw the page again."""
    return button(app, label).click().run()


def opened(page: Any, task: str) -> Any:
    """The page of a task, with settings that a tiny model can follow."""
    return chosen(page("tasks"), task)


def chosen(app: Any, task: str) -> Any:
    """The task page with another task."""
    app.selectbox(key="tasks-task").set_value(task).run()
    for name, value in SMALL.get(task, {}).items():
        fields = [*app.number_input, *app.slider]
        next(field for field in fields if field.key == f"tasks-{task}-set-{name}").set_value(value)
    return app.run()


def slowly(look: Callable[[Job], bool]) -> Callable[[Job], bool]:
    """A model that takes its time between tokens."""

    def looked(job: Job) -> bool:
        time.sleep(0.02)
        return look(job)

    return looked
