"""Trials: both programs run once, on a few rows that tell whatever they would refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyro
import torch

from ppvae.backends.declarations import declaring
from ppvae.backends.devices.in_torch import defaults
from ppvae.backends.pyro_words import STACKS
from ppvae.backends.stacks import emptied
from ppvae.data.stored import in_blocks
from ppvae.language import ppl
from ppvae.language.batch import Batch
from ppvae.language.plates import Noted, noting
from ppvae.language.traces import random_sites
from ppvae.language.turns import turn
from ppvae.runs.vae import VAE
from ppvae.training.checks.observed import check_draws, check_supports
from ppvae.training.checks.shapes import (
    FAILURES,
    check_handlers,
    check_latents,
    check_measured,
    first_line,
    outside_plate,
)
from ppvae.training.checks.state import check_unchanged, prepared

ROWS = 4


@contextmanager
def trying(vae: VAE, kind: torch.dtype) -> Iterator[None]:
    """The programs' words on Pyro with its checks, on the CPU; nothing leaves a trace but what they declare."""
    with (
        turn(),
        ppl.running("pyro"),
        emptied(*STACKS),
        defaults(kind),
        declaring(vae.pair),
        pyro.validation_enabled(True),
        torch.random.fork_rng(),
        torch.no_grad(),
    ):
        torch.manual_seed(0)  # what is refused once is refused always
        yield


class Run(NamedTuple):
    """The sites of guide and model, run once on a batch, and what was noted of their plates."""

    batch: Batch
    model: dict[str, Any]
    guide: dict[str, Any]
    noted: dict[str, Noted]

    @property
    def sites(self) -> dict[str, Any]:
        """Those of both; of a latent the guide's."""
        return {**self.model, **self.guide}


def tried(vae: VAE, batch: Batch) -> Run:
    """Guide and model, run on a batch.

    Raises:
        ValueError: a program fails, changes as it runs, or is a guide that observes.
    """
    state = prepared(vae.pair)
    with noting() as noted:
        guide = sites_of("guide", vae.guide, batch)
        check_draws(guide)
        model = sites_of("model", vae.model, batch, values_of(guide))
    check_unchanged(vae.pair, state)
    return Run(batch, model, guide, noted)


def without_guide(vae: VAE, batch: Batch) -> Run:
    """The model alone, run on a batch.

    Raises:
        ValueError: it fails.
    """
    with noting() as noted:
        return Run(batch, sites_of("model", vae.model, batch), {}, noted)


def checked(run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sites of model and guide, which fit the values of the batch."""
    check_latents(run.sites)
    check_handlers(run.model)
    check_handlers(run.guide)
    check_measured(run.model, run.batch)
    check_supports(run.model, run.batch)
    return run.model, run.guide


def telling_rows(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The first rows, and for each modality those with its lowest, highest and first fractional value.

    Whatever value a distribution would refuse, such as a negative count, is in one of them.
    """
    rows = set(range(min(ROWS, len(next(iter(arrays.values()))))))
    for array in arrays.values():
        blocks = [_extremes(block.reshape(len(block), -1)) for _, block in in_blocks(array)]
        low, high, fractions = (np.concatenate(each) for each in zip(*blocks, strict=True))
        rows |= {int(row) for row in (low.argmin(), high.argmax(), fractions.argmax())}
    return np.array(sorted(rows))


def _extremes(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lowest and the highest value of each row, and whether it has a fractional one."""
    return flat.min(1), flat.max(1), (flat != np.round(flat)).any(1)


def sites_of(role: str, program: Any, batch: Batch, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The random sites of one program, at the given values of its latents.

    Raises:
        ValueError: it fails on the data.
    """
    name = type(program).__name__
    try:
        return random_sites(program, batch, values)
    except FAILURES as error:
        if twice := re.match("Multiple sample sites named '(.+)'", str(error)):
            raise ValueError(
                f"the {role} {name} has two sites named {twice[1]!r}, a modality and a latent have to differ: "
                "rename one"
            ) from error
        raise ValueError(f"the {role} {name} fails on the data: {outside_plate(first_line(error), batch)}") from error


def values_of(sites: dict[str, Any]) -> dict[str, Any]:
    """The values of the sites that are not observed."""
    return {name: site["value"] for name, site in sites.items() if not site["is_observed"]}
