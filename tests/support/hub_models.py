"""Files of models for the local Hub, made of nothing: right in form, with weights that no one runs. No torch."""

import json
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np

TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def safetensors(parameters: int, kind: str = "F32", fill: int = 1) -> bytes:
    """Weights as safetensors."""
    size = parameters * {"F32": 4, "BF16": 2}[kind]
    header = json.dumps({"a": {"dtype": kind, "shape": [parameters], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes([fill]) * size


def transformers_files(
    architecture: str = "GPT2LMHeadModel", parameters: int = 1000, **config: Any
) -> dict[str, bytes]:
    """A model of a class of transformers."""
    content = json.dumps({"architectures": [architecture], **config}).encode()
    return {"config.json": content, "model.safetensors": safetensors(parameters)}


def gguf_bytes(folder: Path, architecture: str = "llama", parameters: int = 1000, template: str = TEMPLATE) -> bytes:
    """A GGUF file whose header can be read."""
    path = folder / "made.gguf"
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(128)
    if template:
        writer.add_chat_template(template)
    writer.add_tensor("token_embd.weight", np.ones(parameters, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()
