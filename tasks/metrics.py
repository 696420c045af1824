"""What is known of each metric besides how it is computed: one record each."""

from typing import NamedTuple


class Metric(NamedTuple):
    """A metric of test, validation or labeled rows.

    Attributes:
        title: what the columns of reports call it.
        fraction: whether it lies between 0 and 1.
        counts_items: whether it is the fraction of right items, which tell how far chance may have moved it.
        lower_is_better: whether smaller values are better.
        decides: whether a champion is chosen by it.
        digits: behind the point, in reports.
    """

    title: str
    fraction: bool = False
    counts_items: bool = False
    lower_is_better: bool = False
    decides: bool = False
    digits: int = 4


# In the order of the tool.
METRICS = {
    "accuracy": Metric("accuracy", fraction=True, counts_items=True, decides=True),
    "sequence_accuracy": Metric("sequence accuracy", fraction=True, counts_items=True, decides=True),
    "token_accuracy": Metric("token accuracy", fraction=True),
    "precision": Metric("precision (macro)", fraction=True),
    "recall": Metric("recall (macro)", fraction=True),
    "f1": Metric("F1", fraction=True, decides=True),
    "rougeL": Metric("ROUGE-L", fraction=True, decides=True),
    "bits_per_byte": Metric("bits per byte", lower_is_better=True, decides=True),
    "perplexity": Metric("perplexity", lower_is_better=True),
    "loss": Metric("loss", lower_is_better=True),
    "ece": Metric("ECE", fraction=True, lower_is_better=True),
    "alignment": Metric("alignment", fraction=True),
    "seconds": Metric("seconds", lower_is_better=True, digits=1),
    "examples_per_second": Metric("examples/s", digits=0),
}
DECIDING = tuple(name for name, metric in METRICS.items() if metric.decides)


def record(name: str) -> Metric:
    """The record of a metric; of one that has none, a plain one."""
    return METRICS.get(name) or Metric(name.replace("_", " "))


def lower_is_better(name: str) -> bool:
    """Whether smaller values of a metric are better; not of one that has no record."""
    return record(name).lower_is_better
