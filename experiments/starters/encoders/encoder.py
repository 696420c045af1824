"""The encoder that sentiment, answers and summaries begin with: a public BERT checkpoint made smaller, or random.

Of a checkpoint its first layers are kept (dropping the last ones costs least: Sajjad et al. 2020, "Poor Man's BERT",
arXiv:2004.03844), and the rows of its embeddings for the word pieces and positions that are kept.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertConfig, BertModel, BertTokenizer

from experiments.config import ConfigError, UserError
from experiments.starters.encoders.vocabulary import count_pieces, cut_tokenizer, learn_tokenizer, pieces_to_keep

NONE = "none"
LAYER = "encoder.layer."
WORDS, POSITIONS = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"
# What random weights are shaped like: MiniLM's six layers of 384 (Wang et al. 2020, arXiv:2002.10957).
SHAPE: dict[str, Any] = {"hidden_size": 384, "num_attention_heads": 12}


@dataclass(frozen=True)
class Size:
    """How much of an encoder is kept: layers, units in their feed-forward parts, word pieces, and tokens that it reads
    at once."""

    layers: int
    units: int
    pieces: int
    window: int


@dataclass(frozen=True)
class Start:
    """An encoder before training: configuration, tokenizer, and weights by the names that `BertModel` gives them.

    Without weights the network keeps those that it is made with.
    """

    config: BertConfig
    tokenizer: BertTokenizer
    weights: Mapping[str, torch.Tensor]

    def network(self, kind: Any, dropout: float, **settings: Any) -> Any:
        """A network of a class of transformers with this encoder, and whatever it puts on top of it, new.

        Attention is computed step by step: on a CPU and on texts this short it is twice as fast as the fused kernels.
        """
        config = BertConfig.from_dict({**self.config.to_dict(), "hidden_dropout_prob": dropout, **settings})
        network = kind._from_config(config, attn_implementation="eager")
        own = network.bert.state_dict()
        network.bert.load_state_dict({**own, **{name: value for name, value in self.weights.items() if name in own}})
        return network


def make_start(folder: str, size: Size, texts: Sequence[str]) -> Start:
    """The beginning of a training: the checkpoint in `folder` cut to `size` for these texts, or random for `none`.

    Raises UserError for a folder without a BERT checkpoint, ConfigError for one that is smaller than `size`.
    """
    if folder == NONE:
        tokenizer = learn_tokenizer(texts, size.pieces)
        config = BertConfig(
            vocab_size=len(tokenizer),
            num_hidden_layers=size.layers,
            intermediate_size=size.units,
            max_position_embeddings=size.window,
            **SHAPE,
        )
        return _described(config, tokenizer, {}, size.window)
    config, tokenizer, weights = _read(Path(folder))
    if config.num_hidden_layers < size.layers or config.max_position_embeddings < size.window:
        raise ConfigError(
            f"encoder is {folder!r}, with {config.num_hidden_layers} layers and {config.max_position_embeddings} "
            f"positions; valid: at least {size.layers} layers and {size.window} positions for this task"
        )
    kept = pieces_to_keep(tokenizer.get_vocab(), count_pieces(tokenizer, texts), size.pieces)
    tokenizer = cut_tokenizer(tokenizer, kept)
    weights = {name: value for name, value in weights.items() if _layer(name) < size.layers}
    weights[WORDS] = weights[WORDS][kept]
    weights[POSITIONS] = weights[POSITIONS][: size.window]
    config.num_hidden_layers, config.vocab_size = size.layers, len(kept)
    config.max_position_embeddings = tokenizer.model_max_length = size.window
    if size.units < config.intermediate_size:
        weights = prune(weights, config, size.units, tokenizer, texts)
        config.intermediate_size = size.units
    return _described(config, tokenizer, weights, size.window)


def _described(config: BertConfig, tokenizer: Any, weights: Mapping[str, torch.Tensor], window: int) -> Start:
    """Texts are this short that attention needs no dropout, which would take a third of the time."""
    tokenizer.model_max_length = window
    config.pad_token_id, config.attention_probs_dropout_prob, config.use_cache = tokenizer.pad_token_id, 0.0, False
    return Start(config, tokenizer, weights)


def _layer(name: str) -> int:
    """The number of the layer that a weight belongs to; that of other weights is -1."""
    return int(name.removeprefix(LAYER).split(".")[0]) if name.startswith(LAYER) else -1


def _read(folder: Path) -> tuple[BertConfig, Any, dict[str, torch.Tensor]]:
    """A checkpoint's configuration, tokenizer and weights, the latter as float32 and without a prefix."""
    wanted = ("config.json", "model.safetensors", "tokenizer.json")
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"encoder is {str(folder)!r}, which has no {missing[0]}; valid: none, or a folder with {', '.join(wanted)}"
        )
    try:
        if json.loads((folder / "config.json").read_text())["model_type"] != "bert":
            raise ValueError("it is no BERT")
        config = BertConfig.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        weights = {name.removeprefix("bert."): value for name, value in load_file(folder / "model.safetensors").items()}
        if weights[WORDS].shape[0] < len(tokenizer):
            raise ValueError("it has fewer embeddings than word pieces")
    except Exception as error:  # the loaders fail in a dozen ways on files that are not what they say
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"encoder is {str(folder)!r}, which cannot be read as BERT: {reason}") from error
    # Left over from how sentence encoders are asked: it would cut and pad every text.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    numbers = {name: value.float() for name, value in weights.items() if value.is_floating_point()}
    return config, tokenizer, numbers


