"""Diffusion pipelines from folders: loaded whole or not at all, with nothing run from them; stopped in mid-step."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from tasks.base import ModelFolderError, first_line, stop_if
from tasks.engines.loading import load_model
from tasks.hub.checks import check_config
from tasks.json_files import read_json

INDEX = "model_index.json"
# Denoising steps and guidance where the model says nothing, by the class of its pipeline.
PIPELINES = {"StableDiffusionPipeline": (25, 7.5), "StableDiffusionXLPipeline": (25, 5.0)}
# The parts that a pipeline may have, with their classes. Any scheduler of diffusers is taken besides.
PARTS = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "tokenizer_2": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "safety_checker": ("StableDiffusionSafetyChecker",),
    "feature_extractor": ("CLIPImageProcessor", "CLIPFeatureExtractor"),
    "image_encoder": ("CLIPVisionModelWithProjection",),
}
LIBRARIES = ("diffusers", "transformers", "stable_diffusion")  # the last is a folder of diffusers
# Models distilled to draw in a few steps without guidance (Turbo, Lightning) say so by how their scheduler spaces them.
FEW_STEPS = (2, 0.0)


@dataclass(frozen=True)
class Pipelines:
    """One model's two ways to draw, from a text alone and from a picture too; they share all parts."""

    from_text: Any
    from_image: Any

    @property
    def modules(self) -> list[torch.nn.Module]:
        """The networks of the model."""
        return [part for part in self.from_text.components.values() if isinstance(part, torch.nn.Module)]

    def suggested(self) -> dict[str, Any]:
        """The model's own `steps`, `guidance`, and `width` and `height` in pixels."""
        scheduler = self.from_text.scheduler.config
        few = scheduler.get("timestep_spacing") == "trailing" and scheduler.get("prediction_type") == "epsilon"
        steps, guidance = FEW_STEPS if few else PIPELINES[type(self.from_text).__name__]
        size = self.from_text.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        scale = self.from_text.vae_scale_factor
        return {"steps": steps, "guidance": guidance, "width": width * scale, "height": height * scale}

    def prompt_window(self, prompt: str) -> tuple[int, str]:
        """How many tokens of a prompt the model reads, and the rest of the prompt, which it does not."""
        tokenizer = self.from_text.tokenizer
        encoded = tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        room = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
        offsets = encoded["offset_mapping"]
        return min(len(offsets), room), prompt[offsets[room][0] :] if len(offsets) > room else ""


def draw(
    pipeline: Any,
    arguments: Mapping[str, Any],
    seed: int,
    on_step: Callable[[int, int], None],
    cancel: Callable[[], bool],
) -> tuple[Image.Image, bool | None]:
    """One picture, and whether the safety checker flagged it (None: the model has none).

    Args:
        arguments: of the pipeline.
        seed: of the noise, the same on every device.
        on_step: told the steps done and all steps after each.
        cancel: looked at before each convolution.

    Raises TaskStopped if cancelled. (The pipeline's own `_interrupt` would decode the unfinished picture, which can
    take longer than a step: 17 s for 512 x 512 on two cores.)
    """

    def after_step(running: Any, index: int, _timestep: Any, _tensors: dict[str, Any]) -> dict[str, Any]:
        on_step(index + 1, running.num_timesteps)
        return {}

    stop_if(cancel)
    with _stopped_within((pipeline.unet, pipeline.vae), cancel):
        output = pipeline(
            **arguments,
            generator=torch.Generator("cpu").manual_seed(seed),
            callback_on_step_end=after_step,
            callback_on_step_end_tensor_inputs=[],
        )
    flags = getattr(output, "nsfw_content_detected", None)
    return output.images[0], None if flags is None else bool(flags[0])


@contextmanager
def _stopped_within(networks: Iterable[Any], cancel: Callable[[], bool]) -> Iterator[None]:
    """Have the networks raise TaskStopped at their next convolution once `cancel` says so.

    They keep their precision: Stable Diffusion XL decodes in float32 and, stopped there, would leave its decoder so.
    """

    def look(_module: torch.nn.Module, _inputs: Any) -> None:
        stop_if(cancel)

    with ExitStack() as undone:
        for network in networks:
            undone.callback(network.to, network.dtype)
            for module in network.modules():
                if isinstance(module, torch.nn.Conv2d):
                    undone.enter_context(module.register_forward_pre_hook(look))
        yield


