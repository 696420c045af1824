"""What models answered to the same rows, kept in MLflow as an evaluation: a run with a table."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from mlflow.entities import Metric, Param

from tasks.runs.store import open_store, readable_errors
from tasks.runs.traces import experiment_to_write

EXPERIMENT, TABLE = "evaluations", "evaluation.json"
NOT_IN_NAMES = re.compile(r"[^\w./: -]")  # of metrics


def log_evaluation(
    name: str,
    task: str,
    rows: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    metrics: Mapping[str, float],
) -> str:
    """Log rows as a table that MLflow's page of evaluations shows beside those of other runs; gives the run's id.

    Args: metrics: by name; what MLflow allows in none becomes an underscore.

    Raises StoreUnreachableError; the run, if there is one by then, is marked as FAILED where the store still answers.
    """
    with readable_errors():
        client = open_store()
        tags = {"mlflow.runName": name, "task": task, "entry_point": "batch"}
        run_id = client.create_run(experiment_to_write(client, EXPERIMENT), tags=tags).info.run_id
        try:
            client.log_batch(
                run_id,
                [Metric(NOT_IN_NAMES.sub("_", key), value, 0, 0) for key, value in metrics.items()],
                [Param(key, str(value)) for key, value in settings.items()],
            )
            client.log_table(run_id, pd.DataFrame(list(rows)), TABLE)
        except Exception:
            client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id)
    return run_id
