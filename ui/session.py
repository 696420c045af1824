"""What pages share while they are drawn: the server's one `Services`, the list of versions, readable errors.

What belongs to one visitor lives in `st.session_state` and nowhere else.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from tasks.base import ModelFolderError, TaskInputError
from tasks.registry import ModelNotFoundError, RegisteredVersion
from tasks.runs import StoreUnreachableError
from tasks.runtime.jobs import JobCancelled, QueueFullError
from tasks.runtime.loaded import ModelTooLargeError
from tasks.runtime.memory import DeviceFullError
from ui.plain import escaped
from ui.services import Services, registered

# Errors whose text is meant for the user who typed.
USER_FACING_ERRORS = (
    TaskInputError,
    ModelFolderError,
    ModelTooLargeError,
    DeviceFullError,
    ModelNotFoundError,
    QueueFullError,
    JobCancelled,
    TimeoutError,
)


@st.cache_resource(show_spinner=False, on_release=Services.close)
def services() -> Services:
    """The server's worker and its models: one for all visitors, whatever page is drawn how often."""
    return Services()


@st.cache_data(ttl="5s", show_spinner=False)
def versions() -> list[RegisteredVersion]:
    """All registered versions, champions first; read again after five seconds. Raises StoreUnreachableError."""
    return registered()


def forget_versions() -> None:
    """Read the registry anew at the next look: something in it was changed."""
    versions.clear()


def champions(task: str) -> list[RegisteredVersion]:
    """The champions among the versions of a task: one a registered model."""
    return [one for one in versions() if one.task == task and one.champion]


@contextmanager
def show_errors(place: str = "page") -> Iterator[None]:
    """Say what went wrong where it went wrong: no traceback, nothing else of the page is lost.

    Args:
        place: distinguishes the retry buttons of one page.
    """
    try:
        yield
    except StoreUnreachableError as error:
        st.error(escaped(str(error)), icon=":material/cloud_off:")
        st.button("Try again", key=f"retry-{place}", on_click=forget_versions)
    except USER_FACING_ERRORS as error:
        st.error(escaped(str(error)), icon=":material/error:")
