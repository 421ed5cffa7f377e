"""Texts that answers run in another way: what all items share is indexed in them, or data are asked for their shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from objective_harness import BACKENDS
from scipy import stats
from torch import nn
from torch.distributions import constraints

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro

both = pytest.mark.parametrize("backend", BACKENDS)


class Documents(Program):
    """Latent Dirichlet allocation as Pyro's own example has it."""

    def __init__(self, topics: int):
        super().__init__()
        self.topics = topics

    def forward(self, batch: Any) -> None:
        data = batch.get("doc_words").long().T
        with pyro.plate("topics", self.topics):
            topic_weights = pyro.sample("topic_weights", dist.Gamma(1.0 / self.topics, 1.0))
            topic_words = pyro.sample("topic_words", dist.Dirichlet(torch.ones(7) / 7))
        with pyro.plate("documents", batch.size) as ind:
            data = data[:, ind]
            doc_topics = pyro.sample("doc_topics", dist.Dirichlet(topic_weights))
            with pyro.plate("words", len(data)):
                word_topics = pyro.sample("word_topics", dist.Categorical(doc_topics), infer={"enumerate": "parallel"})
                pyro.sample("doc_words", dist.Categorical(topic_words[word_topics]), obs=data)


class DocumentsGuide(Documents):
    """Its guide, sure of everything, so that weights have a formula."""

    def forward(self, batch: Any) -> None:
        weights = pyro.param("w", lambda: torch.arange(1.0, 1 + self.topics), constraint=constraints.positive)
        words = pyro.param("b", lambda: torch.eye(self.topics, 7) + 0.1, constraint=constraints.positive)
        with pyro.plate("topics", self.topics):
            pyro.sample("topic_weights", dist.Delta(weights))
            pyro.sample("topic_words", dist.Delta(words / words.sum(-1, keepdim=True), event_dim=1))
        with pyro.plate("documents", batch.size):
            counts = batch.get("doc_words").long().T.sum(0)[:, None] + torch.arange(1.0, 1 + self.topics)
            pyro.sample("doc_topics", dist.Delta(counts / counts.sum(-1, keepdim=True), event_dim=1))


@both
def test_what_all_items_share_may_be_indexed(backend: str) -> None:
    """As many draws as topics are no draws of topics."""
    draws, rng = 3, np.random.default_rng(0)
    docs = rng.integers(0, 7, (6, 4)).astype(float)
    data = Dataset({"doc_words": docs}, modalities=[Modality("doc_words", (4,), "categorical", levels=7)])
    run = ppvae.fit(VAE(Documents(3), DocumentsGuide(3)), data, backend=backend, dtype="float64", epochs=0)
    weights, words = np.arange(1.0, 4), np.eye(3, 7) + 0.1
    expected = []
    for doc in docs.astype(int):
        theta = (doc.sum() + weights) / (doc.sum() + weights).sum()
        fit = np.log(theta @ (words / words.sum(-1, keepdims=True))[:, doc]).sum()
        expected.append(fit + stats.dirichlet.logpdf(theta, weights))
    np.testing.assert_allclose(run.log_evidence(data, particles=draws), expected, rtol=1e-10)
    assert run.encode(data, draws=draws)["doc_topics"].shape == (draws, 6, 3)

    new = run.query(data, draws=draws)["doc_words"]
    assert new.shape == (draws, 6, 4)
    assert set(np.unique(new)) <= set(range(7))
    assert run.generate(5)["doc_words"].shape == (5, 4)


class Silent(Program):
    """The guide of a model without latents, which asks its data for their shape, too."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, batch: Any) -> None:
        batch.get("x").shape  # noqa: B018


class Lagged(Program):
    """Each number is near the one before, of the data or of the draw; its text asks the data how many there are."""

    def __init__(self, of_data: bool):
        super().__init__()
        self.of_data = of_data

    def forward(self, batch: Any) -> None:
        x, last = batch.get("x"), 5.0
        with pyro.plate("rows", x.shape[0]):
            for t in range(x.shape[1]):
                drawn = pyro.sample(f"x_{t}", dist.Normal(last, 0.1), obs=x[:, t])
                last = x[:, t] if self.of_data else drawn


@both
def test_zeros_stand_for_data_of_which_a_text_takes_the_shape_alone(backend: str, tmp_path: Path) -> None:
    data = Dataset({"x": np.random.default_rng(0).normal(5.0, 0.1, (6, 4))})
    ppvae.fit(VAE(Lagged(False), Silent()), data, backend=backend, epochs=0).save(tmp_path / "run")
    run = ppvae.load(tmp_path / "run", vae=VAE(Lagged(False), Silent()))
    np.testing.assert_allclose(run.generate(500)["x"].std(0), 0.1 * np.sqrt([1, 2, 3, 4]), rtol=0.2)
    refused = ppvae.fit(VAE(Lagged(True), Silent()), data, backend=backend, epochs=0)
    with pytest.raises(ValueError, match="Lagged fails where a modality is not given"):
        refused.generate(2)
