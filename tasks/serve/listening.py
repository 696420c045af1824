"""The socket at which a server listens, made before anything that takes long."""

import os
import socket
import sys

from tasks.serve.settings import SettingsError

BACKLOG = 2048  # connections that the system holds until they are accepted


def listen(host: str, port: int, options: str = "--host, --port") -> socket.socket:
    """A socket that listens. Raises SettingsError where that is not possible, naming the options that choose it."""
    if sys.flags.optimize > 1:  # as every program of the project refuses it
        raise SettingsError("python -OO takes the docstrings away, which MLflow needs; valid: without it")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # The protocol is named: only then asyncio switches off Nagle's algorithm, which holds answers back for 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if os.name == "posix":  # elsewhere it means that two may take one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
        return listening
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"cannot listen at {host} port {port}: {reason}; choose others: {options}") from None
