"""Pyro's automatic guides, over what all items share, are guides on both backends."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pyro as library
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, autoguide
from pyro.infer.reparam import LocScaleReparam
from torch import nn

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro

DATA = Dataset({"x": np.random.default_rng(0).normal(1.0, 2.0, (24, 3))}, modalities=[Modality("x", (3,), "normal")])
both = pytest.mark.parametrize("backend", ["pyro", "numpyro"])


def shared(x: Any) -> None:
    """Latents of three supports, one of them in a plate of four entries, as many as the few rows that are looked at."""
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(4)))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    with pyro.plate("parts", 4):
        locs = pyro.sample("locs", dist.Normal(torch.zeros(3), 2.0).to_event(1))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(weights @ locs, scale).to_event(1), obs=x)


class Said(Program):
    """A text of the data."""

    def __init__(self, text: Any):
        super().__init__()
        self.text = text

    def forward(self, batch):
        return self.text(batch.get("x"))


def listed(text: Any) -> autoguide.AutoGuideList:
    guide = autoguide.AutoGuideList(text)
    guide.append(autoguide.AutoDelta(poutine.block(text, expose=["weights"])))
    guide.append(autoguide.AutoDiagonalNormal(poutine.block(text, hide=["weights"])))
    return guide


KINDS: dict[str, Any] = {
    "normal": autoguide.AutoNormal,
    "delta": autoguide.AutoDelta,
    "multivariate": autoguide.AutoMultivariateNormal,
    "list": listed,
}


def pair(kind: Any) -> VAE:
    return VAE(Said(shared), Said(kind(shared)))


@pytest.mark.parametrize("kind", KINDS)
def test_an_automatic_guide_is_the_same_on_both_backends(kind: str) -> None:
    found = ppvae.parity(pair(KINDS[kind]), DATA.batch(slice(6)), dtype="float64")
    assert found["ok"]
    assert {"x", "weights", "scale", "locs", "guide locs"} <= set(found["sites"])
    assert found["parameters"]


def test_it_trains_as_under_pyros_own_svi() -> None:
    run = ppvae.fit(pair(autoguide.AutoNormal), DATA, backend="pyro", epochs=1, batch_size=24, seed=3, progress=False)
    fresh = ppvae.fit(pair(autoguide.AutoNormal), DATA, backend="pyro", epochs=0, batch_size=24, seed=3, progress=False)
    guide = fresh.vae.guide.text
    library.clear_param_store()
    svi = SVI(shared, guide, library.optim.Adam({"lr": run.settings.lr}), Trace_ELBO())
    x = torch.as_tensor(DATA.arrays["x"], dtype=torch.float32)
    from ppvae.backends.pyro import seed

    with torch.random.fork_rng():
        seed(3, 0)
        assert svi.step(x) / 24 == pytest.approx(run.history[0]["loss"], rel=1e-5)
    trained = dict(run.vae.guide.text.named_parameters())
    for name, parameter in guide.named_parameters():
        torch.testing.assert_close(parameter, trained[name], rtol=1e-4, atol=1e-5)
    library.clear_param_store()


@both
def test_it_is_saved_loaded_and_resumed(backend: str, tmp_path: Path) -> None:
    def whole() -> VAE:
        model = Said(shared)
        return VAE(model, autoguide.AutoDelta(model))  # type: ignore[arg-type]

    options: dict[str, Any] = {"backend": backend, "batch_size": 8, "progress": False}
    ppvae.fit(whole(), DATA, epochs=1, out=tmp_path / "run", **options)
    ppvae.fit(whole(), DATA, epochs=2, out=tmp_path / "run", resume=True, **options)
    straight = ppvae.fit(whole(), DATA, epochs=2, **options)
    loaded = ppvae.load(tmp_path / "run", vae=whole())
    for name, weight in straight.snapshot.weights.items():
        np.testing.assert_array_equal(loaded.snapshot.weights[name], weight)
    few = DATA.take(np.arange(3))
    np.testing.assert_array_equal(loaded.log_evidence(few, particles=2), straight.log_evidence(few, particles=2))


def test_outside_its_constrained_parameters_stay_so() -> None:
    run = ppvae.fit(pair(autoguide.AutoNormal), DATA, backend="pyro", epochs=1, progress=False)
    for plain in (run.to_pyro(), run.vae):
        library.clear_param_store()
        svi = SVI(plain.model, plain.guide, library.optim.Adam({"lr": 0.01}), Trace_ELBO())
        losses = [svi.step(DATA.batch()) for _ in range(3)]
        assert np.isfinite(losses).all()
    library.clear_param_store()


class Amortised(nn.Module):
    """Shared and own latents, of which a network infers the items' own."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.loc = nn.Linear(2, 3), nn.Linear(3, 2)

    def model(self, x: Any) -> None:
        scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.out(z), scale).to_event(1), obs=x)

    def own(self, x: Any) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc(x), 0.5).to_event(1))


@both
def test_a_list_joins_it_with_a_network_for_what_items_have_of_their_own(backend: str) -> None:
    net = Amortised()

    class Guide(Program):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.all = net, autoguide.AutoGuideList(net.model)
            self.all.append(autoguide.AutoNormal(poutine.block(net.model, hide=["z"])))
            self.all.append(net.own)

        def forward(self, batch):
            return self.all(batch.get("x"))

    class Model(Program):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, batch):
            self.net.model(batch.get("x"))

    run = ppvae.fit(VAE(Model(), Guide()), DATA, backend=backend, epochs=1, batch_size=8, progress=False)
    assert run.encode(DATA.take(np.arange(5)), draws=3)["z"].shape == (3, 5, 2)
    assert any("loc.weight" in name for name in run.snapshot.weights)


def test_latents_of_items_are_refused_with_advice() -> None:
    net = Amortised()
    said = r"AutoNormal would have parameters of one data set's items for 'z'.* poutine.block\(model, hide=\['z'\]\)"
    with pytest.raises(ValueError, match=said):
        ppvae.fit(VAE(Said(net.model), Said(autoguide.AutoNormal(net.model))), DATA, epochs=1, progress=False)


def test_a_copy_is_of_the_copied_model_and_leaves_the_original_whole() -> None:
    model = Said(shared)
    vae = VAE(model, autoguide.AutoNormal(model))  # type: ignore[arg-type]
    copied = copy.deepcopy(vae)
    assert vae.guide.guide.model is not None
    with torch.no_grad():
        copied.guide(DATA.batch())
    assert copied.guide.guide.prototype_trace is not None
    assert vae.guide.guide.prototype_trace is None


def centred(x: Any) -> None:
    """How far each location is centred is a parameter, which Pyro's reparametrisation declares."""
    with pyro.poutine.reparam(config={"locs": LocScaleReparam()}):
        mean = pyro.sample("mean", dist.Normal(0.0, 5.0))
        with pyro.plate("parts", 3):
            locs = pyro.sample("locs", dist.Normal(mean, 0.5))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(locs, 1.0).to_event(1), obs=x)


@both
def test_a_learned_reparametrisation_trains_with_an_automatic_guide(backend: str) -> None:
    vae = VAE(Said(centred), Said(autoguide.AutoNormal(centred)))
    assert ppvae.parity(vae, DATA.batch(slice(6)), dtype="float64")["ok"]
    run = ppvae.fit(vae, DATA, backend=backend, epochs=20, batch_size=24, lr=0.05, progress=False)
    weights = run.vae.pair.state_dict()
    assert float(weights["model.pyro_params.locs_centered"].abs().max()) > 0.1  # halfway is zero
    assert run.history[-1]["loss"] < run.history[0]["loss"]
