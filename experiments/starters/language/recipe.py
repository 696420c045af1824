"""The starter for the tasks next-word-prediction and story-completion: a small language model of children's stories."""

from experiments.starters.language.judge import judge
from experiments.starters.language.report import describe, save_model, test
from experiments.starters.language.setup import decide, prepare
from experiments.starters.starter import Starter
from experiments.training.family import Family

ABOUT = """\
## What it is

A small Llama-style decoder (4 layers, width 256, tied embeddings; 4.2 million parameters) with a byte-level BPE \
tokenizer of its own (4,096 tokens), both trained from nothing on children's stories. It reads and writes at most \
512 tokens, about 350 words, and ends a story by itself. Any tool that loads a `LlamaForCausalLM` can use the \
folder. It is there so that everything works on the first day and without a network; for anything else choose a \
larger model.

Its `generation_config.json` says that no 5 tokens in a row are repeated within a text (`no_repeat_ngram_size`): \
without that, stories drawn at the default temperature of 0.7 often run in circles, as the figures below show.

## Data and licences

About 12,000 English stories, 10.5 million characters; duplicates and unfinished ones were left out, and quotation \
marks and damaged characters mended:

- TinyStories (Eldan and Li 2023, `roneneldan/TinyStories`), three excerpts of its training part with about 11,250 \
stories: CDLA-Sharing-1.0. The excerpts are those of `gusjengis/toy-RNN`, `Arnoochka/Transformer-Parallelism` (whose \
capitals had been lost and were restored by a lexicon) and `czhou578/train-gpt2`. These stories were written by \
GPT-3.5 and GPT-4.
- StoryWeaver picture books by Pratham Books and its authors, from `global-asp/pb-source`: CC-BY.
- African Storybook (only the stories under CC-BY), from `global-asp/asp-source`: CC-BY. The authors of both are \
named in the sources.
- The Aesop for Children (1919), from `emorynlp/data-collection`: public domain.

5 % of the stories are held out for testing and 2 % for validation, by a hash of their first sentence: stories with \
the same opening stand on one side.

## What it cannot do

It knows the world of simple stories for small children and nothing else: no facts, no reasoning, no dates, no code, \
no language but English. What it writes sounds like a story, but people and things change their names and places, \
and the end may not fit the beginning; the longer the text, the more so. Unusual words lead it astray. Most names in \
it are English, most of its families are a mother, a father and a child. It was not made safe by any further \
training: its stories are mild because its data are.
"""

STARTER = Starter(
    name="language-model",
    tasks=("next-word-prediction", "story-completion"),
    family=Family("starter", decide, prepare, test, save_model, describe),
    judge=judge,
    about=ABOUT,
    front={
        "license": "apache-2.0",
        "language": "en",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "datasets": ["roneneldan/TinyStories"],
    },
)
