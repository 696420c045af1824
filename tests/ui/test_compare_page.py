"""The compare page, and the numbers and charts on it."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from tasks.runs.trainings import finished_trainings, training_curves
from tests.support.logged_trainings import SECONDS, log_comparison, log_training
from tests.support.pages import fine
from ui.results import charts, confusions, leaderboard

TASK = "image-classification"


def board(**how):
    """Lines of all that is in the store."""
    found = finished_trainings(TASK)
    curves = training_curves([one.run_id for one in found], leaderboard.HISTORY)
    return leaderboard.lines(found, curves, {one.run_id: 10 for one in found}, **how), curves


def relative_luminance(color: str) -> float:
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((relative_luminance(one), relative_luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def select(app, key: str):
    return next(widget for widget in app.multiselect if widget.key and widget.key.startswith(key))


# The page.


def test_without_trainings_the_page_says_which_command_to_type(empty_tool, page) -> None:
    app = fine(page("compare"))
    assert "-e compare" in app.code[0].value


def test_page_compares_the_best_runs(empty_tool, page) -> None:
    parent = log_comparison("2 models")
    log_training("lenet5", seed=0, validation=(0.5, 0.6), test_accuracy=0.61, parent=parent)
    best = log_training("lenet5", seed=1, validation=(0.5, 0.7), test_accuracy=0.6, parent=parent)
    log_training("resnet20", validation=(0.8, 0.9), test_accuracy=0.88, parent=parent)
    log_training("vgg_small", dataset="mnist", test_accuracy=0.99)
    app = fine(page("compare"))
    assert app.button_group[0].value == ["mnist"]  # the newest
    fine(app.button_group[0].set_value(["digits"]).run())
    table = app.dataframe[0].value
    assert list(table["Model"]) == ["resnet20", "lenet5"]
    assert list(table["Accuracy"]) == [88.0, 60.0]  # not 61: validation decides which run is shown
    assert table["MLflow"][1].endswith(f"/runs/{best}")
    assert list(table["Seconds"]) == [2 * SECONDS] * 2
    drawn = app.get("vega_lite_chart")
    assert len(drawn) == 1 + 4 + 1 + 2
    assert all(chart.proto.alt for chart in drawn)  # for those who do not see them
    assert next(link.proto.label for link in app.get("page_link")) == r"Report\: 2 models"
    app.selectbox[0].select(parent).run()
    table = app.dataframe[0].value
    assert list(table["Seeds"]) == [1, 2]
    assert table["Accuracy"][1] == pytest.approx(60.5)
    assert (table["Lowest"][1], table["Highest"][1]) == (60.0, 61.0)
    next(toggle for toggle in app.toggle if toggle.key == "compare-each").set_value(True).run()
    assert list(app.dataframe[0].value["Model"]) == ["resnet20", "lenet5, seed 0", "lenet5, seed 1"]


def test_controls_of_the_charts(empty_tool, page) -> None:
    log_training()
    app = page("compare")
    for key, value in (("compare-metric", "accuracy"), ("compare-along", "seconds"), ("compare-cost", "seconds")):
        next(group for group in app.button_group if group.key == key).set_value(value).run()
        assert not app.error
    next(group for group in app.button_group if group.key == "compare-parts").set_value([]).run()
    assert any("nothing to draw" in caption.value for caption in app.caption)
    select(app, "compare-runs").set_value([]).run()
    assert "at least one run" in app.info[0].value


def test_texts_of_runs_are_inert(empty_tool, page) -> None:
    parent = log_comparison("<script>alert(1)</script> [x](javascript:alert(1))")
    log_training("=HYPERLINK(1)", parent=parent, tags={"dataset": "**<b>digits**"})
    app = fine(page("compare"))
    assert app.dataframe[0].value["Model"][0] == "'=HYPERLINK(1)"
    assert app.button_group[0].options[0] == r"\*\*\<b\>digits\*\*"
    assert "<script>" not in app.get("page_link")[0].proto.label
    assert all("<script>" not in element.value for element in (*app.markdown, *app.caption))


def test_unlike_data_and_missing_files_are_said(empty_tool, page) -> None:
    log_training("lenet5", reports=False)
    log_training("resnet20", reports=False, tags={"split_sha256": "other"})
    app = page("compare")
    assert "split" in app.warning[0].value
    assert sum("not among its artifacts" in caption.value for caption in app.caption) == 2


# What the page is made of.


def test_lines_join_seeds_but_not_configurations(store: Path) -> None:
    for seed, accuracy in enumerate((0.6, 0.7)):
        log_training(seed=seed, test_accuracy=accuracy)
    log_training(seed=0, test_accuracy=0.9, learning_rate="0.5")
    found, _ = board()
    assert [(line.label, line.seeds) for line in found] == [
        ("lenet5, learning_rate 0.5", 1),
        ("lenet5, learning_rate 0.1", 2),
    ]
    assert found[1].values["accuracy"].mean == pytest.approx(0.65)
    assert (found[1].values["accuracy"].low, found[1].values["accuracy"].high) == (0.6, 0.7)
    assert found[1].values["examples_per_second"].mean == 200  # the median of 100, 200, 300
    each, _ = board(each_run=True)
    assert len({line.label for line in each}) == len(each) == 3


def test_the_best_of_each_model_is_by_validation(store: Path) -> None:
    log_training(validation=(0.5, 0.6), test_accuracy=0.99)
    best = log_training(validation=(0.9, 0.6), test_accuracy=0.5)
    other = log_training(dataset="mnist", validation=(0.1,))
    found = finished_trainings(TASK)
    curves = training_curves([one.run_id for one in found], ["val_accuracy"])
    assert set(leaderboard.best_of_each_model(found, curves)) == {best, other}


def test_runs_that_lack_metrics_still_have_a_line(store: Path) -> None:
    log_training()
    found = finished_trainings(TASK)
    (line,) = leaderboard.lines(found, {}, {})
    assert "seconds" not in line.values and "parameters" not in line.values
    (row,) = leaderboard.table([line], {line.runs[0].run_id: "http://x"})
    assert row["Seconds"] is None and row["Validation"] is None and row["Accuracy"] == 75


def test_curve_points_count_time_and_mark_the_kept_epoch(store: Path) -> None:
    log_training(validation=(0.5, 0.9, 0.8))
    found, curves = board()
    points = leaderboard.curve_points(found, curves, "accuracy", ["validation"])
    assert [(point["epoch"], point["seconds"], point["value"]) for point in points] == [
        (1, SECONDS, 0.5),
        (2, 2 * SECONDS, 0.9),
        (3, 3 * SECONDS, 0.8),
    ]
    assert [point["kept"] for point in points] == [False, True, False]
    assert len(leaderboard.curve_points(found, curves, "loss", ["training", "validation"])) == 6


def test_charts_are_valid_and_bars_begin_at_zero(store: Path) -> None:
    log_training("lenet5")
    log_training("lenet5", seed=1, test_accuracy=0.8)
    log_training("resnet20", test_accuracy=0.9)
    found, curves = board()
    points = leaderboard.curve_points(found, curves, "loss", ["training", "validation"])
    for along, logarithmic in itertools.product(("epoch", "seconds"), (False, True)):
        charts.curves(points, "loss", along, logarithmic=logarithmic).to_dict()
    bars = charts.bars(found, "accuracy", "Accuracy").to_dict()
    assert bars["layer"][0]["encoding"]["x"]["scale"]["domain"] == [0, 1]
    zoomed = charts.bars(found, "accuracy", "Accuracy", zoomed=True).to_dict()
    assert zoomed["layer"][0]["mark"]["type"] == "point"
    cost = charts.cost(found, "parameters").to_dict()
    assert cost["layer"][0]["encoding"]["x"]["scale"]["type"] == "log"


def test_confusion_chart_tells_mistakes_from_right_answers() -> None:
    chart = confusions.confusion(np.array([[4, 1], [0, 0]]), ["a", "b"]).to_dict()
    cells = chart["layer"][0]["data"]["values"] if "data" in chart["layer"][0] else chart["data"]["values"]
    by_place = {(cell["true"], cell["predicted"]): cell for cell in cells}
    assert by_place["a", "a"]["right"] and not by_place["a", "b"]["right"]
    assert by_place["a", "b"]["share"] == 0.2
    assert all(math.isfinite(cell["depth"]) for cell in cells)  # a class without images, too


def test_models_differ_in_more_than_color() -> None:
    names = [f"model {number}" for number in range(charts.MOST_LINES)]
    color, shape = charts._identity(names)
    looks = list(zip(color.to_dict()["scale"]["range"], shape.to_dict()["scale"]["range"], strict=True))
    assert len(set(looks)) == len(names)
    first = looks[: len(charts.SHAPES)]
    assert len({shape for _, shape in first}) == len(first)


def test_colors_have_contrast_on_both_pages() -> None:
    for color in (*charts.COLORS, charts.GRAY):
        assert min(contrast(color, "#ffffff"), contrast(color, "#10151d")) >= 3
    for text, ramp in (
        (confusions.LIGHT_TEXT, confusions.DARK_BLUE),
        (confusions.LIGHT_TEXT, confusions.DARK_ORANGE),
        (confusions.DARK_TEXT, confusions.LIGHT_BLUE),
        (confusions.DARK_TEXT, confusions.LIGHT_ORANGE),
    ):
        assert contrast(text, ramp) >= 4.5
