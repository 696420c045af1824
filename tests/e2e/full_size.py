"""The catalog's models in their true size, with random weights: `python -m tests.e2e.full_size` prints a table.

No weights can be had offline, but what a model of such a size costs does not depend on them. Each is made once in a
temporary folder and then run in a process of its own: through the project's task (load, answer, first piece of a
stream, cancel), and with transformers or diffusers alone (load, answer). Loading includes the imports. Nothing else
should run on the machine.
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
from pathlib import Path
from typing import Any

from experiments.reports.tables import to_markdown
from tasks.runtime.jobs import JobCancelled
from tests.conftest import PROJECT_ROOT
from tests.support.full_models import CHAT, MODELS, TOKENS, save


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
    from tasks.runtime.loaded import ModelTooLargeError
    from tasks.runtime.worker import Worker

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
    full, started = MODELS[name], time.perf_counter()
    if not full.model:
        from diffusers import DiffusionPipeline

        pipeline = DiffusionPipeline.from_pretrained(folder)
        loaded = time.perf_counter() - started
        pipeline.set_progress_bar_config(disable=True)
        steps = {"num_inference_steps": 1, "guidance_scale": 0.0}
        return {"load": loaded, "answer": median_of(lambda: pipeline(full.row["prompt"], **steps), repeats)}
    import torch
    import transformers

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
            print(", ".join(f"{key}: {_short(value)}" for key, value in row.items()), flush=True)
    print(to_markdown(list(rows[0]), [[_short(value) for value in row.values()] for row in rows]))


def _in_process(way: str, name: str, folder: str, repeats: int) -> dict[str, float]:
    """What a way measures; a process that this one would make after it had a model would count that as its own."""
    command = [sys.executable, "-m", "tests.e2e.full_size", "--model", name, "--way", way, "--folder", folder]
    ended = subprocess.run(
        [*command, "--repeats", str(repeats)], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(ended.stdout.splitlines()[-1])


def _short(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}"


def _gigabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e9


if __name__ == "__main__":
    main()
