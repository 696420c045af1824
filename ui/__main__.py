"""`python -m ui`: the tool's server. As `python -m streamlit run ui/app.py`, but the first page need not wait so long.

Streamlit runs the app, and imports what it needs, only when the first visitor is there. MLflow takes seconds to import:
here that begins at once, beside the start of the server and of the visitor's browser.
"""

import importlib
import logging
import sys
import threading
from pathlib import Path

APP = Path(__file__).with_name("app.py")


def import_early() -> None:
    """Import what every page needs. What goes wrong here goes wrong again on the page, which says so."""
    try:
        importlib.import_module("ui.session")
    except Exception:
        logging.getLogger("ui").exception("the tool's libraries could not be imported before the first page")


def main() -> None:
    """Serve until it is stopped; arguments are those of `streamlit run`."""
    # Streamlit's own modules first: two threads that import parts of one package at once can meet half of a module.
    from streamlit.web import bootstrap, cli  # noqa: F401

    threading.Thread(target=import_early, name="import-early", daemon=True).start()
    sys.argv = ["streamlit", "run", str(APP), *sys.argv[1:]]
    cli.main()


if __name__ == "__main__":
    main()
