"""Pyro's answers: many items that are asked at once get what each is told alone, or are asked one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ppvae
from ppvae import Batch, Dataset, Program, dist, pyro
from ppvae.backends.answers import in_torch
from ppvae.diagnostics import calibration, evidence
from ppvae.inference.fitted import Fitted

ITEMS = 40


class Model(Program):
    """A gamma and a normal latent, numbers, counts and categories; it counts its runs."""

    runs = 0

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 7)

    def shared(self) -> Any:
        return torch.zeros(())

    def local(self) -> Any:
        return pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))

    def forward(self, batch: Batch) -> None:
        type(self).runs += 1
        shift = self.shared()
        with batch.plate():
            rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
            x, counts, category = self.net(torch.cat([self.local(), rate[..., None]], -1)).split([2, 2, 3], -1)
            pyro.sample("x", dist.Normal(x + shift[..., None], 0.5).to_event(1), obs=batch.get("x"))
            pyro.sample("counts", dist.Poisson(counts.exp()).to_event(1), obs=batch.get("counts"))
            pyro.sample("c", dist.Categorical(logits=category[..., None, :]).to_event(1), obs=batch.get("c"))


class Guide(Program):
    """Reads numbers and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 6)

    def shared(self) -> None:
        pass

    def local(self, loc: Any, log_scale: Any) -> None:
        pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

    def forward(self, batch: Batch) -> None:
        self.shared()
        seen = [torch.zeros(batch.size, 2) if batch.get(n) is None else batch.get(n) for n in ("x", "counts")]
        read = self.net(torch.cat(seen, -1))
        with batch.plate():
            pyro.sample("rate", dist.Gamma(read[..., 4].exp(), read[..., 5].exp()))
            self.local(read[..., :2], read[..., 2:4])


class Flat(Model):
    """The same, which takes no dims to the left of its own."""

    def forward(self, batch: Batch) -> None:
        type(self).runs += 1
        with batch.plate():
            rate, z = pyro.sample("rate", dist.Gamma(2.0, 1.0)), self.local()
            read = self.net(torch.cat([z, rate[:, None]], 1))
            pyro.sample("x", dist.Normal(read[:, :2], 0.5).to_event(1), obs=batch.get("x"))
            pyro.sample("counts", dist.Poisson(read[:, 2:4].exp()).to_event(1), obs=batch.get("counts"))
            pyro.sample("c", dist.Categorical(logits=read[:, None, 4:]).to_event(1), obs=batch.get("c"))


class Common(Model):
    """The same with a latent of all items."""

    def shared(self) -> Any:
        return pyro.sample("shift", dist.Normal(0.0, 1.0))


class CommonGuide(Guide):
    def shared(self) -> None:
        pyro.sample("shift", dist.Normal(0.3, 0.1))


class Turning(Model):
    """The same with a latent that is drawn by rejection, as often as its items need."""

    def local(self) -> Any:
        turned = pyro.sample("z", dist.VonMises(0.0, 1.0))
        return torch.stack([turned.sin(), turned.cos()], -1)


class TurningGuide(Guide):
    def local(self, loc: Any, log_scale: Any) -> None:
        pyro.sample("z", dist.VonMises(loc[..., 0], log_scale[..., 0].exp()))


PAIRS = {
    "plain": (Model, Guide, True),
    "no dims to the left": (Flat, Guide, True),
    "shared latents": (Common, CommonGuide, True),
    "rejection": (Turning, TurningGuide, False),
}


def data() -> Dataset:
    random = np.random.default_rng(0)
    arrays = {"x": random.normal(size=(ITEMS, 2)), "counts": random.poisson(3.0, (ITEMS, 2))}
    holes = {"x": random.random((ITEMS, 2)) < 0.7, "counts": random.random(ITEMS) < 0.5}
    arrays["c"] = random.integers(0, 3, (ITEMS, 1))
    return Dataset(arrays, holes, likelihood={"c": "categorical", "counts": "poisson"})


@pytest.fixture(scope="module", params=PAIRS.values(), ids=PAIRS)
def fitted(request: pytest.FixtureRequest) -> tuple[Fitted, bool]:
    model, guide, together = request.param
    torch.manual_seed(0)
    settings = {"backend": "pyro", "device": "cpu", "dtype": "float64", "epochs": 1, "progress": False}
    return ppvae.fit(ppvae.VAE(model(), guide()), data(), **settings), together


def answers(fitted: Fitted) -> dict[str, np.ndarray]:
    """Some answers of each kind."""
    return {
        **{f"latent {name}": values for name, values in fitted.encode(data(), draws=3).items()},
        **{f"one {name}": values for name, values in fitted.encode(data(), given=["x"]).items()},
        **fitted.query(data(), given=["counts"], draws=4),
        **{f"new {name}": values for name, values in fitted.generate(ITEMS).items()},
        "evidence": fitted.log_evidence(data(), particles=7),
        "weights": fitted.log_weights(data(), given=["c"], particles=5),
        "evidence of x": evidence(fitted, data(), ["x"], particles=30).values,
        "ranks": next(iter(calibration(fitted, data(), [("x",)], items=20, draws=9).values())).sbc.values,
    }


def test_items_that_are_asked_together_are_told_what_each_is_alone(
    fitted: tuple[Fitted, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = fitted
    together = answers(run)
    monkeypatch.setattr(in_torch, "SEVERAL", 10**9)
    for name, alone in answers(run).items():
        np.testing.assert_allclose(together[name], alone, rtol=1e-9, atol=1e-9, err_msg=name)


def test_they_are_asked_together_where_it_is_the_same(fitted: tuple[Fitted, bool]) -> None:
    run, together = fitted
    model = type(run.vae.model)
    before = model.runs
    run.query(data())
    assert (model.runs - before < ITEMS) == together
