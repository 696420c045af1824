"""What `make install` and `make setup` do where something is missing; the Python here only notes how it is called."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PROJECT_ROOT

TOOLS = ("make", "bash", "mkdir", "cp", "rm", "touch", "env", "sleep")
# It has pip and is new enough unless the environment says otherwise; uv cannot be had from it.
PYTHON = """#!/usr/bin/env -S bash
echo "$0 $*" >> calls
case "$*" in
  "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python && rm -f .venv/bin/half ;;
  "-m pip --version") ! test -e .venv/bin/half ;;
  "-m pip install --quiet uv") exit 1 ;;
  "-m pip install"*) exit "${PIP_FAILS:-0}" ;;
  *version_info*) exit "${TOO_OLD:-0}" ;;
  "--version") echo "Python 3.10.13" ;;
  "-m experiments.setup") echo "migrated" >> mlflow.db; kill -INT 0; exec sleep 60 ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in a folder with blanks and other letters, beside a folder `bin` of the programs that there are."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"not on this machine: {', '.join(missing)}")
    programs, folder = tmp_path / "bin", tmp_path / "Größe und Maß"
    programs.mkdir()
    folder.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(str(shutil.which(tool)))
    # The files of which the container makes its environment, and no others.
    copied = re.search(r"^COPY \S+ (.+) \./$", (PROJECT_ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert copied is not None
    for name in copied[1].split():
        shutil.copy(PROJECT_ROOT / name, folder)
    return folder


def stub(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PYTHON, encoding="utf-8")
    path.chmod(0o755)
    return path


def make(checkout: Path, target: str, **environment: str) -> tuple[int, list[str]]:
    """The exit code and the lines of `make` with nothing on the PATH but `bin`."""
    environment = {"PATH": str(checkout.parent / "bin"), "HOME": str(checkout.parent), **environment}
    done = subprocess.run(
        ["make", target],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        timeout=120,
    )
    return done.returncode, done.stdout.splitlines()


def calls(checkout: Path) -> list[str]:
    return (checkout / "calls").read_text(encoding="utf-8").splitlines()


def error(lines: list[str]) -> str:
    (line,) = [line for line in lines if line.startswith("error: ")]
    return line


@pytest.mark.parametrize("name", ["python3.11", "python3.12"])
def test_without_uv_pip_installs_into_the_environment_and_nowhere_else(checkout: Path, name: str) -> None:
    outside = stub(checkout.parent / "bin" / name)
    code, lines = make(checkout, "install")
    assert (code, (checkout / ".venv/.installed").exists()) == (0, True), lines
    of_the_user = [call.removeprefix(f"{outside} ") for call in calls(checkout) if call.startswith(str(outside))]
    assert set(of_the_user) == {"-c ", "-m venv .venv"}
    assert ".venv/bin/python -m pip install --quiet --require-hashes -r requirements.lock" in calls(checkout)


def test_half_an_environment_is_completed(checkout: Path) -> None:
    stub(checkout.parent / "bin/python3.11")
    stub(checkout / ".venv/bin/python")
    (checkout / ".venv/bin/half").touch()  # such as one that was interrupted, or of a Python without ensurepip
    code, lines = make(checkout, "install")
    assert code == 0, lines
    assert any(call.endswith("-m venv .venv") for call in calls(checkout))


def test_without_a_python_a_line_says_which_are_valid(checkout: Path) -> None:
    code, lines = make(checkout, "demo")
    assert code == 2 and "3.11 or 3.12" in error(lines)


def test_an_older_python_is_named_and_refused(checkout: Path) -> None:
    stub(checkout.parent / "bin/python3.11")
    code, lines = make(checkout, "demo", TOO_OLD="1")
    assert code == 2 and "Python 3.10.13" in lines and "valid: Python 3.11 or 3.12" in error(lines)
    assert not [call for call in calls(checkout) if "pip install" in call]


def test_packages_that_cannot_be_installed_are_a_line(checkout: Path) -> None:
    stub(checkout.parent / "bin/python3.11")
    code, lines = make(checkout, "demo", PIP_FAILS="1")
    assert code == 2 and "make install resumes" in error(lines)
    assert not (checkout / ".venv/.installed").exists()


def test_runs_outlive_an_interrupted_setup(checkout: Path) -> None:
    stub(checkout / ".venv/bin/python")
    (checkout / "mlflow.db").write_text("runs\n", encoding="utf-8")
    os.utime(checkout / "mlflow.db", (0, 0))  # older than the environment: the store is migrated
    (checkout / ".venv/.installed").touch()
    code, _ = make(checkout, "setup")
    assert code != 0
    assert (checkout / "mlflow.db").read_text(encoding="utf-8") == "runs\nmigrated\n"
