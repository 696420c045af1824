"""MLflow's tracking store for readers: open it safely, find runs, read what they logged.

`answers` logs the tool's answers and `trainings` reads finished trainings: who needs them imports them by name. The end
of runs whose process is gone is written here too, all else by `experiments.tracking`.
"""

from tasks.runs.reading import (
    all_pages,
    artifact_file,
    checkpoint_folder,
    claim_file,
    end_abandoned,
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
    StoreUnreachableError,
    address,
    database_answers,
    give_up_soon,
    made_experiment,
    open_store,
    readable_errors,
    sqlite_file,
)
