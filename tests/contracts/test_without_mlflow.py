"""A grid is trained where there is nothing but PyTorch and its companions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
for name in ("mlflow", "optuna", "pydantic_settings", "streamlit", "diffusers", "sqlalchemy"):
    sys.modules[name] = None  # an import of it is an ImportError

from experiments import compare

shared = ["--tracking", "none", "--epochs", "1", "--train_size", "128", "--threads", "1"]
compare.main(["--models", "lenet5", *shared, "--out", "images"])
compare.main(["--kind", "seq2seq", "--models", "gru-dot", *shared, "--out", "sequences"])
"""


@pytest.mark.full
def test_a_comparison_without_tracking_imports_neither_mlflow_nor_optuna(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for folder, cell in (("images", "lenet5_digits_seed0"), ("sequences", "gru-dot_reversal_seed0")):
        assert (tmp_path / folder / "cells" / f"{cell}.zip").is_file()
        assert (tmp_path / folder / "reports" / "comparison.html").is_file()
