"""One input for each task: the input example of registered models, and the first thing that a model is asked."""

from collections.abc import Mapping
from typing import Any

INPUT_EXAMPLES: Mapping[str, dict[str, Any]] = {
    "sentiment-analysis": {"text": "The film was a joy from the first minute to the last."},
    "summarization": {
        "text": "The old lighthouse had stood dark for thirty years. Last spring a group of neighbors bought it for "
        "the price of a used car, and spent every weekend scraping paint and replacing glass. On Saturday evening, "
        "with half the town on the beach, its lamp was lit again. The group now wants to open the tower to visitors."
    },
    "next-word-prediction": {"text": "The cat sat on the"},
    "story-completion": {"text": "Once upon a time, in a house by the sea,"},
    "question-answering": {
        "question": "When was the lamp lit again?",
        "context": "The old lighthouse had stood dark for thirty years. On Saturday evening its lamp was lit again.",
    },
    "chatbot": {"messages": [{"role": "user", "content": "Hello! Can you recommend a book for a rainy day?"}]},
    "image-generation": {"prompt": "a lighthouse on a cliff at dusk, oil painting"},
}
# The first answer, and the one that MLflow asks for when it has packaged the model, only show that the model works.
FIRST_PARAMETERS: Mapping[str, dict[str, Any]] = {
    "summarization": {"num_beams": 1, "max_length": 20},
    "story-completion": {"max_new_tokens": 20},
    "chatbot": {"max_new_tokens": 20},
    "image-generation": {"steps": 2, "seed": 0, "width": 256, "height": 256},
}
