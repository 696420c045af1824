"""The names of parameters and tasks as people write them. No Streamlit here."""

# Those that capitalizing does not make right.
NAMES = {
    "champion": "Make it champion",
    "ema_decay": "EMA decay",
    "grad_clip": "Gradient clipping",
    "num_beams": "Beam width",
    "stop": "Stop sequences",
    "stop_at": "Stop at accuracy",
    "top_k": "Top-k",
    "top_p": "Top-p",
    "train_size": "Training examples",
    "val_size": "Validation examples",
    "test_size": "Test examples",
    "vocab_size": "Vocabulary size",
}


def label(name: str) -> str:
    """A parameter's name, such as `EMA decay` for `ema_decay`."""
    return NAMES.get(name, name.replace("_", " ").capitalize())


def task_title(task: str) -> str:
    """A task's name, such as `Story completion` for `story-completion`."""
    return task.replace("-", " ").capitalize()
