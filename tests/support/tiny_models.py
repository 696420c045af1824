"""Text models of some hundred kilobytes, of the same classes as the real ones, and their tasks.

Their weights are random, but language models learn four lines for a second: random ones write bytes, not words.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers import models as kinds
from transformers import PreTrainedTokenizerFast

from tasks import describe_folder, task_class
from tasks.base import Task

LINES = [
    "Once upon a time there was a cat who sat on the mat and looked at the moon.",
    "The little dog didn't like the rain. It ran home, wet and cold, but very happy!",
    "Who wrote the book? Ada Lovelace wrote it in 1843, in London.",
    "This film is wonderful; that one was a terrible waste of time.",
    "Die Katze schläft über dem Ofen. Le café est déjà fermé. Ωραία μέρα. Привет, мир!",
]
WIDTH = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'system' and not loop.first %}"
    "{{ raise_exception('a system message comes first') }}{% endif %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_level(special: list[str], *, post: Callable[[Tokenizer], Any] | None = None, **options: Any) -> Any:
    """A tokenizer as that of GPT-2, BART, RoBERTa and Qwen: byte-pair encoding of bytes."""
    tokenizer = Tokenizer(kinds.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(LINES, trainer)
    if post is not None:
        tokenizer.post_processor = post(tokenizer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)


def sentence_piece(**options: Any) -> Any:
    """A tokenizer as that of Llama 2: byte-pair encoding of characters, with bytes for those that it does not know."""
    special = ["<unk>", "<s>", "</s>"]
    tokenizer = Tokenizer(kinds.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    # Only while training: words are not joined. Llama itself splits nothing.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("(?=▁)"), "isolated")
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=560, special_tokens=special + bytes_, show_progress=False)
    tokenizer.train_from_iterator(LINES[:4], trainer)
    # The trainer calls the bytes special, and special tokens are not shown.
    written = json.loads(tokenizer.to_str())
    written["added_tokens"] = [token for token in written["added_tokens"] if token["content"] in special]
    tokenizer = Tokenizer.from_str(json.dumps(written))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", **options
    )


def unigram(**options: Any) -> Any:
    """A tokenizer as that of T5."""
    tokenizer = Tokenizer(kinds.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator([*LINES, "summarize: "], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", **options
    )


def word_piece(**options: Any) -> Any:
    """A tokenizer as that of BERT, which knows no capital letters."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(kinds.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        LINES, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "attention_mask"],
        **options,
    )


def roberta_like(**options: Any) -> Any:
    """The tokenizer of BART and RoBERTa; its files do not say how long a text may be."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>"}
    return byte_level(
        special,
        post=lambda _: processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False),
        model_input_names=["input_ids", "attention_mask"],
        unk_token="<unk>",
        **names,
        **options,
    )


def taught(model: Any, tokenizer: Any) -> Any:
    """A language model that has seen LINES some times."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    batches = [tokenizer(line, return_tensors="pt")["input_ids"] for line in LINES[:4]]
    model.train()
    for _ in range(10):
        for tokens in batches:
            model(input_ids=tokens, labels=tokens).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return model.eval()


def gpt2() -> tuple[Any, Any]:
    tokenizer = byte_level(["<|endoftext|>"], bos_token="<|endoftext|>", eos_token="<|endoftext|>", model_max_length=64)
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=64,
        n_embd=32,
        n_layer=2,
        n_head=4,
        initializer_range=0.1,
        bos_token_id=0,
        eos_token_id=0,
    )
    return taught(transformers.GPT2LMHeadModel(config), tokenizer), tokenizer


def llama() -> tuple[Any, Any]:
    tokenizer = sentence_piece()
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer) + 3,
        max_position_embeddings=96,
        initializer_range=0.1,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
        num_key_value_heads=2,
        **WIDTH,
    )
    model = taught(transformers.LlamaForCausalLM(config), tokenizer)
    # Bytes drawn at random are no text, and a decoder of this kind makes all of their neighbors unreadable.
    model.generation_config.suppress_tokens = list(range(3, 3 + 256))
    return model, tokenizer


