"""Texts that take no dims to the left of their own are asked for one draw after another, to the same answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro
from ppvae.inference import subset_questions
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question
from ppvae.objectives.multisample import iwae

both = pytest.mark.parametrize("backend", ["pyro", "numpyro"])
WEIGHTS = torch.tensor([[1.5, -0.5]])  # of latent and label


class Joined(Program):
    """z ~ N(0, 1);  x ~ N(1.5 z − 0.5 y, 1), the two joined by torch.cat, for items alone."""

    conditions = ("y",)

    def forward(self, batch: Any) -> None:
        x, y = batch.get("x"), batch.get("y")
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
            both = torch.cat([z, y], dim=1)
            pyro.sample("x", dist.Normal(both @ WEIGHTS.to(both).T, 1.0).to_event(1), obs=x)


class Posterior(Program):
    """q(z | x, y) = p(z | x, y)."""

    def forward(self, batch: Any) -> None:
        both = torch.cat([batch.get("x"), batch.get("y")], dim=1)
        loc = 1.5 * (both[:, :1] + 0.5 * both[:, 1:]) / (1 + 1.5**2)
        with batch.plate():
            pyro.sample("z", dist.Normal(loc, (1 + 1.5**2) ** -0.5).to_event(1))


rng = np.random.default_rng(0)
Y = rng.integers(0, 2, (5, 1)).astype(float)
X = 1.8 * rng.normal(size=(5, 1)) - 0.5 * Y
DATA = Dataset({"x": X, "y": Y}, modalities=[Modality("x", (1,)), Modality("y", (1,), "bernoulli")])


def run(backend: str) -> Fitted:
    return ppvae.fit(VAE(Joined(), Posterior()), DATA, backend=backend, dtype="float64", epochs=1, progress=False)


@both
def test_evidence_is_that_of_the_closed_form(backend: str) -> None:
    exact = stats.norm.logpdf(X, -0.5 * Y, (1 + 1.5**2) ** 0.5)[:, 0]
    np.testing.assert_allclose(run(backend).log_evidence(DATA, particles=3), exact, rtol=1e-10)


@both
def test_draws_are_independent_and_of_the_right_shape(backend: str) -> None:
    fitted = run(backend)
    z, new = fitted.encode(DATA, draws=400)["z"], fitted.query(DATA, ask=["x"], draws=400)["x"]
    assert z.shape == new.shape == (400, 5, 1)
    mean, scale = 1.5 * (X + 0.5 * Y) / (1 + 1.5**2), (1 + 1.5**2) ** -0.5
    assert stats.kstest(((z - mean) / scale).ravel(), "norm").pvalue > 1e-3
    spread = (1 + (1.5 * scale) ** 2) ** 0.5
    assert stats.kstest(((new - 1.5 * mean + 0.5 * Y) / spread).ravel(), "norm").pvalue > 1e-3


@both
def test_an_objective_of_several_draws_is_refused_before_training(backend: str) -> None:
    vae = VAE(Joined(), Posterior(), objective=iwae(3))
    with pytest.raises(ValueError, match=r"^a program fails within the objective, which may run it on several draws"):
        ppvae.fit(vae, DATA, backend=backend, epochs=1, progress=False)


@both
def test_ranks_count_as_many_draws(backend: str) -> None:
    question = Question(subset_questions.ranks, 30, ("x",))
    found = subset_questions.ask(run(backend), question, DATA, ["y"])
    assert found["below x"].shape == (1, 5, 1)
    assert (found["below x"] <= 30).all()
    assert found["below x"].max() > 5


def test_a_text_that_takes_several_draws_is_given_them_at_once() -> None:
    class Beside(Joined):
        """The same, for any number of dims to the left."""

        def forward(self, batch: Any) -> None:
            with batch.plate():
                z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
                loc = 1.5 * z - 0.5 * batch.get("y")
                pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=batch.get("x"))

    found = ppvae.fit(VAE(Beside(), Posterior()), DATA, dtype="float64", epochs=1, progress=False)
    assert not found.vae.model.plate_layout.apart
    assert run("pyro").vae.model.plate_layout.apart
    np.testing.assert_allclose(found.log_evidence(DATA), run("pyro").log_evidence(DATA, particles=2), rtol=1e-10)
