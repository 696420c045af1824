"""Narrower layers for an encoder: of the hidden units of each feed-forward layer, those that do most are kept.

Halving them makes a layer of BERT a third smaller; it costs less than leaving out a third of the layers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import BertConfig, BertModel

TEXTS = 256
AT_ONCE = 32
UNITS, RESULT = "encoder.layer.{}.intermediate.dense.", "encoder.layer.{}.output.dense."


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
