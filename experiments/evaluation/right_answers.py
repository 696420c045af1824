"""The right answers of a labeled row, in all the ways in which files hold several."""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from tasks.json_files import parse_json


def right_answers(row: Mapping[str, Any], label: str) -> list[str]:
    """All right answers of a labeled row; an empty one alone, if there is none (SQuAD 2.0 counts likewise).

    A cell holds one, or several as JSON or as pandas writes a list or an array: texts, numbers, or the `text` of an
    object (SQuAD).
    """
    cells = [row[label], *(text for column, text in row.items() if re.fullmatch(rf"{label}_\d+", column))]
    return [text for cell in cells for text in _listed(cell) if text.strip()] or [""]


def _listed(cell: str) -> list[str]:
    """The texts of a cell: those of a list or object in it, else the cell itself."""
    if cell.lstrip().startswith(("[", "{", "array(")):
        readers: tuple[Callable[[str], Any], ...] = (parse_json, _as_pandas_writes)
        for read in readers:
            with suppress(ValueError, SyntaxError, TypeError, tokenize.TokenError, RecursionError, MemoryError):
                return _texts(read(cell))
    return [cell]


def _texts(value: Any) -> list[str]:
    """Raises TypeError for what has none."""
    if isinstance(value, dict) and "text" in value:
        return _texts(value["text"])
    if isinstance(value, list):
        return [text for one in value if one is not None for text in _texts(one)]
    if isinstance(value, (str, int, float)):
        return [str(value)]
    raise TypeError(type(value).__name__)


def _as_pandas_writes(cell: str) -> Any:
    """A literal of Python, in which there may be arrays of NumPy: `array([1, 2])`, and `['a' 'b']` without commas.

    Raises ValueError, SyntaxError or tokenize.TokenError for anything else.
    """
    words: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(cell.strip()).readline):
        if token.type == tokenize.STRING and words and words[-1][0] == tokenize.STRING:
            words.append((tokenize.OP, ","))  # Python would make one text of two
        if token.type not in (tokenize.NL, tokenize.NEWLINE):
            words.append((token.type, token.string))
    return ast.literal_eval(_WithoutArrays().visit(ast.parse(" ".join(text for _, text in words), mode="eval")))


class _WithoutArrays(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.AST:
        """The list within `array([...], dtype=object)`."""
        named = isinstance(node.func, ast.Name) and node.func.id == "array"
        return self.visit(node.args[0]) if named and node.args else node
