"""The shell blocks of the documents after `<!-- runnable -->`, run as they stand, on data that need no download."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT_ROOT
from tests.contracts.test_docs import DOCUMENTS

RUNNABLE = re.compile(r"^<!-- runnable -->\n+```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [
    pytest.param(block, id=f"{document}-{number}")
    for document in DOCUMENTS
    for number, block in enumerate(RUNNABLE.findall((PROJECT_ROOT / document).read_text(encoding="utf-8")))
]
CHECKOUT = ("MLproject", "conda.yaml", "experiments", "models", "tasks", "ui", "starters")


@pytest.mark.full
@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs_in_a_checkout(block: str, tmp_path: Path) -> None:
    for name in CHECKOUT:  # with a store and runs of its own
        (tmp_path / name).symlink_to(PROJECT_ROOT / name)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = f"set -e\npython -m experiments.setup\n{block}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert done.stdout.count("succeeded ===") == block.count("mlflow run ")
