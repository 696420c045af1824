"""What tests of `compare -P kind=task` share: the call, and readers of what it left behind."""

from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from experiments import compare
from experiments.evaluation.report import EvaluationResult

TASK = ["--kind", "task", "--threads", "1"]


def evaluated(*arguments: str) -> EvaluationResult:
    result = compare.main([*TASK, *arguments])
    assert isinstance(result, EvaluationResult)
    return result


def reports(result: EvaluationResult) -> Path:
    return Path(result.page_uri).parent


def runs() -> list[Run]:
    """The runs of comparisons: the registry's models have runs of their own."""
    client = MlflowClient()
    found = client.search_runs([one.experiment_id for one in client.search_experiments() if one.name == "compare"])
    return list(found)


def children(result: EvaluationResult) -> dict[str, Run]:
    """The nested runs by registered model and version."""
    nested = [run for run in runs() if run.data.tags.get("mlflow.parentRunId") == result.run_id]
    return {f"{run.data.tags['registered_model']}/{run.data.tags['version']}": run for run in nested}


def written(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)
