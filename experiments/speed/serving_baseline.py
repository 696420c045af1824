"""What a user would write without this project: the bare call of a loaded task's own model, for comparing times."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from tasks.engines.causal import CausalModel

Row = Mapping[str, Any]
Bare = Callable[[Any, Row, Mapping[str, Any]], str]


def _sentiment(task: Any, row: Row, parameters: Row) -> str:  # noqa: ARG001
    [scores] = task.pipeline([row["text"]])  # the pipeline of transformers
    return max(scores, key=lambda entry: entry["score"])["label"]


def _answer(task: Any, row: Row, parameters: Row) -> str:  # noqa: ARG001
    return task.pipeline(dict(row), top_k=1)["answers"][0]["answer"]  # transformers 5 has no pipeline of its own


@torch.inference_mode()
def _summary(task: Any, row: Row, parameters: Row) -> str:
    inputs = task.tokenizer(row["text"], return_tensors="pt").to(task.model.device)
    tokens = task.model.generate(
        **inputs,
        do_sample=False,
        num_beams=parameters["num_beams"],
        max_new_tokens=parameters["max_length"],
        min_new_tokens=parameters["min_length"],
    )
    return task.tokenizer.decode(tokens[0], skip_special_tokens=True).strip()


def _story(task: Any, row: Row, parameters: Row) -> str:
    return _written(task.engine, task.engine.tokenizer(row["text"], return_tensors="pt"), parameters)


def _reply(task: Any, row: Row, parameters: Row) -> str:
    inputs = task.engine.tokenizer.apply_chat_template(
        row["messages"], add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    return _written(task.engine, inputs, parameters)


def _written(engine: CausalModel, inputs: Any, parameters: Row) -> str:
    inputs = inputs.to(engine.model.device)
    torch.manual_seed(parameters["seed"])
    sampling = {name: parameters[name] for name in ("temperature", "top_p", "top_k", "repetition_penalty")}
    tokens = engine.model.generate(
        **inputs, do_sample=True, num_beams=1, max_new_tokens=parameters["max_new_tokens"], **sampling
    )
    return engine.tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


@torch.inference_mode()
def _label(task: Any, row: Row, parameters: Row) -> str:  # noqa: ARG001
    scores = task.network(task.prepare(row["image"])[None]).float().softmax(dim=1)[0]
    return task.config.classes[int(scores.argmax())]


# By task: the bare call, and the column of the answer that it must give as well.
BARE: Mapping[str, tuple[Bare, str]] = {
    "sentiment-analysis": (_sentiment, "label"),
    "question-answering": (_answer, "answer"),
    "summarization": (_summary, "summary"),
    "story-completion": (_story, "completion"),
    "chatbot": (_reply, "reply"),
    "image-classification": (_label, "label"),
}
STREAMED = ("story-completion", "chatbot", "summarization")
