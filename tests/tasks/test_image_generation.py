"""Pictures from a tiny Stable Diffusion: the plain pipeline's own, watched, stopped, with their recipe, or refused."""

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from diffusers import DiffusionPipeline, StableDiffusionImg2ImgPipeline, StableDiffusionPipeline

from tasks.base import TaskStopped
from tasks.engines.diffusion import Pipelines, draw
from tasks.image_generation import ImageGeneration
from tasks.picture_recipe import read_recipe
from tasks.runtime.jobs import JobCancelled
from tasks.runtime.worker import Worker
from tests.support.pictures import png
from tests.support.tiny_diffusion import (
    PROMPT,
    encoded,
    make,
    opened,
    photo,
    pixels,
    save,
    tiny_stable_diffusion,
    tiny_stable_diffusion_xl,
)


@pytest.fixture(scope="module")
def task(tiny_sd: Path) -> ImageGeneration:
    return opened(tiny_sd)


def plain(cls: type[DiffusionPipeline], folder: Path) -> Any:
    pipeline: Any = cls.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize(
    "parameters",
    [{}, {"width": 64, "height": 96}, {"negative_prompt": "blue", "guidance": 4}, {"guidance": 0}, {"steps": 5}],
    ids=str,
)
def test_pictures_are_the_plain_pipelines_own(task: ImageGeneration, tiny_sd: Path, parameters: dict[str, Any]) -> None:
    given = {
        "steps": 2,
        "seed": 7,
        "width": None,
        "height": None,
        "negative_prompt": None,
        "guidance": 7.5,
        **parameters,
    }
    expected = plain(StableDiffusionPipeline, tiny_sd)(
        PROMPT,
        num_inference_steps=given["steps"],
        guidance_scale=given["guidance"],
        negative_prompt=given["negative_prompt"],
        width=given["width"],
        height=given["height"],
        generator=torch.Generator().manual_seed(7),
    ).images[0]
    row = make(task, **{"seed": 7, **parameters})
    assert np.array_equal(pixels(row), np.asarray(expected))
    assert (row["width"], row["height"]) == expected.size
    assert (row["steps"], row["seed"], row["model"], row["finish_reason"]) == (given["steps"], 7, "tiny-sd", "stop")
    assert row["seconds"] > 0


def test_pictures_from_a_picture_are_the_plain_pipelines_own(task: ImageGeneration, tiny_sd: Path) -> None:
    start = photo(96, 64)
    expected = plain(StableDiffusionImg2ImgPipeline, tiny_sd)(
        PROMPT, start, strength=0.5, num_inference_steps=4, generator=torch.Generator().manual_seed(3)
    ).images[0]
    row = make(task, image=encoded(start), width=96, height=64, strength=0.5, steps=4, seed=3)
    assert np.array_equal(pixels(row), np.asarray(expected))


@pytest.mark.parametrize("kind", ["ddim", "xl"])
def test_other_schedulers_and_stable_diffusion_xl_are_drawn_too(kind: str, tmp_path: Path) -> None:
    pipeline: Any = tiny_stable_diffusion_xl() if kind == "xl" else tiny_stable_diffusion("ddim")
    save(pipeline, tmp_path / "model")
    task = opened(tmp_path / "model")
    again = plain(DiffusionPipeline, tmp_path / "model")
    guidance = 5.0 if kind == "xl" else 7.5
    assert task.suggested == {"steps": 25, "guidance": guidance, "width": 64, "height": 64}
    expected = again(PROMPT, num_inference_steps=2, guidance_scale=guidance, generator=torch.Generator().manual_seed(1))
    assert np.array_equal(pixels(make(task)), np.asarray(expected.images[0]))
    from_image = make(task, image=encoded(photo(64, 64)))
    assert not np.array_equal(pixels(from_image), pixels(make(task)))


def test_a_seed_makes_the_picture_and_one_is_drawn_and_told_if_none_is_given(task: ImageGeneration) -> None:
    rows = [make(task, seed=None) for _ in range(3)]
    assert len({row["seed"] for row in rows}) > 1
    assert len({row["image"] for row in rows}) > 1
    for row in rows:
        assert np.array_equal(pixels(make(task, seed=row["seed"])), pixels(row))
    assert not np.array_equal(pixels(make(task, seed=1)), pixels(make(task, seed=2)))


