"""Which version of a registered model is its champion: the one that the UI and the serve commands use."""

from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from tasks.runs import open_store, store_lock

CHAMPION = "champion"
# What MLflow says of a model or version that is not there, and of an alias that is not there.
ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


@dataclass(frozen=True)
class Contender:
    """What decides whether a new version takes the champion's place: a metric, on which data; higher is better."""

    metric: str
    value: float
    data_sha256: str
    split_sha256: str


def champion(name: str) -> ModelVersion | None:
    """The version with the alias `champion`, or None. Raises what reaching the registry raises."""
    return _champion(open_store(), name)


def absent(error: MlflowException) -> bool:
    """Whether the registry answered that there is no such thing; a registry that did not answer says nothing."""
    return error.error_code in ABSENT


def _champion(client: MlflowClient, name: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if absent(error):
            return None
        raise


def promote(name: str, version: str | int) -> None:
    """Make a version the champion."""
    MlflowClient().set_registered_model_alias(name, CHAMPION, str(version))


def promote_if_better(name: str, version: str | int, contender: Contender) -> str:
    """Make a trained version champion if it beats the present one; returns what was decided and why, in words.

    Metrics are compared on the same validation data only; a tie keeps the champion. Raises what reaching the registry
    raises: without the present champion nothing is decided.
    """
    with store_lock():
        present = _champion(MlflowClient(), name)  # not through open_store, which takes the same lock
        if present is None:
            promote(name, version)
            return f"{name} version {version} is the first and becomes champion"
        same_data = (present.tags.get("data_sha256"), present.tags.get("split_sha256")) == (
            contender.data_sha256,
            contender.split_sha256,
        )
        if not same_data:
            return f"{name} version {version} was validated on other data than champion {present.version}, which stays"
        best = float(present.tags.get(contender.metric, "nan"))
        metric = contender.metric.replace("val_", "validation ").replace("_", " ")
        if not contender.value > best:
            return (
                f"champion {present.version} of {name} stays: its {metric} is {best:.4f}, "
                f"version {version} has {contender.value:.4f}"
            )
        promote(name, version)
        return (
            f"{name} version {version} becomes champion: {metric} {contender.value:.4f}, "
            f"version {present.version} had {best:.4f}"
        )
