"""The tool in a real browser: its server as a process of its own, and a headless Chromium that clicks through it."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT_ROOT
from tests.support.serving import Server, limit_descriptors, wait_for

# Chromium as Debian packages it; playwright's own download is another host than the package index.
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ANSWER_MS = 180_000  # a busy machine takes that long to load libraries
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@contextmanager
def tool_running(environment: Mapping[str, str], folder: Path) -> Iterator[str]:
    """The address of the tool; its server ends with the block."""
    with tool_process(environment, folder) as server:
        yield server.address


@contextmanager
def tool_process(environment: Mapping[str, str], folder: Path, descriptors: int | None = None) -> Iterator[Server]:
    """The tool; it ends with the block. What it says goes to `tool.log` in the folder.

    Args: descriptors: how many it may open, as `ulimit -n` sets it.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "ui", "--server.port", str(port)]
    log_file = folder / "tool.log"
    log = log_file.open("w")
    process = subprocess.Popen(
        command,
        env={**os.environ, "PROJECT_DL_CONVERSATIONS": str(folder / "conversations.db"), **environment},
        cwd=PROJECT_ROOT,
        stdout=log,
        stderr=log,
        start_new_session=True,
        preexec_fn=None if descriptors is None else lambda: limit_descriptors(descriptors),
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/_stcore/health", process)
        yield Server(address, process, log_file)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 15)
        process.wait(timeout=30)
        log.close()


@contextmanager
def browser() -> Iterator[Any]:
    """A playwright browser; the test is skipped where there is no Chromium."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


def drawn(page: Any, timeout_ms: float = ANSWER_MS) -> None:
    """Wait until the page has its title, nothing of it is still at work, and tables and charts are there."""
    page.locator("h1").first.wait_for(timeout=timeout_ms)
    page.wait_for_function(
        "document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'", timeout=timeout_ms
    )
    # Where a table or a chart will be while its code is being loaded.
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')", timeout=timeout_ms)
    page.wait_for_timeout(300)
