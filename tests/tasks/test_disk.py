"""Files written whole: by several writers at once, and where nothing can be written."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tasks.disk import write_whole


def test_writers_at_once_do_not_meet(tmp_path: Path) -> None:
    target, texts = tmp_path / "refs" / "main", [str(number) * 5_000 for number in range(4)]
    start = Barrier(len(texts))

    def write(text: str) -> None:
        start.wait(30)
        for _ in range(50):
            write_whole(target, text.encode())

    with ThreadPoolExecutor(len(texts)) as threads:
        list(threads.map(write, texts))
    assert target.read_text() in texts and list(target.parent.iterdir()) == [target]


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    (target / "inside").mkdir(parents=True)
    with pytest.raises(OSError):
        write_whole(target, b"a file in place of a folder")
    assert list(tmp_path.iterdir()) == [target]
