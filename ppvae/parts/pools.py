"""Pools: ways to join diagonal Gaussian experts that are neither a product nor a plain mixture.

Arguments are those of :mod:`ppvae.parts.experts`: ``loc`` and ``scale`` ``(modality, items, latent)``, ``present``
``(modality, items)``. An item with nothing present gets the standard normal, and absent experts never matter.
"""

from __future__ import annotations

import math
from typing import Any

from ppvae.language.ppl import dist, distribution, ops
from ppvae.parts import experts


def barycentres(loc: Any, scale: Any, present: Any, members: Any) -> tuple[Any, Any]:
    """The 2-Wasserstein barycentre of the experts in each subset that are present, all with the same weight.

    For diagonal Gaussians its location and scale are the means of the experts' (Qiu et al. 2025). ``members`` is
    ``(subset, modality)``, zeros and ones; returns loc and scale ``(subset, items, latent)``.
    """
    chosen = members[..., None] * ops.where(present, 1.0, 0.0)
    count = ops.sum(chosen, 1)[..., None]
    share = chosen / ops.clamp(ops.sum(chosen, 1, keepdim=True), min=1.0)
    there = present[..., None]
    mean = ops.einsum("smi,mil->sil", share, ops.where(there, loc, 0.0))
    spread = ops.einsum("smi,mil->sil", share, ops.where(there, scale, 0.0))
    return mean, spread + ops.where(count == 0, 1.0, 0.0)


def consensus(loc: Any, scale: Any, present: Any, rho: Any) -> tuple[Any, Any]:
    """The consensus of experts whose errors correlate by ``rho``, under a flat prior (Mancisidor et al. 2025).

    ``var = 1 / (1ᵀ Σ⁻¹ 1)``, ``loc = var · 1ᵀ Σ⁻¹ μ`` in each dimension, ``Σ_ij = ρ σ_i σ_j`` off the diagonal, over
    the n experts present. The inverse of an equicorrelation matrix is known, so with ``s = 1/σ``

        1ᵀ Σ⁻¹ μ = Σ_m a_m μ_m / (1 + (n−1)ρ),   a_m = s_m (s_m + nρ/(1−ρ) (s_m − mean(s))),

    which holds no difference of large numbers. ``rho`` is in [0, 1); at 0 this is the product without a prior. An
    expert that is vaguer than its fellows may have a negative weight. Returns loc and scale ``(items, latent)``.
    """
    there = present[..., None]
    log_sharpness = -ops.log(ops.where(there, scale, math.inf))
    top = ops.detach(ops.clamp(ops.amax(log_sharpness, 0), min=0.0))
    sharpness = ops.exp(log_sharpness - top)
    count = ops.clamp(ops.sum(ops.where(there, 1.0, 0.0), 0), min=1.0)
    apart = sharpness - ops.sum(sharpness, 0) / count
    weight = sharpness * (sharpness + count * rho / (1.0 - rho) * apart) / (1.0 + (count - 1.0) * rho)
    weighted = ops.sum(weight * ops.where(there, loc, 0.0), 0)
    return experts.gaussian(ops.sum(weight, 0), weighted, 2.0 * top, prior=False)


def holder_components(loc: Any, scale: Any, present: Any) -> tuple[Any, Any, Any]:
    """The Gaussians of which ``(Σ_m √q_m)²`` is the mixture: loc, scale and normalised log weights.

    Opened up, the square is ``Σ_i q_i + 2 Σ_{i<j} √(q_i q_j)``; the root of two Gaussians is a Gaussian,
    ``μ_ij = (μ_i σ_j² + μ_j σ_i²) / (σ_i² + σ_j²)``, ``σ_ij² = 2 σ_i² σ_j² / (σ_i² + σ_j²)``, times their
    Bhattacharyya coefficient. Components are those of ``ops.triu_indices``: with ``i = j`` each expert itself. Shapes
    ``(component, items, latent)``, the weights' ``(component, items)``.
    """
    first, second = ops.triu_indices(len(loc), len(loc))
    there = present[..., None]
    loc, scale = ops.where(there, loc, 0.0), ops.where(there, scale, 1.0)
    a, b = scale[first], scale[second]
    total, gap = a**2 + b**2, loc[first] - loc[second]
    overlap = 0.5 * ops.log(2.0 * a * b / total) - gap**2 / (4.0 * total)
    logits = ops.sum(overlap, -1) + ops.where(first == second, 0.0, math.log(2.0))[:, None]
    allowed = (present[first] & present[second]) | ~ops.any(present, 0)
    logits = ops.log_softmax(ops.where(allowed, logits, -math.inf), 0)
    return (loc[first] * b**2 + loc[second] * a**2) / total, math.sqrt(2.0) * a * b * ops.rsqrt(total), logits


