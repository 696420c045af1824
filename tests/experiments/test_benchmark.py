"""The entry point `benchmark`: every way is measured, the table names the ratios, and all of it is logged."""

import csv
from pathlib import Path

import pytest
from mlflow import MlflowClient

from experiments import benchmark
from experiments.config import BenchmarkConfig, ConfigError
from experiments.throughput import Setting, best_by_way, table

QUICK = ["--batch_sizes", "32", "--seconds", "0.05", "--repeats", "2", "--threads", "1"]


def test_every_way_is_measured_in_turns_and_logged(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(QUICK)
    printed = capsys.readouterr().out
    assert "plain, fp32, contiguous, 0 workers" in printed and "ours, fp32, channels_last" in printed
    (run,) = MlflowClient().search_runs([e.experiment_id for e in MlflowClient().search_experiments()])
    assert run.info.status == "FINISHED"
    folder = Path(run.info.artifact_uri or "")
    with (folder / "throughput.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["batch_size"] for row in rows} == {"32"}
    assert all(len(row["measurements"].split()) == 2 and float(row["images_per_second"]) > 0 for row in rows)
    assert (folder / "throughput.png").exists()


def test_the_table_compares_medians_at_each_way_s_best_batch_size() -> None:
    def setting(loop: str, form: str, size: int, *speeds: float) -> Setting:
        return Setting(loop, "fp32", form, size, iter(()), list(speeds))

    best = best_by_way(
        [
            setting("plain", "contiguous, 0 workers", 16, 100, 90, 400),
            setting("plain", "contiguous, 0 workers", 32, 80, 80, 80),
            setting("plain", "contiguous, 2 workers", 16, 200, 200, 200),
            setting("ours", "channels_last", 16, 300, 300, 300),
            setting("ours", "channels_last", 32, 500, 400, 600),
        ]
    )
    assert [(one.batch_size, one.median) for one in best] == [(16, 100), (16, 200), (32, 500)]
    ours = next(line for line in table(best, BenchmarkConfig()) if line.startswith("ours"))
    assert ours.split()[-2:] == ["5.00", "2.50"]


@pytest.mark.parametrize("sizes", ["", "0", "64,x", "-1"])
def test_batch_sizes_that_are_none_are_refused(sizes: str) -> None:
    with pytest.raises(ConfigError, match="valid: whole numbers above 0"):
        benchmark.main(["--batch_sizes", sizes])


def test_a_batch_larger_than_the_data_is_refused_before_a_run_is_made(store: Path) -> None:
    with pytest.raises(ConfigError, match="batch_sizes has 5000; valid: at most 1258"):
        benchmark.main(["--batch_sizes", "5000"])
    assert not MlflowClient().search_runs([e.experiment_id for e in MlflowClient().search_experiments()])
