"""Language models as safetensors, run by transformers."""

import copy
import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import TemplateError

from tasks.base import Cancel
from tasks.engines.decoding import Reader, write_text
from tasks.engines.devices import pick_device
from tasks.engines.language_model import (
    ChatTemplateError,
    Following,
    LanguageModel,
    Tokens,
    Written,
    stop_strings,
    windows,
)
from tasks.engines.loading import context_window, load_model, load_tokenizer, pick_dtype, prepare_writing
from tasks.engines.pretrained import unknown_parts
from tasks.engines.streaming import Emit
from tasks.runtime.memory import memory_bytes

CACHE_BYTES = 256 * 2**20  # for the copies of what the model remembers of a prompt


class CausalModel(LanguageModel):
    """A decoder of transformers with its tokenizer.

    A conversation for a model without a chat template (DialoGPT) has the model's end-of-text token after each message.
    """

    paths_at_once = 2**10

    def __init__(self, folder: Path, device: str) -> None:
        place = pick_device(device)
        self.model = load_model(folder, "AutoModelForCausalLM", place, pick_dtype(place, wide_range=True))
        self.tokenizer = load_tokenizer(folder)
        prepare_writing(self.model)
        self.window = context_window(self.model, self.tokenizer)
        self.parameters = sum(weight.numel() for weight in self.model.parameters())
        self.vocabulary_size = self.model.get_output_embeddings().weight.shape[0]
        self.bos, self.eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        self.has_chat_template = self.tokenizer.chat_template is not None
        self.options: dict[str, Any] = {"use_cache": True}
        if "logits_to_keep" in inspect.signature(self.model.forward).parameters:
            self.options["logits_to_keep"] = 1
        # Decoders drop the first space of a text; behind another token it stays.
        self.anchor = self.tokenizer.encode("a", add_special_tokens=False)
        self.known = len(self.tokenizer.decode(self.anchor))

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text, verbose=False)["input_ids"]

    def encode_chat(self, messages: Sequence[dict[str, str]], *, continues: bool) -> list[int]:
        if not self.has_chat_template:
            # Without special tokens in what people write: it must not end its own message.
            options = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
            texts = [self.tokenizer(message["content"], **options)["input_ids"] for message in messages]
            tokens = [token for text in texts for token in (*text, self.tokenizer.eos_token_id)]
            return tokens[:-1] if continues else tokens
        try:
            return self.tokenizer.apply_chat_template(
                messages,
                add_generation_prompt=not continues,
                continue_final_message=continues,
                sanitize_control_tokens=True,
                tokenizer_kwargs={"verbose": False},
            )["input_ids"]
        except (TemplateError, ValueError) as error:  # ValueError: the template changes what should be continued
            raise ChatTemplateError(str(error)) from error

    def write(
        self,
        tokens: list[int],
        parameters: dict[str, Any],
        emit: Emit,
        cancel: Cancel,
        *,
        continues: bool,
        spaced: bool = False,
    ) -> Written:
        options = {"begin_suppress_tokens": self._unspaced} if spaced else {}
        prompt = torch.tensor([tokens], device=self.model.device)
        return write_text(
            self.model,
            {"input_ids": prompt, "attention_mask": torch.ones_like(prompt)},
            Reader(self.tokenizer, stop_strings(parameters["stop"]), continues=continues),
            emit,
            cancel,
            parameters,
            max_new_tokens=parameters["max_new_tokens"],
            repetition_penalty=parameters["repetition_penalty"],
            **options,
        )

    @cached_property
    def _unspaced(self) -> list[int]:
        """The tokens that bring no white space along."""
        every = [(token,) for token in range(min(self.vocabulary_size, len(self.tokenizer)))]
        special = set(self.tokenizer.all_special_ids)
        texts = self.texts_of(every)
        return [
            token for (token,), text in zip(every, texts, strict=True) if token in special or not text[:1].isspace()
        ]

    def read(self, prompt: list[int]) -> Callable[[Sequence[Tokens]], list[Following]]:
        with torch.inference_mode():
            answer = self.model(torch.tensor([prompt], device=self.model.device), **self.options)
        every = np.arange(self.vocabulary_size)

        def following(paths: Sequence[Tokens]) -> list[Following]:
            if paths[0]:
                rows = self._after(answer.past_key_values, paths)
            else:
                rows = answer.logits[:, -1].float().softmax(dim=-1)
            return [Following(every, row) for row in rows.cpu().numpy()]

        return following

    def texts_of(self, paths: Sequence[Tokens]) -> list[str]:
        known = len(self.tokenizer)  # a model may have more tokens than its tokenizer
        whole = [[*self.anchor, *(token for token in path if token < known)] for path in paths]
        return [text[self.known :] for text in self.tokenizer.backend_tokenizer.decode_batch(whole)]

    def log_likelihood(self, text: str) -> tuple[float, int, int]:
        begins = self.bos is not None and self.encode("a")[0] == self.bos
        encoded = self.tokenizer(text, verbose=False, add_special_tokens=False, return_offsets_mapping=True)
        tokens, offsets = encoded["input_ids"], encoded["offset_mapping"]
        # A character may be several tokens: those of the first one are read, and what follows is predicted.
        given = 0 if begins or not offsets else offsets[0][1]
        first = sum(end <= given for _, end in offsets)
        total, room = 0.0, self.window - max(1, first)
        for start in range(first, len(tokens), room):
            before = [self.bos] if begins else tokens[:start] if start == first else tokens[start - 1 : start]
            window = torch.tensor([before + tokens[start : start + room]], device=self.model.device)
            with torch.inference_mode():
                scores = self.model(input_ids=window).logits[0, len(before) - 1 : -1].float().log_softmax(-1)
            total += float(scores.gather(-1, window[0, len(before) :, None]).sum())
        return total, len(tokens) - first, len(text[given:].encode())

    def unknown_parts(self, text: str) -> list[str]:
        return unknown_parts(self.tokenizer, text)

    def memory_bytes(self) -> int:
        return memory_bytes(self.model)

    @torch.inference_mode()
    def _after(self, cache: Any, paths: Sequence[Tokens]) -> torch.Tensor:
        """Probabilities of the token after each path behind the prompt, `(paths, vocabulary)`."""
        size = sum(tensor.nbytes for layer in cache.layers for tensor in (layer.keys, layer.values))
        rows = max(1, CACHE_BYTES // max(1, size))
        found = []
        for part in windows(range(len(paths)), rows):
            batch = torch.tensor([paths[number] for number in part], device=self.model.device)
            copies = copy.deepcopy(cache)
            copies.batch_repeat_interleave(len(batch))
            logits = self.model(batch, past_key_values=copies, **self.options).logits
            found.append(logits[:, -1].float().softmax(dim=-1))
        return torch.cat(found)
