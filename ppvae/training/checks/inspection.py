"""Inspection: what a pair's sites are on its data, or what is wrong with it, found before training starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ppvae.backends.devices.in_torch import seed
from ppvae.data.dataset import Dataset
from ppvae.language.batch import Batch
from ppvae.language.plates import found
from ppvae.language.program import forget, parameters
from ppvae.objectives import Estimator, stages
from ppvae.runs.automatic import automatic
from ppvae.runs.plan import Sites
from ppvae.runs.settings import Settings
from ppvae.runs.vae import VAE
from ppvae.training.checks.agreement import check_one_by_one, drawn_apart, is_written_by_user, stand_ins
from ppvae.training.checks.matching import (
    check_all_local,
    check_local,
    check_same_density,
    check_takes_draws,
    match,
)
from ppvae.training.checks.observed import check_baselines, check_densities, check_factors, check_units
from ppvae.training.checks.repeats import check_repeats
from ppvae.training.checks.shapes import check_enumeration, enumerated_in
from ppvae.training.checks.state import check_holds
from ppvae.training.checks.trials import Run, checked, telling_rows, tried, trying, values_of, without_guide

UNUSUAL = 1009  # times the items of a batch: a weight that nobody gives them for another reason


def inspect(vae: VAE, data: Dataset, settings: Settings, weighs: bool = False) -> tuple[Sites, Batch]:
    """What the programs' sites are, after running both on a few rows, and these rows.

    Objectives that must tell items apart are those of ppvae, and all of them where a run ``weighs`` its items.

    What they declare by ``pyro.param`` becomes theirs, with initial values from the run's seed and in its dtype.

    Raises:
        ValueError: a program fails on the data, holds a layer that changes as it runs, or model and guide differ in
            their latent sites.
    """
    with trying(vae, getattr(torch, settings.dtype)):
        seed(settings.seed)
        batch, model, guide = _first_tried(vae, data, settings)
        check_baselines(vae, guide, settings)
        enumerated = enumerated_in("model", model) | enumerated_in("guide", guide)
        matched = match(model, guide, [name for name in data.arrays if name not in vae.model.conditions])
        check_densities(model)
        check_units(model, batch)
        if enumerated:
            check_enumeration(vae, batch, enumerated)
        if any(getattr(stage.objective, "revisits", False) for stage in stages(vae.objective)):
            check_same_density(vae.guide, batch)
        _check_holds(vae, batch)
        subsampled = _subsampled(vae, batch, model)
        _tell(vae, batch, guide)
        check_takes_draws(vae, batch)
        if is_written_by_user(vae):
            check_repeats(vae, batch, settings.backend)
        if is_written_by_user(vae) and batch.size > 1:
            check_one_by_one(vae, batch, guide)
    objectives = [stage.objective for stage in stages(vae.objective)]
    if enumerated or weighs or not all(isinstance(objective, str | Estimator) for objective in objectives):
        check_local(model, data.arrays)
    elif settings.backend == "numpyro":
        check_factors(guide)
    if any(isinstance(objective, Estimator) and objective.name == "RenyiELBO" for objective in objectives):
        check_all_local(model)
    sites = Sites(
        latents=matched | enumerated,
        discrete=frozenset(name for name in matched - enumerated if not guide[name]["fn"].has_rsample),
        enumerated=enumerated,
        subsampled=subsampled,
    )
    return sites, batch


def _tell(vae: VAE, batch: Batch, guide: dict[str, Any]) -> None:
    """Tell the programs how answers have to run them: draw by draw, or with zeros for data that are not there."""
    apart, given = drawn_apart(vae, batch, guide), vae.model.conditions
    for program in (vae.model, vae.guide):
        program.plate_layout = program.plate_layout._replace(apart=apart)
    if is_written_by_user(vae):
        vae.model.stand_ins = stand_ins(vae.model, batch, given, values_of(guide))
        vae.guide.stand_ins = stand_ins(vae.guide, batch, (), {}, shared=True)


def _first_tried(vae: VAE, data: Dataset, settings: Settings) -> tuple[Batch, dict[str, Any], dict[str, Any]]:
    """The sites of model and guide on a few rows that tell what fits them.

    Programs that have a parameter for each item may run on all rows alone, where these are trained on at once.
    """
    few, own = data.batch(telling_rows(data.arrays)), {name: parameters(p) for name, p in vae.pair.items()}
    others, fewer = vae.model.other_plates, data.batch(few.rows[1:]) if few.size > 1 else few
    try:
        if next(automatic(vae.guide), None):  # which tells the latents of items from others when it first runs
            _know_plates(vae, [without_guide(vae, batch) for batch in (few, fewer)])
        first = tried(vae, few)
        long = any(note.long for note in first.noted.values())
        declared = own != {name: parameters(p) for name, p in vae.pair.items()}
        if few.size > 1 and (long or declared or few.size == len(data) > settings.batch_size):
            # no parameter has the shape of the batch
            first, second = _arranged(vae, [first, tried(vae, fewer)])
            checked(second)
            return few, *checked(first)
        return few, *checked(*_arranged(vae, [first]))
    except ValueError as error:
        if settings.batch_size >= len(data):
            for name, program in vae.programs.items():
                forget(program, own[name])
                program.other_plates = others  # those of a few rows have the size of all
            with suppress(ValueError):
                return data.batch(), *checked(*_arranged(vae, [tried(vae, data.batch())]))
        raise ValueError(f"{error}{_per_item(error, data)}") from error


def _arranged(vae: VAE, runs: list[Run]) -> list[Run]:
    """The runs, once the programs know which of their plates go over the items, and where the others are."""
    return _arranged(vae, [tried(vae, run.batch) for run in runs]) if _know_plates(vae, runs) else runs


def _know_plates(vae: VAE, runs: Sequence[Run]) -> bool:
    """Tell the programs which of their plates go over the items, and where the others are; would they run otherwise?"""
    others = {name for run in runs for name, note in run.noted.items() if not note.long}
    by_chance = {name for run in runs for name, note in run.noted.items() if note.long} & others
    layout = found([*runs[0].model.values(), *runs[0].guide.values()], [run.noted for run in runs])
    again = bool(by_chance - vae.model.other_plates) or layout != vae.model.plate_layout
    for program in (vae.model, vae.guide):
        program.other_plates |= others
        program.plate_layout = layout
    return again


def _per_item(error: ValueError, data: Dataset) -> str:
    """Advice where the number of all items is what does not fit."""
    if not re.search(rf"\b{len(data)}\b", f"{error} {error.__cause__}"):
        return ""
    return (
        f"; parameters with a row for each of the {len(data)} items are indexed by the rows of the batch, "
        f"self.theta[batch.rows], or trained with batch_size={len(data)}"
    )


def _subsampled(vae: VAE, batch: Batch, model: dict[str, Any]) -> bool:
    """Does a batch speak for the whole data set? Programs that run on all rows alone do not, as there are no others."""
    if batch.total == batch.size:
        try:
            model, _ = checked(tried(vae, batch := replace(batch, total=UNUSUAL * batch.size)))
        except ValueError:
            return False
    # of an item, by its plate or by poutine.scale
    weight = torch.tensor((batch.total or batch.size) / batch.size).double()
    return any(
        bool(torch.isclose(torch.as_tensor(site["scale"]).double(), weight).any())
        or any(frame.name == "items" and frame.full_size == batch.total for frame in site["cond_indep_stack"])
        for site in model.values()
    )


def check_values(vae: VAE, arrays: Mapping[str, np.ndarray], observed: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError where the programs fail on items, or a distribution cannot take what was measured in them."""
    rows = telling_rows(arrays)
    with trying(vae, next((p.dtype for p in vae.pair.parameters()), torch.get_default_dtype())):
        checked(tried(vae, Batch({n: a[rows] for n, a in arrays.items()}, {n: m[rows] for n, m in observed.items()})))


def _check_holds(vae: VAE, batch: Batch) -> None:
    """Raise ValueError where a program fails once gradients are asked for, or depends on weights that it lacks."""
    with torch.enable_grad():
        run = tried(vae, batch)
        for program, sites in ((vae.guide, run.guide), (vae.model, run.model)):
            check_holds(program, sites, vae.pair)
