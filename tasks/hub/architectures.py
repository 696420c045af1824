"""Which models of the Hub can run here: by the task, and by what the Hub says of their architecture. Knows no torch."""

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tasks import TASKS

# Models with a chat template have this tag on the Hub.
CONVERSATIONAL = "conversational"
# Of diffusers, as its tags on the Hub name them.
PIPELINES = ("diffusers:StableDiffusionPipeline", "diffusers:StableDiffusionXLPipeline")
# The architectures of llama.cpp that continue texts, as GGUF files name them (llama-arch.cpp).
GGUF_ARCHITECTURES = frozenset(
    """
    afmoe apertus arcee arctic baichuan bailingmoe bailingmoe2 bitnet bloom chatglm codeshell cohere2 command-r
    dbrx deci deepseek deepseek2 dots1 ernie4_5 ernie4_5-moe exaone exaone-moe exaone4 falcon falcon-h1 gemma
    gemma2 gemma3 gemma3n gemma4 glm4 glm4moe gpt-oss gpt2 gptj gptneox granite granitehybrid granitemoe grok
    grovemoe hunyuan-dense hunyuan-moe internlm2 jais jais2 jamba kimi-linear lfm2 lfm2moe llama llama4
    maincoder mamba mamba2 mimo2 minicpm minicpm3 minimax-m2 mistral3 mistral4 mpt nemotron nemotron_h
    nemotron_h_moe olmo olmo2 olmoe openelm orion pangu-embedded phi2 phi3 phimoe plamo plamo2 plamo3 plm qwen
    qwen2 qwen2moe qwen3 qwen3moe qwen3next qwen35 qwen35moe refact rwkv6 rwkv6qwen2 rwkv7 arwkv7 seed_oss
    smallthinker smollm3 stablelm starcoder starcoder2 step35 xverse
    """.split()  # noqa: SIM905
)


def runs_here(task: str, info: Any) -> bool:
    """Whether a model in a list of the Hub (`ModelInfo` with config, gguf, safetensors, tags) can run here."""
    tags = set(info.tags or ())
    if info.library_name in ("peft", "mlx") or "adapter" in tags:
        return False
    if TASKS[task].of_language_models and info.gguf:
        return info.gguf.get("architecture") in GGUF_ARCHITECTURES
    if "safetensors" not in tags and not info.safetensors:
        return False
    if task == "image-generation":
        return bool(tags.intersection(PIPELINES))
    config = info.config or {}
    # Quantized safetensors (AWQ, GPTQ, bitsandbytes) need kernels of a GPU.
    if "quantization_config" in config or "custom_code" in tags:
        return False
    return bool(classes(task).intersection(config.get("architectures") or ()))


@cache
def classes(task: str) -> frozenset[str]:
    """The classes of transformers that do a task, by their names.

    Read from the text of transformers' own table: importing it loads torch, which takes seconds.
    """
    found = find_spec("transformers")
    if found is None or not found.submodule_search_locations:
        return frozenset()
    table = Path(found.submodule_search_locations[0], "models", "auto", "modeling_auto.py")
    for node in ast.parse(table.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == TASKS[task].mapping:
            [pairs] = node.value.args  # type: ignore[attr-defined] - OrderedDict([...])
            names = [value for _, value in ast.literal_eval(pairs)]
            return frozenset(name for one in names for name in ((one,) if isinstance(one, str) else one))
    return frozenset()
