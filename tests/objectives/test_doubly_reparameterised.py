"""The doubly reparameterised gradient: one run of the model gives what the two runs of its formula give."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import objective_harness as harness
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import ppvae
from ppvae import VAE, Batch, Dataset, Program, dist, handlers, ops, pyro
from ppvae.backends.pyro_items import frozen
from ppvae.language.traces import is_local, latents, log_weights
from ppvae.objectives import stratified
from ppvae.objectives.elbo import added, global_shares, times
from ppvae.objectives.multisample import BOUND, beside_draws, dreg, log_mean_exp, proposed
from ppvae.objectives.stratified import is_private, mmvae, stratum_shares
from ppvae.objectives.subsets import singles


def log_weights_without(target: Any, proposal: Any, names: set[str], beta: float) -> torch.Tensor:
    """Log weights that leave out the densities of some latents."""
    model, guide = ({name: site for name, site in sites.items() if name not in names} for sites in (target, proposal))
    return log_weights(model, guide, beta)


def two_runs(model: Any, guide: Any, batch: Batch, part: Batch, draws: int, beta: float) -> dict[str, Any]:
    """The bound by a first run, whose weights tell the shares, and by a second the sum of shares times log weights."""
    drawn = proposed(guide, part, {}, draws)
    foreign = {name for name in drawn if is_private(name) and name.removeprefix("w_") not in part.arrays}
    weigh = partial(log_weights_without, names=foreign, beta=beta)
    scored, target = (proposed(program, batch, latents(drawn), draws) for program in (guide, model))
    weights = weigh(target, scored).reshape(-1, batch.size).detach()
    share = weights.softmax(0)

    def lit(site: Any) -> torch.Tensor:
        still = site["value"].detach()
        return still + beside_draws(share, site) * (site["value"] - still)

    own = {name: s["value"] if name in foreign else lit(s) for name, s in drawn.items() if is_local(s)}
    common = {name: site["value"] for name, site in drawn.items() if not is_local(site)}
    fixed = {name: value.detach() for name, value in common.items()}
    again = proposed(model, batch, {**own, **common}, draws), proposed(frozen(guide), batch, {**own, **fixed}, draws)
    gradient = (share * weigh(*again).reshape(-1, batch.size)).sum(0)
    return {BOUND: log_mean_exp(weights) + gradient - gradient.detach(), **global_shares(target, scored, beta)}


def dreg_twice(draws: int) -> Callable[..., dict[str, Any]]:
    return lambda model, guide, batch, beta: two_runs(model, guide, batch, batch, draws, beta)


def mmvae_twice(draws: int) -> Callable[..., dict[str, Any]]:
    def objective(model: Any, guide: Any, batch: Batch, beta: float) -> dict[str, Any]:
        bounds = [two_runs(model, guide, batch, part, draws, beta) for part in singles(model, batch)]
        return added(*(times(s, b, batch) for s, b in zip(stratum_shares(model, batch), bounds, strict=True)))

    return objective


class Levelled(Program):
    """``g ~ N(0, 1)`` for all, ``z ~ N(g, 1)`` and ``v ~ N(z, 1)``, each modality of ``N(z + v, scale)``, tempered."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def forward(self, batch: Batch) -> Any:
        g = pyro.sample("g", dist.Normal(0.0, 1.0))
        with batch.plate():
            z = pyro.sample("z", dist.Normal(g, 1.0).expand([1]).to_event(1))
            v = pyro.sample("v", dist.Normal(z, 1.0).to_event(1))
            with handlers.scale(scale=0.7):
                for name in batch.asked("abc"):
                    mean = (z + v) * ops.ones_like(batch.get(name))
                    pyro.sample(name, dist.Normal(mean, ops.exp(self.scale)).to_event(1), obs=batch.get(name))


class LevelledGuide(Program):
    """``g``, then ``z`` of what is there and g, then ``v`` of z: later draws depend on earlier ones."""

    def __init__(self) -> None:
        super().__init__()
        self.level, self.gain, self.tilt = (nn.Parameter(torch.tensor(x, dtype=torch.float64)) for x in (0.2, 0.6, 0.5))

    def forward(self, batch: Batch) -> Any:
        g = pyro.sample("g", dist.Normal(self.level, ops.exp(self.level)))
        seen = sum(batch.get(name).mean(-1, keepdim=True) for name in batch.arrays)
        with batch.plate():
            z = pyro.sample("z", dist.Normal(self.gain * seen + self.tilt * g, ops.exp(self.gain)).to_event(1))
            pyro.sample("v", dist.Normal(self.tilt * z, ops.exp(self.tilt)).to_event(1))


