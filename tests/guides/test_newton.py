"""Newton: the guide that climbs the model's density is the posterior where that is normal, on both backends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import linear_gaussian as lg
import numpy as np
import pytest
import torch
from objective_harness import BACKENDS, gradients
from scipy.optimize import minimize
from torch import nn

import ppvae
from ppvae import VAE, Batch, Dataset, Modality, dist, ops
from ppvae.diagnostics.calibration import sbc
from ppvae.diagnostics.khat import khat
from ppvae.diagnostics.simulation import simulate
from ppvae.guides.newton import FLAT, Newton
from ppvae.guides.set_encoder import SetEncoder
from ppvae.inference.fitted import Fitted
from ppvae.language.traces import alone, random_sites
from ppvae.models.joint import Joint
from ppvae.objectives.known_latents import known_latents
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot

TRUTH = lg.general()
ITEMS = 12


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def started(modalities: Any, model: Any, latent: int = 2, steps: int = 2) -> VAE:
    """The model and a guide whose network says what its first weights say."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stock = [replace(modality, encoder=None) for modality in modalities]
        start = SetEncoder(stock, latent=latent, hidden=(4,), width=3, family="full")
        return VAE(model.double(), Newton(start, model, steps).double())


def holed() -> dict[str, np.ndarray]:
    """Items of the oracle: some have nothing of a modality, or not all of it."""
    values = TRUTH.draw(ITEMS, seed=1)
    values["a"][::3], values["b"][1::4, 1] = np.nan, np.nan
    return values


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_is_the_posterior_of_a_linear_model_whatever_is_shown(backend: str) -> None:
    data = lg.dataset(TRUTH, holed())
    vae = started(lg.modalities(TRUTH), lg.joint(TRUTH))
    run = Fitted(vae, lg.modalities(TRUTH), Settings(backend=backend, dtype="float64", device="cpu"), [], Snapshot({}))
    found = khat(run, data, [("b",), ("a", "c"), ("a", "b", "c")], draws=50)
    exact = khat(lg.fitted(TRUTH, lg.Exact(TRUTH), backend), data, found.subsets, draws=50)
    assert (found.khat == -np.inf).all()
    np.testing.assert_allclose(found.log_evidence, exact.log_evidence, rtol=1e-9)
    assert run.encode(data, ["a"], draws=3)["z"].shape == (3, ITEMS, 2)


def counting() -> tuple[VAE, dict[str, np.ndarray]]:
    """A model whose posteriors are not normal, with a guide of many steps, and counts."""
    modalities = [
        Modality("n", (4,), "poisson", decoder=lambda latent: nn.Linear(latent, 4)),
        Modality("x", (2,), decoder=lambda latent: nn.Linear(latent, 2)),
    ]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Joint(modalities, latent=2)
    random = np.random.default_rng(0)
    return started(modalities, model, steps=15), {
        "n": random.poisson(2.0, (5, 4)) * 1.0,
        "x": random.normal(size=(5, 2)),
    }


def test_many_steps_end_at_the_mode_with_the_curvature_there() -> None:
    vae, values = counting()
    batch = Batch({name: torch.as_tensor(array) for name, array in values.items()})
    fn = random_sites(vae.guide, alone(batch))["z"]["fn"]
    for item in range(5):
        one = Batch({name: torch.as_tensor(array[[item]]) for name, array in values.items()})

        def level(z: Any, one: Batch = one) -> Any:
            sites = random_sites(vae.model, one, {"z": z[None]})
            return -sum(site["fn"].log_prob(site["value"]).sum() for site in sites.values())

        top = minimize(lambda z: level(torch.as_tensor(z)).item(), fn.loc[item].detach().numpy(), tol=1e-10).x
        np.testing.assert_allclose(fn.loc[item].detach(), top, atol=1e-5)
        curvature = torch.autograd.functional.hessian(level, torch.as_tensor(top))
        np.testing.assert_allclose(fn.covariance_matrix[item].detach(), torch.linalg.inv(curvature), rtol=1e-3)


def test_both_backends_agree_where_posteriors_are_not_normal() -> None:
    vae, values = counting()
    values["n"][0], values["x"][1, 0] = np.nan, np.nan
    data = Dataset(values, likelihood={"n": "poisson"})
    found = ppvae.parity(VAE(vae.model, Newton(vae.guide.start, vae.model)), data.batch(), dtype="float64")
    assert max(found["max_logprob_difference"], found["max_gradient_difference"]) < 1e-9


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_all_weights_it_teaches_its_width_alone(backend: str) -> None:
    vae = started(lg.modalities(TRUTH), lg.joint(TRUTH))
    slopes = gradients(backend, vae, known_latents, TRUTH.draw(400, seed=1))
    assert {name for name, slope in slopes.items() if np.abs(slope).max() > 0} == {"guide.log_scale"}
    assert abs(slopes["guide.log_scale"]) < 4 * np.sqrt(2 * 2 / 400)  # of the exact width, one chi-square an item


class Flat(ppvae.Program):
    """``z ~ Laplace(0, 1)``, which has no curvature, and nothing that is measured."""

    def forward(self, batch: Batch) -> Any:
        with batch.plate():
            return ppvae.pyro.sample("z", dist.Laplace(0.0, 1.0).expand([2]).to_event(1))


def test_where_the_density_is_flat_it_is_as_wide_as_the_network_and_some_more() -> None:
    vae = started([Modality("x", (2,))], Flat())
    fn = random_sites(vae.guide, Batch(size=3))["z"]["fn"]
    np.testing.assert_allclose(fn.scale_tril.detach(), np.broadcast_to(np.eye(2) / np.sqrt(FLAT), (3, 2, 2)))


class Undefined(Flat):
    """The same with a density that is no number."""

    def forward(self, batch: Batch) -> Any:
        with batch.plate():
            z = ppvae.pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            return ppvae.pyro.sample("x", dist.Normal(z / ops.zeros_like(z), 1.0).to_event(1), obs=batch.get("x"))


def test_where_the_density_is_no_number_it_stays_near_the_network() -> None:
    vae = started([Modality("x", (2,))], Undefined())
    batch = Batch({"x": torch.ones(3, 2, dtype=torch.float64)})
    with torch.no_grad():
        fn, start = (random_sites(guide, batch)["z"]["fn"] for guide in (vae.guide, vae.guide.start))
    np.testing.assert_allclose(fn.loc, start.loc)
    np.testing.assert_allclose(fn.scale_tril, start.scale_tril / np.sqrt(FLAT))


class Plainly(ppvae.Program):
    """``z ~ Normal(0, I)``, and two things that stand near it, each drawn where it is not given."""

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            z = ppvae.pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            for name in ("x", "y"):
                ppvae.pyro.sample(name, dist.Normal(z, 0.3).to_event(1), obs=batch.get(name))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_may_draw_what_is_not_shown(backend: str) -> None:
    modalities = (Modality("x", (2,)), Modality("y", (2,)))
    data = Dataset({name: np.zeros((200, 2)) for name in "xy"}, modalities=modalities)
    settings = Settings(backend=backend, dtype="float64", device="cpu")
    run = Fitted(started(modalities, Plainly()), modalities, settings, [], Snapshot({}))
    assert sbc(simulate(run, data, ["x"], 200)).p_value > 1e-3
