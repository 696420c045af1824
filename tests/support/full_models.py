"""The catalog's models in their true size, with random weights and a tokenizer of the published number of tokens.

The architectures are those of the `config.json` of the models on the Hub, most of which are the defaults of the
configuration classes of transformers, as their documentation says.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TEXT = "The tower was built in 1889 for a fair in Paris. It is 330 metres tall and has three levels for visitors. " * 3
QUESTION = "When was the tower built?"
CHAT = [{"role": "user", "content": "What is a neural network?"}]
TOKENS = 32
GREEDY = {"temperature": 0, "max_new_tokens": TOKENS, "repetition_penalty": 1.0}
STEPS = {"steps": 1, "guidance": 0.0, "width": 512, "height": 512}


@dataclass(frozen=True)
class Full:
    """A model: which task runs it, its class and configuration in transformers, and the tokenizer's kind."""

    task: str
    model: str
    config: str
    options: dict[str, Any]
    tokenizer: str
    row: dict[str, Any]
    parameters: dict[str, Any] = field(default_factory=dict)


MODELS = {
    "distilbert-base-uncased-finetuned-sst-2-english": Full(
        "sentiment-analysis",
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        {},
        "word_piece",
        {"text": TEXT},
    ),
    "roberta-base (sentiment)": Full(
        "sentiment-analysis",
        "RobertaForSequenceClassification",
        "RobertaConfig",
        {"max_position_embeddings": 514, "type_vocab_size": 1, "num_labels": 3},
        "roberta_like",
        {"text": TEXT},
    ),
    "distilbert-base-cased-distilled-squad": Full(
        "question-answering",
        "DistilBertForQuestionAnswering",
        "DistilBertConfig",
        {"vocab_size": 28996},
        "word_piece",
        {"question": QUESTION, "context": TEXT},
    ),
    "bart-large-cnn": Full(
        "summarization",
        "BartForConditionalGeneration",
        "BartConfig",
        {"vocab_size": 50264, "forced_eos_token_id": 2},
        "roberta_like",
        {"text": TEXT},
        {"max_length": TOKENS, "min_length": TOKENS - 1},
    ),
    "gpt2": Full("story-completion", "GPT2LMHeadModel", "GPT2Config", {}, "gpt2_like", {"text": TEXT}, GREEDY),
    "SmolLM2-360M-Instruct": Full(
        "chatbot",
        "LlamaForCausalLM",
        "LlamaConfig",
        {
            "vocab_size": 49152,
            "hidden_size": 960,
            "intermediate_size": 2560,
            "num_hidden_layers": 32,
            "num_attention_heads": 15,
            "num_key_value_heads": 5,
            "max_position_embeddings": 8192,
            "rope_theta": 100000.0,
            "tie_word_embeddings": True,
        },
        "chat_like",
        {"messages": CHAT},
        GREEDY,
    ),
    "Qwen2.5-0.5B-Instruct": Full(
        "chatbot",
        "Qwen2ForCausalLM",
        "Qwen2Config",
        {
            "vocab_size": 151936,
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32768,
            "rope_theta": 1000000.0,
            "tie_word_embeddings": True,
        },
        "chat_like",
        {"messages": CHAT},
        GREEDY,
    ),
    "sd-turbo": Full("image-generation", "", "", {}, "", {"prompt": "a lighthouse at night, oil painting"}, STEPS),
}


def save(name: str, folder: Path, _repeats: int = 0) -> dict[str, float]:
    """Write a model and its tokenizer."""
    import torch

    torch.manual_seed(0)
    full = MODELS[name]
    if not full.model:
        _stable_diffusion().save_pretrained(folder)
        return {}
    import transformers

    from tests.support import tiny_models

    kinds: dict[str, Callable[[], Any]] = {
        "gpt2_like": lambda: tiny_models.byte_level(["<|endoftext|>"], eos_token="<|endoftext|>"),
        "chat_like": _chat_tokenizer,
        "word_piece": lambda: tiny_models.word_piece(model_max_length=512),
        "roberta_like": lambda: tiny_models.roberta_like(model_max_length=512),
    }
    tokenizer = kinds[full.tokenizer]()
    ends = {"eos_token_id": tokenizer.eos_token_id} if tokenizer.eos_token_id is not None else {}
    config = getattr(transformers, full.config)(**full.options, **ends)
    _fill_up(tokenizer, config.vocab_size)
    model = getattr(transformers, full.model)(config)
    if "bart" in name:
        model.generation_config.update(num_beams=4, no_repeat_ngram_size=3, length_penalty=2.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {}


def _chat_tokenizer() -> Any:
    from tokenizers import AddedToken

    from tests.support import tiny_models

    tokenizer = tiny_models.byte_level(["<|endoftext|>"], eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken("<|im_start|>"), AddedToken("<|im_end|>")]})
    tokenizer.chat_template = tiny_models.CHAT_TEMPLATE
    return tokenizer


def _fill_up(tokenizer: Any, size: int) -> None:
    """Give a tokenizer words that no text has, so that whatever a random model draws can be read."""
    from tokenizers import Tokenizer

    written = json.loads(tokenizer.backend_tokenizer.to_str())
    written["model"]["vocab"] |= {f"Ġx{number}": number for number in range(len(tokenizer), size)}
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(written))


def _stable_diffusion() -> Any:
    """Stable Diffusion 2.1's architecture, which SD-Turbo has: the values of its three `config.json`."""
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from tests.support.tiny_diffusion import NOISE, clip_tokenizer

    tokenizer = clip_tokenizer()
    _fill_up(tokenizer, 49408)
    text = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=23,
        num_attention_heads=16,
        projection_dim=512,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    channels = (128, 256, 512, 512)
    return StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=channels,
            down_block_types=("DownEncoderBlock2D",) * len(channels),
            up_block_types=("UpDecoderBlock2D",) * len(channels),
            layers_per_block=2,
            latent_channels=4,
            sample_size=768,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=64, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
        ),
        scheduler=EulerDiscreteScheduler(steps_offset=1, timestep_spacing="trailing", **NOISE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