def values() -> dict[str, np.ndarray]:
    """Twelve items of three modalities: whole ones missing, single elements missing, one item empty."""
    random = np.random.default_rng(0)
    arrays = {name: random.normal(size=(12, size)) for name, size in (("a", 3), ("b", 4), ("c", 2))}
    arrays["a"][random.random(12) < 0.4] = np.nan
    arrays["b"][random.random((12, 4)) < 0.3] = np.nan
    for array in arrays.values():
        array[0] = np.nan
    return arrays


def zoo(method: str) -> VAE:
    pair = ppvae.method(method, Dataset(values()).modalities or (), latent=2, hidden=(8,))
    pair.pair.double()
    return pair


CASES = {
    "dreg, a mixture of products": (lambda: zoo("mopoe"), dreg(3), dreg_twice(3)),
    "dreg, a ladder of latents": (lambda: zoo("mhvae"), dreg(3), dreg_twice(3)),
    "dreg, one draw": (lambda: zoo("mvae"), dreg(1), dreg_twice(1)),
    "dreg, a latent for all": (lambda: VAE(Levelled(), LevelledGuide()), dreg(3), dreg_twice(3)),
    "mmvae": (lambda: zoo("mmvae"), mmvae(3), mmvae_twice(3)),
    "mmvae, one draw": (lambda: zoo("mmvae_plus"), mmvae(1), mmvae_twice(1)),
    "mmvae, private latents": (lambda: zoo("mmvae_plus"), mmvae(3), mmvae_twice(3)),
    "mmvae, private latents and clusters": (lambda: zoo("cmvae"), mmvae(2), mmvae_twice(2)),
    "mmvae, a latent for all": (lambda: VAE(Levelled(), LevelledGuide()), mmvae(3), mmvae_twice(3)),
}


@pytest.mark.parametrize("case", CASES)
def test_one_run_has_the_gradient_of_two(case: str) -> None:
    make, objective, twice = CASES[case]
    torch.manual_seed(0)
    vae = make()
    found, expected = (
        harness.evaluate("pyro", vae, each, values(), beta=0.8, seed=1, total=30, gradients=True)
        for each in (objective, twice)
    )
    for one, two in zip(found, expected, strict=True):
        assert one.keys() == two.keys()
        for name in two:
            np.testing.assert_allclose(one[name], two[name], rtol=1e-12, atol=1e-13 * np.abs(two[name]).max())
    assert sum(np.abs(slope).sum() for name, slope in found[1].items() if name.startswith("guide.")) > 0.1


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("gradient", ["dreg", "iwae"])
@pytest.mark.parametrize("backend", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", ["mmvae", "mmvae_plus", "cmvae"])
def test_strata_side_by_side_are_strata_one_by_one(
    method: str, backend: str, gradient: Any, draws: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    vae, found, runs = zoo(method), [], []
    original = stratified.doubly_reparameterised if gradient == "dreg" else stratified.log_weights
    name = original.__name__
    monkeypatch.setattr(stratified, name, lambda *args, **kwargs: runs.append(1) or original(*args, **kwargs))
    for together in (True, False):
        monkeypatch.setattr(stratified, "stackable", lambda drawn, together=together: together)
        found.append(harness.evaluate(backend, vae, mmvae(draws, gradient), values(), beta=0.8, seed=1, gradients=True))
    assert len(runs) == 1 + 3
    for one, other in zip(*found, strict=True):
        assert one.keys() == other.keys()
        for key in other:
            np.testing.assert_allclose(one[key], other[key], rtol=1e-9, atol=1e-11 * np.abs(other[key]).max())


@pytest.mark.parametrize("method", ["mmvae", "mmvae_plus"])
def test_each_decoder_runs_once_for_each_stratum(method: str) -> None:
    """FLOP of a step with the gradient of many draws are those of the plain one, which needs no second run."""
    torch.manual_seed(0)
    vae, counts = zoo(method), []
    for gradient in ("dreg", "iwae"):
        with FlopCounterMode(display=False) as counter:
            harness.evaluate("pyro", vae, mmvae(3, gradient), values(), gradients=True)
        counts.append(counter.get_total_flops())
    assert counts[0] <= counts[1]
