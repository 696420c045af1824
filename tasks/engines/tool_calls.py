"""Calls of functions by models whose chat template knows nothing of them: told in a system message, held to by grammar.

A model answers with JSON, either a call, `{"name": ..., "arguments": {...}}`, or a reply, `{"reply": ...}`.
"""

import json
import secrets
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]
INTRODUCTION = (
    "You can call functions. To call one, answer with JSON that has its name and arguments:\n"
    '{"name": "...", "arguments": {...}}\n'
)
OTHERWISE = 'If none of them helps, answer with JSON that has your reply: {"reply": "..."}\n'


def told_of_tools(messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, must: bool) -> list[Message]:
    """A conversation whose system message also describes functions. Args: must: one of them has to be called."""
    described = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)
    text = f"{INTRODUCTION}{'' if must else OTHERWISE}The functions:\n{described}"
    if messages[0]["role"] != "system":
        return [{"role": "system", "content": text}, *messages]
    return [{"role": "system", "content": f"{messages[0]['content']}\n\n{text}"}, *messages[1:]]


def answer_schema(tools: Sequence[dict[str, Any]], *, must: bool) -> dict[str, Any]:
    """The JSON schema of an answer: a call of one of the functions, or a reply unless one has to be called."""
    calls = [
        _object(name={"const": function["name"]}, arguments=function.get("parameters") or {"type": "object"})
        for function in (tool["function"] for tool in tools)
    ]
    return {"anyOf": calls if must else [*calls, _object(reply={"type": "string"})]}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def read_answer(text: str) -> Message:
    """The message that an answer is: with `content`, or with `tool_calls`. What is not whole JSON is content."""
    try:
        answer = json.loads(text)
        if "reply" in answer:
            return {"role": "assistant", "content": answer["reply"]}
        function = {"name": answer["name"], "arguments": json.dumps(answer["arguments"], ensure_ascii=False)}
    except (ValueError, KeyError, TypeError):
        return {"role": "assistant", "content": text}
    call = {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}