def holder(loc: Any, scale: Any, present: Any) -> Any:
    """The Hölder pool with α = 1/2, ``q ∝ (Σ_m √q_m)²``, exactly: a distribution over ``(items,)`` vectors.

    Its weights depend on the experts, so the gradient of a draw has two parts: that of the chosen component, and that
    of the mass which flows between components as the weights change (see :func:`flow`).
    """
    each_loc, each_scale, logits = holder_components(loc, scale, present)
    pool = experts.mixture(each_loc, each_scale, logits=logits)
    first, second = ops.triu_indices(len(loc), len(loc))

    def sample(draw: Any) -> Any:
        z = draw(pool)
        log_q = pool.log_prob(z)
        to_first, to_second = exchanged(ops.exp(logits), present)
        moved = flow(z, log_q, each_loc, each_scale, first, to_first)
        return z + moved + flow(z, log_q, each_loc, each_scale, second, to_second)

    return distribution(sample, pool.log_prob, pool.batch_shape, pool.event_shape, pool.mean, pool.variance)


def holder_matched(loc: Any, scale: Any, present: Any) -> tuple[Any, Any]:
    """The diagonal Gaussian with the mean and variance of the Hölder pool: loc and scale ``(items, latent)``."""
    each_loc, each_scale, logits = holder_components(loc, scale, present)
    mean, variance = experts.moments(each_loc, each_scale, ops.exp(logits))
    return mean, ops.sqrt(variance)


def exchanged(weights: Any, present: Any) -> tuple[Any, Any]:
    """The mass that each component gives its first expert and its second one as the Hölder pool's weights change.

    Zero in value: the gradients are what counts. A component gives away what its weight loses, half to either expert;
    what an expert then has too much it passes on, in equal parts through the components that it shares with others.
    Shapes ``(component, items)``.
    """
    first, second = ops.triu_indices(len(present), len(present))
    change = weights - ops.detach(weights)
    modality = ops.arange(len(present))[:, None]
    ends = 0.5 * (ops.where(modality == first, 1.0, 0.0) + ops.where(modality == second, 1.0, 0.0))
    lacking = ends @ change
    count = ops.clamp(ops.sum(ops.where(present, 1.0, 0.0), 0), min=1.0)
    passed = ops.where(present[first] & present[second], lacking[first] - lacking[second], 0.0) / count
    return passed - 0.5 * change, -passed - 0.5 * change


def flow(z: Any, log_q: Any, loc: Any, scale: Any, expert: Any, mass: Any) -> Any:
    """What draws ``z`` of a mixture do while ``mass`` moves from each component to that of an expert: zero in value.

    A density whose change is ``∂q = ∂m (t − s)``, for a source s and a target t that are products over dimensions,
    obeys the transport equation ``∂q + ∇·(q v) = 0`` (Jankowiak & Karaletsos 2018) with

        q v_l = −∂m ∏_{j<l} t_j (T_l − S_l) ∏_{j>l} s_j,

    S and T the distribution functions, because the differences telescope over l. Then ``E_q[v · ∇f] = ∂E_q[f]`` for
    any f: the gradient is exact. For the Hölder pool its variance is finite, as ``∫ s²/t = 1/B²`` where s is the root
    of t and another expert, B their Bhattacharyya coefficient. Between experts that overlap it is small, since the mass
    shrinks like B; but with three or more of which one lies six scales or more from the rest, mass has to cross a gap,
    in rare and large steps.

    Args:
        z, log_q: ``(..., items, latent)`` and the log density of the mixture there.
        loc, scale: of the components, in the order of ``ops.triu_indices``, ``(component, items, latent)``.
        expert: the modality that each component gives to.
        mass: ``(component, items)``, zero in value.
    """
    target = expert_component(expert, len(loc))
    each = dist.Normal(ops.detach(loc), ops.detach(scale))
    at = ops.detach(z)[..., None, :, :]
    log_density, below = each.log_prob(at), each.cdf(at)
    onward = ops.flip(earlier(ops.flip(log_density, (-1,))), (-1,))
    ratio = earlier(log_density)[..., target, :, :] + onward - ops.detach(log_q)[..., None, :, None]
    velocity = -ops.exp(ratio) * (below[..., target, :, :] - below)
    return ops.einsum("...kil,ki->...il", velocity, mass)


def expert_component(expert: Any, components: int) -> Any:
    """Where the component that is an expert alone stands among ``ops.triu_indices``."""
    modalities = (math.isqrt(8 * components + 1) - 1) // 2
    return expert * modalities - expert * (expert - 1) // 2


def earlier(x: Any) -> Any:
    """The sum over the latent dimensions before each one."""
    return ops.cumsum(ops.cat([ops.zeros_like(x[..., :1]), x[..., :-1]], -1), -1)
