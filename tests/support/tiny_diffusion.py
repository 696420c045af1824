"""Stable Diffusion models of a megabyte with random weights, of the same classes as the real ones, and their task."""

import base64
import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from tasks.image_generation import ImageGeneration
from tests.support import pictures

PROMPT = "a red house by the sea"
WIDTH = 32
WINDOW = 77
SCHEDULERS = {"euler": EulerDiscreteScheduler, "ddim": partial(DDIMScheduler, clip_sample=False)}
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer with single bytes for a vocabulary: every text can be written, one letter one token."""
    letters = sorted(ByteLevel.alphabet())
    pieces = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=WINDOW)


def text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    """A text encoder of one layer."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=37,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=WINDOW,
        projection_dim=WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def vae() -> AutoencoderKL:
    """An autoencoder that makes an image 8 times as wide as its latents, as the real ones do."""
    channels = (8, 8, 8, 8)
    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
        layers_per_block=1,
    )


def unet(context: int, **changes: object) -> UNet2DConditionModel:
    """A denoiser for latents of 8 x 8 (images of 64 x 64), attending to texts of `context` features a token."""
    shape = {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "layers_per_block": 1,
        "block_out_channels": (16, 32),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "norm_num_groups": 4,
        "attention_head_dim": 4,
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": context,
    }
    return UNet2DConditionModel(**{**shape, **changes})  # type: ignore[arg-type]


def safety_checker(flags: bool) -> StableDiffusionSafetyChecker:
    """The checker of the real models, made to find every picture bad, or none."""
    size = {"hidden_size": WIDTH, "intermediate_size": 37, "num_hidden_layers": 1, "num_attention_heads": 4}
    vision = {**size, "image_size": 30, "patch_size": 15}
    checker = StableDiffusionSafetyChecker(CLIPConfig(text_config=size, vision_config=vision, projection_dim=WIDTH))
    torch.nn.init.constant_(checker.concept_embeds_weights, -2.0 if flags else 2.0)  # thresholds of cosines
    torch.nn.init.constant_(checker.special_care_embeds_weights, 2.0)
    return checker


def tiny_stable_diffusion(scheduler: str = "euler", flags: bool | None = None) -> StableDiffusionPipeline:
    """Args: `euler` or `ddim`; what a safety checker says of every picture, None for no checker."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    checked = flags is not None
    return StableDiffusionPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config(tokenizer)),
        tokenizer=tokenizer,
        unet=unet(WIDTH),
        scheduler=SCHEDULERS[scheduler](steps_offset=1, **NOISE),
        safety_checker=safety_checker(flags) if checked else None,  # type: ignore[arg-type]
        feature_extractor=CLIPImageProcessor(size=30, crop_size=30) if checked else None,  # type: ignore[arg-type]
        requires_safety_checker=checked,
    )


def tiny_stable_diffusion_xl() -> StableDiffusionXLPipeline:
    """With two text encoders and size conditioning, as Stable Diffusion XL has them."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    # Six numbers of 8 features for the sizes, and the pooled text.
    conditioning = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
    return StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config(tokenizer)),
        text_encoder_2=CLIPTextModelWithProjection(text_config(tokenizer)),
        tokenizer=tokenizer,
        tokenizer_2=clip_tokenizer(),
        unet=unet(2 * WIDTH, projection_class_embeddings_input_dim=6 * 8 + WIDTH, **conditioning),
        scheduler=EulerDiscreteScheduler(),
    )


def save(pipeline: DiffusionPipeline, folder: Path) -> Path:
    """Write a pipeline as safetensors and configurations; returns the folder."""
    pipeline.save_pretrained(folder)
    return folder


def opened(folder: Path) -> ImageGeneration:
    """The loaded task of a folder."""
    torch.set_num_threads(1)
    task = ImageGeneration(folder, "tiny-sd", "cpu")
    task.load()
    return task


def make(task: ImageGeneration, prompt: str = PROMPT, image: Any = None, **parameters: Any) -> dict[str, Any]:
    """One picture, by default of two steps and always the same."""
    [row] = task.run([{"prompt": prompt, "image": image}], {"steps": 2, "seed": 1, **parameters})
    return row


def pixels(row: Any) -> np.ndarray:
    """The picture of an output row, `(height, width, 3)`."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(row["image"]))))


def photo(width: int, height: int) -> Image.Image:
    """A picture of colored noise, always the same."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height))


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> str:
    """A picture as the base64 of its file."""
    return base64.b64encode(pictures.encoded(picture, kind, **options)).decode()
