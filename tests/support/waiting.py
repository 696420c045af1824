"""What a run of a training would leave behind if its tracking server had been away at its end."""

from mlflow import MlflowClient

from experiments.tracking.spool import SPOOL, Spool


def let_the_end_wait(run_id: str) -> None:
    """Have the last tag and the end of a finished run wait in the spool of the working directory."""
    client = MlflowClient()
    best = client.get_run(run_id).data.tags["best_epoch"]
    client.delete_tag(run_id, "best_epoch")
    client.update_run(run_id, status="RUNNING")
    spool = Spool(SPOOL, run_id)
    spool.make("http://127.0.0.1:1")
    spool.add({"do": "batch", "metrics": [], "params": {}, "tags": {"best_epoch": best}})
    spool.add({"do": "end", "status": "FINISHED", "end_time": 1})
    spool.close()
