"""Downloads: once, whole, by one process, and one line where they fail."""

import errno
import http.client
import re
import socket
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from filelock import FileLock

from experiments.data.downloads import DOWNLOAD_TIMEOUT_SECONDS
from experiments.data.sources import IDX_NAMES, DataError, RawImages, load_raw
from tests.support.datasets import TEST_LABELS, TRAIN_IMAGES, assert_refused, cycling


@pytest.mark.parametrize(
    ("dataset", "wanted"),
    [
        ("mnist", f"MNIST/raw/{TRAIN_IMAGES}"),
        ("fashion_mnist", f"FashionMNIST/raw/{TRAIN_IMAGES}"),
        ("cifar10", "cifar-10-batches-py"),
    ],
)
def test_an_unreachable_download_says_what_to_do(
    dataset: str, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts = []
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(1234)
    try:
        for error in (
            urllib.error.URLError("no route to host"),
            TimeoutError("timed out"),
            OSError(errno.ENOSPC, "No space left on device"),
            http.client.BadStatusLine("a captive portal"),
        ):

            def unreachable(*_: Any, error: Exception = error, **__: Any) -> NoReturn:
                timeouts.append(socket.getdefaulttimeout())
                raise error

            monkeypatch.setattr(urllib.request, "urlopen", unreachable)
            assert_refused(dataset, tmp_path, tmp_path / wanted, f"Put the files under {re.escape(str(tmp_path))}")
            assert socket.getdefaulttimeout() == 1234
    finally:
        socket.setdefaulttimeout(before)
    assert set(timeouts) == {DOWNLOAD_TIMEOUT_SECONDS}


class Download:
    """A download that stops in its middle until another process, here a thread, has begun to wait for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.half, self.waited_for = 0, threading.Event(), threading.Event()
        acquire = FileLock.acquire

        def noted(lock: FileLock, *given: Any, **options: Any) -> Any:
            if self.half.is_set():
                self.waited_for.set()
            return acquire(lock, *given, **options)

        monkeypatch.setattr(FileLock, "acquire", noted)

    def stop_halfway(self) -> None:
        self.begun += 1
        self.half.set()
        assert self.waited_for.wait(60)

    def read_meanwhile(self, dataset: str, data_dir: Path) -> list[RawImages]:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(load_raw, dataset, str(data_dir))
            assert self.half.wait(60)
            return [load_raw(dataset, str(data_dir)), first.result()]


def test_idx_files_are_downloaded_once_and_nobody_reads_half_of_one(
    idx_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = Download(monkeypatch)

    def mnist(root: str, download: bool) -> None:
        folder = Path(root) / "MNIST" / "raw"
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(idx_files.iterdir(), key=lambda file: file.name == TEST_LABELS):
            content = file.read_bytes()
            with (folder / file.name).open("wb") as copy:
                copy.write(content[:1000])
                copy.flush()
                if file.name == TEST_LABELS:  # the last: nothing is missing any more
                    state.stop_halfway()
                copy.write(content[1000:])

    monkeypatch.setattr("torchvision.datasets.MNIST", mnist)
    killed = tmp_path / "MNIST" / "raw" / ".downloading" / "MNIST" / "raw"
    killed.mkdir(parents=True)
    (killed / TRAIN_IMAGES).write_bytes(b"half")
    one, other = state.read_meanwhile("mnist", tmp_path)
    assert one.digest() == other.digest() and state.begun == 1
    files = {path.name for path in (tmp_path / "MNIST" / "raw").iterdir()}
    assert files == set(IDX_NAMES)


def test_cifar10_is_downloaded_once_and_nobody_reads_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = Download(monkeypatch)

    def fetch(url: str, download_root: str, extract_root: str, **_: Any) -> None:
        folder = Path(extract_root) / "cifar-10-batches-py"
        folder.mkdir()
        state.stop_halfway()
        np.save(folder / "labels.npy", cycling(20))

    class Cifar10:
        url, filename, tgz_md5 = "http://127.0.0.1:9", "cifar.tar.gz", "0"

        def __init__(self, root: str, train: bool) -> None:  # noqa: ARG002
            self.targets = np.load(Path(root) / "cifar-10-batches-py" / "labels.npy").tolist()
            self.data = np.zeros((20, 32, 32, 3), np.uint8)

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Cifar10)
    monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", fetch)
    for raw in state.read_meanwhile("cifar10", tmp_path):
        assert np.array_equal(raw.train_labels, cycling(20))
    assert state.begun == 1 and not (tmp_path / ".downloading").exists()


def test_a_folder_that_was_only_mistyped_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise RuntimeError("the server is away")

    monkeypatch.setattr("torchvision.datasets.MNIST", away)
    with pytest.raises(DataError, match="could not be downloaded"):
        load_raw("mnist", tmp_path / "dtaa" / "deep")
    assert not list(tmp_path.iterdir())


def test_two_that_fail_at_once_both_say_why_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, data_dir = Download(monkeypatch), tmp_path / "data"

    def away(*_: Any, **__: Any) -> NoReturn:
        state.stop_halfway()
        raise RuntimeError("the server is away")

    monkeypatch.setattr("torchvision.datasets.MNIST", away)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(load_raw, "mnist", data_dir)
        assert state.half.wait(60)
        with pytest.raises(DataError, match="the server is away"):
            load_raw("mnist", data_dir)
        with pytest.raises(DataError, match="the server is away"):
            first.result()
    assert state.begun == 2 and not list(tmp_path.iterdir())


def test_a_user_without_a_name_gets_the_same_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> NoReturn:
        raise RuntimeError("the server is away")

    def nobody(_: int) -> NoReturn:
        raise KeyError("uid not found")

    monkeypatch.setattr("torchvision.datasets.MNIST", away)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DataError, match="the server is away"):
        load_raw("mnist", tmp_path)
