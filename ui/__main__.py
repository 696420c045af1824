"""`python -m ui`: the tool's server, with the options of `streamlit run`.

Three things differ from `streamlit run ui/app.py`: only the tool's own pages may connect, connections are bounded, and
the first page comes sooner. Streamlit runs the app, and imports what it needs, only when the first visitor is there.
MLflow takes seconds to import: here that begins at once, beside the start of the server and of the visitor's browser.
"""

import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import click
import uvicorn
from starlette.middleware import Middleware
from streamlit.config import get_option
from streamlit.starlette import App

# All of Streamlit before the thread below: two that import parts of one package at once can meet half of a module.
from streamlit.web import bootstrap, cli

from tasks.serve.connections import BoundedServer, most_connections
from tasks.serve.listening import listen
from tasks.serve.settings import SettingsError
from tasks.version import __version__
from ui.conversations.owner import OwnerCookie
from ui.own_origin import OwnOrigin, names_of_this_machine, read_setting

APP = Path(__file__).with_name("app.py")
GRACE_S = 5  # at the end, for connections to close


def import_early() -> None:
    """Import what every page needs. What fails here fails again on the page, which reports it."""
    try:
        importlib.import_module("ui.session")
    except Exception:
        logging.getLogger("ui").exception("the tool's libraries could not be imported before the first page")


@click.command(help="Serve the tool until it is stopped. The options are those of `streamlit run`.")
@click.version_option(__version__, prog_name="Project-DL")
@cli.configurator_options
def main(**options: Any) -> None:
    """Serve until it is stopped. Exit code 2, with one line, for what cannot work."""
    bootstrap.load_config_options(options)
    address, port = get_option("server.address") or "127.0.0.1", get_option("server.port")
    try:
        app = application(address)
        listening = listen(address, port, "--server.address, --server.port")
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    # As in trainings and the gateway: beside other programs, threads that spin while they wait cost most of the speed.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    threading.Thread(target=import_early, name="import-early", daemon=True).start()
    scheme = "https" if get_option("server.sslCertFile") else "http"
    host = socket.gethostname() if address in ("0.0.0.0", "::") else f"[{address}]" if ":" in address else address
    print(f"the tool is at {scheme}://{host}:{listening.getsockname()[1]}", flush=True)
    # uvicorn raises signals again when it has ended: the programs' own ends (`atexit`) come then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with contextlib.suppress(KeyboardInterrupt):
        BoundedServer(configuration(app), most_connections(0, each=2)).run(sockets=[listening])


def application(address: str) -> App:
    """The tool as Streamlit serves it, for its own pages only. Raises SettingsError."""
    origins = list(map(read_setting, get_option("server.corsAllowedOrigins")))
    own = Middleware(OwnOrigin, names=names_of_this_machine(address), origins=origins)
    return App(APP, middleware=[own, Middleware(OwnerCookie)])


def configuration(app: App) -> uvicorn.Config:
    """What `streamlit run` passes to uvicorn."""
    ping_s = get_option("server.websocketPingInterval") or 30
    return uvicorn.Config(
        app,  # pyright: ignore[reportArgumentType]  # Starlette's types of ASGI are not uvicorn's
        ws="websockets-sansio",
        ws_max_size=get_option("server.maxMessageSize") * 10**6,
        ws_ping_interval=ping_s,
        ws_ping_timeout=ping_s,
        ws_per_message_deflate=get_option("server.enableWebsocketCompression"),
        ssl_certfile=get_option("server.sslCertFile"),
        ssl_keyfile=get_option("server.sslKeyFile"),
        log_level="error",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
    )


if __name__ == "__main__":
    main()
