"""The parts of the starter that draws pictures: its words, its autoencoder, its batches, its measures."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import CLIPTokenizer

from experiments.data.images import Subset
from experiments.starters.pictures import data, network, words
from experiments.starters.pictures.data import enlarged, first_of_each, seen
from experiments.starters.pictures.evaluation import (
    class_table,
    fraction_right,
    frechet_distance,
    look,
    train_classifier,
)
from experiments.starters.pictures.words import make_tokenizer, named, read_prompts, training_prompt
from experiments.starters.starter import FOLDER


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return make_tokenizer()


@pytest.fixture(scope="module")
def bars() -> Subset:
    """Pictures of 20 classes: a bright bar whose place is the class, on noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(20).repeat(8)
    images = torch.randint(0, 60, (len(labels), 1, 32, 32), generator=generator)
    for row, label in enumerate(labels.tolist()):
        place = 3 * (label % 10) + 1
        area = images[row, 0, place : place + 2] if label < 10 else images[row, 0, :, place : place + 2]
        area.fill_(250)
    return Subset(images.to(torch.uint8), labels)


def test_every_word_that_it_knows_is_one_token(tokenizer: CLIPTokenizer) -> None:
    for text in [*words.FILLERS, *words.DIGITS, *(name for names in words.THINGS for name in names)]:
        pieces = [f"{word}</w>" for word in text.replace("-", " - ").split()]
        assert tokenizer.tokenize(text.upper()) == pieces
    assert "".join(tokenizer.tokenize("qzk")) == "qzk</w>" and len(tokenizer.tokenize("qzk")) > 1


def test_the_tokenizer_and_the_words_are_those_of_the_shipped_model(tokenizer: CLIPTokenizer) -> None:
    shipped = CLIPTokenizer.from_pretrained(FOLDER / "image-generation" / "tokenizer")
    text = "An ankle boot & the digit 7, ünïcode 犬"
    assert shipped.get_vocab() == tokenizer.get_vocab() and shipped(text).input_ids == tokenizer(text).input_ids
    assert shipped.model_max_length == tokenizer.model_max_length == words.WINDOW
    defaults = json.loads((FOLDER / "image-generation" / "generation_defaults.json").read_text())
    assert defaults["words"] == words.understood_words()


def test_training_prompts_name_their_class_and_no_other() -> None:
    generator = np.random.default_rng(0)
    names = [{str(n), words.DIGITS[n]} for n in range(10)] + [set(names) for names in words.THINGS]
    empty = 0
    for label in [*range(20)] * 50:
        prompt = training_prompt(label, generator)
        empty += prompt == ""
        padded = f" {prompt.replace(',', ' ').replace('?', ' ')} "
        groups = [classes for text, classes in words.GROUPS.items() if set(text.split()) <= set(padded.split())]
        named_here = any(f" {name} " in padded for name in names[label])
        # Words that mean nothing may stand within a name of several words.
        named_here |= any(set(name.split()) <= set(padded.split()) for name in names[label])
        assert prompt == "" or named_here or any(label in classes for classes in groups), prompt
    assert 60 <= empty <= 145  # 10 % of 1,000, give or take


def test_every_class_has_prompts_that_only_it_has() -> None:
    prompts = [set(words.plain_prompts(label, 10)) for label in range(20)]
    assert all(len(some) == 5 for some in prompts)
    assert len(set.union(*prompts)) == 100
    assert named(7) == "the digit 7" and named(19) == "an ankle boot" and named(11) == "a pair of trousers"


def test_prompts_are_read_once_and_padded(tokenizer: CLIPTokenizer) -> None:
    tokens, rows = read_prompts(tokenizer, ["a bag", "", "a bag", "a " * 50])
    assert tokens.shape == (3, words.WINDOW) and rows.tolist() == [0, 1, 0, 2]
    assert tokens[1].tolist() == [tokenizer.bos_token_id] + [tokenizer.eos_token_id] * (words.WINDOW - 1)


def test_batches_are_functions_of_seed_and_epoch(tokenizer: CLIPTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "EPOCH_PICTURES", 20)
    latents = torch.arange(60.0).view(60, 1, 1, 1)

    def made(seed: int, **process: int) -> data.PictureBatches:
        return data.PictureBatches(lambda _: latents, torch.arange(60) % 20, tokenizer, 8, seed=seed, **process)

    def numbers(source: data.PictureBatches, epoch: int) -> list[int]:
        return [int(n) for batch in source.epoch(epoch) for n in batch.latents.flatten()]

    one = made(0)
    assert len(one) == 3 == len(list(one.epoch(1)))
    parts = [numbers(one, epoch) for epoch in (1, 2, 3)]
    assert sorted(number for part in parts for number in part) == list(range(60))  # three epochs are one pass
    assert numbers(made(0), 2) == parts[1] and numbers(one, 4) != parts[0] and numbers(made(1), 1) != parts[0]
    again = list(zip(one.epoch(2), made(0).epoch(2), strict=True))
    assert all(torch.equal(a.tokens[a.prompts], b.tokens[b.prompts]) for a, b in again)
    halves = [list(made(0, rank=rank, world_size=2).epoch(2)) for rank in (0, 1)]
    whole = list(one.epoch(2))
    for index, batch in enumerate(whole):
        assert batch.total == len(batch.latents) == sum(len(half[index].latents) for half in halves)
        text = torch.cat([half[index].tokens[half[index].prompts] for half in halves])
        assert torch.equal(text, batch.tokens[batch.prompts])


