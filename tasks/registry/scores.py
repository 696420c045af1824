"""How good a registered version is, by its tags, and which versions can be compared. Pure functions on tags."""

import math
from collections.abc import Mapping

from tasks.metrics import lower_is_better

# Tags of a pretrained version: a metric on the task's sample, and the digest of that sample.
SAMPLE = "sample_"
SAMPLE_SHA256 = f"{SAMPLE}sha256"
# Tags of a version that was trained here: the digests of its data and of their split.
VALIDATION_DATA = ("data_sha256", "split_sha256")


def score(tags: Mapping[str, str], metric: str) -> float:
    """A metric of a version; NaN if its tags do not have it as a number."""
    try:
        return float(tags[metric])
    except (KeyError, ValueError):
        return math.nan


def better(metric: str, value: float, than: float) -> bool:
    """Whether a value of a metric beats another; NaN neither beats nor is beaten, and infinity beats nothing."""
    if math.isinf(value):
        return False
    return value < than if lower_is_better(metric.removeprefix(SAMPLE)) else value > than


def data_tags(metric: str) -> tuple[str, ...]:
    """The tags that say on which data a metric was measured."""
    return (SAMPLE_SHA256,) if metric.startswith(SAMPLE) else VALIDATION_DATA


def same_data(one: Mapping[str, str], other: Mapping[str, str], metric: str) -> bool:
    """Whether a metric of two versions was measured on the same data; unknown data are not the same."""
    return all(one.get(tag) and one.get(tag) == other.get(tag) for tag in data_tags(metric))


def metric_title(metric: str) -> str:
    """A metric as the user reads it, such as `validation accuracy`, or `accuracy on the sample`."""
    if metric.startswith(SAMPLE):
        return f"{metric.removeprefix(SAMPLE).replace('_', ' ')} on the sample"
    return metric.replace("val_", "validation_").replace("_", " ")
