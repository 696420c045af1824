"""MLflow's tracking store for readers: open it safely, find runs, read what they logged.

Answers of the tool are also written here, and the end of runs whose process is gone; all else that is written to runs
is `experiments.tracking.run`'s business.
"""

from tasks.runs.abandoned import checkpoint_folder, claim_file, end_abandoned
from tasks.runs.answers import (
    Answer,
    AnswerNotFoundError,
    answers_experiment,
    delete_answer,
    log_answer,
    rate_answer,
    read_answer,
    recent_answers,
)
from tasks.runs.attachments import AnswerTooLargeError
from tasks.runs.evaluations import TABLE, log_evaluation
from tasks.runs.listing import MOST_RUNS, Mistakes, artifact_names, classifier_mistakes, runs_table
from tasks.runs.reading import (
    artifact_file,
    find_run,
    is_absent,
    local_artifacts,
    local_path,
    logged_steps,
    metric_values,
    nested_runs,
    tagged_runs,
)
from tasks.runs.store import (
    IMPATIENCE,
    PICKLE_SWITCH,
    StoreUnreachableError,
    address,
    database_answers,
    give_up_soon,
    open_store,
    readable_errors,
    sqlite_file,
    store_lock,
)
from tasks.runs.trainings import (
    Curve,
    FinishedTraining,
    Predictions,
    class_report,
    classifier_predictions,
    comparison_names,
    find_trainings,
    finished_trainings,
    parameter_count,
    report_file,
    training_curves,
)
from tasks.runs.votes import CHOICES, Choice, Vote, log_vote, read_votes

__all__ = [
    "CHOICES",
    "IMPATIENCE",
    "MOST_RUNS",
    "PICKLE_SWITCH",
    "TABLE",
    "Answer",
    "AnswerNotFoundError",
    "AnswerTooLargeError",
    "Choice",
    "Curve",
    "FinishedTraining",
    "Mistakes",
    "Predictions",
    "StoreUnreachableError",
    "Vote",
    "address",
    "answers_experiment",
    "artifact_file",
    "artifact_names",
    "checkpoint_folder",
    "claim_file",
    "class_report",
    "classifier_mistakes",
    "classifier_predictions",
    "comparison_names",
    "database_answers",
    "delete_answer",
    "end_abandoned",
    "find_run",
    "find_trainings",
    "finished_trainings",
    "give_up_soon",
    "is_absent",
    "local_artifacts",
    "local_path",
    "log_answer",
    "log_evaluation",
    "log_vote",
    "logged_steps",
    "metric_values",
    "nested_runs",
    "open_store",
    "parameter_count",
    "rate_answer",
    "read_answer",
    "read_votes",
    "readable_errors",
    "recent_answers",
    "report_file",
    "runs_table",
    "sqlite_file",
    "store_lock",
    "tagged_runs",
    "training_curves",
]