def test_rows_of_one_call_are_the_same_as_alone(task: ImageGeneration) -> None:
    together = task.run([{"prompt": "one"}, {"prompt": "two"}], {"steps": 2, "seed": 1})
    assert [row["image"] for row in together] == [make(task, prompt)["image"] for prompt in ("one", "two")]


def test_pictures_asked_for_at_once_are_the_same_as_one_after_the_other(task: ImageGeneration) -> None:
    def drawn(seed: int) -> np.ndarray:
        return pixels(make(task, seed=seed, steps=1 + seed)).astype(int)

    alone = [drawn(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(drawn, range(4)))
    for one, other in zip(alone, together, strict=True):
        # A thread may compute with another number of threads than this one, and round differently.
        assert abs(one - other).max() <= 1
    assert abs(alone[0] - alone[1]).max() > 1


def test_counting_the_tokens_of_one_prompt_leaves_another_as_it_is_read(
    task: ImageGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tokenizer keeps its padding from one call to the next: a count in between changed the other picture."""
    alone = make(task, seed=1)["image"]
    padded, counted = threading.Event(), threading.Event()
    tokenizer = type(task.pipelines.from_text.tokenizer)
    prepare, count = tokenizer.set_truncation_and_padding, Pipelines.prompt_window

    def prepared(self: Any, padding_strategy: Any, *args: Any, **options: Any) -> None:
        prepare(self, padding_strategy, *args, **options)
        if padding_strategy == "max_length" and not padded.is_set():
            padded.set()
            counted.wait(0.5)  # not longer: it never comes where the count waits for the picture

    def counts(self: Pipelines, prompt: str) -> tuple[int, str]:
        found = count(self, prompt)
        if padded.is_set():
            counted.set()
        return found

    monkeypatch.setattr(tokenizer, "set_truncation_and_padding", prepared)
    monkeypatch.setattr(Pipelines, "prompt_window", counts)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(make, task, seed=1)
        assert padded.wait(60)
        second = threads.submit(make, task, seed=2)
        assert first.result()["image"] == alone and second.result()["finish_reason"] == "stop"


def test_each_step_is_told_and_the_picture_is_the_same(task: ImageGeneration) -> None:
    *steps, row = task.stream({"prompt": PROMPT}, {"steps": 4, "seed": 1})
    assert steps == [{"step": step, "steps": 4} for step in (1, 2, 3, 4)]
    assert row["image"] == make(task, steps=4)["image"]
    # From a picture only a share of the steps is taken.
    *steps, _ = task.stream({"prompt": PROMPT, "image": encoded(photo(64, 64))}, {"steps": 8, "strength": 0.5})
    assert steps == [{"step": step, "steps": 4} for step in (1, 2, 3, 4)]


def test_the_first_step_is_told_before_the_second_is_done(task: ImageGeneration) -> None:
    done: list[int] = []
    handle = task.pipelines.from_text.unet.register_forward_hook(lambda *_: done.append(1))
    try:
        stream = task.stream({"prompt": PROMPT}, {"steps": 100})
        next(iter(stream))
        assert len(done) < 100
    finally:
        stream.close()  # type: ignore[attr-defined]
        handle.remove()


@pytest.mark.parametrize(("steps", "part"), [(0, "unet"), (1, "unet"), (3, "unet"), (3, "decoder")])
def test_cancelling_stops_in_mid_step_or_decoding_and_leaves_the_model_usable(
    task: ImageGeneration, steps: int, part: str
) -> None:
    expected = make(task, steps=3)["image"]
    networks = task.pipelines.from_text
    network = {"unet": networks.unet, "decoder": networks.vae.decoder}[part]
    begun: list[int] = []
    done: list[int] = []
    asked = [
        network.register_forward_pre_hook(lambda *_: begun.append(1)),
        network.register_forward_hook(lambda *_: done.append(1)),
    ]
    enough = steps + 1 if part == "unet" else 1
    try:
        *told, row = task.stream(
            {"prompt": PROMPT}, {"steps": 3 + (part == "unet"), "seed": 4}, lambda: len(begun) >= enough
        )
    finally:
        for handle in asked:
            handle.remove()
    assert [step["step"] for step in told] == list(range(1, steps + 1))
    assert (row["image"], row["finish_reason"], row["seed"]) == (None, "cancelled", 4)
    assert (len(begun), len(done)) == (enough, enough - 1)  # stopped within, not after
    assert make(task, steps=3)["image"] == expected


def test_a_decoder_that_is_stopped_in_float32_goes_back_to_half_precision() -> None:
    pipeline = tiny_stable_diffusion_xl().to(torch.float16)
    assert pipeline.vae.config.force_upcast
    arguments = {"prompt": PROMPT, "num_inference_steps": 2, "width": 32, "height": 32}
    steps: list[int] = []
    with pytest.raises(TaskStopped):
        draw(pipeline, arguments, 0, lambda step, _: steps.append(step), lambda: len(steps) == 2)
    picture, _ = draw(pipeline, arguments, 0, lambda *_: None, lambda: False)
    assert picture.size == (32, 32)


def test_a_drawing_cancelled_before_it_begins_computes_nothing(task: ImageGeneration) -> None:
    begun: list[int] = []
    handle = task.pipelines.from_text.unet.register_forward_pre_hook(lambda *_: begun.append(1))
    try:
        row = list(task.stream({"prompt": PROMPT}, {"steps": 3}, lambda: True))[-1]
    finally:
        handle.remove()
    assert row["finish_reason"] == "cancelled" and not begun


def test_a_reader_that_goes_away_ends_the_drawing(task: ImageGeneration) -> None:
    expected = make(task)["image"]
    before = threading.active_count()
    stream = task.stream({"prompt": PROMPT}, {"steps": 150})
    assert next(iter(stream)) == {"step": 1, "steps": 150}
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert make(task)["image"] == expected


def test_the_recipe_in_the_png_makes_the_picture_again(task: ImageGeneration) -> None:
    start = encoded(photo(80, 64))
    for image in (None, start):
        row = make(task, "näive 猫 \U0001f600", image, seed=None, negative_prompt="grün", guidance=3, steps=3)
        recipe = read_recipe(base64.b64decode(row["image"]))
        assert (recipe["prompt"], recipe["negative_prompt"]) == ("näive 猫 \U0001f600", "grün")
        assert (recipe["model"], recipe["revision"], recipe["scheduler"]) == ("tiny-sd", None, "EulerDiscreteScheduler")
        assert (recipe["image_sha256"] is None) == (image is None)
        assert recipe["strength"] == (None if image is None else 0.8)
        parameters = {name: recipe[name] for name in task.parameters.model_fields}
        [again] = task.run([{"prompt": recipe["prompt"], "image": image}], parameters)
        assert again["image"] == row["image"]


@pytest.mark.parametrize(
    "content",
    [b"", b"no picture", base64.b64decode(encoded(photo(8, 8))), png(50_000, 50_000), png(12_000, 12_000)],
    ids=["empty", "text", "no recipe", "huge", "large"],
)
def test_a_file_without_a_recipe_says_so(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a PNG with a recipe"):
        read_recipe(content)


@pytest.mark.parametrize("flags", [True, False])
def test_a_safety_checker_is_kept_and_its_finding_told(flags: bool, tmp_path: Path, task: ImageGeneration) -> None:
    checked = opened(save(tiny_stable_diffusion(flags=flags), tmp_path / "model"))
    for image in (None, encoded(photo(64, 64))):
        row = make(checked, image=image)
        assert row["flagged"] is flags
        assert bool(pixels(row).max() == 0) is flags
    assert "flagged" not in make(task)


def test_the_memory_of_a_model_is_that_of_its_tensors(tiny_sd: Path, task: ImageGeneration) -> None:
    files = [safetensors.torch.load_file(path) for path in tiny_sd.rglob("*.safetensors")]
    weights = sum(tensor.nbytes for tensors in files for tensor in tensors.values())
    assert weights <= task.memory_bytes() < weights * 1.01  # and some buffers
    assert ImageGeneration(tiny_sd, "tiny-sd").memory_bytes() == 0


def test_the_worker_draws_and_stops_it_as_any_other_task(tiny_sd: Path, task: ImageGeneration) -> None:
    with Worker(lambda key: opened(Path(key)), 10**9) as worker:
        *steps, row = worker.submit(str(tiny_sd), {"prompt": PROMPT}, {"steps": 2, "seed": 1}).events(60)
        assert (steps, row["image"]) == ([{"step": 1, "steps": 2}, {"step": 2, "steps": 2}], make(task)["image"])
        job = worker.submit(str(tiny_sd), {"prompt": PROMPT}, {"steps": 150})
        next(job.events(60))
        job.cancel()
        with pytest.raises(JobCancelled):
            job.result(60)
        assert worker.statistics().bytes == task.memory_bytes()
