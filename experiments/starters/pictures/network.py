"""The picture model: autoencoder, text encoder and denoiser in one module, its loss, and its diffusers pipeline."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from experiments.starters.pictures.autoencoder import LATENT_CHANNELS, LATENT_SIDE, in_color, make_autoencoder
from experiments.starters.pictures.vocabulary import WINDOW

TEXT_WIDTH = 64
STEPS = 1000  # of the noise schedule
NOISE: dict[str, Any] = {"num_train_timesteps": STEPS, "beta_schedule": "squaredcos_cap_v2"}


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


def _text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    special: Any = tokenizer
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=WINDOW,
        projection_dim=TEXT_WIDTH,
        bos_token_id=special.bos_token_id,
        eos_token_id=special.eos_token_id,
        pad_token_id=special.pad_token_id,
    )


def read_prompts(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens `(m, WINDOW)` of the different prompts, padded as pipelines pad, and the row of each prompt `(n,)`."""
    rows = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompts))}
    tokens = tokenizer(list(rows), padding="max_length", truncation=True, max_length=WINDOW).input_ids
    return torch.tensor(tokens), torch.tensor([rows[prompt] for prompt in prompts])


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
