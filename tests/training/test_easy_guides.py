"""Pyro's easy guides, over what all items share, are guides on both backends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro
import pyro as library
import pytest
import torch
from pyro.contrib.easyguide import EasyGuide, easy_guide

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro

DATA = Dataset({"x": np.random.default_rng(0).normal(1.0, 2.0, (24, 3))}, modalities=[Modality("x", (3,), "normal")])
both = pytest.mark.parametrize("backend", ["pyro", "numpyro"])


def shared(x: Any) -> None:
    """Latents of two supports, one of them in a plate of four entries, as many as the few rows that are looked at."""
    loc = pyro.sample("loc", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 0.3))
    with pyro.plate("entries", 4):
        parts = pyro.sample("parts", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(loc + parts.mean(-2), scale).to_event(1), obs=x)


class Easy(EasyGuide):
    """Location and scale by one normal distribution, the parts by a point each."""

    def guide(self, x):
        group = self.group(match="loc|scale")
        mean = pyro.param("mean", torch.zeros(group.event_shape))
        tril = pyro.param("tril", 0.2 * torch.eye(*group.event_shape), constraint=dist.constraints.lower_cholesky)
        group.sample("both", dist.MultivariateNormal(mean, scale_tril=tril))
        self.map_estimate("parts")


class Said(Program):
    """A text of the data."""

    def __init__(self, text: Any):
        super().__init__()
        self.text = text

    def forward(self, batch):
        return self.text(batch.get("x"))


def pair() -> VAE:
    return VAE(Said(shared), Said(Easy(shared)))


def test_an_easy_guide_is_the_same_on_both_backends() -> None:
    found = ppvae.parity(pair(), DATA.batch(slice(6)), dtype="float64")
    assert found["ok"]
    assert {"x", "guide both", "guide loc", "guide scale", "guide parts"} <= set(found["sites"])


@both
def test_it_trains_answers_and_is_loaded(backend: str, tmp_path: Path) -> None:
    run = ppvae.fit(pair(), DATA, backend=backend, epochs=40, batch_size=24, lr=0.05, progress=False)
    assert run.history[-1]["loss"] < run.history[0]["loss"]
    assert run.query(DATA, draws=2)["x"].shape == (2, 24, 3)
    run.save(tmp_path / "run")
    again = ppvae.load(tmp_path / "run", vae=pair())
    for name, value in run.vae.pair.state_dict().items():
        np.testing.assert_array_equal(again.vae.pair.state_dict()[name], value, err_msg=name)


def test_its_bound_is_that_of_pyros_own_estimators() -> None:
    run = ppvae.fit(pair(), DATA, backend="pyro", epochs=60, batch_size=24, lr=0.05, progress=False)
    batch, here, there = DATA.batch(), run.to_pyro(), run.to_numpyro()
    library.clear_param_store()
    library.set_rng_seed(0)
    ours = [library.infer.Trace_ELBO().loss(here.model, here.guide, batch) for _ in range(300)]
    bound = numpyro.infer.Trace_ELBO().loss
    theirs = jax.vmap(lambda key: bound(key, there.params, there.model, there.guide, batch))(
        jax.random.split(jax.random.key(0), 300)
    )
    error = np.hypot(np.std(ours), np.std(theirs)) / np.sqrt(300)
    assert abs(np.mean(ours) - np.mean(theirs)) < 4 * error


def local(x: Any) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


@both
def test_latents_of_items_are_refused_with_what_to_write(backend: str) -> None:
    guide = easy_guide(local)(lambda self, x: self.map_estimate("z"))
    with pytest.raises(ValueError, match=r"would have parameters of one data set's items for 'z', .* hide it"):
        ppvae.fit(VAE(Said(local), Said(guide)), DATA, backend=backend, epochs=1, progress=False)
