"""`python -m tasks.serve`: the command line of the gateway. What needs torch is imported after it is understood."""

import contextlib
import os
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from tasks.command_line import given_values
from tasks.parameters import Schema, explain
from tasks.runtime.budget import MEMORY_SWITCH, memory_budget
from tasks.serve.listening import listen
from tasks.serve.settings import CHATBOT, TOKEN_SWITCH, Options, Settings, SettingsError, is_loopback
from tasks.serve.warming import Warming


def parse(argv: Sequence[str] | None = None) -> Settings:
    """The settings of a command line and the environment. Raises SettingsError, in one line."""
    budget: Schema = {"type": "string", "default": f"{MEMORY_SWITCH}, or half"}
    specs = {**Options.specs(), "memory_gb": {"description": "gigabytes for loaded models", **budget}}
    try:
        given = given_values(
            specs,
            argv,
            prog="python -m tasks.serve",
            description="Serve every registered task over HTTP, with streaming. "
            f"A bearer token that clients must send is taken from the environment ({TOKEN_SWITCH}).",
        )
        token = os.environ.get(TOKEN_SWITCH, "")
        if not (token.isascii() and token.isprintable() and " " not in token):
            raise ValueError(f"{TOKEN_SWITCH} cannot be sent in a header; valid: letters, digits and signs, no spaces")
        memory_bytes = memory_budget(given.pop("memory_gb", None))
        return Settings(**given, memory_bytes=memory_bytes, token=token)
    except ValidationError as error:
        raise SettingsError(explain(error, Settings)) from None
    except ValueError as error:
        raise SettingsError(str(error)) from None


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C. Exit code 2, with one line, for what cannot work."""
    try:
        settings = parse(argv)
        listening = listen(settings.host, settings.port)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    # Threads that wait for each other should spin for a moment only, then sleep. Read when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # A model at work holds Python's lock most of the time; at 5 ms, the default, requests would wait for it so long.
    sys.setswitchinterval(0.0005)
    host, port = listening.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if not settings.token and not is_loopback(host):
        print(f"warning: everybody who reaches {host} can use it; {TOKEN_SWITCH} sets a token", file=sys.stderr)
    warming = Warming(CHATBOT, settings.memory_bytes) if settings.preload else None
    from tasks.runs import StoreUnreachableError, give_up_soon
    from tasks.serve.server import serve

    give_up_soon()
    try:
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn has ended by then, and passes Ctrl-C on
            serve(settings, listening, address, warming)
    except StoreUnreachableError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
