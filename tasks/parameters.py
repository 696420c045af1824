"""How parameters are described: fields of a frozen pydantic model, with their defaults, help and bounds.

Command lines, forms, JSON schemas, MLflow's signatures and the errors about values derive from them.
"""

import difflib
import itertools
import reprlib
from collections.abc import Iterable
from functools import cache
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from tasks.texts import text_fault

Schema = dict[str, Any]

AUTO = "auto"
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
KINDS = {"integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false"}
BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def option(
    default: Any, help: str, *, choices: Iterable[str] = (), suggestions: Iterable[str] = (), **bounds: float
) -> Any:
    """A field with its help.

    Args:
        default: None where only the program that uses the value can know it.
        choices: the texts that are valid; without them, all are.
        suggestions: some of the texts that are valid.
        bounds: pydantic's `ge`, `gt`, `le`, `lt`, `multiple_of`; of a text `min_length` and `max_length`.
    """
    extra: Any = {"enum": list(choices)} if choices else {"examples": list(suggestions)} if suggestions else None
    return Field(default, description=help, json_schema_extra=extra, **bounds)  # type: ignore[arg-type]


class Parameters(BaseModel):
    """Checked parameters. None stands for the default; types are strict, but a whole float is taken for an integer.

    Attributes:
        automatic: whether `auto` is typed for None by those whose default it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    automatic: ClassVar[bool] = False

    @classmethod
    @cache
    def specs(cls) -> dict[str, Schema]:
        """The JSON schema of each field by its name."""
        properties = cls.model_json_schema().get("properties", {})
        return {name: {key: spec[key] for key in spec if key != "title"} for name, spec in properties.items()}

    def replace(self, **changes: Any) -> Self:
        """A copy with other values, checked as all are."""
        return type(self)(**{**self.model_dump(), **changes})

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        for name in given:
            if name not in cls.model_fields:
                hint, names = did_you_mean(name, cls.model_fields), ", ".join(cls.model_fields) or "none"
                raise ValueError(f"unknown parameter {short(name)}; {hint}valid: {names}")
        return {name: value for name, value in given.items() if value is not None}

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any, info: ValidationInfo) -> Any:
        spec = cls.specs()[info.field_name or ""]
        # JSON has one kind of number, and clients send 3.0 for 3.
        if spec["type"] == "integer" and isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, str):
            if fault := text_fault(value):
                raise ValueError(fault)
            if value not in spec.get("enum", [value]):
                raise ValueError(f"is {short(value)}")
            return str(value)  # pandas and NumPy have kinds of str of their own
        return value


def valid(spec: Schema, *, automatic: bool = False) -> str:
    """What is valid for a field."""
    if "enum" in spec:
        kind = ", ".join(spec["enum"])
    elif "maxLength" in spec:
        kind = f"text of {spec.get('minLength', 0)} to {spec['maxLength']} characters"
    else:
        bounds = valid_range(spec)
        kind = f"{KINDS[spec['type']]}{bounds and (' ' if bounds.startswith('from') else ', ')}{bounds}"
    return f"{AUTO}, {kind}" if automatic and spec["default"] is None else kind


def valid_range(spec: Schema) -> str:
    """The bounds of a number's field, such as `from 1 to 10`; empty where it has none."""
    if "minimum" in spec and "maximum" in spec:
        text = f"from {spec['minimum']} to {spec['maximum']}"
    else:
        text = " and ".join(f"{words} {spec[bound]}" for bound, words in BOUNDS.items() if bound in spec)
    return f"{text}, a multiple of {spec['multipleOf']}" if "multipleOf" in spec else text


def explain(error: ValidationError, model: type[Parameters]) -> str:
    """The first thing that is wrong, in one line: the field, its value, and what is valid."""
    first = error.errors(include_url=False)[0]
    said = first.get("ctx", {}).get("error")
    if not first["loc"]:  # of fields that do not go together, and of unknown ones, the whole message is shown
        return str(said or first["msg"])
    name = str(first["loc"][0])
    spec = model.specs()[name]
    hint = did_you_mean(first["input"], spec.get("enum", ()))
    fault = said or f"is {short(first['input'])}"
    return f"{name} {fault}; {hint}valid: {valid(spec, automatic=model.automatic)}"


def did_you_mean(given: Any, names: Iterable[str]) -> str:
    """A question about the name that is closest to what was given, with a blank behind it; empty if none is close."""
    close = difflib.get_close_matches(given[:60], names, n=1) if isinstance(given, str) else []
    return f"did you mean {close[0]!r}? " if close else ""


def typed(value: Any) -> str:
    """A value as users type it."""
    return AUTO if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def from_text(spec: Schema, text: str) -> Any:
    """What a typed text means for a field; what does not fit stays text, which the model refuses."""
    if spec["default"] is None and text == AUTO:
        return None
    try:
        if spec["type"] == "boolean":
            return BOOLEANS[text.lower()]
        return {"integer": int, "number": float, "string": str}[spec["type"]](text)
    except (KeyError, ValueError):
        return text


class _Short(reprlib.Repr):
    """The first of everything: what a client sends may be large, and writing all of it out would take seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxstring = self.maxother = self.maxlong = 200
        self.maxlist = self.maxtuple = self.maxdict = 20

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        return super().repr_dict(dict(itertools.islice(x.items(), self.maxdict)), level)  # it sorts all that it gets


_SHORT = _Short()


def short(value: Any) -> str:
    """A value as it is shown in an error: in one line of at most 60 characters."""
    try:
        text = " ".join(_SHORT.repr(value).split())
    except ValueError:  # Python does not print integers of more than 4,300 digits
        text = "a very long number"
    return text if len(text) <= 60 else text[:57] + "..."
