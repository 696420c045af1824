"""Parameters of the programs that make and measure the starters."""

from experiments.config.names import STARTER_TASKS
from experiments.config.options import Config
from experiments.config.training import TrainConfig
from tasks.parameters import option


class StarterConfig(TrainConfig):
    """Train the small model that this project ships for a task, from public texts or pictures.

    A default of None is written `auto`: the task's recipe decides it.
    """

    task: str = option(
        "sentiment-analysis",
        "whose starter is trained",
        choices=STARTER_TASKS,
    )
    data_dir: str = option("data", "folder of the data sets; docs/starters.md says which file lies where")
    encoder: str = option(
        "none", "of sentiment, questions and summaries: folder of a public BERT to start from; none = random weights"
    )
    train_size: int = option(0, "number of training examples; 0 = all", ge=0)
    output: str = option("none", "also write the finished model into this folder, such as starters/sentiment")


class EvaluateConfig(Config):
    """Measure the starters on held-out data: the figures of their model cards."""

    task: str = option("all", "whose starter is measured", choices=("all", *STARTER_TASKS))
    data_dir: str = option("data", "folder of the data sets; docs/starters.md says which file lies where")
    folder: str = option("auto", "another model folder to measure with the same data; auto = the starter's")
    write: bool = option(False, "write the figures into the model cards")
    threads: int = option(0, "CPU threads; 0 = all cores", ge=0, le=1024)
