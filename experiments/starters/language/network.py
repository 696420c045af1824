"""The language model as it is trained: a Llama without a separate output layer, and what it says of rows of tokens."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel

from experiments.starters.language.tokens import IGNORED, Rows
from experiments.training.state import Metrics, StepResult

EVALUATION_ROWS = 16


class LanguageNetwork(nn.Module):
    """A decoder (Touvron et al. 2023) whose output weights are its token embeddings (Press and Wolf 2017).

    The embeddings are one parameter here, so that checkpoints hold them once.
    """

    def __init__(self, body: LlamaModel) -> None:
        super().__init__()
        self.body = body

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Scores of the next token, `(rows, context, vocabulary)`, for tokens int64 `(rows, context)`."""
        hidden = self.body(input_ids=inputs, use_cache=False).last_hidden_state
        return F.linear(hidden, self.body.embed_tokens.weight)

    def whole(self) -> LlamaForCausalLM:
        """The same network as the class of transformers that generates texts, with weights of its own."""
        config = self.body.config
        model = LlamaForCausalLM(config)
        model.model.load_state_dict(self.body.state_dict())
        model.tie_weights()
        return model.eval()


def make_config(tokenizer: Any, **sizes: Any) -> LlamaConfig:
    """The architecture, for a tokenizer; `sizes` are those of LlamaConfig."""
    return LlamaConfig(
        vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True, **sizes,
    )  # fmt: skip


def language_step(model: nn.Module, batch: Rows) -> StepResult:
    """Cross entropy over the tokens that count, and how many of them were the most probable."""
    logits = model(batch.inputs).float().flatten(0, 1)
    targets = batch.targets.flatten()
    loss = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
    correct = (logits.detach().argmax(dim=1) == targets).sum()
    return StepResult(loss, {"accuracy": correct}, batch.tokens, batch.examples)


@torch.inference_mode()
def measure(network: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, accelerator: Any) -> Metrics:
    """`loss` (nats a token), `accuracy` of the next token, `perplexity` over rows int64 `(rows, context)`."""
    network.eval()
    loss = correct = 0.0
    tokens = int((targets != IGNORED).sum())
    for start in range(0, len(inputs), EVALUATION_ROWS):
        part = slice(start, start + EVALUATION_ROWS)
        with accelerator.autocast():
            result = language_step(network, Rows(inputs[part], targets[part], tokens, len(inputs)))
        loss += float(result.loss)
        correct += float(result.sums["accuracy"])
    mean = loss / tokens
    return {"loss": mean, "accuracy": correct / tokens, "perplexity": float(torch.tensor(mean).exp())}