@pytest.mark.full
def test_the_autoencoder_learns_and_its_latents_are_normal(bars: Subset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "BATCH", 8)
    monkeypatch.setattr(network, "PASSES", 6)
    state = torch.get_rng_state()
    images = bars.images[:80]
    vae = network.train_autoencoder(images, seed=0, precision="fp32")
    assert torch.equal(torch.get_rng_state(), state)
    latents = network.encode(vae, images, "fp32")
    assert latents.shape == (80, 4, 8, 8)
    assert latents.mean((0, 2, 3)).abs().max() < 1e-3 and (latents.std((0, 2, 3)) - 1).abs().max() < 1e-2
    pictures = enlarged(images)
    learned = network.signal_to_noise(pictures, network.restored(vae, images, "fp32"))
    # A few steps on 80 pictures come near to a flat picture and, with another order of sums, may stay below it.
    nothing = network.signal_to_noise(pictures, torch.zeros_like(pictures))
    assert learned > nothing + 3
    assert not any(value.requires_grad for value in vae.parameters())


def test_normalizing_changes_latents_and_not_pictures(bars: Subset) -> None:
    torch.manual_seed(0)
    vae: Any = network.make_autoencoder().eval()
    images = bars.images[:10]
    before = network.restored(vae, images, "fp32")
    posterior = vae.encode(enlarged(images)).latent_dist
    spread = posterior.std / posterior.mean.std((0, 2, 3)).view(1, -1, 1, 1)
    network._normalize(vae, images, "fp32")
    assert torch.allclose(network.restored(vae, images, "fp32"), before, atol=1e-4)
    assert torch.allclose(vae.encode(enlarged(images)).latent_dist.std, spread, rtol=1e-2)


def test_in_color_it_reads_luminance_and_writes_gray(bars: Subset) -> None:
    torch.manual_seed(0)
    vae: Any = network.make_autoencoder().eval()
    colored: Any = network.in_color(vae)
    red, green, blue = (enlarged(bars.images[n : n + 1]) for n in (0, 25, 50))
    gray = 0.299 * red + 0.587 * green + 0.114 * blue
    with torch.no_grad():
        one = vae.encode(gray).latent_dist.mean
        other = colored.encode(torch.cat([red, green, blue], dim=1)).latent_dist.mean
        assert torch.allclose(one, other, atol=1e-5)
        drawn = colored.decode(one).sample
        assert torch.allclose(drawn, vae.decode(one).sample.expand(-1, 3, -1, -1), atol=1e-5)


def test_the_loss_is_that_of_velocities(tokenizer: CLIPTokenizer) -> None:
    torch.manual_seed(0)
    model = network.PictureNetwork(tokenizer).eval()

    class Silent(nn.Module):
        def forward(self, noisy: torch.Tensor, *_: torch.Tensor) -> object:
            self.noisy = noisy
            return type("Output", (), {"sample": torch.zeros_like(noisy)})

    model.unet = Silent()  # pyright: ignore[reportAttributeAccessIssue]
    latents, noise = torch.full((2, 4, 8, 8), 3.0), torch.full((2, 4, 8, 8), 2.0)
    tokens, rows = read_prompts(tokenizer, ["a bag", "a coat"])
    errors = model(latents, noise, torch.tensor([0, 999]), tokens, rows)
    # At the first step almost all is signal: v = noise; at the last all is noise: v = -latents.
    assert errors.tolist() == pytest.approx([4.0, 9.0], rel=0.05)
    assert model.unet.noisy[:, 0, 0, 0].tolist() == pytest.approx([3.0, 2.0], rel=0.03)


def test_first_of_each_class(bars: Subset) -> None:
    some = first_of_each(bars, 3)
    assert some.labels.tolist() == [label for label in range(20) for _ in range(3)]
    assert torch.equal(some.images[0:2], bars.images[[0, 20]])


def test_the_frechet_distance_of_normals_is_the_textbooks() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(20_000, 3, generator=generator, dtype=torch.float64)
    white = features @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(features.T))).T
    white = white - white.mean(0)
    assert frechet_distance(white, white) == pytest.approx(0, abs=1e-9)
    # Moved by (1, 2, 0): 5. Twice as wide: (2 - 1)^2 for each of three numbers.
    assert frechet_distance(white, white + torch.tensor([1.0, 2.0, 0.0])) == pytest.approx(5)
    assert frechet_distance(white, 2 * white) == pytest.approx(3)
    assert frechet_distance(2 * white, white + 1) == pytest.approx(6)


def test_a_classifier_learns_and_shows_its_features(bars: Subset) -> None:
    classifier = train_classifier(bars, epochs=25, seed=1)
    classes, features = look(classifier, seen(bars.images))
    assert torch.equal(classes, classifier(seen(bars.images)).argmax(dim=1)) and features.shape == (160, 84)
    assert fraction_right(classes, bars.labels) > 0.5
    same = train_classifier(bars, epochs=1, seed=2), train_classifier(bars, epochs=1, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(same[0].parameters(), same[1].parameters(), strict=True))


def test_the_table_has_a_row_for_each_class() -> None:
    said, labels = torch.tensor([0, 0, 18, 0, 18, 0, 3]), torch.tensor([0, 0, 18, 18, 18, 18, 18])
    table = class_table(said, labels, torch.tensor([0, 18, 0]), torch.tensor([0, 18, 18]))
    assert table.splitlines()[2:] == ["| 0 | 100% |  | 100.0% |", "| bag | 40% | 0 | 50.0% |"]
