"""Pyro's estimators: the loss of one, told site by site where it is the plain ELBO, and its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pyro
import torch
from pyro import infer
from pyro.infer.util import MultiFrameTensor, get_plate_stacks, is_identically_zero
from pyro.poutine.runtime import effectful
from torch import nn

from ppvae.language.batch import Batch
from ppvae.language.pieces import pooled
from ppvae.language.traces import alone
from ppvae.objectives.library import BY_SITE, tempered
from ppvae.objectives.multisample import BOUND
from ppvae.runs.plan import Sites

Loss = tuple[torch.Tensor, dict[str, torch.Tensor]]


def by_site(estimator: Any) -> bool:
    """Is this the plain ELBO, of which each site has a share?"""
    return type(estimator).__name__ in BY_SITE


def loss_by_site(estimator: Any, pair: nn.ModuleDict, batch: Batch, sites: Sites, beta: float) -> Loss:
    """The loss of the plain ELBO and each site's share of it, in nats per item.

    The traces are the estimator's own; only the sums are ours, because Pyro's move every site's figure to the host.
    The loss of any other estimator is a figure without a gradient, and minus the same the share of all sites.
    """
    if not by_site(estimator):
        batch = _scaled_after(estimator, batch)
        return _told(estimator.loss(*pair.values(), batch), batch, sites)
    analytic = isinstance(estimator, infer.TraceMeanField_ELBO)
    sums: dict[str, torch.Tensor] = {}
    score: torch.Tensor | float = 0.0
    for model, guide in estimator._get_traces(*pair.values(), (batch,), {}):
        for name, share in _shares(model, guide, analytic).items():
            sums[name] = sums[name] + share if name in sums else share
        score = score + _score_terms(model, guide, sites.latents, beta)
    scale = 1.0 / (estimator.num_particles * sites.items(batch))
    sums = tempered(sums, sites.latents, beta)
    loss = -(sum(sums.values()) + score) * scale
    return loss, pooled({name: share.detach() * scale for name, share in sums.items()}, batch.arrays)


def _shares(model: Any, guide: Any, analytic: bool) -> dict[str, torch.Tensor]:
    shares = {}
    for name, site in model.nodes.items():
        if site["type"] == "sample":
            q = guide.nodes.get(name)
            shares[name] = site["log_prob_sum"] if q is None else _latent_share(q, site, analytic)
    own = {name: -q["log_prob_sum"] for name, q in guide.nodes.items() if q["type"] == "sample" and name not in shares}
    return shares | own  # those of sites that the guide draws for itself


def _latent_share(q: Any, p: Any, analytic: bool) -> torch.Tensor:
    """log p − log q at a latent site, or −KL(q ‖ p) where that is wanted and the two distributions have a formula."""
    sampled = p["log_prob_sum"] - q["log_prob_sum"]
    if not analytic:
        return sampled
    try:
        kl = torch.distributions.kl_divergence(q["fn"], p["fn"])
    except NotImplementedError:
        return sampled
    return -pyro.distributions.util.scale_and_mask(kl, q["scale"], q["mask"]).sum()


def _score_terms(model: Any, guide: Any, latents: frozenset[str], beta: float) -> torch.Tensor | float:
    """The score-function surrogate of sites that cannot be reparameterised; log q has no slope, as its mean is zero."""
    terms = [s for s in guide.nodes.values() if s["type"] == "sample" and not _reparameterised(s)]
    if not terms:
        return 0.0
    log_r, surrogate = _log_r(model, guide, latents, beta), 0.0
    for site in terms:
        log_q, score, entropy = site["score_parts"]
        still = (log_q - entropy).sum() * (beta if site["name"] in latents else 1.0)
        surrogate = surrogate + (log_r.sum_to(site["cond_indep_stack"]) * score).sum() + still - still.detach()
    return surrogate


def _log_r(model: Any, guide: Any, latents: frozenset[str], beta: float) -> Any:
    """The objective by plates, of which each score has what depends on its draw."""
    log_r = MultiFrameTensor()
    for name, stack in get_plate_stacks(model).items():
        log_p = model.nodes[name]["log_prob"]
        share = log_p if model.nodes[name]["is_observed"] else log_p - guide.nodes[name]["log_prob"]
        log_r.add((stack, (beta if name in latents else 1.0) * share.detach()))
    return log_r


def _reparameterised(site: Any) -> bool:
    return is_identically_zero(site["score_parts"].score_function)


def differentiated(
    estimator: Any, pair: nn.ModuleDict, batch: Batch, sites: Sites, parameters: Iterable[nn.Parameter]
) -> dict[str, torch.Tensor]:
    """The shares of any other estimator, once the gradient of its loss is at the parameters."""
    batch = _scaled_after(estimator, batch)
    loss = estimator.loss_and_grads(_trained(pair["model"]), _trained(pair["guide"]), batch)
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad /= sites.items(batch)
    return _told(loss, batch, sites)[1]


def _scaled_after(estimator: Any, batch: Batch) -> Batch:
    """The batch as the estimator is to see it: Pyro's RenyiELBO would raise each item's weight to the power N/B."""
    return alone(batch) if isinstance(estimator, infer.RenyiELBO) else batch


def _told(loss: float, batch: Batch, sites: Sites) -> Loss:
    figure = torch.as_tensor(loss) / sites.items(batch)
    return figure, {BOUND: -figure}


_weight = effectful(lambda parameter: parameter, type="param")


def _trained(program: nn.Module) -> Callable[[Batch], Any]:
    """The program with one of its parameters stated: where there is none, some estimators differentiate nothing."""
    stated = next((p for p in program.parameters() if p.requires_grad), None)

    def run(batch: Batch) -> Any:
        if stated is not None:
            _weight(stated, name="a trained weight")
        return program(batch)

    return run