UNITS, RESULT = "encoder.layer.{}.intermediate.dense.", "encoder.layer.{}.output.dense."
TEXTS = 256


AT_ONCE = 32


@torch.no_grad()
def prune(
    weights: Mapping[str, torch.Tensor], config: BertConfig, width: int, tokenizer: Any, texts: Sequence[str]
) -> dict[str, torch.Tensor]:
    """The weights of an encoder with `width` units in each feed-forward layer.

    A unit counts as much as it varies over some of the texts, times the length of the vector that it adds to the
    layer's result. What the others add in the mean goes into the result's bias.

    Args: weights, config: of a `BertModel`; the configuration is that of the whole encoder.
    """
    mean, deviation = activations(weights, config, tokenizer, texts)
    pruned = dict(weights)
    for layer in range(config.num_hidden_layers):
        units, result = UNITS.format(layer), RESULT.format(layer)
        vectors = weights[result + "weight"]
        order = (deviation[layer] * vectors.norm(dim=0)).argsort(descending=True, stable=True)
        kept, dropped = order[:width].sort().values, order[width:]
        for name in ("weight", "bias"):
            pruned[units + name] = weights[units + name][kept]
        pruned[result + "weight"] = vectors[:, kept]
        pruned[result + "bias"] = weights[result + "bias"] + vectors[:, dropped] @ mean[layer][dropped]
    return pruned


def activations(
    weights: Mapping[str, torch.Tensor], config: BertConfig, tokenizer: Any, texts: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of every unit over the tokens of evenly chosen texts: both `(layers, units)`."""
    model: Any = BertModel(config, add_pooling_layer=False).eval()
    model.load_state_dict({name: value for name, value in weights.items() if name in model.state_dict()})
    sums = torch.zeros(2, config.num_hidden_layers, config.intermediate_size, dtype=torch.float64)
    real: torch.Tensor
    for number, layer in enumerate(model.encoder.layer):

        def add(_module: Any, _inputs: Any, output: torch.Tensor, number: int = number) -> None:
            values = output[real].double()
            sums[:, number] += torch.stack([values.sum(dim=0), values.square().sum(dim=0)])

        layer.intermediate.register_forward_hook(add)
    chosen = [texts[place * len(texts) // TEXTS] for place in range(TEXTS)] if len(texts) > TEXTS else list(texts)
    count = 0
    for first in range(0, len(chosen), AT_ONCE):
        batch = tokenizer(chosen[first : first + AT_ONCE], padding=True, truncation=True, return_tensors="pt")
        real = batch["attention_mask"].bool()
        count += int(real.sum())
        model(**batch)
    mean = sums[0] / count
    return mean.float(), (sums[1] / count - mean.square()).clamp_min(0).sqrt().float()
