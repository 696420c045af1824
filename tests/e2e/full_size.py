"""The catalog's models in their true size, with random weights: `python -m tests.e2e.full_size` prints a table.

No weights can be had offline, but what a model of such a size costs does not depend on them. Each is made once in a
temporary folder and then run in a process of its own: through the project's task (load, answer, first piece of a
stream, cancel), and with transformers or diffusers alone (load, answer). Nothing else should run on the machine.

The architectures are those of the `config.json` of the models on the Hub, most of which are the defaults of the
configuration classes of transformers, as their documentation says.
"""

import argparse
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.reports.tables import to_text
from tasks.runtime.jobs import JobCancelled
from tests.conftest import PROJECT_ROOT

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


def save(name: str, folder: Path, _repeats: int) -> dict[str, float]:
    """Write a model with random weights and a tokenizer of the published number of tokens."""
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


def timed(work: Callable[[], object]) -> float:
    """Seconds that some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def median_of(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of some work, which was done once before."""
    work()
    return statistics.median(timed(work) for _ in range(repeats))


def with_task(name: str, folder: Path, repeats: int) -> dict[str, float]:
    """Through the project, within a memory budget that has room for one."""
    from tasks import describe_folder, open_task
    from tasks.runtime.worker import ModelTooLargeError, Worker

    full = MODELS[name]
    describe_folder(folder, full.task, name)
    seconds: dict[str, float] = {}

    def load(_key: str) -> Any:
        task = open_task(folder, "cpu")
        seconds["load"] = timed(task.load)
        return task

    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    with Worker(load, size // 2, lambda _key: size) as small:
        try:
            small.submit(name, full.row, full.parameters).result()
            raise AssertionError(f"{name} was loaded into half of what it needs")
        except ModelTooLargeError:
            assert not seconds, f"{name} was refused only after it was loaded"
    with Worker(load, size * 5 // 4, lambda _key: size) as worker:
        seconds["answer"] = median_of(lambda: worker.submit(name, full.row, full.parameters).result(), repeats)
        job = worker.submit(name, full.row, full.parameters)
        seconds["first event"] = timed(lambda: next(iter(job.events())))
        job.cancel()
        seconds["cancel"] = timed(lambda: _ended(job))
    assert not worker.statistics().loaded
    return seconds


def _ended(job: Any) -> None:
    with contextlib.suppress(JobCancelled):
        job.result()


def alone(name: str, folder: Path, repeats: int) -> dict[str, float]:
    """Through transformers or diffusers alone, with the same settings."""
    import torch

    full = MODELS[name]
    if not full.model:
        from diffusers import DiffusionPipeline

        started = time.perf_counter()
        pipeline = DiffusionPipeline.from_pretrained(folder)
        loaded = time.perf_counter() - started
        pipeline.set_progress_bar_config(disable=True)
        steps = {"num_inference_steps": 1, "guidance_scale": 0.0}
        return {"load": loaded, "answer": median_of(lambda: pipeline(full.row["prompt"], **steps), repeats)}
    import transformers

    started = time.perf_counter()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = getattr(transformers, full.model).from_pretrained(folder).eval()
    loaded = time.perf_counter() - started
    if full.task == "chatbot":
        inputs = tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    else:
        inputs = tokenizer(*full.row.values(), return_tensors="pt")
    settings: dict[str, Any] = {"do_sample": False}
    if full.task == "summarization":
        settings |= {"max_length": TOKENS, "min_length": TOKENS - 1}
    elif full.parameters:
        settings |= {"max_new_tokens": TOKENS}
    with torch.inference_mode():
        work = (lambda: model.generate(**inputs, **settings)) if full.parameters else (lambda: model(**inputs))
        return {"load": loaded, "answer": median_of(work, repeats)}


WAYS = {"save": save, "alone": alone, "with_task": with_task}


def main() -> None:
    """Measure what the command line names, each in a process of its own, and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.full_size", description=__doc__)
    parser.add_argument("--model", choices=list(MODELS), action="append", help="default: all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        found = WAYS[given.way](given.model[0], given.folder, given.repeats)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        print(json.dumps({**found, "peak GB": peak}))
        return
    rows = []
    for name in given.model or MODELS:
        with tempfile.TemporaryDirectory() as folder:
            _in_process("save", name, folder, given.repeats)
            row: dict[str, Any] = {"model": name, "GB": _gigabytes(Path(folder))}
            for way in ("alone", "with_task"):
                told = _in_process(way, name, folder, given.repeats)
                row |= {f"{key}, {way.replace('_', ' ')}": value for key, value in told.items()}
            rows.append(row)
            print(
                ", ".join(f"{key}: {value:.2f}" if key != "model" else value for key, value in row.items()), flush=True
            )
    print(to_text(rows))


def _in_process(way: str, name: str, folder: str, repeats: int) -> dict[str, float]:
    """What a way measures; a process that this one would make after it had a model would count that as its own."""
    command = [sys.executable, "-m", "tests.e2e.full_size", "--model", name, "--way", way, "--folder", folder]
    ended = subprocess.run(
        [*command, "--repeats", str(repeats)], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(ended.stdout.splitlines()[-1])


def _gigabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e9


if __name__ == "__main__":
    main()
