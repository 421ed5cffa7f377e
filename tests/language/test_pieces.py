"""Pieces: one modality observed at sites NAME_0, NAME_1, ... counts as if each step were a modality of its own."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro
from ppvae.language.pieces import owner, pieces

BOTH = pytest.mark.parametrize("backend", ["pyro", "numpyro"])
STEPS = 4


class Walk(Program):
    """A level that drifts, read with noise at every step."""

    def __init__(self, first: int = 0, shape: tuple[int, ...] = (), apart: bool = False, backwards: bool = False):
        super().__init__()
        self.first, self.shape, self.apart, self.backwards = first, shape, apart, backwards
        self.noise = torch.nn.Parameter(torch.tensor(-0.2))

    def read(self, batch: Any, t: int) -> Any:
        if self.apart:
            return batch.get(f"x_{t}")
        x = batch.get("x")
        return None if x is None else x[:, STEPS - 1 - t if self.backwards else t]

    def forward(self, batch):
        with batch.plate():
            level = pyro.sample("level", dist.Normal(0.0, 1.0))
            for t in range(STEPS):
                loc = level.reshape(level.shape + (1,) * len(self.shape)).expand(level.shape + self.shape)
                fn = dist.Normal(loc + t, self.noise.exp()).to_event(len(self.shape))
                pyro.sample(f"x_{t + self.first}", fn, obs=self.read(batch, t))


class Guess(Walk):
    """Its guide."""

    def forward(self, batch):
        seen = [self.read(batch, t) for t in range(STEPS)]
        seen = [x.reshape(len(x), -1).mean(-1) for x in seen if x is not None]
        loc = sum(seen) / len(seen) if seen else torch.zeros(batch.size)
        with batch.plate():
            pyro.sample("level", dist.Normal(0.5 * loc, 0.6))


def pair(**options: Any) -> VAE:
    return VAE(model=Walk(**options), guide=Guess(**options))


def values(holes: bool, shape: tuple[int, ...] = ()) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.normal(np.arange(STEPS).reshape(STEPS, *(1 for _ in shape)), 1, (40, STEPS, *shape))
    return np.where(rng.random(x.shape) < 0.3, np.nan, x) if holes else x


def whole(holes: bool, shape: tuple[int, ...] = ()) -> Dataset:
    return Dataset({"x": values(holes, shape)}, modalities=[Modality("x", (STEPS, *shape))])


def apart(holes: bool, shape: tuple[int, ...] = ()) -> Dataset:
    arrays = {f"x_{t}": values(holes, shape)[:, t] for t in range(STEPS)}
    return Dataset(arrays, modalities=[Modality(name, shape) for name in arrays])


def evidence(fitted: Any, shape: tuple[int, ...]) -> np.ndarray:
    """What is seen of an item is jointly Gaussian."""
    centred = (values(True, shape) - np.arange(STEPS).reshape(STEPS, *(1 for _ in shape))).reshape(40, -1)
    noise = np.exp(2 * fitted.vae.model.noise.item())
    seen = [row[~np.isnan(row)] for row in centred]
    return np.array([multivariate_normal(cov=1 + noise * np.eye(len(x))).logpdf(x) if len(x) else 0.0 for x in seen])


DEAR = ("elbo", (2,), "numpyro")  # to compile


@pytest.mark.parametrize(
    ("objective", "shape", "backend"),
    [
        pytest.param(
            *case, id=f"{case[0]}-shape{len(case[1])}-{case[2]}", marks=[pytest.mark.slow] if case == DEAR else []
        )
        for case in itertools.product(["elbo", "iwae"], [(), (2,)], ["pyro", "numpyro"])
    ],
)
def test_pieces_with_holes_count_as_modalities_of_their_own(objective: Any, shape: tuple, backend: str) -> None:
    options: Any = {"backend": backend, "epochs": 2, "batch_size": 20, "dtype": "float64"}
    pairs = [pair(shape=shape), pair(shape=shape, apart=True)]
    sets = [whole(True, shape), apart(True, shape)]
    one, other = (
        ppvae.fit(VAE(model=v.model, guide=v.guide, objective=objective), d, **options)
        for v, d in zip(pairs, sets, strict=True)
    )
    assert one.history[-1]["loss"] == pytest.approx(other.history[-1]["loss"], rel=1e-12)
    np.testing.assert_allclose(one.log_evidence(sets[0], particles=500), evidence(one, shape), atol=0.3)
    if objective == "elbo":
        shares = [fitted.history[-1] for fitted in (one, other)]
        assert "x_0" not in str(shares[0])
        made = [f.query(d, ask=list(d.arrays), draws=3) for f, d in zip((one, other), sets, strict=True)]
        stacked = np.stack([made[1][f"x_{t}"] for t in range(STEPS)], 2)
        assert made[0]["x"].shape == (3, 40, STEPS, *shape)
        assert stacked.shape == made[0]["x"].shape
        assert one.generate(5)["x"].shape == (5, STEPS, *shape)


@BOTH
def test_pieces_may_be_numbered_otherwise_where_no_single_element_is_a_hole(backend: str) -> None:
    fits = [ppvae.fit(pair(first=first), whole(False), backend=backend, epochs=1) for first in (0, 1)]
    assert fits[0].history[-1]["loss"] == pytest.approx(fits[1].history[-1]["loss"], rel=1e-6)


@pytest.mark.parametrize("options", [{"first": 1}, {"backwards": True}])
def test_other_numbers_are_refused_where_single_elements_are_holes(options: Any) -> None:
    with pytest.raises(ValueError, match=r"has holes within its items, and its site 'x_[04]' is not the piece"):
        ppvae.fit(pair(**options), whole(True), epochs=0)


def test_a_piece_that_does_not_fit_is_refused_by_its_name() -> None:
    class Wide(Walk):
        def forward(self, batch):
            with batch.plate():
                level = pyro.sample("level", dist.Normal(0.0, 1.0))
                for t in range(STEPS):
                    pyro.sample(f"x_{t}", dist.Normal(level, 1.0).expand([3, batch.size]), obs=batch.get("x")[:, t])

    with pytest.raises(ValueError, match="site 'x_0' has batch shape"):
        ppvae.fit(VAE(model=Wide(), guide=Guess()), whole(False), epochs=0)


def test_a_modality_of_its_own_is_no_piece() -> None:
    assert owner("x_1", ["x", "x_1"]) == ("x_1", None)
    assert owner("x_1", ["x"]) == ("x", 1)
    assert owner("x_loc", ["x"]) == ("x_loc", None)
    assert pieces(["x_10", "x_2", "x_loc", "y_1"], "x") == ["x_2", "x_10"]
    assert pieces(["x", "y"], "x") == ["x"]
