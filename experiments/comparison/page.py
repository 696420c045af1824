"""One self-contained HTML page of a comparison: tables, figures and findings, in light and in dark."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from experiments.comparison.results import SHARES, Interval, Paired, Row, leading

TITLES = {"f1": "F1", "ece": "ECE", "examples_per_second": "examples/s", "precision": "precision (macro)",
          "recall": "recall (macro)"}  # fmt: skip
STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --soft: #57606a; --page: #ffffff; --line: #d0d7de; --best: #e6f4ea;
  --link: #0b57d0; --bad: #b00020 }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --soft: #9da7b1; --page: #0f1419; --line: #30363d;
  --best: #14341f; --link: #7cb7ff; --bad: #ff8a80 } }
body { margin: 0 auto; max-width: 82rem; padding: 1rem 1.5rem 4rem; background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, sans-serif }
h1 { font-size: 1.6rem } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) } a { color: var(--link) }
nav li { display: inline; margin-right: 1rem } nav ul { padding: 0 } p { max-width: 60rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child { text-align: left }
td.text { white-space: pre-wrap; text-align: left; vertical-align: top; min-width: 10rem; max-width: 28rem }
td small { display: block; color: var(--soft) }
tr.best { background: var(--best) } tr.strong td { font-weight: 600 } .soft { color: var(--soft) }
.failed { color: var(--bad) } figure { margin: 1.5rem 0 } figcaption { color: var(--soft) }
img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; border: 1px solid var(--line) }
"""


@dataclass(frozen=True)
class Table:
    """A table of its own: `values` under `head` as they go to a CSV file, `shown` under `shown_head` for people."""

    caption: str
    head: tuple[str, ...]
    values: tuple[tuple[object, ...], ...]
    shown: tuple[tuple[str, ...], ...]
    shown_head: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """What there is to say about one data set.

    `metrics` are the columns of the leaderboard, the deciding one first; `figures` are (caption, PNG); `tables` go to
    the page and, by their names, to CSV files.
    """

    dataset: str
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    paired: tuple[Paired, ...]
    analysis: tuple[str, ...]
    figures: tuple[tuple[str, bytes], ...]
    tables: Mapping[str, Table] = field(default_factory=dict)


def page(
    title: str,
    sections: Sequence[Section],
    facts: Mapping[str, str],
    failures: Mapping[str, str],
    notes: Sequence[str],
) -> str:
    """The whole page; every text in it is escaped, every figure within it. `notes` say how it was measured."""
    body = [f"<h1>{escape(title)}</h1>", _index(sections, failures)]
    for section in sections:
        body += _section(section)
    if failures:
        items = "".join(f"<li><b>{escape(name)}</b>: {escape(reason)}</li>" for name, reason in failures.items())
        body.append(f'<h2 id="failed" class="failed">Trainings that failed</h2><ul class="failed">{items}</ul>')
    body += how(facts, notes)
    return document(title, body)


