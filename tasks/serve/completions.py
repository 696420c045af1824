"""OpenAI's completions, of chats and of texts, in terms of the tasks, so that programs written for that API work here.

https://platform.openai.com/docs/api-reference/chat; docs/serving.md says of each field what becomes of it. What would
change the kind of the answer and cannot be done is refused by name; every other field that is not known is ignored.
"""

import json
import secrets
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tasks.base import MAX_ROWS, short
from tasks.engines.generation import MAX_NEW_TOKENS
from tasks.serve.bodies import Reference, TaskRequest
from tasks.serve.errors import invalid
from tasks.serve.settings import CHATBOT
from tasks.serve.tools import ResponseFormat, ToolCalls, ToolChoice, Tools

STORY = "story-completion"
SEEDS = 2**32
MOST_ANSWERS = 4
# JSON has one kind of number, and clients send 3.0 for 3.
Whole = Annotated[int, Field(strict=False)]
UNLIMITED = -1  # how llama.cpp and vLLM write it
TopK = Annotated[Whole | None, BeforeValidator(lambda given: 0 if given == UNLIMITED else given)]
# Fields of a chat that only llama.cpp can honor, and the values that change nothing.
NATIVE: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "response_format": ({"type": "text"},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "n": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
}
# What other servers (llama.cpp, vLLM) hold an answer to. Ignored, it would be an answer of another kind.
FORMS: dict[str, tuple[Any, ...]] = {
    "grammar": ("",),
    "json_schema": ({},),
    "structured_outputs": ({},),
    "guided_json": ({}, ""),
    "guided_regex": ("",),
    "guided_choice": ([],),
    "guided_grammar": ("",),
}


