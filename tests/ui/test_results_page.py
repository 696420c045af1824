"""The table of all runs, and the page of a run: filters, links, its report in a frame, its mistakes as pictures."""

from pathlib import Path

import pytest
import streamlit as st
from mlflow import MlflowClient

from tasks.runs.listing import runs_table
from tests.support.logged_trainings import log_comparison, log_training
from ui.results.mistakes import TEXTS
from ui.results.report_frame import HEAD, HTML
from ui.results.training_runs import curves_of, file_of, run_and_files


def run_page(page, run_id: str):
    app = page("results")
    app.query_params["run"] = run_id
    return app.switch_page("views/run.py").run()


def frame(app, key: str):
    [found] = [one for one in app.get("bidi_component") if key in one.proto.id]
    return found.proto


# The table.


def test_without_runs_the_page_says_so(empty_tool, page) -> None:
    app = page("results")
    assert "no runs yet" in app.info[0].value and not app.error


def test_runs_of_all_experiments_are_filtered_searched_and_opened(empty_tool, page) -> None:
    parent = log_comparison("2 models")
    log_training("lenet5", parent=parent, learning_rate="0.125")
    other = log_training("resnet20", dataset="mnist", tags={"entry_point": "cnn"})
    client = MlflowClient()
    failed = client.create_run(client.create_experiment("tune"), tags={"mlflow.runName": "=cmd()"}).info.run_id
    client.set_terminated(failed, "FAILED")
    client.log_metric(other, "learning_rate", 0.05)
    app = page("results")
    table = app.dataframe[0].value
    assert list(table)[:2] == ["Run", "Status"] and list(table).index("test_accuracy") < list(table).index("Program")
    assert set(table["Run"]) == {"2 models", "lenet5 on digits, seed 0", "resnet20 on mnist, seed 0", "'=cmd()"}
    assert dict(zip(table["Run"], table["Program"], strict=True))["'=cmd()"] == "tune"
    assert "test_accuracy" in table and "learning_rate" not in table
    assert "MLflow" not in table  # nobody said where its pages are
    app.text_input(key="all-search").set_value("0.125").run()
    assert list(app.dataframe[0].value["Model"]) == ["lenet5"]
    app.text_input(key="all-search").set_value("").run()
    app.multiselect(key="all-Status").set_value(["FAILED"]).run()
    assert list(app.dataframe[0].value["Run"]) == ["'=cmd()"]
    app.multiselect(key="all-Status").set_value([]).run()
    app.multiselect(key="all-Data set").set_value(["mnist"]).run()
    app.multiselect(key="all-columns").set_value(["params.learning_rate"]).run()
    assert list(app.dataframe[0].value["learning_rate"]) == ["0.1"]
    app.multiselect(key="all-columns").set_value(["metrics.learning_rate", "params.learning_rate"]).run()
    both = app.dataframe[0].value[["learning_rate", "params.learning_rate"]]
    assert both.to_numpy().tolist() == [[0.05, "0.1"]]
    app.session_state["all-runs"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    app.run()
    assert app.title[0].value == "resnet20 on mnist, seed 0" and app.query_params["run"] == other


def test_a_run_that_begins_meanwhile_does_not_move_the_tick(empty_tool, page) -> None:
    ticked = log_training()
    app = page("results")
    log_training(seed=1)
    st.cache_data.clear()
    app.session_state["all-runs"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    assert app.run().query_params["run"] == ticked


def test_the_table_links_to_mlflow_where_its_address_is_known(empty_tool, page, monkeypatch) -> None:
    run_id = log_training()
    monkeypatch.setenv("PROJECT_DL_MLFLOW_UI", "https://mlflow.example/")
    link = page("results").dataframe[0].value["MLflow"][0]
    assert link.startswith("https://mlflow.example/#/experiments/") and link.endswith(run_id)


def test_a_hundred_runs_are_one_question(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        log_training(seed=number, reports=False)
    asked = []
    search = MlflowClient.search_runs
    monkeypatch.setattr(MlflowClient, "search_runs", lambda *args, **named: asked.append(1) or search(*args, **named))
    assert len(runs_table()) == 5 and len(asked) == 1
    assert len(runs_table(limit=3)) == 3


# A run.


def test_a_link_that_leads_to_no_run_is_said(empty_tool, page) -> None:
    for run_id in ("", "../../etc", "0" * 32):
        app = run_page(page, run_id)
        assert "leads to none" in app.info[0].value and not app.error


def test_a_report_is_shown_where_it_can_do_nothing(empty_tool, page) -> None:
    parent = log_comparison("**2** models", "<h1>Report</h1><script>alert(1)</script>")
    log_training(parent=parent)
    MlflowClient().log_text(parent, "<h1>Speed</h1>", "benchmark.html")
    app = run_page(page, parent)
    assert "<h1>Speed" in frame(app, "report-benchmark.html").json
    assert app.title[0].value == r"\*\*2\*\* models" and not app.error
    shown = frame(app, "report-reports/comparison.html").json
    assert "default-src 'none'" in shown and "<h1>Report" in shown
    assert 'sandbox=""' in HTML and "script-src" not in HEAD
    assert [button.label for button in app.get("download_button")] == ["Download the report"] * 2
    assert list(app.dataframe[0].value["Run"]) == ["lenet5 on digits, seed 0"]  # the run below it
    app.session_state[f"nested-{parent}"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    assert app.run().title[0].value == "lenet5 on digits, seed 0"


def test_a_cell_of_the_confusion_matrix_opens_its_pictures(empty_tool, page) -> None:
    run_id = log_training()
    app = run_page(page, run_id)
    matrix = app.dataframe[0].value
    assert matrix.to_numpy().tolist() == [[2, 1, 0], [0, 3, 0], [0, 0, 3]]
    assert not app.image

    def click(row: int, column: str) -> None:
        app.session_state[f"confusion-{run_id}"] = {"selection": {"rows": [], "columns": [], "cells": [[row, column]]}}
        app.run()
        assert not app.error

    click(0, "dog")
    assert "cat taken for dog: 1" in app.subheader[0].value.replace("\\", "")
    assert len(app.image) == 1 and "test image 0" in "".join(one.value for one in app.caption)
    click(0, "cat")
    assert not app.image and any("right answers" in one.value for one in app.caption)
    click(1, "owl")
    assert any("There are none" in one.value for one in app.caption)


def test_own_pictures_that_were_misclassified_are_named(empty_tool, page) -> None:
    run_id = log_training(own=True)
    app = run_page(page, run_id)
    app.session_state[f"confusion-{run_id}"] = {"selection": {"rows": [], "columns": [], "cells": [[0, "dog"]]}}
    app.run()
    assert len(app.image) == 1 and not app.error
    assert any("cat/1.png" in one.value.replace("\\", "") for one in app.caption)


def test_the_page_of_a_run_that_is_training_follows_it(empty_tool, page) -> None:
    client = MlflowClient()
    run_id = client.create_run(client.create_experiment("cnn", (empty_tool / "artifacts").as_uri())).info.run_id
    app = run_page(page, run_id)
    assert "Curves" not in [one.value for one in app.header]
    log_training(run_id=run_id)
    run_and_files.clear()
    curves_of.clear()
    shown = [one.value for one in app.run().header]
    assert "Curves" in shown and "Confusion matrix" in shown


def test_runs_without_their_files_have_a_page(empty_tool, page, store: Path) -> None:
    run_id = log_training()
    for path in store.rglob("test_mistakes.npz"):
        path.unlink()
    app = run_page(page, run_id)
    app.session_state[f"confusion-{run_id}"] = {"selection": {"rows": [], "columns": [], "cells": [[0, "dog"]]}}
    assert any("logged without its pictures" in one.value for one in app.run().caption)
    client = MlflowClient()
    client.log_text(run_id, "text,label,predicted,probability\nmeow,cat,dog,0.9\nhoo,owl,dog,0.8\n", TEXTS)
    file_of.clear()
    shown = [table.value for table in app.run().dataframe if "probability" in table.value]
    assert shown[0].to_numpy().tolist() == [["meow", "0.9"]] and not app.error
    bare = client.create_run("0", tags={"error": "it **broke**"}).info.run_id
    app = run_page(page, bare)
    assert r"it \*\*broke\*\*" in app.error[0].value
