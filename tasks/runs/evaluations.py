"""What models answered to the same rows, kept in MLflow as an evaluation: a run with a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from mlflow.entities import Metric, Param

from tasks.runs.store import open_store, readable_errors
from tasks.runs.traces import find_experiment

EXPERIMENT, TABLE = "evaluations", "evaluation.json"


def log_evaluation(
    name: str,
    task: str,
    rows: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    metrics: Mapping[str, float],
) -> str:
    """Log rows as a table that MLflow's page of evaluations shows beside those of other runs; gives the run's id.

    Raises StoreUnreachableError.
    """
    with readable_errors():
        client = open_store()
        tags = {"mlflow.runName": name, "task": task, "entry_point": "batch"}
        run_id = client.create_run(find_experiment(client, EXPERIMENT, create=True) or "", tags=tags).info.run_id
        client.log_batch(
            run_id,
            [Metric(key, value, 0, 0) for key, value in metrics.items()],
            [Param(key, str(value)) for key, value in settings.items()],
        )
        client.log_table(run_id, pd.DataFrame(list(rows)), TABLE)
        client.set_terminated(run_id)
    return run_id
