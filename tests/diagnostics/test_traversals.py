"""Traversals: decoded means at the latents that were set, whatever stands between them and the modality."""

from __future__ import annotations

from functools import cache

import linear_gaussian as lg
import numpy as np
import pytest

from ppvae import VAE, Dataset, Modality, Program, dist, ops, pyro
from ppvae.diagnostics import activity
from ppvae.diagnostics.traversals import Traversal, traversal
from ppvae.inference.fitted import Fitted
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot


@cache
def truth() -> lg.LinearGaussian:
    return lg.orthogonal()


@cache
def data() -> Dataset:
    return lg.dataset(truth(), truth().draw(20, seed=2))


def exact() -> Fitted:
    return lg.fitted(truth(), lg.product(truth()), "pyro")


def moved(found: Traversal, name: str, weight: np.ndarray) -> None:
    """Decoded means move by the weight of the number that moves, exactly."""
    steps = found.values - found.values[:, :1]
    wanted = steps[..., None] * weight[:, None]
    np.testing.assert_allclose(found.decoded[name] - found.decoded[name][:, :1], wanted, rtol=1e-9, atol=1e-9)


def test_decoded_means_are_the_oracle_s_around_an_item_s_posterior_mean() -> None:
    found = traversal(exact(), data(), dimensions=[1, 0], span=[-2.0, 0.0, 1.0], anchor=4)
    assert found.names == ("z[1]", "z[0]")
    np.testing.assert_allclose(found.values, [[-2, 0, 1]] * 2, atol=0.25)
    assert list(found.decoded) == truth().names
    mean, cov = truth().posterior({name: array[4:5] for name, array in data().arrays.items()})
    for name, weight in truth().weights.items():
        moved(found, name, weight.T[[1, 0]])
        z = np.stack([[mean[0, 0], found.values[0, 0]], [found.values[1, 0], mean[0, 1]]])
        error = 5 * np.sqrt(cov[0].max() / 1000) * np.abs(weight).max()
        np.testing.assert_allclose(found.decoded[name][:, 0], z @ weight.T + truth().biases[name], atol=error)


def test_without_an_anchor_other_numbers_stand_at_the_prior_mean_and_the_most_active_comes_first() -> None:
    found = traversal(exact(), data(), dimensions=1, span=[0.0, 1.0])
    first = int(np.argmax(activity(exact(), data()).variance))
    assert found.names == (f"z[{first}]",)
    for name, weight in truth().weights.items():
        moved(found, name, weight.T[[first]])
        np.testing.assert_allclose(found.decoded[name][0, 0], truth().biases[name], atol=0.3)


class Chain(Program):
    """Site z moves y, y moves x, and so do w, the discrete k and a shift that all items share."""

    def forward(self, batch):
        shift = pyro.sample("shift", dist.Normal(0.0, 1.0))
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            w = pyro.sample("w", dist.Normal(4.0, 2.0).expand([1]).to_event(1))
            k = pyro.sample("k", dist.Categorical(ops.as_tensor([0.1, 0.1, 0.8])))
            y = pyro.sample("y", dist.Normal(2.0 * z, 1.0).to_event(1))
            mean = y + 3.0 * w + 10.0 * k[..., None] + shift[..., None]
            return pyro.sample("x", dist.Normal(mean, 0.1).to_event(1), obs=batch.get("x"))


class Sure(Program):
    """A posterior that knows what it wants: shift 5, z (1, −1), w 2, k 1, y 0."""

    def forward(self, batch):
        pyro.sample("shift", dist.Normal(5.0, 0.1))
        with batch.plate():
            pyro.sample("z", dist.Normal(ops.as_tensor([1.0, -1.0]), 0.01).to_event(1))
            pyro.sample("w", dist.Normal(2.0, 0.01).expand([1]).to_event(1))
            pyro.sample("k", dist.Categorical(ops.as_tensor([0.2, 0.7, 0.1])))
            pyro.sample("y", dist.Normal(0.0, 0.01).expand([2]).to_event(1))


def chain(backend: str) -> tuple[Fitted, Dataset]:
    kinds = [Modality("x", (2,))]
    run = Fitted(VAE(Chain(), Sure()), kinds, Settings(backend=backend, device="cpu"), [], Snapshot({}))
    return run, Dataset({"x": np.random.default_rng(0).normal(size=(3, 2))}, modalities=kinds)


@pytest.mark.parametrize("backend", lg.BACKENDS)
def test_what_depends_on_the_site_follows_it_and_everything_else_stands_still(backend: str) -> None:
    found = traversal(*chain(backend), "z", [0], [-1.0, 0.0, 1.0], anchor=0, draws=1000)
    z = found.values[0]
    wanted = np.stack([2 * z, np.full(3, -2.0)], 1) + 3 * 2 + 10 * 1 + 5
    np.testing.assert_allclose(found.decoded["x"][0], wanted, atol=0.2)
    steps = found.decoded["x"][0] - found.decoded["x"][0, :1]
    np.testing.assert_allclose(steps, np.stack([2 * (z - z[0]), np.zeros(3)], 1), atol=1e-4)


def test_what_does_not_depend_on_the_site_stands_at_the_anchor() -> None:
    found = traversal(*chain("pyro"), "w", [0], [-1.0, 1.0], anchor=0, draws=1000)
    np.testing.assert_allclose(found.values, [[2, 6]], atol=0.4)
    np.testing.assert_allclose(found.decoded["x"][0], (0 + 3 * found.values[0] + 10 + 5)[:, None] * [1, 1], atol=0.1)


def test_without_an_anchor_a_discrete_latent_stands_at_what_the_prior_finds_likeliest() -> None:
    found = traversal(*chain("pyro"), "z", [1], [0.0], draws=1000)
    np.testing.assert_allclose(found.decoded["x"][0, 0], 2 * 0 + 3 * 4 + 10 * 2 + 5, atol=0.6)


@pytest.mark.parametrize("site", ["k", "shift", "x", "nonsense"])
def test_sites_that_cannot_be_traversed_are_refused(site: str) -> None:
    with pytest.raises(ValueError, match=f"no continuous latent '{site}'; traverse one of z, w, y"):
        traversal(*chain("pyro"), site)
