"""Send what waits in the spool: `python -m experiments.replay [--spool FOLDER] [--tracking_uri URI]`.

For runs whose tracking server was still away when they ended, or that were killed while it was.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.config import ConfigError, ReplayConfig, cli
from experiments.tracking.spool import Spool, spooled

# Nothing waits for this: large artifacts may take their time.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "300"}


def main(argv: Sequence[str] | None = None) -> None:
    """Send every run that waits, as the command line says; see `experiments.config.ReplayConfig`."""
    config, _ = cli.parse(ReplayConfig, argv)
    folder = Path(config.spool)
    if not folder.is_dir():
        raise ConfigError(f"spool is {config.spool!r}, and there is no such folder; valid: one that a training named")
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    runs = spooled(folder)
    if not runs:
        print(f"nothing waits in {folder}")
    failures = [text for run_id in runs if (text := _replay(folder, run_id, config.tracking_uri))]
    if failures:
        for text in failures[:-1]:
            print(f"error: {text}", file=sys.stderr)
        raise ConfigError(failures[-1])


def _replay(folder: Path, run_id: str, server: str) -> str:
    """Send one run; returns what went wrong, if anything did: the other runs have their own servers."""
    try:
        os.environ["MLFLOW_TRACKING_URI"] = Spool(folder, run_id).server() if server == "auto" else server
        # MLflow takes seconds to load, and reads the address from the environment.
        from experiments.tracking.run import catch_up

        count = catch_up(run_id, folder)
    except ConfigError as error:
        return str(error)
    print(f"run {run_id}: {count} operations are sent")
    return ""


if __name__ == "__main__":
    cli.run(main)
