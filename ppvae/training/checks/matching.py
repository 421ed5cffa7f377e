"""Matching: what model, guide, data and objective ask of each other."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from ppvae.language.batch import Batch
from ppvae.language.pieces import owner, pieces
from ppvae.language.traces import is_auxiliary, is_enumerated, is_local
from ppvae.objectives import stages
from ppvae.runs.vae import VAE
from ppvae.training.checks.shapes import FAILURES, check_same_shape, first_line
from ppvae.training.checks.trials import sites_of, values_of

AGAIN = 3  # runs, since subsets drawn anew may be the same ones by chance


def match(model: dict[str, Any], guide: dict[str, Any], modalities: Collection[str]) -> frozenset[str]:
    """The latents that both programs have, and those that the guide draws for itself.

    Raises:
        ValueError: a modality or a latent has no site, or the site of one program has no match in the other.
    """
    own = frozenset(name for name, site in guide.items() if is_auxiliary(site) and name not in model)
    guided = frozenset(values_of(guide)) - own
    unused = [name for name in modalities if not pieces(model, name)]
    if unused and f"{unused[0]}_observed" in model:
        raise ValueError(
            f"the model gives its site {unused[0]!r} an obs_mask, but holes of a modality are masked by themselves: "
            f"write obs=batch.get({unused[0]!r}) alone"
        )
    if unused:
        raise ValueError(
            f"the model has no site named {unused[0]!r}, so that modality would go unexplained: name so the site that "
            f"observes it, or {unused[0]}_0, {unused[0]}_1, ... those that observe its pieces; what the model takes as "
            "given, or observes under other names, is listed in its conditions"
        )
    lacking = [name for name in values_of(model) if name not in guided and not is_enumerated(model[name])]
    unobserved = [name for name in lacking if owner(name, modalities)[0] in modalities]
    if unobserved:
        raise ValueError(
            f"the model's site {unobserved[0]!r} is a modality, but nothing is observed there: "
            f"pass obs=batch.get({unobserved[0]!r})"
        )
    if lacking:
        raise ValueError(f"the guide lacks the site {lacking[0]!r}, which the model samples; add it to the guide")
    extra = [name for name in guided if name not in model]
    if extra:
        raise ValueError(
            f"the guide has the site {extra[0]!r}, which the model does not sample; remove it, or mark it "
            "infer={'is_auxiliary': True} where others follow from it"
        )
    check_same_shape(model, guide, guided)
    return guided | own


def check_local(sites: dict[str, Any], modalities: Collection[str]) -> None:
    """Raise ValueError where a measured site is not in the plate of items, by which objectives tell items apart."""
    for name, site in sites.items():
        if owner(name, modalities)[0] in modalities and site["is_observed"] and not is_local(site):
            raise ValueError(
                f"the model's site {name!r} is not in the plate of items, which this objective needs: "
                "draw it within `with batch.plate():`"
            )


def check_all_local(sites: dict[str, Any]) -> None:
    """Raise ValueError where items share a site, and so have no weights of their own to average."""
    for name, site in sites.items():
        if not is_local(site):
            raise ValueError(
                f"RenyiELBO averages weights of each item, and the model's site {name!r} is not in the plate of items: "
                "use Trace_ELBO, or the objective renyi, which draws once what all items share"
            )


def check_same_density(guide: Any, batch: Batch) -> None:
    """Raise ValueError where the guide, run again at the latents that it drew, gives them another density."""
    drawn = sites_of("guide", guide, batch)
    for _ in range(AGAIN):
        again = sites_of("guide", guide, batch, values_of(drawn))
        for name, site in drawn.items():
            one, other = (found[name]["fn"].log_prob(site["value"]) for found in (drawn, again))
            if not torch.allclose(one, other, rtol=1e-4, atol=1e-4, equal_nan=True):
                raise ValueError(
                    f"the objective runs the guide again at the latents it drew, and this guide gives {name!r} another "
                    "density each time (dropout, or subsets drawn anew): choose an objective such as elbo or iwae"
                )


def check_takes_draws(vae: VAE, batch: Batch) -> None:
    """Raise ValueError where an objective asks a text for several draws beside each other, which it does not take."""
    for stage in stages(vae.objective) if vae.model.plate_layout.apart else ():
        if callable(stage.objective):
            try:
                stage.objective(vae.model, vae.guide, batch, 1.0)
            except FAILURES as error:
                raise ValueError(
                    f"a program fails within the objective, which may run it on several draws, to the left of items "
                    f"({first_line(error)}): let it take any number of dims there, or train with objective='elbo'"
                ) from error