def document(title: str, body: Sequence[str]) -> str:
    """A page of parts that are HTML already; the title is not."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _index(sections: Sequence[Section], failures: Mapping[str, str]) -> str:
    links = []
    for section in sections:
        name = escape(section.dataset)
        links += [
            (f"{name}", name),
            (f"{name}-pairs", f"{name}: paired tests"),
            (f"{name}-figures", f"{name}: figures"),
        ]
    links += [("failed", f"failed ({len(failures)})")] if failures else []
    links.append(("how", "how it was measured"))
    items = "".join(f'<li><a href="#{target}">{text}</a></li>' for target, text in links)
    return f"<nav><ul>{items}</ul></nav>"


def _section(section: Section) -> list[str]:
    name = escape(section.dataset)
    parts = [f'<h2 id="{name}">{name}</h2>', *(f"<p>{escape(text)}</p>" for text in section.analysis)]
    parts.append(_leaderboard(section))
    parts.append(
        '<p class="soft">Green: the best mean and what is not distinguishable from it. Small numbers: 95 % '
        "interval. The order of models within overlapping intervals means nothing.</p>"
    )
    for extra in section.tables.values():
        lines = ["<tr>" + "".join(f"<td>{escape(text)}</td>" for text in line) + "</tr>" for line in extra.shown]
        parts += [f'<p class="soft">{escape(extra.caption)}</p>', table(extra.shown_head, lines)]
    if section.paired:
        parts += [f'<h3 id="{name}-pairs">Paired tests on {name}</h3>', _pairs(section.paired)]
    parts.append(f'<h3 id="{name}-figures">Figures for {name}</h3>')
    return parts + [picture(caption, png) for caption, png in section.figures]


def picture(caption: str, png: bytes) -> str:
    """A figure within the page."""
    text, data = escape(caption), base64.b64encode(png).decode()
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def table(head: Sequence[str], lines: Sequence[str]) -> str:
    """A table of rows that are HTML already; the head is not."""
    cells = "".join(f"<th>{escape(text)}</th>" for text in head)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _leaderboard(section: Section) -> str:
    rows, metrics = section.rows, section.metrics
    best, tied, _ = leading(rows, metrics[0])
    with_flops = any(row.flops is not None for row in rows)
    head = ["model", "seeds", *(TITLES.get(metric, metric.replace("_", " ")) for metric in metrics), "parameters"]
    lines = []
    for row in rows:
        values = "".join(f"<td>{_value(metric, row.values[metric])}</td>" for metric in metrics)
        mark = ' class="best"' if row in (best, *tied) else ""
        flops = "" if row.flops is None else f"<td>{row.flops / 1e6:,.1f}</td>"
        lines.append(f"<tr{mark}><td>{escape(row.model)}</td><td>{len(row.seeds)}</td>{values}"
                     f"<td>{row.parameters:,}</td>{flops}</tr>")  # fmt: skip
    return table([*head, *(["MFLOPs/image"] if with_flops else [])], lines)


def places(metric: str) -> int:
    """Decimal places with which a metric is shown."""
    return 4 if metric in SHARES or metric == "loss" else 1 if metric == "seconds" else 0


def _value(metric: str, value: Interval) -> str:
    if math.isnan(value.mean):
        return "–"
    text = f"{value.mean:,.{places(metric)}f}"
    if not value.known:
        return text
    return f"{text}<small>{value.low:,.{places(metric)}f} – {value.high:,.{places(metric)}f}</small>"


def _pairs(paired: Sequence[Paired]) -> str:
    lines = []
    for test in sorted(paired, key=lambda test: test.p):
        mark = ' class="strong"' if test.adjusted_p < 0.05 else ""
        lines.append(
            f"<tr{mark}><td>{escape(test.a)} – {escape(test.b)}</td><td>{test.only_a}</td><td>{test.only_b}</td>"
            f"<td>{test.p:.3g}</td><td>{test.adjusted_p:.3g}</td><td>{test.seed}</td></tr>"
        )
    head = ["a – b", "only a is right", "only b is right", "p", "p after Holm", "seed"]
    note = (
        "McNemar's exact test: of the test items on which exactly one of two trained networks is right, does one "
        "network have more than chance would give it? It compares single trainings, not architectures over seeds. "
        "Holm's adjustment accounts for the number of pairs; bold: below 0.05 after it."
    )
    return f'<p class="soft">{escape(note)}</p>{table(head, lines)}'


def how(facts: Mapping[str, str], notes: Sequence[str]) -> list[str]:
    """The end of a page: what a reader must know to judge the numbers."""
    items = "".join(f"<li><b>{escape(name)}</b>: {escape(text)}</li>" for name, text in facts.items())
    texts = "".join(f"<li>{escape(text)}</li>" for text in notes)
    return ['<h2 id="how">How it was measured</h2>', f"<ul>{items}</ul><ul>{texts}</ul>"]
