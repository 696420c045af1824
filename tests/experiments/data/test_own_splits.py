"""Own pictures split into parts, mapped from their file, and reported on."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.cnn.augmentation import Augmentation, Normalize, TrainingBatches, evaluation_batches
from experiments.cnn.data_page import write_data_report
from experiments.data import images
from experiments.data.images import ImageData, load_images
from experiments.data.report import examine
from experiments.data.splits import split_own
from tests.support.own_pictures import files, in_folder


@pytest.mark.parametrize("sizes", [(3, 3, 3), (3, 4, 200), (11, 12, 13), (1000, 3, 40)])
def test_every_part_has_one_of_each_class(sizes: tuple[int, ...]) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    parts = np.full(len(labels), "")
    train, val, test = split_own(parts, labels, tuple("abc"), None, 0, "x")
    for part in (train, val, test):
        assert set(labels[part]) == {0, 1, 2}
    assert sorted(np.concatenate([train, val, test])) == list(range(len(labels)))
    if min(sizes) > 10:
        assert len(test) == round(0.2 * len(labels)) and len(val) == round(0.1 * len(labels))
    assert not np.array_equal(split_own(parts, labels, tuple("abc"), None, 1, "x")[0], train)
    assert np.array_equal(split_own(parts, labels, tuple("abc"), None, 0, "x")[0], train)


def test_mapped_images_give_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = in_folder(tmp_path / "pets", files(30))

    def batches(data: ImageData) -> list[torch.Tensor]:
        normalize = Normalize(data.mean, data.std, "cpu")
        training = TrainingBatches(data.train, normalize, Augmentation(3, True, 8), 16, seed=0)
        return [batch.images for batch in [*training.epoch(1), *evaluation_batches(data.test, normalize, 5)]]

    held = load_images(root, str(tmp_path / "data"), image_size=64)
    monkeypatch.setattr(images, "MAPPED_BYTES", 0)
    mapped = load_images(root, str(tmp_path / "data"), image_size=64)
    assert held.train.rows is None and mapped.train.rows is not None
    assert mapped.train.images.data_ptr() == mapped.test.images.data_ptr()  # one mapping, no copies
    pairs = list(zip(batches(held), batches(mapped), strict=True))
    assert all(torch.equal(*pair) for pair in pairs) and len(pairs) > 3
    assert all(one.is_contiguous(memory_format=torch.channels_last) for pair in pairs for one in pair)
    assert (held.mean, held.std, held.split_sha256) == (mapped.mean, mapped.std, mapped.split_sha256)


def test_the_report_names_what_is_suspicious(tmp_path: Path) -> None:
    twice = files(60, ("cat",)) | files(5, ("dog",))
    twice["dog/same.png"] = twice["cat/0.png"]  # under two labels
    for number in range(20, 40):
        twice[f"cat/{number}.png"] = twice["cat/1.png"]  # 21 times: some of them in other parts
    root = in_folder(tmp_path / "pets", twice)
    (tmp_path / "pets/dog" / os.fsdecode(b"\xff.png")).write_bytes(twice["cat/0.png"])  # a name that is no Unicode
    report, sample = examine(root, str(tmp_path / "data"), 32)
    text = "\n".join(report.warnings)
    assert "under several labels, 1 time: 'cat/0.png' (cat" in text and "= 'dog/same.png' (dog" in text
    assert "in several parts of the split, 1 time, which makes results look too good: 'cat/1.png'" in text
    assert "fewer than 10 pictures: 'dog' has 7" in text and "unbalanced: 'cat' has 60 pictures, 'dog' has 7" in text
    assert {label: sum(parts.values()) for label, parts in report.counts.items()} == {"cat": 60, "dog": 7}
    assert report.sizes["median"] == (40, 30) and len(report.as_json()["duplicates"]) == 2
    assert [label for label, _ in sample] == ["cat"] * 3 + ["dog"] * 3 and sample[0][1].shape == (32, 32, 3)
    mistakes = pd.DataFrame({"file": ["dog/5.png"], "true": ["dog"], "predicted": ["cat"]})
    write_data_report(tmp_path, report, load_images(root, str(tmp_path / "data")).train, mistakes)
    page = (tmp_path / "reports/data_report.html").read_text(encoding="utf-8")
    assert "dog/?.png" in page and "dog/5.png" in page
