"""ONE generic MLflow model for all tasks, logged from this file's code (MLflow's "models from code": no pickle).

The artifact `model` is a folder that says in `task.json` which task it is for and holds the weights. (MLflow's
`model_config` would also be written over the parameters of the run.) What comes in wrong leaves as MlflowException
with INVALID_PARAMETER_VALUE, because a server answers any other exception with its stack trace. Imported by MLflow
only: the last line hands the model to it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel

from tasks import open_task
from tasks.base import TaskInputError

logger = logging.getLogger(__name__)
FLATTEST = 16  # how many times wider than high a picture may be where each of its rows comes as a row of the table


class _TaskModel:
    """Any task as a pyfunc model: a table or a list of rows in, a list of rows out.

    Type hints on `predict` would replace the signature that the task gives, and MLflow warns of a PythonModel that
    defines it without them, at every load; inherited, it is left alone.
    """

    def load_context(self, context: Any) -> None:
        self.task = open_task(Path(context.artifacts["model"]))
        self.task.load()

    def predict(self, context, model_input, params=None):  # noqa: ARG002
        with _readable_errors():
            return self.task.run(_rows(model_input), params)

    def predict_stream(self, context, model_input, params=None) -> Iterator[dict[str, Any]]:  # noqa: ARG002
        """One row in; out come its pieces or steps, where the task has such, and last the row as `predict` gives it."""
        with _readable_errors():
            rows = _rows(model_input)
            if len(rows) != 1:
                raise TaskInputError(f"{len(rows)} rows to stream; valid: 1")
            yield from map(dict, self.task.stream(rows[0], params))


class TaskModel(_TaskModel, PythonModel):  # pyright: ignore[reportIncompatibleMethodOverride]
    """What MLflow loads."""


def _rows(model_input: Any) -> list[dict[str, Any]]:
    if isinstance(model_input, pd.DataFrame):
        rows = [{str(column): _cell(value) for column, value in row.items()} for row in model_input.to_dict("records")]
        return _columns_apart(rows[0]) if len(rows) == 1 else _picture_whole(rows)
    rows = [model_input] if isinstance(model_input, dict) else model_input
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TaskInputError("the input is not a table or a list of rows; valid: rows that map column names to values")
    return rows


def _cell(value: Any) -> Any:
    """A cell of a table; None for all that pandas takes for missing."""
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else value


def _columns_apart(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of `{"inputs": {"image": ["...", "..."]}}`, which MLflow takes for one row of lists.

    Of texts, or of conversations, which are lists of messages.
    """
    columns = [value.tolist() if hasattr(value, "tolist") else value for value in row.values()]
    lists = all(isinstance(one, list) and one and all(map(_is_cell, one)) for one in columns)
    if not lists or len(set(map(len, columns))) != 1:
        return [row]
    return [dict(zip(row, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _is_cell(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, dict) for one in value))


def _picture_whole(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The row of `{"inputs": {"image": [[0, 255, ...], ...]}}`, of which MLflow makes one for each row of pixels."""
    rows_of_pixels = rows and all(list(row) == ["image"] and _is_pixels(row["image"]) for row in rows)
    # Whole pictures, each with all its pixels in one list, would be one picture, very flat: their shape is refused.
    if rows_of_pixels and len(rows) * FLATTEST > len(rows[0]["image"]):
        return [{"image": [row["image"] for row in rows]}]
    return rows


def _is_pixels(value: Any) -> bool:
    """Whether this is one row of a picture: numbers for gray, triples for color."""
    first = value[0] if isinstance(value, (list, tuple, np.ndarray)) and len(value) else None
    pixel = first if isinstance(first, (list, tuple, np.ndarray)) and len(first) == 3 else [first]
    return all(isinstance(number, (int, float, np.number)) for number in pixel)


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except TaskInputError as error:
        raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None
    except Exception as error:
        # The log gets the trace, the client a sentence.
        logger.exception("a model failed")
        raise MlflowException(f"the model failed: {type(error).__name__}", error_code=INTERNAL_ERROR) from None


set_model(TaskModel())
