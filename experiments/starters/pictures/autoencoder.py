"""The picture model's autoencoder: pictures of 64 x 64 to latents of 4 x 8 x 8 and back (Kingma and Welling 2014).

It is learned for one gray channel and saved for three: it reads the luminance of a color picture and writes gray.
"""

import math
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import nn

from experiments.data.images import Subset
from experiments.starters.pictures.data import SIDE, enlarged

LATENT_CHANNELS, LATENT_SIDE = 4, 8
CHANNELS = (8, 16, 32, 48)
# Pictures that it learns from: two passes, but not more than these. With 24,000 the mean squared error was still
# falling, slowly.
MOST_PICTURES, PASSES = 32_000, 2
BATCH, LEARNING_RATE, WARMUP, GRAD_CLIP = 64, 3e-3, 0.08, 1.0
# Weight of the mean absolute error, and of the divergence from a unit normal per latent number, beside the squared
# error. A larger one for the divergence smooths latents and pictures alike.
ABSOLUTE, DIVERGENCE = 0.5, 0.0015
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's gray


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


def train_autoencoder(data: Subset, seed: int, precision: str) -> AutoencoderKL:
    """Learn one from pictures `(n, 1, 32, 32)`, for latents of zero mean and unit variance in each channel.

    The same seed and data give the same one; torch's random numbers are left as they were.
    """
    device = data.images.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network: Any = make_autoencoder()
        network = network.to(device).to(memory_format=torch.channels_last)
        _learn(network, data.images, precision)
    network.eval().requires_grad_(False)
    _normalize(network, data.images, precision)
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


def _normalize(network: AutoencoderKL, images: torch.Tensor, precision: str) -> None:
    """Give latents zero mean and unit variance by the two 1 x 1 convolutions around them; pictures stay the same."""
    latents = encode(network, images[:4000], precision)
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3)).clamp_min(1e-3)
    into, out = network.quant_conv, network.post_quant_conv
    assert isinstance(into, nn.Conv2d) and isinstance(out, nn.Conv2d)
    assert into.bias is not None and out.bias is not None
    with torch.no_grad():
        # The first half of the rows gives means, the second half logarithms of variances.
        into.bias[:LATENT_CHANNELS].sub_(mean)
        into.weight[:LATENT_CHANNELS].div_(std.view(-1, 1, 1, 1))
        into.bias[:LATENT_CHANNELS].div_(std)
        into.bias[LATENT_CHANNELS:].sub_(2 * std.log())
        out.bias.add_(out.weight[:, :, 0, 0] @ mean)
        out.weight.mul_(std.view(1, -1, 1, 1))


@torch.no_grad()
def encode(network: Any, images: torch.Tensor, precision: str, batch: int = 250) -> torch.Tensor:
    """Pictures of a data set `(n, 1, 32, 32)` to their mean latents, float32 `(n, 4, 8, 8)`."""
    latents = []
    for part in images.split(batch):
        with autocast(images.device, precision):
            posterior = network.encode(enlarged(part)).latent_dist
        latents.append(posterior.mean.float())
    return torch.cat(latents)


@torch.no_grad()
def restored(network: Any, images: torch.Tensor, precision: str, batch: int = 250) -> torch.Tensor:
    """What is left of pictures `(n, 1, 32, 32)` after encoding and decoding: float32 `(n, 1, 64, 64)`, -1 to 1."""
    pictures = []
    for part in encode(network, images, precision).split(batch):
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
    """The arithmetic of a precision, as accelerate sets it for training."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")
