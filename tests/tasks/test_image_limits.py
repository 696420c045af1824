"""Pictures that cost a lot: refused from their headers, or given up as soon as their caller is."""

import asyncio
import base64
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

import models
from tasks.base import TaskInputError, TaskStopped
from tasks.image_classification import ClassifierConfig, ImageClassification
from tasks.image_generation import ImageGeneration
from tasks.images import MAX_REQUEST_PIXELS, decode_image, to_image_size
from tasks.pixel_rows import MAX_SIDE
from tasks.runtime.rows import RequestTask, work
from tasks.serve.settings import Settings
from tasks.trained import save_network
from tests.support.gateway import Client, Registry, running, until, version
from tests.support.pictures import encoded, png
from tests.support.words import PATIENCE, Countdown

SMALL = base64.b64encode(encoded(Image.new("L", (8, 8), 90))).decode()
NAMES = ("image-classification", "image-generation")


def flat(width: int, height: int, **options: Any) -> bytes:
    """A gray PNG of one value: a thousand times smaller than its pixels."""
    return png(width, height, body=(b"\0" + bytes(width)) * height, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = ClassifierConfig("lenet5", "small", 1, tuple("0123456789"), (0.5,), (0.5,))
    path = tmp_path_factory.mktemp("classifier") / "model"
    torch.manual_seed(0)
    save_network(path, models.build("lenet5", 10, in_channels=1), config)
    return path


@pytest.fixture
def classifier(folder: Path) -> ImageClassification:
    task = ImageClassification(folder, "tiny", "cpu")
    task.load()
    return task


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes of all pictures whose pixels Pillow has begun to decode."""
    sizes: list[tuple[int, int]] = []
    usual = ImageFile.ImageFile.load_prepare

    def noted(picture: ImageFile.ImageFile) -> None:
        sizes.append(picture.size)
        usual(picture)

    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", noted)
    return sizes


@pytest.mark.parametrize(("width", "height"), [(25_000_000, 1), (1, 25_000_000), (MAX_SIDE + 1, 1), (1, MAX_SIDE + 1)])
def test_a_side_that_is_too_long_is_refused_undecoded(width: int, height: int, decoded: list[Any]) -> None:
    valid = f"^image is {width} x {height} pixels; valid: at most 25 megapixels, and {MAX_SIDE} a side"
    for value in (png(width, height), base64.b64encode(png(width, height)).decode()):
        with pytest.raises(TaskInputError, match=valid):
            decode_image(value, 1)
    assert decoded == []


def test_pixel_rows_have_the_same_longest_side() -> None:
    for rows in ([[0] * (MAX_SIDE + 1)], [[0]] * (MAX_SIDE + 1), np.zeros((1, MAX_SIDE + 1)), [[1], [0] * 10**6]):
        with pytest.raises(TaskInputError, match=f"pixels; valid: at most 25 megapixels, and {MAX_SIDE} a side"):
            decode_image(rows, 1)
    assert decode_image([[7] * MAX_SIDE], 1).shape == (1, 1, MAX_SIDE)


def test_the_longest_side_becomes_small_without_much_memory() -> None:
    for size in ((1, MAX_SIDE), (MAX_SIDE, 1)):
        assert to_image_size(torch.full((1, 3, *size), 9, dtype=torch.uint8)).eq(9).all()


@pytest.mark.parametrize("task", NAMES)
def test_the_pixels_of_all_pictures_of_a_request_are_bounded(
    task: str, classifier: ImageClassification, decoded: list[Any]
) -> None:
    asked = classifier if task == "image-classification" else ImageGeneration(Path(), "none")
    many = base64.b64encode(png(5000, 5000)).decode()
    rows = [{"image": many, "prompt": "a cat"}] * (MAX_REQUEST_PIXELS // 25_000_000) + [{"image": SMALL, "prompt": "b"}]
    with pytest.raises(TaskInputError, match=r"^the images have more than 100 megapixels together; valid: at most 100"):
        asked.run(rows)
    with pytest.raises(TaskInputError, match="100 megapixels together"):
        list(RequestTask(asked).stream(work(rows, many=True)))
    assert decoded == []


def test_pixel_rows_count_too(classifier: ImageClassification, decoded: list[Any]) -> None:
    quarter = np.zeros((5000, 5000), np.uint8)
    with pytest.raises(TaskInputError, match="100 megapixels together"):
        classifier.run([{"image": quarter}] * 4 + [{"image": [[1]]}])


def test_many_small_pictures_are_one_request(classifier: ImageClassification) -> None:
    assert len(classifier.run([{"image": SMALL}] * 500)) == 500


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_is_given_up_in_the_middle_of_its_pixels(kind: str, decoded: list[Any]) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (600, 600), dtype=np.uint8))
    content = encoded(noise, kind)
    whole = Countdown(10**9)
    assert decode_image(content, 1, whole).shape == (1, 600, 600)
    looks = 10**9 - whole.left
    assert looks > 50
    given_up = Countdown(looks - 20)
    with pytest.raises(TaskStopped):
        decode_image(content, 1, given_up)
    assert given_up.late == 0 and len(decoded) == 2


def test_a_picture_that_is_packed_tightly_is_given_up_too() -> None:
    content = flat(4999, 4999)
    assert len(content) < 30_000
    whole = Countdown(10**9)
    decode_image(content, 1, whole)
    assert 10**9 - whole.left > 20  # a look for each megapixel or so


JUNK = {
    "PNG": flat(8, 8)[:33] + (b"\0\0\0\0abCd" + zlib.crc32(b"abCd").to_bytes(4, "big")) * 50_000 + flat(8, 8)[33:],
    "JPEG": b"\xff\xd8" + b"\xff\xfe\0\2" * 50_000 + encoded(Image.new("L", (8, 8)), "JPEG")[2:],
}


@pytest.mark.parametrize("kind", JUNK)
def test_a_header_without_end_is_given_up(kind: str, classifier: ImageClassification, decoded: list[Any]) -> None:
    cancel = Countdown(200)
    with pytest.raises(TaskStopped):
        classifier.run([{"image": JUNK[kind]}], cancel=cancel)
    assert cancel.late == 0 and decoded == []


def test_pixel_rows_are_given_up_in_the_middle() -> None:
    rows = [[0] * 1000] * 1000
    whole = Countdown(10**9)
    decode_image(rows, 1, whole)
    with pytest.raises(TaskStopped):
        decode_image(rows, 1, Countdown(10**9 - whole.left - 2))
    assert 10**9 - whole.left > 10


@pytest.mark.parametrize("rows", [[[[0] * 10**6]], [[[[0] * 10**6]]]], ids=["pixel", "deeper"])
def test_a_pixel_without_end_is_not_read(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.pixel_rows.np.asarray", None)
    with pytest.raises(TaskInputError, match="image has pixels of more than 3 numbers; valid:"):
        decode_image(rows, 3)


@pytest.mark.parametrize("spaces", ["", " ", "\n", " \t\r\n"])
def test_white_space_in_base64_costs_no_memory(spaces: str) -> None:
    import tracemalloc

    text = spaces.join(base64.b64encode(flat(900, 900) + bytes(10**6)).decode())
    tracemalloc.start()
    try:
        assert decode_image(text, 1).shape == (1, 900, 900)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(text) + 20 * 900 * 900
    finally:
        tracemalloc.stop()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Closed: the classifier then waits in front of each picture; `gate.tried` counts them."""
    import tasks.image_classification as module

    gate, usual = threading.Event(), module.decode_image
    gate.tried = 0  # type: ignore[attr-defined]

    def waits(*given: Any) -> torch.Tensor:
        gate.tried += 1  # type: ignore[attr-defined]
        assert gate.wait(PATIENCE)
        return usual(*given)

    monkeypatch.setattr(module, "decode_image", waits)
    yield gate
    gate.set()


async def _asked_and_decoding(made: Any, gate: Any, rows: int) -> tuple[Client, "asyncio.Task[Client]"]:
    client = Client(made.app, "/tasks/image-classification", {"inputs": [{"image": SMALL}] * rows})
    asking = asyncio.create_task(client.ask())
    await until(lambda: gate.tried > 0)
    return client, asking


def _loads(task: ImageClassification) -> dict[str, Any]:
    found = Registry([version("pictures", "image-classification")])
    return {"loads": lambda _key: RequestTask(task), "found": found}


def _run(test: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(test(), PATIENCE))


def test_after_a_client_has_left_none_of_its_pictures_is_decoded(classifier: ImageClassification, gate: Any) -> None:
    async def leave() -> None:
        async with running(**_loads(classifier)) as made:
            client, asking = await _asked_and_decoding(made, gate, 30)
            client.leave.set()
            await asking
            gate.set()
            await until(lambda: not made.gateway.queue.busy)
            assert gate.tried == 1

    _run(leave)


def test_after_the_deadline_no_picture_is_decoded(classifier: ImageClassification, gate: Any) -> None:
    async def wait() -> None:
        async with running(Settings(timeout=0.2), **_loads(classifier)) as made:
            client, asking = await _asked_and_decoding(made, gate, 30)
            await asking
            assert client.status == 504
            gate.set()
            await until(lambda: not made.gateway.queue.busy)
            assert gate.tried == 1

    _run(wait)


def test_pictures_wait_for_the_worker_and_not_for_the_checks(classifier: ImageClassification, gate: Any) -> None:
    async def both() -> None:
        async with running(**_loads(classifier)) as made:
            held = [await _asked_and_decoding(made, gate, 3) for _ in range(4)]
            # More requests than threads that check: one that cannot be answered hears it at once.
            wrong = Client(made.app, "/tasks/image-classification", {"inputs": [{"image": SMALL}], "params": {"x": 1}})
            assert (await wrong.ask()).status == 400
            gate.set()
            for client, asking in held:
                await asking
                assert client.status == 200

    _run(both)


def test_a_request_with_too_many_pixels_is_told_so_by_the_gateway(classifier: ImageClassification) -> None:
    async def ask() -> None:
        async with running(**_loads(classifier)) as made:
            many = base64.b64encode(flat(4999, 4999)).decode()
            client = await Client(made.app, "/tasks/image-classification", {"inputs": [{"image": many}] * 100}).ask()
            assert client.status == 400
            assert client.json()["error"]["message"].startswith("the images have more than 100 megapixels together")

    _run(ask)