def load_pipelines(folder: Path, device: torch.device, dtype: torch.dtype) -> Pipelines:
    """The model of a folder as `save_pretrained` of diffusers writes it, from safetensors only.

    Raises ModelFolderError, in one line, for a part that is missing, damaged, unknown or without some of its weights.
    """
    from diffusers.pipelines.auto_pipeline import AutoPipelineForImage2Image, AutoPipelineForText2Image
    from diffusers.utils import logging as diffusers_logging

    diffusers_logging.disable_progress_bar()
    diffusers_logging.set_verbosity_error()  # its warnings quote prompts; what they say is in the output row
    index = _read_index(folder)
    # diffusers would make up at random what these files lack, with a warning only.
    parts = {
        name: load_model(folder / name, index[name], device, dtype)
        for name in ("text_encoder", "text_encoder_2", "image_encoder")
        if name in index
    }
    if "safety_checker" in index:
        parts["safety_checker"] = _load_safety_checker(folder / "safety_checker", dtype)
    try:
        from_text = AutoPipelineForText2Image.from_pretrained(
            folder, **parts, dtype=dtype, use_safetensors=True, local_files_only=True
        )
        pipelines = Pipelines(from_text, AutoPipelineForImage2Image.from_pipe(from_text))
    except Exception as error:  # the loaders fail in a dozen ways on files that are not what they say
        raise ModelFolderError(f"{folder} does not hold a model that can be loaded: {first_line(error)}") from error
    _check_whole(folder, from_text)
    for pipeline in (pipelines.from_text, pipelines.from_image):
        pipeline.to(device)
        pipeline.set_progress_bar_config(disable=True)
    return pipelines


def _read_index(folder: Path) -> dict[str, str]:
    """The class of each part that a folder says it has. Raises ModelFolderError for one that is not known."""
    try:
        index = read_json(folder / INDEX)
        if str(index.get("_class_name")) not in PIPELINES:
            raise ValueError(f"its pipeline is {index.get('_class_name')!r}; valid: {', '.join(PIPELINES)}")
        classes = {}
        for name, value in index.items():
            if name.startswith("_") or not isinstance(value, list) or value == [None, None]:
                continue
            library, class_name = value
            known = class_name in PARTS.get(name, ()) or (name == "scheduler" and str(class_name).endswith("Scheduler"))
            if library not in LIBRARIES or not known:
                raise ValueError(f"{name} is {value}, which is not known here and not loaded")
            classes[name] = class_name
    except (OSError, ValueError, AttributeError) as error:
        raise ModelFolderError(f"{folder / INDEX} cannot be used: {first_line(error)}") from error
    for path in folder.glob("*/*config.json"):
        # diffusers takes anything else for the name of a model on the Hub.
        if path.is_file() and not path.read_text(errors="replace").lstrip().startswith("{"):
            raise ModelFolderError(f"{path} does not hold an object")
    return classes


def _load_safety_checker(folder: Path, dtype: torch.dtype) -> Any:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    check_config(folder)
    loader: Any = StableDiffusionSafetyChecker
    try:
        checker, report = loader.from_pretrained(
            str(folder),
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            attn_implementation="eager",  # a configuration could name code elsewhere
        )
    except Exception as error:  # as above
        raise ModelFolderError(f"{folder} does not hold a safety checker: {first_line(error)}") from error
    if report["missing_keys"]:
        raise ModelFolderError(f"{folder} does not hold a safety checker: its weights lack {report['missing_keys']}")
    return checker.eval()


def _check_whole(folder: Path, pipeline: Any) -> None:
    """Refuse networks without some of their weights, and a tokenizer without a vocabulary."""
    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module):
            missing = [key for key, tensor in part.state_dict().items() if tensor.is_meta]
            if missing:
                raise ModelFolderError(f"{folder / name} lacks weights: {', '.join(missing[:3])}")
    for suffix in ("", "_2"):
        tokenizer, encoder = (pipeline.components.get(name + suffix) for name in ("tokenizer", "text_encoder"))
        if tokenizer is None or encoder is None:
            continue
        known, expected = len(tokenizer), encoder.config.vocab_size
        # Fewer: a file is missing, and the tokenizer falls back to three marks. More: the encoder fails on them.
        if not expected // 2 < known <= expected:
            path = folder / f"tokenizer{suffix}"
            raise ModelFolderError(f"{path} has {known} tokens, which does not fit the text encoder's {expected}")
        tokenizer.model_max_length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
