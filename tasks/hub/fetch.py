"""Downloads into the Hub's cache: resumed where they broke off, checked, reported in bytes.

The Hub's own client, since 2.0, throws away what it has of a file when it is stopped. Here a file is resumed where it
was: its beginning stays in the cache as `<blob>.incomplete`, which `hf cache prune` removes too.
"""

import hashlib
import shutil
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import IO, Any

from tasks.base import ModelFolderError
from tasks.hub.failures import hub_error, quiet_client
from tasks.hub.repository import DownloadPlan, RemoteFile, in_bytes, repository_folder
from tasks.texts import format_duration

TIMEOUT_S = 20.0  # without a single byte
TRIES = 5  # in a row that bring nothing
WINDOW_S = 10.0  # over which the speed is measured
PARTIAL = ".incomplete"
MEGABYTE = 1e6


@dataclass(frozen=True)
class DownloadProgress:
    """How far a download is.

    Attributes:
        done: bytes that are here, also from before.
        rate: bytes a second, over the last seconds; 0 if nothing came.
    """

    done: int
    total: int
    rate: float

    def line(self) -> str:
        """As text, such as `downloaded 45.1 of 93.2 MB (48 %), 12.0 MB/s, 4 s left`."""
        share = self.done / self.total if self.total else 1.0
        parts = [f"downloaded {self.done / MEGABYTE:,.1f} of {self.total / MEGABYTE:,.1f} MB ({share:.0%})"]
        if self.rate > 0 and self.done < self.total:
            parts += [
                f"{self.rate / MEGABYTE:,.1f} MB/s",
                f"{format_duration((self.total - self.done) / self.rate)} left",
            ]
        return ", ".join(parts)


@dataclass
class _Meter:
    """Counts the bytes of a download and reports them."""

    total: int
    report: Callable[[DownloadProgress], None] | None
    files: int = 0  # bytes of the files before the current one
    past: deque[tuple[float, int]] = field(default_factory=deque)

    def at(self, place: int) -> None:
        """Note that `place` bytes of the current file have arrived."""
        done, now = self.files + place, time.monotonic()
        self.past.append((now, done))
        while now - self.past[0][0] > WINDOW_S:
            self.past.popleft()
        if self.report:
            began, before = self.past[0]
            rate = (done - before) / (now - began) if now > began else 0.0
            self.report(DownloadProgress(done, self.total, rate))

    def passed(self, size: int) -> None:
        """A file is here; it came just now, or was here before."""
        self.files += size
        self.past.clear()
        self.at(0)


def fetch(
    plan: DownloadPlan, report: Callable[[DownloadProgress], None] | None = None, token: str | None = None
) -> Path:
    """The folder of a model in the Hub's cache, with the planned files in it; what is missing is downloaded.

    Args:
        report: told how far it is, after every piece.
        token: of the Hub; None: that of HF_TOKEN or `hf auth login`.

    Raises ModelFolderError, in one line. What has come of a file is kept, also when it is stopped (KeyboardInterrupt).
    """
    from huggingface_hub import snapshot_download
    from tqdm.auto import tqdm

    class Silent(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})

    check_disk(plan)
    meter = _Meter(plan.bytes, report)
    blobs = repository_folder(plan.source.hub_id) / "blobs"
    try:
        with quiet_client():
            blobs.mkdir(parents=True, exist_ok=True)
            for file in plan.files:
                if file.sha256 and not (blobs / file.blob).exists():
                    _fetch_file(plan, file, blobs / file.blob, meter, token)
                meter.passed(file.size)
            plan.remember_revision()
            # The small files, and the folder that links to them all.
            place = snapshot_download(
                plan.source.hub_id,
                revision=plan.source.revision,
                allow_patterns=[escape(file.path) for file in plan.files],
                token=token,
                tqdm_class=Silent,
            )
    except Exception as error:  # the Hub's client passes on errors of several libraries
        raise hub_error(error, plan.source.hub_id, plan.revision) from error
    return Path(place)


