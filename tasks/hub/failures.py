"""What the Hugging Face Hub refuses, and failures on the way to it, each in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.base import ModelFolderError, first_line
from tasks.disk import full_disk

UNREACHABLE = "the Hub cannot be reached"
# For what users wait for. The Hub's client retries five times within 23 s, longer if the server asks for it.
LIMIT_S = 30.0
BUSY = 429


class HubUnreachableError(ModelFolderError):
    """The Hub does not answer, or `HF_HUB_OFFLINE` says not to ask it."""


class TokenRefusedError(ModelFolderError):
    """The Hub does not know the token that was sent along."""


def hub_error(error: Exception, hub_id: str, revision: str = "main") -> ModelFolderError:
    """An error of the Hub's client as one that says in a line what was wrong and what helps."""
    import httpx2
    from huggingface_hub import errors

    if isinstance(error, ModelFolderError):
        return error
    status = getattr(getattr(error, "response", None), "status_code", None)
    # A header holds ASCII, and the client's own words would show a letter of the token.
    cannot_be_sent = isinstance(error, UnicodeEncodeError) and error.encoding == "ascii"
    if cannot_be_sent or (status == httpx2.codes.UNAUTHORIZED and "Invalid credentials" in _message(error)):
        return TokenRefusedError("the Hub does not know the token; valid: one of huggingface.co/settings/tokens")
    if isinstance(error, errors.GatedRepoError):
        return ModelFolderError(
            f"{hub_id} is gated: accept its terms on its page, and log in with `hf auth login` or set HF_TOKEN"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelFolderError(f"{hub_id} is not on the Hub, or is private: check the id, or log in")
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelFolderError(f"{hub_id} has no revision {revision}")
    if isinstance(error, (httpx2.TransportError, errors.OfflineModeIsEnabled, TimeoutError)):
        return HubUnreachableError(f"{hub_id} is not in the local cache, and {UNREACHABLE}")
    if isinstance(error, errors.LocalEntryNotFoundError):
        return HubUnreachableError(f"{hub_id} is not in the local cache, and {UNREACHABLE}")
    if status == BUSY:
        return ModelFolderError(
            f"{hub_id} cannot be asked for now: the Hub has had too many questions; try again later"
        )
    if status is not None:
        return ModelFolderError(f"{hub_id} cannot be asked for now: the Hub answers with status {status}")
    if full_disk(error):
        return ModelFolderError(f"{hub_id} cannot be downloaded: {full_disk(error)}; what was fetched is kept")
    return ModelFolderError(f"{hub_id} cannot be downloaded: {first_line(error)}")


def _message(error: Any) -> str:
    return str(error.response.headers.get("X-Error-Message", ""))


@contextmanager
def quiet_client() -> Iterator[None]:
    """Without the lines that the Hub's client logs for each try: the outcome is reported once."""
    from huggingface_hub.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