class TextPart(BaseModel):
    """A part of a message. (A picture's parts cannot be read by the models here.)"""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """A message; its parts are joined by line breaks, and no content (null) is an empty text."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[TextPart], Field(fail_fast=True, max_length=MAX_ROWS)] | None = None
    tool_calls: ToolCalls | None = None
    tool_call_id: str | None = None

    @property
    def of_tools(self) -> bool:
        """Whether it calls functions, or says what one gave."""
        return self.role == "tool" or bool(self.tool_calls)

    @property
    def is_system(self) -> bool:
        """Whether it is for the model alone: `developer` is a newer name for `system`."""
        return self.role in ("system", "developer")

    def text(self) -> str:
        """Its content as one text."""
        content = self.content or ""
        return content if isinstance(content, str) else "\n".join(part.text for part in content)

    def row(self) -> dict[str, str]:
        """The message as the task takes it, with words only."""
        if self.role == "tool":
            return {"role": "user", "content": f"The function gave: {self.text()}"}
        calls = [
            json.dumps({"name": call.function.name, "arguments": call.function.arguments}, ensure_ascii=False)
            for call in self.tool_calls or ()
        ]
        text = "\n".join([self.text(), *calls]) if calls else self.text()
        return {"role": "system" if self.is_system else self.role, "content": text}

    def whole(self) -> dict[str, Any]:
        """The message as llama.cpp takes it, with its calls."""
        calls = {"tool_calls": [call.model_dump() for call in self.tool_calls]} if self.tool_calls else {}
        given = {"tool_call_id": self.tool_call_id} if self.tool_call_id else {}
        return {"role": "system" if self.is_system else self.role, "content": self.text(), **calls, **given}


class StreamOptions(BaseModel):
    include_usage: bool | None = None


class CompletionBody(BaseModel):
    """What both kinds of completions have. `top_k` and `repetition_penalty` are not OpenAI's."""

    model_config = ConfigDict(strict=True, extra="allow")
    neutral: ClassVar[dict[str, tuple[Any, ...]]]  # of fields that cannot be honored, the values that change nothing

    model: Reference = None
    max_tokens: Annotated[Whole, Field(ge=UNLIMITED)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: Whole | None = None
    stop: str | Annotated[list[str], Field(fail_fast=True)] | None = None
    top_k: TopK = None
    repetition_penalty: float | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with counts of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def settings(self, most: int | None) -> dict[str, Any]:
        """The task's parameters. Raises ApiError for a field that cannot be honored. Args: most: tokens to write."""
        for name in ("max_completion_tokens", "max_tokens"):
            if getattr(self, name, None) == 0:
                raise invalid(f"{name} is 0; valid: 1 or more, or {UNLIMITED} for what the window leaves", name)
        for name, neutral in self.neutral.items():
            value = (self.model_extra or {}).get(name)
            if value is not None and value not in neutral:
                raise invalid(f"{name} is {short(value)}; valid: {short(neutral[0])}, or leave it out", name)
        parameters = self.model_dump(include={"temperature", "top_p", "top_k", "repetition_penalty"}, exclude_none=True)
        if most is not None:
            parameters["max_new_tokens"] = MAX_NEW_TOKENS if most == UNLIMITED else min(most, MAX_NEW_TOKENS)
        if self.seed is not None:
            parameters["seed"] = self.seed % SEEDS if self.seed >= 0 else secrets.randbelow(SEEDS)
        if not all(self.stops):
            raise invalid("stop has an empty text; valid: texts of 1 character or more", "stop")
        return parameters

    @property
    def stops(self) -> list[str]:
        """The stop strings."""
        return ([self.stop] if self.stop else []) if isinstance(self.stop, str) else self.stop or []

    def stop_parameter(self) -> dict[str, str]:
        """The stop strings as the task takes them: one a line, a line break written out. Raises ApiError."""
        if any("\\n" in one for one in self.stops):
            raise invalid("stop has a backslash before an n, which cannot be given here", "stop")
        return {"stop": "\n".join(one.replace("\n", "\\n") for one in self.stops)} if self.stops else {}


class ChatBody(CompletionBody):
    """A request for the next reply of a conversation."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": CHATBOT, "messages": [{"role": "user", "content": "Hello!"}]}]}
    )
    neutral = {**FORMS, "functions": ([],), "function_call": ("none", "auto"), "modalities": (["text"],)}

    messages: Annotated[list[Message], Field(fail_fast=True, min_length=1, max_length=MAX_ROWS)]
    max_completion_tokens: Annotated[Whole, Field(ge=UNLIMITED)] | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[Whole, Field(ge=0, le=20)] | None = None
    n: Annotated[Whole, Field(ge=1, le=MOST_ANSWERS)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[Annotated[str, Field(pattern=r"^\d{1,7}$")], float] | None = None

    def request(self) -> TaskRequest:
        """What is asked of the task. Raises ApiError for a field that cannot be honored."""
        # The task writes fewer where its model's window leaves less.
        parameters = self.settings(self.max_completion_tokens or self.max_tokens or MAX_NEW_TOKENS)
        row = {"messages": [message.row() for message in self.messages]}
        order = self._order()
        if order is None:
            parameters |= self.stop_parameter()
        elif "tools" in order or "response_format" in order:
            parameters.setdefault("repetition_penalty", 1.0)  # JSON says the same marks again and again
        return TaskRequest([row], False, parameters, self.model, bool(self.stream), order)

    def _order(self) -> dict[str, Any] | None:
        """What only llama.cpp can do, as it takes it; None where nothing of that is asked for."""
        given = self.model_dump(include=set(NATIVE), exclude_none=True, by_alias=True)
        order = {name: value for name, value in given.items() if value not in NATIVE[name]}
        if "top_logprobs" in order and not self.logprobs:
            raise invalid("top_logprobs is given without logprobs; valid: logprobs true beside it", "top_logprobs")
        if self.response_format and self.response_format.type == "json_schema" and not self.response_format.json_schema:
            raise invalid("response_format.json_schema is missing", "response_format")
        if self.tool_choice not in (None, "none", "auto") and "tools" not in order:
            raise invalid("tool_choice is given without tools; valid: tools beside it", "tool_choice")
        if "tools" in order:
            chosen = self.model_dump(include={"tool_choice", "parallel_tool_calls"}, exclude_none=True)
            order |= chosen
        if "logit_bias" in order:
            order["logit_bias"] = [[int(token), bias] for token, bias in order["logit_bias"].items()]
        if not order and not any(message.of_tools for message in self.messages):
            return None
        if self.stops:
            order["stop"] = self.stops
        said = [message for message in self.messages if not (message.is_system and not message.text().strip())]
        return {**order, "messages": [message.whole() for message in said]}


class TextBody(CompletionBody):
    """A request for the continuation of a text, or of each of several."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": STORY, "prompt": "Once upon a time"}]})
    neutral = {
        **FORMS,
        "n": (1,),
        "best_of": (1,),
        "logprobs": (0,),
        "suffix": ("",),
        "presence_penalty": (0,),
        "frequency_penalty": (0,),
        "logit_bias": ({},),
    }

    prompt: str | Annotated[list[str], Field(fail_fast=True, min_length=1, max_length=MAX_ROWS)]
    echo: bool | None = None

    @property
    def prompts(self) -> list[str]:
        """The texts to continue."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

    def request(self) -> TaskRequest:
        """What is asked of the task. Raises ApiError for a field that cannot be honored."""
        parameters = self.settings(self.max_tokens) | self.stop_parameter()
        many = len(self.prompts) > 1
        if many and self.stream:
            raise invalid("prompt is a list of several, and stream is true; valid: one text to stream", "prompt")
        return TaskRequest([{"text": text} for text in self.prompts], many, parameters, self.model, bool(self.stream))
