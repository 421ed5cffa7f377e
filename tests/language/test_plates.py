"""Plates of a text's own: one as long as the batch goes over its items, under any name."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pyro.poutine
import pytest
import torch

import ppvae
from ppvae import VAE, Batch, Dataset, Modality, Program, dist, pyro

BOTH = pytest.mark.parametrize("backend", ["pyro", "numpyro"])


class Means(Program):
    """A mean for all and one for each item; its plate is told in one of the ways in which Pyro's users do."""

    def __init__(self, plate: Any):
        super().__init__()
        self.plate, self.noise = plate, torch.nn.Parameter(torch.tensor(0.3))

    def forward(self, batch):
        level = pyro.sample("level", dist.Normal(0.0, 1.0))
        with self.plate(batch):
            z = pyro.sample("z", dist.Normal(level, 1.0))
            pyro.sample("x", dist.Normal(z, self.noise.exp()), obs=batch.get("x"))


class Guess(Means):
    """Its guide."""

    def forward(self, batch):
        pyro.sample("level", dist.Normal(self.noise, 1.0))
        with self.plate(batch):
            pyro.sample("z", dist.Normal(0.5 * batch.get("x"), 1.0))


WAYS = {
    "by length": lambda batch: pyro.plate("data", len(batch.get("x"))),
    "by shape and dim": lambda batch: pyro.plate("data", batch.get("x").shape[0], dim=-1),
    "without a size": lambda batch: pyro.plate("data"),
    "with all rows": lambda batch: pyro.plate("data", batch.size, subsample=batch.get("x")),
    "with rows of all items": lambda batch: pyro.plate("data", 40, subsample=range(len(batch.get("x")))),
    "with no subsample": lambda batch: pyro.plate("data", batch.size, None),
}


def own(batch: Batch) -> Any:
    return batch.plate()


def pair(way: Any) -> VAE:
    return VAE(model=Means(way), guide=Guess(way))


def data(items: int = 40) -> Dataset:
    return Dataset({"x": np.random.default_rng(0).normal(1, 1, items)}, modalities=[Modality("x", ())])


OPTIONS: dict[str, Any] = {"epochs": 2, "batch_size": 10, "dtype": "float64"}


@cache
def ours(backend: str) -> float:
    """The loss with ``batch.plate()``."""
    return ppvae.fit(pair(own), data(), backend=backend, **OPTIONS).history[-1]["loss"]


@BOTH
@pytest.mark.parametrize("way", WAYS)
def test_a_plate_over_the_batch_is_that_of_its_items(way: str, backend: str) -> None:
    theirs = ppvae.fit(pair(WAYS[way]), data(), backend=backend, **OPTIONS)
    assert theirs.history[-1]["loss"] == pytest.approx(ours(backend), rel=1e-12)
    assert theirs.encode(data(), draws=3)["z"].shape == (3, 40)


@BOTH
def test_a_plate_gives_its_rows_and_may_be_a_decorator(backend: str) -> None:
    found: list[Any] = []

    def way(batch: Batch) -> Any:
        with pyro.plate("data", batch.size) as rows:
            found.append(rows)
        return pyro.plate("data", batch.size)

    class Decorated(Means):
        def forward(self, batch):
            level = pyro.sample("level", dist.Normal(0.0, 1.0))

            @self.plate(batch)
            def local():
                z = pyro.sample("z", dist.Normal(level, 1.0))
                pyro.sample("x", dist.Normal(z, self.noise.exp()), obs=batch.get("x"))

            local()

    ppvae.fit(VAE(model=Decorated(way), guide=Guess(way)), data(), backend=backend, epochs=1, batch_size=10)
    assert {tuple(rows.shape) for rows in found} >= {(10,)}


class Topics(Program):
    """A global plate, in which there are as many topics as rows are tried; then the items'."""

    def __init__(self, topics: int, event: bool):
        super().__init__()
        self.topics, self.event, self.loc = topics, event, torch.nn.Parameter(torch.zeros(()))

    def globals(self) -> Any:
        if self.event:
            return pyro.sample("w", dist.Normal(self.loc, 1.0).expand([self.topics]).to_event(1))
        with pyro.plate("topics", self.topics):
            return pyro.sample("w", dist.Normal(self.loc, 1.0))

    def forward(self, batch):
        w = self.globals()
        with pyro.plate("documents", batch.size):
            pyro.sample("x", dist.Normal(w.sum(), 1.0), obs=batch.get("x"))


class TopicGuess(Topics):
    """Its guide."""

    def forward(self, batch):
        self.globals()


@pytest.mark.parametrize("topics", range(3, 9))
def test_a_plate_that_is_as_long_by_chance_stays_global(topics: int) -> None:
    pairs = [VAE(model=Topics(topics, event), guide=TopicGuess(topics, event)) for event in (False, True)]
    ends = [ppvae.fit(vae, data(), backend="pyro", epochs=2, batch_size=topics).history[-1]["loss"] for vae in pairs]
    assert ends[0] == pytest.approx(ends[1], rel=1e-5)


def test_outside_the_engine_a_plate_is_pyros() -> None:
    trace = pyro.poutine.trace(Means(WAYS["by length"])).get_trace(data().batch())
    assert [frame.name for frame in trace.nodes["z"]["cond_indep_stack"]] == ["data"]


@BOTH
def test_a_loop_over_items_is_a_loop(backend: str) -> None:
    class Loop(Means):
        def forward(self, batch):
            assert sum(1 for _ in pyro.plate("loop", batch.size)) == batch.size
            with batch.plate():
                pyro.sample("x", dist.Normal(self.noise, 1.0), obs=batch.get("x"))

    class Nothing(Program):
        def forward(self, batch):
            pass

    ppvae.fit(VAE(model=Loop(own), guide=Nothing()), data(), backend=backend, epochs=0)


class Scaled(Means):
    """Its density of x counts twice, in a plate over the batch alone."""

    def forward(self, batch):
        with self.plate(batch), pyro.poutine.scale(scale=2.0):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=batch.get("x"))


class ScaledGuess(Program):
    """Its guide."""

    def __init__(self, plate: Any):
        super().__init__()
        self.plate, self.slope = plate, torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, batch):
        with self.plate(batch), pyro.poutine.scale(scale=2.0):
            pyro.sample("z", dist.Normal(self.slope * batch.get("x"), 0.7))


@BOTH
def test_a_scale_is_no_subsampling(backend: str) -> None:
    ends = []
    for way in (own, lambda batch: pyro.plate("items", batch.size)):
        vae = VAE(model=Scaled(way), guide=ScaledGuess(way))
        ends.append(
            ppvae.fit(vae, data(), backend=backend, epochs=1, batch_size=10, lr=1e-9, seed=1).history[-1]["loss"]
        )
    assert ends[0] == pytest.approx(ends[1], rel=1e-5)
