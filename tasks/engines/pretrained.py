"""What the tasks of pretrained text models share: their inputs are texts, their window is known."""

from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

from tasks.base import Task, check_text
from tasks.hub.source import weights_folder


class PretrainedTask(Task):
    """A task of a pretrained text model: which class of transformers it is, which columns are texts.

    Its `lock` is held while the model answers. Servers ask from several threads at once, and a tokenizer keeps settings
    of one call (truncation, padding) in itself while another runs.
    """

    auto_class: ClassVar[str]
    texts: ClassVar[tuple[str, ...]] = ("text",)
    inputs = {"text": True}
    requirements = ("torch", "transformers", "huggingface-hub", "jinja2")
    wide_range: ClassVar[bool] = False

    def __init__(self, folder: Path, model_name: str, device: str = "auto") -> None:
        super().__init__(folder, model_name, device)
        self.lock = Lock()

    def load(self) -> None:
        from tasks.engines.loading import context_window, load_model, load_tokenizer, pick_device, pick_dtype

        folder = weights_folder(self.folder)
        device = pick_device(self.device)
        self.model = load_model(folder, self.auto_class, device, pick_dtype(device, wide_range=self.wide_range))
        self.tokenizer = load_tokenizer(folder)
        self.window = context_window(self.model, self.tokenizer)

    def check_row(self, row: dict[str, Any]) -> dict[str, Any]:
        return {**row, **{column: check_text(column, row[column]) for column in self.texts}}

    def encode(self, text: str | list[str], **options: Any) -> Any:
        """The tokens of a text or several, however many, as the tokenizer's answer."""
        return self.tokenizer(text, verbose=False, **options)
