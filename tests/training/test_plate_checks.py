"""Checks of a program's own plates: what cannot be right in them is refused before training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro

ENUMERATED = {"enumerate": "parallel"}
ITEMS, WORDS, TONES = 5, 3, 2


class Written(Program):
    """A text that is given the data, and the number of items."""

    def __init__(self, text: Any):
        super().__init__()
        self.text = text

    def forward(self, batch: Any) -> None:
        self.text(batch.get("x"), batch.size)


def silent(x: Any, size: int) -> None:
    """The guide of a model all of whose latents are summed out."""


def topics(x: Any, size: int) -> None:
    with pyro.plate("rows", size), pyro.plate("words", WORDS):
        k = pyro.sample("k", dist.Bernoulli(0.3), infer=ENUMERATED)
        pyro.sample("x", dist.Normal(k, 1.0), obs=x.T)


def topics_guide(x: Any, size: int) -> None:
    with pyro.plate("rows", size), pyro.plate("words", WORDS):
        pyro.sample("k", dist.Bernoulli(0.3), infer=ENUMERATED)


def collapsed(x: Any, size: int) -> None:
    with pyro.plate("rows", size):
        with pyro.plate("words", WORDS):
            k = pyro.sample("k", dist.Bernoulli(0.3), infer=ENUMERATED)
        pyro.sample("x", dist.Normal(k.sum(-2), 1.0), obs=x)


def outside(x: Any, size: int) -> None:
    with pyro.plate("rows", size, dim=-2):
        with pyro.plate("tones", TONES, dim=-1):
            k = pyro.sample("k", dist.Bernoulli(0.3), infer=ENUMERATED)
        pyro.sample("x", dist.Normal(k.sum(-1, keepdim=True), 1.0), obs=x[:, None])


def crossed(x: Any, size: int) -> None:
    words, tones = pyro.plate("words", WORDS, dim=-3), pyro.plate("tones", TONES, dim=-1)
    with pyro.plate("rows", size, dim=-2):
        with words:
            a = pyro.sample("a", dist.Bernoulli(0.3), infer=ENUMERATED)
        with tones:
            b = pyro.sample("b", dist.Bernoulli(0.3), infer=ENUMERATED)
        with words, tones:
            pyro.sample("x", dist.Normal(a + b, 1.0), obs=x.transpose(0, 1))


def picked(x: Any, size: int) -> None:
    with pyro.plate("rows", size), pyro.plate("words", WORDS, subsample=torch.arange(2)):
        k = pyro.sample("k", dist.Bernoulli(0.3), infer=ENUMERATED)
        pyro.sample("x", dist.Normal(k, 1.0), obs=x.T)


def unmoved(x: Any, size: int) -> None:
    with pyro.plate("rows", size), pyro.plate("words", WORDS):
        pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)


def of_many(x: Any, size: int) -> None:
    with pyro.plate("rows", 99, subsample=torch.arange(size)):
        pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)


def level(x: Any, size: int) -> None:
    with pyro.plate("rows", size):
        pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=x)


def rows_of_parameters(x: Any, size: int) -> None:
    with pyro.plate("rows", size):
        pyro.sample("z", dist.Normal(pyro.param("theta", torch.zeros(ITEMS), event_dim=0), 1.0))


REFUSED = {
    "rows of many": (of_many, silent, (), "the plate 'rows' picks the rows of the batch from 99, which is not the"),
    "rows of parameters": (level, rows_of_parameters, (), r"write pyro.param\('theta', ...\)\[batch.rows\] without"),
    "collapsed": (collapsed, silent, (), "'x' has several entries along dim -3, that of draws or of a plate"),
    "outside": (outside, silent, (), "'x' depends on the latent 'k', which is summed out in the plate 'tones'"),
    "crossed": (crossed, silent, (WORDS, TONES), "neither is within the other"),
    "picked": (picked, silent, (2,), "'k' is summed out in the plate 'words', which picks some of its rows"),
    "unmoved": (unmoved, silent, (WORDS,), r"observe x.movedim\(0, -1\)"),
    "enumerating guide": (topics, topics_guide, (WORDS,), "leave it out of the guide"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_right_is_refused(name: str) -> None:
    model, guide, shape, said = REFUSED[name]
    data = Dataset({"x": np.random.default_rng(0).normal(size=(ITEMS, *shape))}, modalities=[Modality("x", shape)])
    with pytest.raises(ValueError, match=said):
        ppvae.fit(VAE(Written(model), Written(guide)), data, epochs=0, batch_size=2)
