"""The starter for the task chatbot: the language model continued on dialogues."""

from experiments.starters.dialogue.judge import judge
from experiments.starters.dialogue.report import describe, save_model, test
from experiments.starters.dialogue.setup import decide, prepare
from experiments.starters.starter import Starter
from experiments.training.family import Family

ABOUT = """\
## What it is

The starter `language-model` (a Llama-style decoder with 4.2 million parameters, trained on children's stories) \
continued on dialogues between people, with a chat template in its tokenizer: `<|user|>` and `<|assistant|>` begin a \
turn, `<|endoftext|>` ends it. It remembers at most 512 tokens of a conversation. It shows that a chat works, from \
the form of a conversation to streaming; for a conversation that is worth having choose a larger model.

## Data and licences

- The self-dialogue corpus (Fainberg et al. 2018, `jfainberg/self_dialogue_corpus`), 23,600 conversations of ten \
turns about films, music and sport, each written by one person in both roles: BSD-3-Clause.
- The ChatterBot corpus in English (`gunthercox/chatterbot-corpus`), without its questions of knowledge, politics \
and technology: BSD-3-Clause. An epoch repeats it 5 times.
- 400 short stories of the language model's training part as answers to "Tell me a story."; their data and licences \
(CDLA-Sharing-1.0, CC-BY, public domain) are in the card of the language model.

Conversations with rude words are left out. The assistant's turns got a capital at their beginning and a mark at \
their end; the user's stayed as people wrote them. Every turn but the first is learned as a reply to those before it, \
and conversations begin with either of their first two turns. 5 % of the conversations are held out for testing and \
2 % for validation, by a hash of their first turn. The Simple dialogs, whose licence is unknown, are only measured \
on.

## What it cannot do

It has no knowledge: whatever it says about people, films, songs, scores or the world is made up, and so are the \
experiences and opinions that it claims to have. It does not follow instructions, and leaves out system messages \
altogether. It likes to talk about films, music and American football, because its data do; elsewhere its replies \
may have nothing to do with the question. It does not reason or count, speaks only English, and forgets what was \
said a few turns ago. Rude words were removed from its data and no other care was taken: do not put it before the \
public.
"""

STARTER = Starter(
    name="chatbot",
    tasks=("chatbot",),
    family=Family("starter", decide, prepare, test, save_model, describe),
    judge=judge,
    about=ABOUT,
    front={
        "license": "apache-2.0",
        "language": "en",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
    },
)
