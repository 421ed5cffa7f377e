"""Checks: what can be wrong with a pair and its data, found before training starts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyro
import torch

from ppvae.backends.declarations import declaring
from ppvae.backends.pyro import seed
from ppvae.backends.pyro_words import STACKS
from ppvae.backends.stacks import emptied
from ppvae.data.dataset import Dataset
from ppvae.data.stored import in_blocks
from ppvae.language import ppl
from ppvae.language.batch import Batch
from ppvae.language.pieces import owner, pieces
from ppvae.language.plates import Noted, found, noting
from ppvae.language.program import forget, parameters
from ppvae.language.traces import is_auxiliary, is_enumerated, is_local, random_sites
from ppvae.language.turns import turn
from ppvae.objectives import Estimator, stages
from ppvae.runs.plan import Sites, torch_dtype
from ppvae.runs.settings import Settings
from ppvae.runs.vae import VAE
from ppvae.training.agreement import drawn_apart, is_written_by_user, stand_ins
from ppvae.training.observed import check_baselines, check_densities, check_draws, check_supports
from ppvae.training.shapes import (
    FAILURES,
    check_enumeration,
    check_handlers,
    check_latents,
    check_measured,
    check_same_shape,
    enumerated_in,
    first_line,
    outside_plate,
)
from ppvae.training.state import check_holds, check_unchanged, prepared

ROWS = 4
UNUSUAL = 1009  # times the items of a batch: a weight that nobody gives them for another reason
AGAIN = 3  # runs, since subsets drawn anew may be the same ones by chance


def inspect(vae: VAE, data: Dataset, settings: Settings, weighs: bool = False) -> tuple[Sites, Batch]:
    """What the programs' sites are, after running both on a few rows, and these rows.

    Objectives that must tell items apart are those of ppvae, and all of them where a run ``weighs`` its items.

    What they declare by ``pyro.param`` becomes theirs, with initial values from the run's seed and in its dtype.

    Raises:
        ValueError: a program fails on the data, holds a layer that changes as it runs, or model and guide differ in
            their latent sites.
    """
    with _trying(vae, getattr(torch, settings.dtype)):
        seed(settings.seed)
        batch, model, guide = _first_tried(vae, data, settings)
        check_baselines(vae, guide, settings)
        enumerated = enumerated_in("model", model) | enumerated_in("guide", guide)
        matched = _match(model, guide, [name for name in data.arrays if name not in vae.model.conditions])
        check_densities(model)
        if enumerated:
            check_enumeration(vae, batch, enumerated)
        if any(getattr(stage.objective, "revisits", False) for stage in stages(vae.objective)):
            _check_same_density(vae.guide, batch)
        _check_holds(vae, batch)
        subsampled = _subsampled(vae, batch, model)
        _tell(vae, batch, guide)
        _check_takes_draws(vae, batch)
    objectives = [stage.objective for stage in stages(vae.objective)]
    if enumerated or weighs or not all(isinstance(objective, str | Estimator) for objective in objectives):
        _check_local(model, data.arrays)
    if any(isinstance(objective, Estimator) and objective.name == "RenyiELBO" for objective in objectives):
        _check_all_local(model)
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
        vae.model.stand_ins = stand_ins(vae.model, batch, given, _values(guide))
        vae.guide.stand_ins = stand_ins(vae.guide, batch, (), {}, shared=True)


def _first_tried(vae: VAE, data: Dataset, settings: Settings) -> tuple[Batch, dict[str, Any], dict[str, Any]]:
    """The sites of model and guide on a few rows that tell what fits them.

    Programs that have a parameter for each item may run on all rows alone, where these are trained on at once.
    """
    few, own = data.batch(_telling_rows(data.arrays)), {name: parameters(p) for name, p in vae.pair.items()}
    others = vae.model.other_plates
    try:
        first = _run(vae, few)
        long = any(note.long for note in first.noted.values())
        declared = own != {name: parameters(p) for name, p in vae.pair.items()}
        if few.size > 1 and (long or declared or few.size == len(data) > settings.batch_size):
            fewer = data.batch(few.rows[1:])  # no parameter has the shape of the batch
            first, second = _arranged(vae, [first, _run(vae, fewer)])
            _checked(second)
            return few, *_checked(first)
        return few, *_checked(*_arranged(vae, [first]))
    except ValueError as error:
        if settings.batch_size >= len(data):
            for name, program in vae.programs.items():
                forget(program, own[name])
                program.other_plates = others  # those of a few rows have the size of all
            with suppress(ValueError):
                return data.batch(), *_checked(*_arranged(vae, [_run(vae, data.batch())]))
        raise ValueError(f"{error}{_per_item(error, data)}") from error


def _arranged(vae: VAE, runs: list[Run]) -> list[Run]:
    """The runs, once the programs know which of their plates go over the items, and where the others are."""
    others = {name for run in runs for name, note in run.noted.items() if not note.long}
    by_chance = {name for run in runs for name, note in run.noted.items() if note.long} & others
    layout = found([*runs[0].model.values(), *runs[0].guide.values()], [run.noted for run in runs])
    again = by_chance - vae.model.other_plates or layout != vae.model.plate_layout
    for program in (vae.model, vae.guide):
        program.other_plates |= others
        program.plate_layout = layout
    return _arranged(vae, [_run(vae, run.batch) for run in runs]) if again else runs


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
            model, _ = _checked(_run(vae, batch := replace(batch, total=UNUSUAL * batch.size)))
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
    rows = _telling_rows(arrays)
    with _trying(vae, next((p.dtype for p in vae.pair.parameters()), torch.get_default_dtype())):
        _checked(_run(vae, Batch({n: a[rows] for n, a in arrays.items()}, {n: m[rows] for n, m in observed.items()})))


@contextmanager
def _trying(vae: VAE, kind: torch.dtype) -> Iterator[None]:
    """The programs' words on Pyro with its checks, on the CPU; nothing leaves a trace but what they declare."""
    with (
        turn(),
        ppl.running("pyro"),
        emptied(*STACKS),
        torch_dtype(kind),
        torch.device("cpu"),  # whatever a user's own default is
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


def _run(vae: VAE, batch: Batch) -> Run:
    state = prepared(vae.pair)
    with noting() as noted:
        guide = _sites("guide", vae.guide, batch)
        check_draws(guide)
        model = _sites("model", vae.model, batch, _values(guide))
    check_unchanged(vae.pair, state)
    return Run(batch, model, guide, noted)


def _checked(run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sites of model and guide, which fit the values of the batch."""
    check_latents(run.sites)
    check_handlers(run.model)
    check_handlers(run.guide)
    check_measured(run.model, run.batch)
    check_supports(run.model, run.batch)
    return run.model, run.guide


def _telling_rows(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
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


def _sites(role: str, program: Any, batch: Batch, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
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


def _check_holds(vae: VAE, batch: Batch) -> None:
    """Raise ValueError where a program fails once gradients are asked for, or depends on weights that it lacks."""
    with torch.enable_grad():
        run = _run(vae, batch)
        for program, sites in ((vae.guide, run.guide), (vae.model, run.model)):
            check_holds(program, sites, vae.pair)


def _check_same_density(guide: Any, batch: Batch) -> None:
    """Raise ValueError where the guide, run again at the latents that it drew, gives them another density."""
    drawn = _sites("guide", guide, batch)
    for _ in range(AGAIN):
        again = _sites("guide", guide, batch, _values(drawn))
        for name, site in drawn.items():
            one, other = (found[name]["fn"].log_prob(site["value"]) for found in (drawn, again))
            if not torch.allclose(one, other, rtol=1e-4, atol=1e-4, equal_nan=True):
                raise ValueError(
                    f"the objective runs the guide again at the latents it drew, and this guide gives {name!r} another "
                    "density each time (dropout, or subsets drawn anew): choose an objective such as elbo or iwae"
                )


def _check_takes_draws(vae: VAE, batch: Batch) -> None:
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


def _check_local(sites: dict[str, Any], modalities: Collection[str]) -> None:
    """Raise ValueError where a measured site is not in the plate of items, by which objectives tell items apart."""
    for name, site in sites.items():
        if owner(name, modalities)[0] in modalities and site["is_observed"] and not is_local(site):
            raise ValueError(
                f"the model's site {name!r} is not in the plate of items, which this objective needs: "
                "draw it within `with batch.plate():`"
            )


def _check_all_local(sites: dict[str, Any]) -> None:
    """Raise ValueError where items share a site, and so have no weights of their own to average."""
    for name, site in sites.items():
        if not is_local(site):
            raise ValueError(
                f"RenyiELBO averages weights of each item, and the model's site {name!r} is not in the plate of items: "
                "use Trace_ELBO, or the objective renyi, which draws once what all items share"
            )


def _values(sites: dict[str, Any]) -> dict[str, Any]:
    return {name: site["value"] for name, site in sites.items() if not site["is_observed"]}


def _match(model: dict[str, Any], guide: dict[str, Any], modalities: Collection[str]) -> frozenset[str]:
    own = frozenset(name for name, site in guide.items() if is_auxiliary(site) and name not in model)
    guided = frozenset(_values(guide)) - own
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
    lacking = [name for name in _values(model) if name not in guided and not is_enumerated(model[name])]
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
