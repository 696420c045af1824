"""The picture model: autoencoder, text encoder and denoiser in one module, its loss, and its diffusers pipeline.

The autoencoder takes pictures of 64 x 64 to latents of 4 x 8 x 8 and back (Kingma and Welling 2014). It is learned for
one gray channel and saved for three: it reads the luminance of a color picture and writes gray.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from experiments.starters.pictures.data import SIDE, enlarged
from experiments.starters.pictures.words import WINDOW

LATENT_CHANNELS, LATENT_SIDE = 4, 8
CHANNELS = (8, 16, 32, 48)
# Pictures that it learns from: two passes, but not more than these. With 24,000 the mean squared error was still
# falling, slowly.
MOST_PICTURES, PASSES = 32_000, 2
BATCH, LEARNING_RATE, WARMUP, GRAD_CLIP = 64, 3e-3, 0.08, 1.0
# Weight of the mean absolute error, and of the divergence from a unit normal per latent number, beside the squared
# error. A larger one for the divergence smooths latents and pictures alike.
ABSOLUTE, DIVERGENCE = 0.5, 0.0015
AT_ONCE = 250  # pictures, encoded or decoded
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's gray
TEXT_WIDTH = 64
STEPS = 1000  # of the noise schedule
NOISE: dict[str, Any] = {"num_train_timesteps": STEPS, "beta_schedule": "squaredcos_cap_v2"}


def make_autoencoder(colors: int = 1) -> AutoencoderKL:
    """An untrained one. The middle has no attention: 8 x 8 is small enough for convolutions."""
    shape: dict[str, Any] = {
        "in_channels": colors,
        "out_channels": colors,
        "down_block_types": ("DownEncoderBlock2D",) * len(CHANNELS),
        "up_block_types": ("UpDecoderBlock2D",) * len(CHANNELS),
        "block_out_channels": CHANNELS,
        "layers_per_block": 1,
        "latent_channels": LATENT_CHANNELS,
        "norm_num_groups": 4,
        "sample_size": SIDE,
        "scaling_factor": 1.0,
        "mid_block_add_attention": False,
    }
    return AutoencoderKL(**shape)


def train_autoencoder(images: torch.Tensor, seed: int, precision: str) -> AutoencoderKL:
    """Learn one from pictures `(n, 1, 32, 32)`, for latents of zero mean and unit variance in each channel.

    The same seed and pictures give the same one; torch's random numbers are left as they were.
    """
    device = images.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network: Any = make_autoencoder()
        network = network.to(device).to(memory_format=torch.channels_last)
        _learn(network, images, precision)
    network.eval().requires_grad_(False)
    _normalize(network, images, precision)
    return network


def _learn(network: Any, images: torch.Tensor, precision: str) -> None:
    batches = max(1, min(MOST_PICTURES, PASSES * len(images)) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / batches))
    network.train()
    for _ in range(batches):
        pictures = enlarged(images[torch.randint(len(images), (BATCH,)).to(images.device)])
        with autocast(images.device, precision):
            posterior = network.encode(pictures).latent_dist
            again = network.decode(posterior.sample()).sample
        error = again.float() - pictures
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        (error.square().mean() + ABSOLUTE * error.abs().mean() + DIVERGENCE * divergence).backward()
        nn.utils.clip_grad_norm_(network.parameters(), GRAD_CLIP)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()


def _rate(progress: float) -> float:
    if progress < WARMUP:
        return (progress + 0.01) / (WARMUP + 0.01)
    return 0.5 * (1 + math.cos(math.pi * (progress - WARMUP) / (1 - WARMUP)))


def _normalize(network: Any, images: torch.Tensor, precision: str) -> None:
    """Give latents zero mean and unit variance by the two 1 x 1 convolutions around them; pictures stay the same."""
    latents = encode(network, images[:4000], precision)
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3)).clamp_min(1e-3)
    into, out = network.quant_conv, network.post_quant_conv
    with torch.no_grad():
        # The first half of the rows gives means, the second half logarithms of variances.
        into.bias[:LATENT_CHANNELS].sub_(mean)
        into.weight[:LATENT_CHANNELS].div_(std.view(-1, 1, 1, 1))
        into.bias[:LATENT_CHANNELS].div_(std)
        into.bias[LATENT_CHANNELS:].sub_(2 * std.log())
        out.bias.add_(out.weight[:, :, 0, 0] @ mean)
        out.weight.mul_(std.view(1, -1, 1, 1))


@torch.no_grad()
def encode(network: Any, images: torch.Tensor, precision: str) -> torch.Tensor:
    """Pictures of a data set `(n, 1, 32, 32)` to their mean latents, float32 `(n, 4, 8, 8)`."""
    latents = []
    for part in images.split(AT_ONCE):
        with autocast(images.device, precision):
            posterior = network.encode(enlarged(part)).latent_dist
        latents.append(posterior.mean.float())
    return torch.cat(latents)


@torch.no_grad()
def restored(network: Any, images: torch.Tensor, precision: str) -> torch.Tensor:
    """What is left of pictures `(n, 1, 32, 32)` after encoding and decoding: float32 `(n, 1, 64, 64)`, -1 to 1."""
    pictures = []
    for part in encode(network, images, precision).split(AT_ONCE):
        with autocast(images.device, precision):
            decoded = network.decode(part).sample
        pictures.append(decoded.float().clamp(-1, 1))
    return torch.cat(pictures)


def signal_to_noise(pictures: torch.Tensor, again: torch.Tensor) -> float:
    """Mean peak signal-to-noise ratio of pictures from -1 to 1, in decibels."""
    error = (pictures - again).square().mean((1, 2, 3)).clamp_min(1e-10)
    return float((10 * torch.log10(4 / error)).mean())


def in_color(network: AutoencoderKL) -> AutoencoderKL:
    """The same autoencoder with three channels: it reads luminance, and writes the same gray to all three."""
    weights = dict(network.state_dict())
    first, last = "encoder.conv_in.weight", "decoder.conv_out.weight"
    weights[first] = weights[first] * torch.tensor(LUMINANCE, device=weights[first].device).view(1, 3, 1, 1)
    weights[last] = weights[last].expand(3, -1, -1, -1)
    bias = last.replace("weight", "bias")
    weights[bias] = weights[bias].expand(3)
    colored: Any = make_autoencoder(colors=3)
    colored = colored.to(weights[first].device)
    colored.load_state_dict(weights)
    return colored.eval()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The compute precision, as accelerate sets it for training."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")


def make_scheduler() -> DDIMScheduler:
    """How pictures are drawn (Song et al. 2021), over the cosine schedule (Nichol and Dhariwal 2021).

    `trailing` begins at pure noise, which the denoiser, as it predicts velocities, can start from (Lin et al. 2024).
    """
    return DDIMScheduler(
        **NOISE, prediction_type="v_prediction", timestep_spacing="trailing", clip_sample=False, steps_offset=1
    )


class PictureNetwork(nn.Module):
    """What is learned. The autoencoder is not trained with the rest, and has no gradients."""

    signal: torch.Tensor
    noise: torch.Tensor

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.vae = make_autoencoder().requires_grad_(False)
        self.text_encoder = CLIPTextModel(_text_config(tokenizer))
        # On a CPU the fused attention took a third of a training step in bf16, almost all of it in its backward pass.
        self.text_encoder.set_attn_implementation("eager")
        self.unet = make_denoiser()
        self.unet.set_attn_processor(AttnProcessor())  # for the same reason
        alphas = DDIMScheduler(**NOISE).alphas_cumprod
        self.register_buffer("signal", alphas.sqrt(), persistent=False)
        self.register_buffer("noise", (1 - alphas).sqrt(), persistent=False)

    def forward(
        self,
        latents: torch.Tensor,
        noise: torch.Tensor,
        timesteps: torch.Tensor,
        tokens: torch.Tensor,
        prompts: torch.Tensor,
    ) -> torch.Tensor:
        """The squared error of the predicted velocity (Salimans and Ho 2022, section 4) of each picture, `(n,)`.

        Args: latents and noise `(n, 4, 8, 8)`; timesteps `(n,)`; tokens `(m, WINDOW)` of different prompts; prompts
        `(n,)`, which row of `tokens` is a picture's.
        """
        signal, spread = (table[timesteps].view(-1, 1, 1, 1) for table in (self.signal, self.noise))
        text = self.text_encoder(tokens).last_hidden_state[prompts]
        velocity = self.unet(signal * latents + spread * noise, timesteps, text).sample
        return F.mse_loss(velocity.float(), signal * noise - spread * latents, reduction="none").mean((1, 2, 3))


def make_denoiser() -> UNet2DConditionModel:
    """Text is attended to at 4 x 4 only, where the pictures' parts are."""
    shape: dict[str, Any] = {
        "sample_size": LATENT_SIDE,
        "in_channels": LATENT_CHANNELS,
        "out_channels": LATENT_CHANNELS,
        "block_out_channels": (48, 96),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "cross_attention_dim": TEXT_WIDTH,
        "attention_head_dim": 4,  # the number of heads, whatever the name says
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(**shape)


def _text_config(tokenizer: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=WINDOW,
        projection_dim=TEXT_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def make_pipeline(network: PictureNetwork, tokenizer: CLIPTokenizer) -> StableDiffusionPipeline:
    """The network as any diffusers tool knows it; all but the autoencoder is shared with it."""
    pipeline = StableDiffusionPipeline(
        vae=in_color(network.vae),
        text_encoder=network.text_encoder,
        tokenizer=tokenizer,
        unet=network.unet,
        scheduler=make_scheduler(),  # pyright: ignore[reportArgumentType]
        safety_checker=None,  # pyright: ignore[reportArgumentType]
        feature_extractor=None,  # pyright: ignore[reportArgumentType]
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
