"""What a person can set when starting the gateway, and what is valid."""

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

TOKEN_SWITCH = "PROJECT_DL_TOKEN"
MEGABYTE = 10**6
# How many bodies of the largest size may be in memory at once, whoever sends them.
BODIES_AT_ONCE = 8


class SettingsError(ValueError):
    """The gateway cannot be started like this. The text says what is valid."""


@dataclass(frozen=True)
class Settings:
    """Settings of the gateway; seconds, bytes where the name says so.

    Attributes:
        memory_bytes: what loaded models may take together.
        queue: how many requests may wait for their turn.
        timeout: for an answer, from the request on.
        body_timeout: for a request's body to arrive.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    memory_bytes: int = 0
    queue: int = 64
    timeout: float = 300.0
    body_mb: float = 32.0
    body_timeout: float = 30.0
    token: str | None = None

    @property
    def body_bytes(self) -> int:
        return int(self.body_mb * MEGABYTE)


def check(settings: Settings) -> None:
    """Raises SettingsError for a value out of range."""
    bounds = {"port": (0, 65535), "queue": (1, 10_000), "timeout": (0.001, 86_400), "body_mb": (0.001, 1000)}
    for name, (least, most) in bounds.items():
        value = getattr(settings, name)
        if not least <= value <= most:
            raise SettingsError(f"{name} is {value:g}; valid: a number from {least:g} to {most:g}")
    token = settings.token
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise SettingsError(f"{TOKEN_SWITCH} cannot be sent in a header; valid: letters, digits and signs, no spaces")


@lru_cache(1000)
def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own, which nobody outside reaches."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() in ("localhost", "localhost.")
