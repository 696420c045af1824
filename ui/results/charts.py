"""Charts for the pages: Altair only, no Streamlit. Each can be read without its colors, and on a telephone.

Colors keep a contrast of at least 3 to 1 on a white and on a nearly black page (WCAG 2.2, 1.4.11).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair as alt

    from ui.results.leaderboard import Line

    LayeredChart = alt.LayerChart | alt.FacetChart

COLORS = ("#2f7fe0", "#d9730d", "#1a9a66", "#c2489a", "#8d6be3", "#128ea3", "#d6493b", "#8b8a17")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
BLUE, ORANGE, GRAY = COLORS[0], COLORS[1], "#7a808a"
# Lines that one chart can hold before they cannot be told apart.
MOST_LINES = 12
HEIGHT, ROW = 300, 26  # pixels
LEGEND_ROW, AXIS, LONG_NAME = 32, 70, 17


def curves(
    points: Sequence[Mapping[str, Any]], metric: str, along: str, *, logarithmic: bool = False
) -> "LayeredChart":
    """Loss or accuracy against `epoch` or `seconds`: training dashed, validation solid, the kept epoch marked larger.

    Args:
        points: of `ui.results.leaderboard.curve_points`.
    """
    import altair as alt

    share = metric == "accuracy"
    x = alt.X(
        f"{along}:Q",
        title={"epoch": "epoch", "seconds": "training time (s)"}[along],
        axis=alt.Axis(tickMinStep=1 if along == "epoch" else 0),
        scale=alt.Scale(zero=False),
    )
    y = alt.Y(
        "value:Q",
        title=metric,
        axis=alt.Axis(format="~%" if share else "~g", tickCount=5, labelOverlap=True),
        scale=alt.Scale(type="log" if logarithmic else "linear", zero=False),
    )
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip("part:N", title="images"),
        alt.Tooltip("seed:Q"),
        alt.Tooltip("epoch:Q"),
        alt.Tooltip("seconds:Q", format=".1f"),
        alt.Tooltip("value:Q", title=metric, format=".2%" if share else ".4f"),
    ]
    color, shape = _identity([str(point["model"]) for point in points])
    base = alt.Chart(alt.Data(values=list(points))).encode(x=x, y=y, color=color)
    dash = alt.StrokeDash(
        "part:N",
        scale=alt.Scale(domain=["training", "validation"], range=[[4, 4], [1, 0]]),
        legend=alt.Legend(title=None, orient="top", symbolStrokeColor=GRAY),
    )
    drawn = base.mark_line(strokeWidth=2, clip=True).encode(detail="run:N", strokeDash=dash)
    marks = (
        base.transform_filter("datum.marked")
        .mark_point(filled=True, opacity=1)
        .encode(shape=shape, size=alt.condition("datum.kept", alt.value(150), alt.value(45)))
    )
    # Nothing to see, but everything to point at: the nearest epoch shows its values.
    nearest = alt.selection_point(on="pointerover", nearest=True, clear="pointerout")
    aims = base.mark_point(opacity=0, size=60).encode(tooltip=tooltip).add_params(nearest)
    return alt.layer(drawn, marks, aims).properties(height=_height(points) + LEGEND_ROW)


def by_epoch(values: Mapping[str, Mapping[int, float]], title: str) -> "alt.Chart":
    """Values by epoch for `train` and `val`, each a line with its points: after one epoch there is only the point."""
    import altair as alt

    names = {"train": "training", "val": "validation"}
    points = [
        {"part": names[part], "epoch": epoch, "value": value}
        for part, by in values.items()
        for epoch, value in by.items()
    ]
    y = alt.Y("value:Q", title=title, axis=alt.Axis(format="~g", tickCount=5), scale=alt.Scale(zero=False))
    color = alt.Color(
        "part:N",
        scale=alt.Scale(domain=list(names.values()), range=[BLUE, ORANGE]),
        legend=alt.Legend(title=None, orient="top"),
    )
    return (
        alt.Chart(alt.Data(values=points))
        .mark_line(point=True)
        .encode(
            x=alt.X("epoch:Q", axis=alt.Axis(format="d", tickMinStep=1), scale=alt.Scale(zero=False)),
            y=y,
            color=color,
            tooltip=["part:N", "epoch:Q", alt.Tooltip("value:Q", title=title, format=".4f")],
        )
        .properties(height=280)
    )


def bars(found: Sequence["Line"], metric: str, title: str, *, zoomed: bool = False) -> "LayeredChart":
    """A test metric of all lines, its values beside the names; a thin line from the lowest to the highest seed.

    Args:
        zoomed: dots on a scale that begins near the lowest value, because bars must begin at zero.
    """
    import altair as alt

    rows = [
        {
            "model": line.label,
            "named": f"{line.label}  {spread.mean:.2%}",
            "value": spread.mean,
            "low": spread.low,
            "high": spread.high,
            "runs": len(line.runs),
        }
        for line in found
        if (spread := line.values.get(metric))
    ]
    y = alt.Y(
        "named:N",
        title=None,
        sort=None,
        axis=alt.Axis(labelLimit=230, labelOverlap=False, labelFlush=False, labelPadding=8),
    )
    scale = alt.Scale(zero=False, nice=True, padding=10) if zoomed else alt.Scale(domain=[0, 1])
    x = alt.X("value:Q", title=None, scale=scale, axis=alt.Axis(format="~%", tickCount=4))
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip("value:Q", title=title.lower(), format=".2%"),
        alt.Tooltip("low:Q", title="lowest", format=".2%"),
        alt.Tooltip("high:Q", title="highest", format=".2%"),
        alt.Tooltip("runs:Q", title="trainings"),
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(y=y)
    mark = base.mark_point(filled=True, size=110, color=BLUE, opacity=1) if zoomed else base.mark_bar(color=BLUE)
    spread = (
        base.transform_filter("datum.high > datum.low")
        .mark_rule(strokeWidth=2, color=ORANGE, aria=False)
        .encode(x="low:Q", x2="high:Q")
    )
    layers = [mark.encode(x=x, tooltip=tooltip), spread]
    return alt.layer(*layers).properties(height=alt.Step(ROW), title=alt.TitleParams(title, anchor="start", offset=8))


def cost(found: Sequence["Line"], against: str) -> "LayeredChart":
    """Test accuracy against `parameters` or `seconds` (logarithmic): the best are up and left."""
    import altair as alt

    title = {"parameters": "parameters", "seconds": "seconds of training"}[against]
    rows = [
        {
            "model": line.label,
            "cost": line.values[against].mean,
            "value": line.values["accuracy"].mean,
            "low": line.values["accuracy"].low,
            "high": line.values["accuracy"].high,
        }
        for line in found
        if "accuracy" in line.values and against in line.values and line.values[against].mean > 0
    ]
    color, shape = _identity([row["model"] for row in rows])
    x = alt.X(
        "cost:Q",
        title=f"{title}, logarithmic",
        scale=alt.Scale(type="log", nice=True, padding=12),
        axis=alt.Axis(format="~s", tickCount=5, labelOverlap=True),
    )
    y = alt.Y("value:Q", title="test accuracy", scale=alt.Scale(zero=False, padding=12), axis=alt.Axis(format="~%"))
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip("value:Q", title="test accuracy", format=".2%"),
        alt.Tooltip("cost:Q", title=title, format=",.5~r"),
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, color=color)
    spread = (
        base.transform_filter("datum.high > datum.low")
        .mark_rule(strokeWidth=2, aria=False)
        .encode(y=alt.Y("low:Q", title="test accuracy"), y2="high:Q")
    )
    points = base.mark_point(filled=True, size=150, opacity=1).encode(y=y, shape=shape, tooltip=tooltip)
    return alt.layer(points, spread).properties(height=_height(rows))


def accuracy_by_length(rows: Sequence[Mapping[str, Any]]) -> "LayeredChart":
    """Fraction of sequences reversed without a mistake against their length; dashed rules at the trained lengths.

    Args:
        rows: `model`, `length`, `accuracy`, and `trained`, the longest length in training or None.
    """
    import altair as alt

    color, shape = _identity([str(row["model"]) for row in rows])
    x = alt.X(
        "length:Q",
        title="numbers in the sequence",
        scale=alt.Scale(zero=False, nice=False, padding=12),
        axis=alt.Axis(values=sorted({row["length"] for row in rows}), format="d", labelOverlap=True),
    )
    y = alt.Y(
        "accuracy:Q", title="sequences without a mistake", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="~%")
    )
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip("length:Q"),
        alt.Tooltip("accuracy:Q", format=".1%"),
        alt.Tooltip("trained:Q", title="trained up to"),
    ]
    base = alt.Chart(alt.Data(values=list(rows))).encode(x=x, y=y, color=color)
    lines = base.mark_line(strokeWidth=2)
    marks = base.mark_point(filled=True, size=90, opacity=1).encode(shape=shape, tooltip=tooltip)
    trained = [{"length": length} for length in sorted({row["trained"] for row in rows if row.get("trained")})]
    rules = (
        alt.Chart(alt.Data(values=trained))
        .mark_rule(strokeDash=[5, 4], strokeWidth=2, color=GRAY)
        .encode(x=x, tooltip=[alt.Tooltip("length:Q", title="trained up to")])
    )
    return alt.layer(rules, lines, marks).properties(height=_height(rows))


def _height(rows: Sequence[Mapping[str, Any]]) -> int:
    """Pixels of a whole chart whose plot stays as high however many models its legend names."""
    models = {str(row["model"]) for row in rows}
    return HEIGHT + AXIS + LEGEND_ROW * math.ceil(len(models) / _legend_columns(models))


def _legend_columns(models: Iterable[str]) -> int:
    """As many as fit on a telephone."""
    return 1 if any(len(model) > LONG_NAME for model in models) else 2


def _identity(models: Sequence[str]) -> tuple["alt.Color", "alt.Shape"]:
    """Color and shape that stand for the same model, in one legend below the chart; always the same ones."""
    import altair as alt

    names = list(dict.fromkeys(models))
    legend = alt.Legend(title=None, orient="bottom", columns=_legend_columns(names), labelLimit=260, symbolSize=110)
    colors = [COLORS[place % len(COLORS)] for place in range(len(names))]
    # A ninth model has the first color again, but not with the first shape.
    shapes = [SHAPES[(place + place // len(COLORS)) % len(SHAPES)] for place in range(len(names))]
    return (
        alt.Color("model:N", scale=alt.Scale(domain=names, range=colors), legend=legend),
        alt.Shape("model:N", scale=alt.Scale(domain=names, range=shapes), legend=legend),
    )