def check_disk(plan: DownloadPlan) -> None:
    """Refuse a download that the disk has no room for. Raises ModelFolderError."""
    folder = repository_folder(plan.source.hub_id)
    missing = sum(file.size - _present(folder / "blobs" / file.blob) for file in plan.files)
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if missing > free:
        raise ModelFolderError(
            f"{plan.source.hub_id} needs {in_bytes(missing)} of disk, more than the {in_bytes(free)} that are free in "
            f"{folder.parent}"
        )


def _present(blob: Path) -> int:
    """The bytes of a file that are here already."""
    places = [place for place in (blob, partial(blob)) if place.exists()]
    return places[0].stat().st_size if places else 0


def partial(blob: Path) -> Path:
    """Where the beginning of a file is kept."""
    return blob.with_name(blob.name + PARTIAL)


def discard(hub_id: str) -> int:
    """Remove what unfinished downloads of a model have left in the cache; how many bytes that were."""
    found = list((repository_folder(hub_id) / "blobs").glob(f"*{PARTIAL}"))
    size = sum(path.stat().st_size for path in found)
    for path in found:
        path.unlink(missing_ok=True)
    return size


def left_over(hub_id: str) -> int:
    """The bytes of a model that unfinished downloads have left in the cache."""
    return sum(path.stat().st_size for path in (repository_folder(hub_id) / "blobs").glob(f"*{PARTIAL}"))


def _fetch_file(plan: DownloadPlan, file: RemoteFile, blob: Path, meter: _Meter, token: str | None) -> None:
    """Download a file of LFS, or the rest of it, and check it."""
    from huggingface_hub.utils import WeakFileLock

    lock = blob.parents[2] / ".locks" / blob.parents[1].name / f"{blob.name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):  # the client's own: another download of this file waits, or is waited for
        if blob.exists():
            return
        with partial(blob).open("ab") as out:
            _fetch_bytes(plan, file, out, meter, token)
        with partial(blob).open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if found != file.sha256:
            partial(blob).unlink()
            raise ModelFolderError(
                f"{file.path} of {plan.source.hub_id} arrived damaged: its sha256 is {found[:12]}..., not "
                f"{file.sha256[:12]}...; it was removed, try again"
            )
        partial(blob).replace(blob)


def _fetch_bytes(plan: DownloadPlan, file: RemoteFile, out: IO[bytes], meter: _Meter, token: str | None) -> None:
    """Append to a file what it lacks; a connection that breaks off is made again."""
    import httpx2
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(plan.source.hub_id, file.path, revision=plan.source.revision)
    headers = {**build_hf_headers(token=token), "Accept-Encoding": "identity"}
    fruitless = 0
    if out.tell() > file.size:
        out.truncate(0)
    while (begin := out.tell()) < file.size:
        meter.at(begin)
        failure: Exception | None = None
        try:
            _append(url, headers, out, meter)
        except httpx2.TransportError as error:
            failure = error
        fruitless = 0 if out.tell() > begin else fruitless + 1
        if fruitless == TRIES:
            raise failure or ModelFolderError(f"{file.path} of {plan.source.hub_id} does not come: its answer is empty")
        time.sleep(fruitless)
    if out.tell() != file.size:
        out.truncate(0)
        raise ModelFolderError(f"{file.path} of {plan.source.hub_id} is longer than the Hub said; try again")


def _append(url: str, headers: dict[str, Any], out: IO[bytes], meter: _Meter) -> None:
    from huggingface_hub.utils import hf_raise_for_status
    from huggingface_hub.utils._http import http_stream_backoff

    ranged = {**headers, "Range": f"bytes={out.tell()}-"} if out.tell() else headers
    with http_stream_backoff("GET", url, headers=ranged, timeout=TIMEOUT_S, retry_on_exceptions=()) as response:
        hf_raise_for_status(response)
        if out.tell() and response.status_code == 200:  # it sends all of it anew
            out.truncate(0)
            out.seek(0)
        for piece in response.iter_bytes():  # as they come: a size would lose what had come when it breaks off
            out.write(piece)
            meter.at(out.tell())
