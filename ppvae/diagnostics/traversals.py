"""Traversals: what a model decodes while one number of a latent moves and the others stand still."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pyro.infer import inspect as pyro_inspect
from scipy import stats

from ppvae.backends import pyro as engine
from ppvae.data.dataset import Dataset
from ppvae.diagnostics.active_units import activity
from ppvae.diagnostics.simulation import conditions, prior_draws
from ppvae.inference import subset_questions
from ppvae.inference.chunks import answer
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question
from ppvae.language.batch import Batch
from ppvae.language.plates import as_drawn
from ppvae.language.ppl import items, ops
from ppvae.language.program import Program
from ppvae.language.traces import is_local, model_sites, random_sites
from ppvae.metrics.predictive_means import means
from ppvae.runs.settings import Settings

ANCHORS = 1000  # draws behind an anchor, and behind the prior's moments
SPAN = (-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Traversal:
    """Modalities decoded along single numbers of a latent.

    Attributes:
        names: of the numbers that were moved, ``z[3]``.
        values: what they were set to, ``(numbers, steps)``.
        decoded: the mean of each modality there, without measurement noise, ``(numbers, steps, *shape)``.
    """

    names: tuple[str, ...]
    values: np.ndarray
    decoded: Mapping[str, np.ndarray]


def traversal(
    fitted: Fitted,
    data: Dataset,
    site: str = "z",
    dimensions: int | Sequence[int] = 8,
    span: Sequence[float] = SPAN,
    anchor: int | None = None,
    draws: int = 100,
    seed: int = 0,
) -> Traversal:
    """Decoded means along a latent's numbers, each moved alone.

    The site's other numbers, and all latents that do not depend on it, stand at the anchor. Latents that do depend on
    it are drawn from the model given it, and those that all items share from the guide, alike at every step; decoded
    means are averaged over these draws.

    Args:
        fitted: the pair.
        data: items that tell which numbers are active, and hold the anchor and what a model takes as given.
        site: a continuous latent that each item has of its own.
        dimensions: how many of its numbers, the most active first; or which, counted in its flattened event.
        span: steps in prior standard deviations from the prior mean, both of 1,000 draws.
        anchor: a row of the data, whose posterior mean is the anchor; None for the prior mean. A discrete latent stands
            at its most frequent value.
        draws: over which decoded means are averaged, 1 to 1,000.
        seed: of the draws.

    Raises:
        ValueError: there is no such site.
    """
    row = anchor or 0
    prior = prior_draws(fitted, data.take([row]), ANCHORS, seed)
    continuous = [name for name, drawn in prior.items() if drawn.dtype.kind == "f"]
    if site not in continuous:
        raise ValueError(f"items have no continuous latent {site!r}; traverse one of {', '.join(continuous)}")
    elements = subset_questions.elements(site, prior[site].shape[2:])
    chosen = _most_active(fitted, data, elements, dimensions, seed) if isinstance(dimensions, int) else dimensions
    values = _grid(prior[site], chosen, span)
    anchors = prior if anchor is None else fitted.encode(data.take([row]), draws=ANCHORS, seed=seed)
    moved = _below(fitted, data, row, site)
    points = {n: v for n, v in _points(_center(anchors), site, chosen, values).items() if n not in moved}
    decoded = _decode(fitted, data, row, points, draws, seed)
    names = tuple(elements[number] for number in chosen)
    return Traversal(names, values, {n: v.reshape(*values.shape, *v.shape[1:]) for n, v in decoded.items()})


def _most_active(fitted: Fitted, data: Dataset, elements: Sequence[str], count: int, seed: int) -> list[int]:
    """Which elements' posterior means vary most over items, the first the most."""
    found = activity(fitted, data, seed=seed)
    own = [v for name, v in zip(found.names, found.variance, strict=True) if name in elements]
    return np.argsort(-np.array(own))[:count].tolist()


def _grid(prior: np.ndarray, chosen: Sequence[int], span: Sequence[float]) -> np.ndarray:
    """Where each of the chosen numbers is put: ``(numbers, steps)``."""
    numbers = prior.reshape(len(prior), -1)[:, chosen].astype(float)
    return numbers.mean(0)[:, None] + numbers.std(0)[:, None] * np.asarray(span)


def _center(draws: Mapping[str, np.ndarray]) -> Arrays:
    """The mean of each latent, of a discrete one its most frequent value: ``(1, *event)``."""
    return {n: v.mean(0) if v.dtype.kind == "f" else stats.mode(v, axis=0).mode for n, v in draws.items()}


def _points(center: Arrays, site: str, chosen: Sequence[int], values: np.ndarray) -> Arrays:
    """The anchor once for each of the values, which replaces the one number there: ``(numbers · steps, *event)``."""
    points = {name: np.repeat(value, values.size, 0) for name, value in center.items()}
    flat = points[site].reshape(values.size, -1)  # a view
    flat[np.arange(values.size), np.repeat(chosen, values.shape[1])] = values.ravel()
    return points


def _below(fitted: Fitted, data: Dataset, row: int, site: str) -> set[str]:
    """The sites whose distributions depend on a site, directly or through others, and not the site itself."""
    model = copy.deepcopy(fitted.vae.model).cpu()
    settings = Settings.model_validate({"backend": "pyro", "dtype": fitted.settings.dtype, "device": "cpu"})
    with engine.environment(settings):
        batch = conditions(fitted, data, (), np.array([row]))
        return below(model, batch, site)


def _decode(fitted: Fitted, data: Dataset, row: int, points: Arrays, draws: int, seed: int) -> Arrays:
    """The mean of each modality at each point, ``(points, *shape)``; one key for all, so that draws do not differ."""
    names, count = tuple(fitted.explained), len(next(iter(points.values())))
    batch = conditions(fitted, data, (), np.full(count, row))
    batch = replace(
        batch, arrays={**batch.arrays, **{subset_questions.AT + name: value for name, value in points.items()}}
    )
    question = Question(_decoded, subset_questions.checked_draws(draws), names)
    found = answer(fitted.vae.pair, fitted.settings, question, batch, np.zeros(count, np.uint32), seed)
    return {name: found[name][0] for name in names}


def _decoded(model: Any, guide: Any, batch: Batch, draws: int, ask: tuple[str, ...]) -> dict[str, Any]:
    """The mean over draws of ``E[x_ask | latents]``, where latents beside the data, ``at NAME``, are given.

    Texts have no mean: theirs is that of the first draw.
    """
    inner = replace(subset_questions.measurements(batch), ask=ask)
    with items().repeated(draws):
        drawn = random_sites(guide, inner)
        shared = {name: site["value"] for name, site in drawn.items() if not is_local(site)}
        beside = {
            name: batch.arrays[subset_questions.AT + name]
            for name in drawn
            if subset_questions.AT + name in batch.arrays
        }
        there = {name: ops.as_tensor(value, dtype=drawn[name]["value"].dtype) for name, value in beside.items()}
        fixed = {name: as_drawn(drawn[name], value, drawn[name]["layout"]) for name, value in there.items()}
        sites = model_sites(model, inner, {**shared, **fixed})
    found = means(sites, ask)
    return {name: x.mean(0)[None] if ops.is_floating_point(x) else x[:1] for name, x in found.items()}


def below(model: Program, batch: Batch, site: str) -> set[str]:
    """The sites whose distributions depend on a site, directly or through others; the site itself is not among them."""
    parents: dict[str, list[str]] = pyro_inspect.get_model_relations(model, (batch,))["sample_sample"]
    found = {site}
    for name, above in parents.items():
        if found & set(above):
            found.add(name)
    return found - {site}
