"""Whether a registered pretrained model becomes champion of its task: measured on the task's sample, or as asked."""

import shlex
import sys
from collections.abc import Mapping

from experiments.evaluation.tasks import TASK_METRICS, rows_sha256, sample_rows
from tasks import registry
from tasks.registry.scores import SAMPLE, SAMPLE_SHA256


def score_tags(task: str, scores: Mapping[str, float]) -> dict[str, str]:
    """Tags by which a version can be compared with others: the deciding metric and the sample; {} if not measured."""
    if not scores:
        return {}
    deciding = TASK_METRICS[task].headline
    return {SAMPLE_SHA256: rows_sha256(sample_rows(task)), f"{SAMPLE}{deciding}": repr(scores[deciding])}


def decide(task: str, version: str, measured: bool, wanted: bool | None) -> tuple[bool, str]:
    """Make a version champion, or leave the present one; gives whether it is champion, and what was decided and why.

    Args:
        measured: whether the version has score tags.
        wanted: None: if it is the first, or better on the sample.
    """
    if wanted is False:
        return False, f"version {version} of {task} does not become champion, as champion=false says"
    if wanted:
        registry.promote(task, version)
        return True, f"version {version} of {task} becomes champion, as champion=true says"
    metric = f"{SAMPLE}{TASK_METRICS[task].headline}" if measured else ""
    decision = registry.promote_if_better(task, version, metric)
    present = registry.champion(task)
    if present is not None and str(present.version) == version:
        return True, decision
    return False, f"{decision}; to make it champion all the same: {_command(task, version)}"


def _command(task: str, version: str) -> str:
    """What the user types, in the folder of the project, to promote a version."""
    return shlex.join([sys.executable, "-c", f'from tasks import registry; registry.promote("{task}", {version})'])
