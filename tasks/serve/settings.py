"""What the user can set when starting the gateway, and what is valid."""

import ipaddress
from functools import lru_cache

from tasks.parameters import Parameters, option

CHATBOT = "chatbot"  # the task that OpenAI's chats are for, and that is asked first
TOKEN_SWITCH = "PROJECT_DL_TOKEN"
MEGABYTE = 10**6
# How many bodies of the largest size may be in memory at once, from all clients together.
BODIES_AT_ONCE = 8


class SettingsError(ValueError):
    """The gateway cannot be started like this. The text says what is valid."""


class Options(Parameters):
    """What the command line takes."""

    host: str = option("127.0.0.1", "address to listen at, by default this machine only")
    port: int = option(8000, "0 takes a free one", ge=0, le=65535)
    queue: int = option(64, "requests that may wait", ge=1, le=10_000)
    timeout: float = option(300.0, "seconds for an answer, waiting and loading the model included", ge=0.001, le=86_400)
    body_mb: float = option(32.0, "most megabytes a request", ge=0.001, le=1000)
    preload: bool = option(True, "load the champion of the chatbot at the start, where it is GGUF")


class Settings(Options):
    """Settings of the gateway.

    Attributes:
        memory_bytes: what loaded models may take together.
        body_timeout: seconds for a request's body to arrive.
    """

    memory_bytes: int = 0
    body_timeout: float = 30.0
    token: str = ""

    @property
    def body_bytes(self) -> int:
        return int(self.body_mb * MEGABYTE)


@lru_cache(1000)
def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own, unreachable from outside."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() in ("localhost", "localhost.")
