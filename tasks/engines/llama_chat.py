"""Chats that llama.cpp's server answers: functions, JSON by a schema, log-probabilities, several answers at once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tasks.base import Cancel, TaskInputError
from tasks.engines.llama_server import LlamaRefusalError
from tasks.engines.streaming import Emit
from tasks.engines.tool_calls import answer_schema, read_answer, told_of_tools

Message = dict[str, Any]
Delta = dict[str, Any]
# Of an order what llama.cpp understands as it is.
PASSED_ON = (
    "tools", "tool_choice", "parallel_tool_calls", "response_format", "logprobs", "top_logprobs", "n", "stop",
    "presence_penalty", "frequency_penalty", "logit_bias",
)  # fmt: skip


@dataclass
class Choice:
    """One of the answers, put together from what comes of it."""

    message: Message = field(default_factory=lambda: {"role": "assistant", "content": None})
    logprobs: list[Any] = field(default_factory=list)
    tokens: int = 0
    finish_reason: str = "cancelled"

    def add(self, choice: Delta) -> None:
        """Take in a chunk's part of it."""
        delta = choice.get("delta", {})
        for name in ("content", "reasoning_content"):
            if delta.get(name):
                self.message[name] = (self.message.get(name) or "") + delta[name]
        for part in delta.get("tool_calls") or ():
            calls = self.message.setdefault("tool_calls", [])
            if part["index"] == len(calls):
                calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
            call = calls[part["index"]]
            call["id"] += part.get("id") or ""
            for name, text in part.get("function", {}).items():
                call["function"][name] += text or ""
        self.logprobs += (choice.get("logprobs") or {}).get("content") or ()
        self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def whole(self, index: int) -> dict[str, Any]:
        """As OpenAI's chat completions have it."""
        logprobs = {"content": self.logprobs} if self.logprobs else None
        message = {"refusal": None, **self.message}
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": self.finish_reason}


class ChatRequest:
    """One request: what llama.cpp is asked for, and what becomes of its answer."""

    def __init__(self, order: dict[str, Any], plain: list[Message], *, takes_tools: bool) -> None:
        """Args:
        order: `messages` and what else the request has of `PASSED_ON`.
        plain: the messages as texts alone, for a template that knows no functions.
        takes_tools: whether the model's template does.
        """
        self.order = {name: order[name] for name in PASSED_ON if order.get(name) is not None}
        self.messages: list[Message] = order["messages"]
        self.alternatives = self.order.get("top_logprobs", 0)
        if "logprobs" in self.order:  # llama.cpp returns twenty by default, and nothing about any token for 0
            self.order["top_logprobs"] = max(1, self.alternatives)
        self.count = self.order.get("n", 1)
        tools, wanted = self.order.get("tools", []), self.order.get("tool_choice", "auto")
        if isinstance(wanted, dict):
            name = wanted["function"]["name"]
            tools = [tool for tool in tools if tool["function"]["name"] == name]
            if not tools:
                raise TaskInputError(f"tool_choice names {name[:60]!r}, which is not among the tools")
            self.order.update(tools=tools, tool_choice="required")
        if wanted == "none":
            tools = []
        if tools and "response_format" in self.order:
            raise TaskInputError(
                "response_format is given beside tools, and an answer is held to one of them; "
                'valid: either, or tool_choice "none"'
            )
        must = self.order.get("tool_choice") == "required"
        # Where a template has functions, llama.cpp leaves a call to the model, also one that is required.
        self.reads_calls = bool(tools) and (must or not takes_tools)
        if not takes_tools:
            self.messages = told_of_tools(plain, tools, must=must) if tools else plain
            for name in ("tools", "tool_choice", "parallel_tool_calls"):
                self.order.pop(name, None)
        if self.reads_calls:
            self.order.pop("tool_choice", None)
            schema = {"name": "answer", "schema": answer_schema(tools, must=must)}
            self.order["response_format"] = {"type": "json_schema", "json_schema": schema}
        self.choices = [Choice() for _ in range(self.count)]

    def taking(self, emit: Emit, cancel: Cancel) -> Callable[[Delta], bool]:
        """What is given llama.cpp's chunks, and emits them; true ends the work."""

        def take(chunk: Delta) -> bool:
            if "prompt_progress" in chunk:  # nothing is written yet
                return cancel()
            for choice in chunk["choices"]:
                for token in (choice.get("logprobs") or {}).get("content") or ():
                    token["top_logprobs"] = token["top_logprobs"][: self.alternatives]
                mine = self.choices[choice["index"]]
                mine.add(choice)
                mine.tokens = chunk.get("timings", {}).get("predicted_n", mine.tokens)
                if not self.reads_calls:
                    emit({"choice": choice})
            return cancel()

        return take

    def finish(self, emit: Emit) -> list[Choice]:
        """The answers, with the calls that were written as JSON."""
        if self.reads_calls:
            for index, choice in enumerate(self.choices):
                choice.message = read_answer(choice.message["content"] or "")
                calls = choice.message.get("tool_calls", [])
                if calls and choice.finish_reason == "stop":
                    choice.finish_reason = "tool_calls"
                parts = {"tool_calls": [{"index": place, **call} for place, call in enumerate(calls)]} if calls else {}
                whole = {"index": index, "delta": {**choice.message, **parts}, "finish_reason": None}
                emit({"choice": {**whole, "logprobs": {"content": choice.logprobs} if choice.logprobs else None}})
                emit({"choice": {"index": index, "delta": {}, "finish_reason": choice.finish_reason}})
        return self.choices


def refused(error: LlamaRefusalError) -> TaskInputError:
    """What llama.cpp does not take, in one line."""
    text = str(error).replace("Unable to generate parser for this template. Automatic parser generation failed: ", "")
    return TaskInputError(f"llama.cpp cannot answer this: {' '.join(text.split())[:200]}")
