"""Repeats: programs are functions of weights, data and torch's draws: run twice on the same, they say the same."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any

import torch

from ppvae.language.batch import Batch
from ppvae.language.traces import log_prob
from ppvae.runs.vae import VAE
from ppvae.training.checks.trials import tried

ROUNDING = 1e-5


def check_repeats(vae: VAE, batch: Batch, backend: str) -> None:
    """Run both programs twice from one state of torch's generator.

    What differs then comes from what a text counts or keeps, from a clock or from random numbers of others. Pyro takes
    it anew in each step, and a compiled step on NumPyro once and for all.

    Warns:
        UserWarning: a site differs, and the run is on Pyro.

    Raises:
        ValueError: a site differs, and the run is on NumPyro.
    """
    first, second = _told(vae, batch), _told(vae, batch)
    for (role, name), numbers in first.items():
        if all(map(_alike, numbers, second.get((role, name), []))):
            continue
        said = (
            f"the site {name!r} of {type(vae.programs[role]).__name__} changes from run to run at the same draws of "
            "torch's, by a count or a value that its program keeps, a clock, or random numbers of Python's, NumPy's or "
            "a generator of its own"
        )
        cure = "draw by pyro.sample or torch.rand, and let kl_warmup, lr and callbacks follow the epochs"
        if backend == "numpyro":
            raise ValueError(f"{said}, which NumPyro compiles into all steps as it first was: {cure}")
        warnings.warn(f"{said}, so that no seed repeats this run: {cure}", UserWarning, stacklevel=5)  # the call of fit
        return


def _told(vae: VAE, batch: Batch) -> dict[tuple[str, str], list[torch.Tensor]]:
    """The value and, where it is known, the log density of each site, by program and name; the guide's, which the model
    is given, first."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        run = tried(vae, batch)
    found: dict[tuple[str, str], list[torch.Tensor]] = {}
    for role, sites in (("guide", run.guide), ("model", run.model)):
        for name, site in sites.items():
            found[role, name] = [torch.as_tensor(site["value"])]
            with suppress(ValueError, NotImplementedError):  # the check of densities tells it
                found[role, name].append(log_prob(site))
    return found


def _alike(one: Any, other: Any) -> bool:
    return one.shape != other.shape or torch.allclose(one, other, rtol=ROUNDING, atol=ROUNDING, equal_nan=True)