def qwen2() -> tuple[Any, Any]:
    tokenizer = byte_level(["<|endoftext|>"], eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken("<|im_start|>"), AddedToken("<|im_end|>")]})
    tokenizer.chat_template = CHAT_TEMPLATE
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer),
        max_position_embeddings=160,
        initializer_range=0.4,
        num_key_value_heads=2,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
        **WIDTH,
    )
    model = transformers.Qwen2ForCausalLM(config)
    # As the real ones: settings of their own for sampling, and two ends.
    model.generation_config.update(temperature=0.7, top_k=20, top_p=0.8, do_sample=True, repetition_penalty=1.05)
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, 0]
    return model, tokenizer


def bart() -> tuple[Any, Any]:
    tokenizer = roberta_like(model_max_length=64)
    config = transformers.BartConfig(
        vocab_size=len(tokenizer), max_position_embeddings=64, d_model=32, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, init_std=0.3,
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2,
    )  # fmt: skip
    model = transformers.BartForConditionalGeneration(config)
    model.generation_config.update(max_length=142, min_length=56, num_beams=4, no_repeat_ngram_size=3)
    return model, tokenizer


def t5() -> tuple[Any, Any]:
    tokenizer = unigram(model_max_length=48)
    config = transformers.T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=1,
        num_heads=4,
        initializer_factor=3.0,
        n_positions=48,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
        task_specific_params={"summarization": {"prefix": "summarize: ", "no_repeat_ngram_size": 3, "max_length": 200}},
    )
    return transformers.T5ForConditionalGeneration(config), tokenizer


def distilbert(model_class: str, **options: Any) -> tuple[Any, Any]:
    tokenizer = word_piece(model_max_length=64)
    config = transformers.DistilBertConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=64,
        dim=32,
        n_layers=2,
        n_heads=4,
        hidden_dim=64,
        initializer_range=0.3,
        pad_token_id=0,
        **options,
    )
    return getattr(transformers, model_class)(config), tokenizer


def roberta(model_class: str, **options: Any) -> tuple[Any, Any]:
    tokenizer = roberta_like()
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=66,
        initializer_range=0.3,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        type_vocab_size=1,
        **WIDTH,
        **options,
    )
    return getattr(transformers, model_class)(config), tokenizer


THREE_LABELS = {"id2label": {0: "negative", 1: "neutral", 2: "positive"}, "label2id": {}}
MODELS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "gpt2": gpt2,
    "llama": llama,
    "qwen2": qwen2,
    "bart": bart,
    "t5": t5,
    "distilbert-sentiment": lambda: distilbert("DistilBertForSequenceClassification"),
    "roberta-sentiment": lambda: roberta("RobertaForSequenceClassification", **THREE_LABELS),
    "distilbert-qa": lambda: distilbert("DistilBertForQuestionAnswering"),
    "roberta-qa": lambda: roberta("RobertaForQuestionAnswering"),
}
# Every text task with the models that it is tried with.
TASK_MODELS = {
    "sentiment-analysis": ("distilbert-sentiment", "roberta-sentiment"),
    "summarization": ("bart", "t5"),
    "next-word-prediction": ("gpt2", "llama"),
    "story-completion": ("gpt2", "llama"),
    "question-answering": ("distilbert-qa", "roberta-qa"),
    "chatbot": ("qwen2", "gpt2"),
}


def save(name: str, folder: Path) -> Path:
    """Write a tiny model and its tokenizer as the real ones are stored: the same weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model, tokenizer = MODELS[name]()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def opened(folder: Path, task: str, model_name: str = "tiny") -> Task:
    """The task of a model's folder, loaded."""
    describe_folder(folder, task, model_name)
    loaded = task_class(task)(folder, model_name, "cpu")
    loaded.load()
    return loaded
