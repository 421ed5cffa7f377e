"""Hierarchies: evidence against integrals over both levels, and what guides say of what they did not see."""

from __future__ import annotations

from functools import cache

import numpy as np
import pairs
import pytest
import torch
from scipy import stats

from ppvae import VAE, Batch, Dataset
from ppvae.guides.hierarchical import Hierarchical as Messages
from ppvae.guides.ladder import Ladder as LadderGuide
from ppvae.language import ppl
from ppvae.language.traces import random_sites
from ppvae.models.hierarchical import Hierarchical
from ppvae.models.ladder import Ladder
from ppvae.objectives import make

both = pytest.mark.parametrize("backend", pairs.BACKENDS)
structures = pytest.mark.parametrize("structure", ["tree", "ladder"])


@cache
def vae(structure: str) -> VAE:
    torch.manual_seed(1)
    if structure == "tree":
        model = Hierarchical(pairs.views(), latent=1, hidden=(4,), bottom=1)
        return pairs.untrained(VAE(model, Messages(pairs.views(), 1, (4,), 1, model=model), "dropout"))
    chain = Ladder(pairs.views(), latent=1, hidden=(4,), levels=2)
    return pairs.untrained(VAE(chain, LadderGuide(pairs.views(), 1, (4,), 2, model=chain), "elbo"))


@cache
def data() -> Dataset:
    return Dataset(pairs.rows(), modalities=pairs.views())


def evidence(structure: str, given: tuple[str, ...]) -> np.ndarray:
    row = tree_evidence if structure == "tree" else ladder_evidence
    arrays = pairs.rows()
    return np.array([row({name: arrays[name][i] for name in given}) for i in range(len(arrays["a"]))])


def tree_evidence(item: dict[str, np.ndarray]) -> float:
    """``log ∫ p(z) ∏_m ∫ p(z_m | z) p(x_m | z_m)`` on a grid."""
    model, grid = vae("tree").model, pairs.GRID
    total = stats.norm.logpdf(grid)
    for name, x in item.items():
        below = pairs.log_normal(grid, model.levels[name](torch.as_tensor(grid)[:, None, None]))
        total = total + pairs.integral(below + pairs.log_likelihood(model.likelihoods[name], grid[:, None], x))
    return float(pairs.integral(total))


def ladder_evidence(item: dict[str, np.ndarray]) -> float:
    """``log ∫ p(z_2) ∫ p(z_1 | z_2) ∏_m p(x_m | z_1, z_2)`` on a grid."""
    model, grid = vae("ladder").model, pairs.GRID
    top, low = np.meshgrid(grid, grid, indexing="ij")
    total = pairs.log_normal(grid, model.levels[0](torch.as_tensor(grid)[:, None, None]))
    for name, x in item.items():
        points = np.stack([low, top], -1).reshape(-1, 2)
        total = total + pairs.log_likelihood(model.likelihoods[name], points, x).reshape(low.shape)
    return float(pairs.integral(stats.norm.logpdf(grid) + pairs.integral(total)))


@both
@structures
@pytest.mark.parametrize("given", [("a", "b"), ("b",)])
def test_evidence_is_the_integral_over_both_levels(backend: str, structure: str, given: tuple[str, ...]) -> None:
    run = pairs.fitted(vae(structure), pairs.views(), backend)
    pairs.check_evidence(run, data(), evidence(structure, given), list(given))


@both
@structures
def test_what_nothing_is_given_follows_the_model(backend: str, structure: str) -> None:
    weights = pairs.fitted(vae(structure), pairs.views(), backend).log_weights(data(), given=[], particles=5)
    assert np.abs(weights).max() < 1e-12


@structures
def test_both_backends_agree_to_rounding(structure: str) -> None:
    pairs.check_parity(vae(structure), data())


@both
@structures
def test_rows_answer_alone(backend: str, structure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs.check_rows_answer_alone(pairs.fitted(vae(structure), pairs.views(), backend), data(), monkeypatch)


@both
@structures
def test_holes_are_silent(backend: str, structure: str) -> None:
    pairs.check_holes_are_silent(backend, vae(structure), make("dropout"), pairs.rows())


def test_the_latent_of_a_missing_modality_is_the_models_given_the_shared_one() -> None:
    pair = vae("tree")
    sites = random_sites(pair.guide, batch(["a"]))
    loc, scale = pair.model.levels["b"](sites["z"]["value"])
    torch.testing.assert_close(sites["z_b"]["fn"].base_dist.loc, loc)
    torch.testing.assert_close(sites["z_b"]["fn"].base_dist.scale, scale)


def test_the_shared_latent_reads_the_mean_message_of_what_is_there() -> None:
    guide = vae("tree").guide
    whole = random_sites(guide, batch(["a", "b"]))["z"]["fn"].base_dist.loc
    loc, _, _ = guide.encoders(batch(["a", "b"]))
    messages = torch.stack([guide.messages[name](loc[i]) for i, name in enumerate("ab")])
    torch.testing.assert_close(whole[0], guide.top(messages.mean(0))[0][0])
    torch.testing.assert_close(whole[1], guide.top(messages[1])[0][1])
    assert whole[4].abs().max() == 0


def test_each_level_is_the_product_of_its_experts_and_the_models_prior() -> None:
    pair, seen = vae("ladder"), batch(["a", "b"])
    sites = random_sites(pair.guide, seen)
    features, present = pair.guide.features(seen)
    above = sites["z_2"]["value"]
    loc, scale = pair.guide.heads[0](features, above)
    prior_loc, prior_scale = pair.model.levels[0](above)
    weight = torch.where(present[..., None], scale**-2.0, 0.0)
    precision = weight.sum(0) + prior_scale**-2.0
    expected = ((weight * loc).sum(0) + prior_loc * prior_scale**-2.0) / precision
    torch.testing.assert_close(sites["z_1"]["fn"].base_dist.loc, expected)
    torch.testing.assert_close(sites["z_1"]["fn"].base_dist.scale, precision.rsqrt())


def test_a_ladder_has_as_many_levels_as_were_asked_for() -> None:
    model = Ladder(pairs.views(), latent=2, hidden=(4,), levels=4)
    guide = LadderGuide(pairs.views(), 2, (4,), 4, model=model)
    assert sorted(random_sites(guide, Batch(size=3))) == ["z_1", "z_2", "z_3", "z_4"]
    assert tuple(guide(Batch(size=3)).shape) == (3, 8)
    single = Ladder(pairs.views(), latent=2, hidden=(4,), levels=1)
    assert tuple(LadderGuide(pairs.views(), 2, (4,), 1, model=single)(Batch(size=3)).shape) == (3, 2)


def batch(given: list[str]) -> Batch:
    with ppl.running("pyro"):
        return Batch(
            {name: torch.as_tensor(np.nan_to_num(x)) for name, x in pairs.rows().items() if name in given}, masks(given)
        )


def masks(given: list[str]) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(~np.isnan(x)) for name, x in pairs.rows().items() if name in given}
