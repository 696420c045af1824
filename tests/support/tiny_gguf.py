"""A language model of some hundred kilobytes as GGUF, and the same one as safetensors."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from tests.support.tiny_models import CHAT_TEMPLATE, qwen2, taught

NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
# Knows functions, as that of the real Qwen2 does.
TOOL_TEMPLATE = (
    "{%- if tools %}{{- '<|im_start|>system\n<tools>\n' }}"
    "{%- for tool in tools %}{{- (tool | tojson) + '\n' }}{%- endfor %}"
    "{{- '</tools><|im_end|>\n' }}{%- endif %}"
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' + (message.content or '') }}"
    "{%- for call in message.tool_calls or [] %}"
    '{{- \'\n<tool_call>\n{"name": "\' + call.function.name + \'", "arguments": \' }}'
    "{{- (call.function.arguments | tojson) + '}\n</tool_call>' }}{%- endfor %}"
    "{{- '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)


def save_both(
    folder: Path, *, chat_template: bool | str = True, window: int = 160, divided: bool = False
) -> tuple[Path, Path]:
    """A Qwen2 that has seen four lines: its folder of safetensors, and its GGUF file, or the first part of it."""
    model, tokenizer = _taught()
    model.config.max_position_embeddings = window
    tokenizer.chat_template = CHAT_TEMPLATE if chat_template is True else chat_template or None
    model.save_pretrained(folder / "safetensors")
    tokenizer.save_pretrained(folder / "safetensors")
    path = folder / "gguf" / "tiny.gguf"
    path.parent.mkdir()
    _write(model, tokenizer, path, tensors_a_file=8 if divided else 0)
    return folder / "safetensors", min(path.parent.iterdir())


def finish(writer: gguf.GGUFWriter) -> None:
    """Write all that it was given."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@cache
def _taught() -> tuple[Any, Any]:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model, tokenizer = qwen2()
        return taught(model, tokenizer), tokenizer


def write_header(path: Path, architecture: str, facts: Mapping[str, Any]) -> None:
    """A GGUF file of these facts, with a single weight."""
    writer = gguf.GGUFWriter(path, architecture)
    for name, value in facts.items():
        kind = gguf.GGUFValueType.get_type(value)
        writer.add_key_value(name, value, gguf.GGUFValueType.UINT32 if isinstance(value, int) else kind)
    writer.add_tensor("token_embd.weight", np.ones(1, np.float32))
    finish(writer)


def _write(model: Any, tokenizer: Any, path: Path, tensors_a_file: int) -> None:
    config, writer = model.config, gguf.GGUFWriter(path, "qwen2", split_max_tensors=tensors_a_file)
    writer.add_license("apache-2.0")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    _write_tokenizer(writer, tokenizer)
    for name, weight in model.state_dict().items():
        if name != "lm_head.weight":  # it is the embedding
            writer.add_tensor(_renamed(name), weight.float().numpy())
    finish(writer)


def _write_tokenizer(writer: Any, tokenizer: Any) -> None:
    special = set(tokenizer.all_special_ids)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokenizer.convert_ids_to_tokens(range(len(tokenizer))))
    kinds = [gguf.TokenType.CONTROL if number in special else gguf.TokenType.NORMAL for number in range(len(tokenizer))]
    writer.add_token_types(kinds)
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(False)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _renamed(name: str) -> str:
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    _, _, layer, rest = name.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{NAMES[part]}.{kind}"
