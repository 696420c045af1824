"""How each task looks on the page; a task without a panel of its own has the general one."""

import importlib

from ui.panels.base import Example, Panel

# Named, not imported: drawing one task does not load the others'.
PANELS: dict[str, str] = {
    "sentiment-analysis": "ui.panels.sentiment:SentimentPanel",
    "summarization": "ui.panels.summarization:SummarizationPanel",
    "next-word-prediction": "ui.panels.next_word:NextWordPanel",
    "story-completion": "ui.panels.story:StoryPanel",
    "question-answering": "ui.panels.question_answering:QuestionAnsweringPanel",
    "chatbot": "ui.panels.chat:ChatPanel",
    "image-generation": "ui.panels.image_generation:ImageGenerationPanel",
    "image-classification": "ui.panels.image_classification:ImageClassificationPanel",
    "sequence-reversal": "ui.panels.sequence_reversal:SequenceReversalPanel",
}


def panel(task: str) -> Panel:
    """The panel of a task by its contract name."""
    if task not in PANELS:
        return Panel(task)
    module, class_name = PANELS[task].split(":")
    return getattr(importlib.import_module(module), class_name)(task)
