"""Objectives over subsets of modalities: ``q(z | x_S)`` is the guide, run on what S holds of the batch."""

from __future__ import annotations

from typing import Any

from ppvae.language.batch import Batch
from ppvae.language.ppl import dist, ops, pyro
from ppvae.language.traces import divergence, expected, is_local, paired
from ppvae.objectives.elbo import Objective, added, bound, fits, shares, times
from ppvae.parts import experts


def mvae(random: int = 1, analytic: bool = True) -> Objective:
    """``ELBO_X + Σ_m ELBO_m + Σ_k ELBO_{S_k}``, ``random`` subsets S_k drawn per item (Wu & Goodman 2018).

    Args:
        random: how many random subsets.
        analytic: use the formula of a KL divergence where there is one.
    """

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        batch = batch.remembering()
        parts = [batch, *singles(model, batch), *(random_part(model, batch, number) for number in range(random))]
        return added(*(bound(model, guide, part, beta, analytic) for part in parts))

    return objective


def set_encoder(analytic: bool = True) -> Objective:
    """``ELBO_S + E_{q(z|X)} log p(x_∖S | z) − KL(q(z|X) ‖ q(z|x_S))``, S random (Hirt et al. 2024)."""

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        batch = batch.remembering()
        dropped = random_drop(model, batch, 0)
        part, rest = batch.without(dropped), batch.without({name: ~drop for name, drop in dropped.items()})
        given, target = paired(model, guide, part)
        whole, others = paired(model, guide, batch, scored=rest)
        conditional = {
            name: -beta * expected(divergence(site, given[name], analytic), whole)
            for name, site in whole.items()
            if is_local(site)
        }
        return added(shares(target, given, beta, analytic), fits(others, whole), conditional)

    return objective


def dropout(analytic: bool = True) -> Objective:
    """``E_{q(z|x_S)}[log p(X, z) − log q(z | x_S)]``, S random per item: the guide is trained to do without.

    In the manner of Nexus (Vasco et al. 2022), as a bound on the evidence of everything; half of the weight stays on
    S = X.
    """

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        batch = batch.remembering()
        whole = bound(model, guide, batch, beta, analytic)
        part = bound(model, guide, random_part(model, batch, 0), beta, analytic, scored=batch)
        return added(times(0.5, whole), times(0.5, part))

    return objective


def weighted(analytic: bool = True) -> Objective:
    """``Σ_S π_S ELBO_S + H(π)``, ELBO_S explaining everything from S (CoDE-VAE: Mancisidor et al. 2025).

    π is the softmax of the guide's ``subset_logits``, one for each row of ``experts.subsets``; equal weights where a
    guide has none. Of every item's subsets one is drawn, all with the same probability, and weighed by its π.
    """

    def objective(model: Any, guide: Any, batch: Batch, beta: Any) -> dict[str, Any]:
        names = explained(model, batch)
        members = experts.members(len(names))
        allowed = experts.present_subsets(ops.stack([batch.present(name) for name in names]), members)
        probs = experts.uniform(allowed)
        pi = subset_weights(guide, allowed)
        drawn = pyro.sample("subset", dist.Categorical(probs=probs.T))
        which = ops.one_hot(drawn, len(members))  # type: ignore[attr-defined]
        weight = (which * (pi / ops.clamp(probs, min=1e-9)).T).sum(-1)
        kept = ops.einsum("is,sm->mi", which * ops.ones_like(probs.T), members) > 0.5
        part = batch.without({name: ~kept[i] for i, name in enumerate(names)})
        entropy = -(pi * ops.log(ops.clamp(pi, min=1e-30))).sum(0)
        shares = bound(model, guide, part, beta, analytic, scored=batch)
        return {**times(weight, shares, batch), "subsets": entropy}

    return objective


def subset_weights(guide: Any, allowed: Any) -> Any:
    """The guide's π over the subsets that each item has, ``(subsets, items)``: equal where it holds none."""
    logits = getattr(guide, "subset_logits", None)
    level = ops.zeros(len(allowed)) if logits is None else logits
    if len(level) != len(allowed):
        raise ValueError(
            f"the guide weighs {len(level)} subsets of modalities and the data have {len(allowed)}: give data with "
            "every modality of the guide, and holes where nothing was measured"
        )
    return ops.softmax(ops.where(allowed, level[:, None], -1e9), 0)


def singles(model: Any, batch: Batch) -> list[Batch]:
    """The batch once for each modality that the model explains, given that alone and what the model is given."""
    conditions = [name for name in model.conditions if name in batch.arrays]
    return [batch.given([name, *conditions]) for name in explained(model, batch)]


def explained(model: Any, batch: Batch) -> list[str]:
    """The modalities of the batch that the model explains, and does not take as given."""
    return [name for name in batch.arrays if name not in model.conditions]


def random_drop(model: Any, batch: Batch, number: int) -> dict[str, Any]:
    """Which modalities each item loses, ``(items,)`` by name: each with probability 1/2, but never all it has."""
    names = explained(model, batch)
    present = ops.stack([batch.present(name) for name in names])
    drop = pyro.sample(f"coins {number}", dist.Bernoulli(0.5).expand(list(present.shape))) > 0.5
    left = ops.any(present & ~drop, 0)
    return {name: drop[i] & left for i, name in enumerate(names)}


def uniform_drop(model: Any, batch: Batch) -> dict[str, Any]:
    """Which modalities each item loses, ``(items,)`` by name; it keeps any number of them, all equally likely."""
    names = explained(model, batch)
    present = ops.stack([batch.present(name) for name in names])
    order = pyro.sample("order", dist.Uniform(0.0, 1.0).expand(list(present.shape)))
    chance = pyro.sample("kept", dist.Uniform(0.0, 1.0).expand([batch.size]))
    rank = ops.argsort(ops.argsort(ops.where(present, order, 2.0), 0), 0)
    drop = present & (rank > ops.floor(chance * present.sum(0)))
    return {name: drop[i] for i, name in enumerate(names)}


def random_part(model: Any, batch: Batch, number: int) -> Batch:
    """The batch without what each item loses at random."""
    return batch.without(random_drop(model, batch, number))
