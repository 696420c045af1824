"""The starter for image generation: what it is, how it is trained, judged and described."""

from experiments.config import StarterConfig
from experiments.starters.pictures.judging import judge
from experiments.starters.pictures.report import describe, save_model, test
from experiments.starters.pictures.setup import PictureTraining, decide, prepare
from experiments.starters.starter import Starter
from experiments.training.family import Family

ABOUT = """\
## What it is

A small Stable Diffusion: it draws grey pictures of 64 x 64 pixels of a handwritten digit or of one of ten kinds of \
clothes, shoes and bags. Its parts are of the same classes as those of the large ones, so that any tool that loads a \
`StableDiffusionPipeline` can use the folder: a text encoder (`CLIPTextModel`, two layers of width 64) with a \
tokenizer of its own, a denoiser (`UNet2DConditionModel`, 2.2 million parameters) for latents of 4 x 8 x 8, an \
autoencoder (`AutoencoderKL`, 0.4 million), a DDIM scheduler (velocities, cosine schedule, trailing steps). There is \
no safety checker: it can draw nothing that one could find. Guidance, negative prompts and starting from a picture \
work as usual. Beside the parts lies `generation_defaults.json` with the steps and the guidance that suit it, which \
the tool of this project takes; in diffusers give them as `num_inference_steps` and `guidance_scale`.

It is there so that everything works on the first day and without a network; for anything else choose a larger model.

Words that it knows: `zero` to `nine` and `0` to `9` (a digit, a number, a figure, a numeral, handwritten); t-shirt, \
tee, top; pair of trousers, pants, jeans; pullover, sweater, jumper, sweatshirt; dress, gown, frock; coat, jacket, \
overcoat; sandal; shirt, blouse; sneaker, trainer, running shoe, sports shoe; bag, handbag, purse, tote \
bag; ankle boot, boot. For `a digit`, `a shoe`, `clothes` or `something to wear` it draws any of them. A prompt has \
up to 30 tokens: a known word is one, an unknown word one for almost every letter.

## Data and licences

- MNIST (LeCun, Cortes and Burges, `ylecun/mnist`): CC BY-SA 3.0. 54,000 of its 60,000 training pictures for \
training, 6,000 for validation; its 10,000 test pictures were used for measuring only.
- Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, `zalandoresearch/fashion_mnist`): MIT. The same numbers.

The published 28 x 28 pixels are framed to 32 x 32 and enlarged to 64 x 64. Prompts were made up from the words above \
around each picture's class; a tenth of them is empty, and half have words in them that mean nothing.

The epoch that is kept was chosen by a critic, a LeNet-5 that learned from the validation pictures, and so were steps \
and guidance, together with the Fréchet distance to validation pictures. The judge of the figures below, a LeNet-5 of \
another seed that learned from the training pictures, had no part in that.

## What it cannot do

It draws one thing, in grey, in the middle of a black ground: no colours, no scenes, no people, nothing that it has no \
word for. Words that it does not know are ignored as well as it has learned to, and a prompt of nothing but unknown \
words still gives a picture: some digit or piece of clothing. "A red dress" is a grey dress; of "12" it draws one \
digit, and "nine sneakers" become some digit too. "A summer shoe", meant as a name for sandals, mostly becomes a \
sneaker. It does not understand "no" or "without"; a negative prompt it does.

Details are soft: prints, laces and buttons get lost in the small autoencoder. Shirts, t-shirts, pullovers and coats \
are as hard to tell apart as in the data. Sizes other than 64 x 64 can be asked for, but it has learned only this one, \
and larger ones come out distorted. As the license of MNIST asks, share it under the same terms.
"""

FAMILY: Family[StarterConfig, PictureTraining] = Family("starter", decide, prepare, test, save_model, describe)

STARTER = Starter(
    name="image-generation",
    tasks=("image-generation",),
    family=FAMILY,
    judge=judge,
    about=ABOUT,
    front={
        "license": "cc-by-sa-3.0",
        "language": "en",
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "datasets": ["ylecun/mnist", "zalandoresearch/fashion_mnist"],
    },
)
