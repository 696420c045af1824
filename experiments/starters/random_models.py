"""Text models with random weights and a made-up vocabulary, for measuring what does not depend on what they learned.

They work offline. The vocabulary is as large as GPT-2's, so that writing and reading tokens takes as long.
"""

import itertools
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers import models as kinds

GPT2_WORDS = 50_257
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
TINY: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}


def made_up_tokenizer(words: int, longest: int) -> Any:
    """A tokenizer of bytes, as GPT-2's, with made-up words of three syllables that a model can write.

    No text is merged into words: what users type is read byte by byte.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    syllables = [a + b for a, b in itertools.product("bcdfghjklmnprstvwz", "aeiou")]
    made = ("Ġ" + "".join(three) for three in itertools.product(syllables, repeat=3))
    names = [*SPECIAL, *alphabet, *itertools.islice(made, words - len(SPECIAL) - len(alphabet))]
    vocabulary = {name: index for index, name in enumerate(names)}
    tokenizer = Tokenizer(kinds.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=longest,
    )


def _marked(tokenizer: Any) -> Any:
    """The tokenizer with a mark at both ends of a text, as encoders read it."""
    tokenizer.backend_tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.cls_token, tokenizer.sep_token = "<s>", "</s>"
    return tokenizer


def save_language_model(folder: Path, *, layers: int = 12, width: int = 768, heads: int = 12) -> None:
    """A GPT-2, by default of the size of the smallest (124 million parameters), that never ends by itself."""
    tokenizer = made_up_tokenizer(GPT2_WORDS, 1024)
    config = transformers.GPT2Config(
        vocab_size=GPT2_WORDS,
        n_layer=layers,
        n_embd=width,
        n_head=heads,
        bos_token_id=0,
        eos_token_id=2,
    )
    model = _random(transformers.GPT2LMHeadModel, config)
    model.generation_config.suppress_tokens = list(range(len(SPECIAL)))
    _save(model, tokenizer, folder)


def save_tiny(task: str, folder: Path) -> None:
    """A tiny model for a task. Raises KeyError for a task that has none."""
    tokenizer = made_up_tokenizer(2_000, 512)
    common: dict[str, Any] = {"vocab_size": len(tokenizer), "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    if task == "story-completion":
        save_language_model(folder, layers=2, width=64, heads=4)
        return
    if task == "summarization":
        config = transformers.BartConfig(
            **common,
            max_position_embeddings=512,
            d_model=64,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=128,
            decoder_ffn_dim=128,
            decoder_start_token_id=2,
        )
        _save(_random(transformers.BartForConditionalGeneration, config), _marked(tokenizer), folder)
        return
    classes = {
        "sentiment-analysis": transformers.RobertaForSequenceClassification,
        "question-answering": transformers.RobertaForQuestionAnswering,
    }
    config = transformers.RobertaConfig(**common, max_position_embeddings=514, type_vocab_size=1, **TINY)
    _save(_random(classes[task], config), _marked(tokenizer), folder)


def _random(model_class: Any, config: Any) -> Any:
    """The same weights each time, and torch's own random numbers untouched."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return model_class(config)


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
