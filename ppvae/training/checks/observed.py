"""Observed: what a distribution can take, and what a guide may observe and ask for."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from pyro.distributions import constraints

from ppvae.backends.distributions.unchecked import unchecked
from ppvae.language.batch import Batch, over
from ppvae.language.pieces import mask_of, owner, pieces, whole
from ppvae.language.plates import beside
from ppvae.language.traces import bare, density, is_factor, is_local
from ppvae.objectives import stages
from ppvae.runs.settings import Settings
from ppvae.runs.vae import VAE
from ppvae.training.checks.shapes import FAILURES, first_line

NEAR = 0.2  # of a modality's spread: what a model observes is at most as far from the data, on average; our choice


def check_draws(guide: dict[str, Any]) -> None:
    """Raise ValueError where a guide observes a site; its factors are no observations."""
    for name, site in guide.items():
        if site["is_observed"] and not is_factor(site):
            raise ValueError(
                f"the guide observes its site {name!r}, but a guide draws latents and leaves what is measured to the "
                "model: drop obs=, or use pyro.deterministic for a value to look at"
            )


def _support(fn: Any) -> Any:
    """The support of a distribution, all numbers where it does not say."""
    try:
        return fn.support
    except (AttributeError, NotImplementedError):
        return constraints.real


def check_baselines(vae: VAE, guide: dict[str, Any], settings: Settings) -> None:
    """Raise ValueError where a site asks for a baseline that the objective would ignore."""
    asking = [name for name, site in guide.items() if site["infer"].get("baseline")]
    heard = all(getattr(stage.objective, "name", "") == "TraceGraph_ELBO" for stage in stages(vae.objective))
    if asking and not (heard and settings.backend == "pyro"):
        raise ValueError(
            f"the guide's site {asking[0]!r} asks for infer={{\"baseline\": ...}}, which only Pyro's TraceGraph_ELBO "
            'uses: drop it, or train with objective=pyro.infer.TraceGraph_ELBO and backend="pyro"'
        )


def check_factors(guide: dict[str, Any]) -> None:
    """Raise ValueError where Pyro's ELBO would estimate the gradient of a guide's factor by the score function."""
    for name, site in guide.items():
        if is_factor(site) and not bare(site["fn"]).has_rsample:
            raise ValueError(
                f"the guide's pyro.factor({name!r}, ...) is not marked has_rsample=True, so that Pyro's ELBO estimates "
                "its gradient by the score function, which NumPyro's has not: mark it where all draws that it depends "
                "on are reparameterised, or train with backend='pyro'"
            )


def check_densities(model: dict[str, Any]) -> None:
    """Raise ValueError where a site of the model has no density at what the guide drew and the data hold."""
    for name, site in model.items():
        try:
            density(site)
        except (*FAILURES, NotImplementedError) as error:
            raise ValueError(f"the model's site {name!r} has no density: {first_line(error)}") from error


def check_units(sites: dict[str, Any], batch: Batch) -> None:
    """Warn where a model observes something else than the data have, as whose values answers are taken.

    Noise that makes whole numbers continuous, a bound that keeps off the edge of a support, and another shape of the
    same numbers in the same order are let through.

    Raises:
        ValueError: it observes more or fewer numbers of an item.
    """
    for name in batch.arrays:
        own = [sites[piece] for piece in pieces(sites, name)]
        if own and all(site["is_observed"] and is_local(site) for site in own):
            _check_values(name, whole(sites, name), batch.get(name), batch.mask(name))


def _check_values(name: str, seen: Any, data: Any, mask: Any) -> None:
    if seen.numel() != data.numel():
        own, other = tuple(seen.shape[1:]), tuple(data.shape[1:])
        raise ValueError(
            f"the model observes {name!r} in shape {own} where an item of the data has {other}, which its predictions "
            f"need: give its distribution that shape, .to_event({len(other)}), or the data set the other"
        )
    known = torch.ones_like(data, dtype=torch.bool) if mask is None else over(mask, data).expand_as(data)
    seen, data = seen.reshape(data.shape)[known].to(data), data[known]
    if not len(data):
        return
    off, spread = (seen - data).abs(), data.std(correction=0)
    if not off.mean() <= NEAR * (spread if spread > 0 else data.abs().max().clamp(min=1.0)):
        worst = int(off.nan_to_num(torch.inf).argmax())
        a, b = seen[worst].item(), data[worst].item()
        sentence = (
            f"the model observes {name!r} as {a:.4g} where the data have {b:.4g}, so that evidence and predictions are "
            "of what it observes: change the data set so, or the distribution, as dist.TransformedDistribution does"
        )
        warnings.warn(sentence, UserWarning, stacklevel=2)


def check_supports(sites: dict[str, Any], batch: Batch) -> None:
    """Raise ValueError where a distribution cannot take what was measured; what fills the holes may be anything."""
    masks = batch.masks()
    for name, site in sites.items():
        if owner(name, batch.arrays)[0] not in batch.arrays or not site["is_observed"]:
            continue
        fn, value, mask = bare(site["fn"]), site["value"], mask_of(name, masks, batch.arrays)
        fine = _support(fn).check(value)
        if mask is not None and mask.ndim <= fine.ndim:
            fine = fine | ~over(beside(site, mask, site["layout"]), fine)
        if not fine.all():
            _outside(name, fn, value[~fine].flatten()[0].item())


def _outside(name: str, fn: Any, bad: float) -> None:
    """A value outside of a support is an error, and a warning where the text wants no checks, as Pyro's VAE does."""
    sentence = f"the model gives {name!r} the distribution {type(fn).__name__}, which cannot take {bad:g}"
    if not unchecked(fn):
        raise ValueError(f"{sentence}: give it another, or validate_args=False if its formula is meant all the same")
    warnings.warn(
        f"{sentence}: its formula counts (validate_args=False), and evidence of such values is none of a density",
        UserWarning,
        stacklevel=2,
    )
