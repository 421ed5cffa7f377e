"""Questions that the diagnostics ask of a fitted pair, item by item, for subsets of modalities given as masks.

What is shown to the guide is a boolean for each modality beside the data, never another set of arrays: all subsets have
one shape, so that a backend compiles a question once. It is one boolean for all items, so that what is not shown need
not be decoded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.inference import questions
from ppvae.inference.chunks import DRAWS, answer
from ppvae.inference.questions import MANY, Question, Unanswerable, by_items, each_draw, guide_sites, in_turn
from ppvae.language.batch import Batch
from ppvae.language.pieces import pieces, whole
from ppvae.language.plates import as_drawn, items_first
from ppvae.language.ppl import items, ops
from ppvae.language.traces import (
    Sites,
    density,
    is_local,
    joint,
    latents,
    local_latents,
    mixtures,
    model_sites,
    random_sites,
    shared,
)
from ppvae.language.traces import log_weights as weights
from ppvae.objectives.stratified import is_private

if TYPE_CHECKING:
    from ppvae.inference.fitted import Fitted

GIVEN = "given "  # before a modality's name: the mask of the items that show it
AT = "at "  # before a name: an array that stands beside the data
DRAWN = "drawn "  # before a latent's name, which may be that of anything else in an answer: its draws


def ask(
    fitted: Fitted,
    question: Question,
    data: Dataset,
    given: Collection[str] | None = None,
    seed: int = 0,
    at: Mapping[str, np.ndarray] | None = None,
    keys: np.ndarray | None = None,
    rows: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The question's answer for every item, which shows what it has of ``given`` (None for all it has).

    Arrays ``at``, ``(items, ...)``, stand beside the data; ``keys`` take the place of the data's own. ``rows`` are the
    items' numbers in the data that the pair was trained on, if they are of these.

    Raises:
        ValueError: the data do not fit the run, or a name that is given is unknown or not in the data.
    """
    arrays = {name: data.arrays[name] for name in held(fitted, data)}
    given = None if given is None else there(data, fitted.known(given))
    arrays |= {AT + name: array for name, array in (at or {}).items()}
    masks = {**(data.observed or {}), **shown_masks(fitted, given)}
    own = data.keys if keys is None else keys
    batch = Batch(arrays, masks, index=rows)
    return answer(fitted.vae.pair, fitted.settings, question, batch, own, seed, trained=rows is not None)


def held(fitted: Fitted, data: Dataset) -> list[str]:
    """The run's modalities that the data have.

    Raises:
        ValueError: there is none, or one does not fit the run.
    """
    found = [m for m in fitted.modalities if m.name in data.arrays]
    if not found:
        raise ValueError(f"the data have none of the run's modalities {', '.join(fitted.names)}")
    for modality in found:
        data.check(modality)
    return [m.name for m in found]


def explained(fitted: Fitted, data: Dataset) -> list[str]:
    """The modalities of the data that the model explains, and does not take as given."""
    return [name for name in held(fitted, data) if name in fitted.explained]


def there(data: Dataset, names: list[str]) -> list[str]:
    """The names.

    Raises:
        ValueError: the data have no such modality.
    """
    for name in names:
        if name not in data.arrays:
            raise ValueError(f"the data have no modality {name!r} to be given; they have {', '.join(data.arrays)}")
    return names


def chosen(fitted: Fitted, data: Dataset, names: Iterable[str] | None) -> list[str]:
    """The modalities that are asked for: by default all that the data have and the model explains.

    Raises:
        ValueError: the run does not know one, the model takes it as given, or the data do not have it.
    """
    held_ones = explained(fitted, data)
    for name in (found := held_ones if names is None else fitted.asked(names)):
        if name not in held_ones:
            raise ValueError(f"the data have no modality {name!r} to ask for; they have {', '.join(held_ones)}")
    return found


def shown_masks(fitted: Fitted, given: Collection[str] | None) -> dict[str, np.ndarray]:
    """For each modality of the run, whether items show it, ``()``; what the model takes as given is always shown."""
    kept = set(fitted.names if given is None else fitted.known(given)) | set(fitted.vae.model.conditions)
    return {GIVEN + name: np.array(name in kept) for name in fitted.names}


def showing(data: Dataset, given: Sequence[str] | None) -> np.ndarray:
    """Which items have something of what is given, ``(items,)``: all if that is nothing, or whatever there is."""
    return np.any([data.present(name) for name in given], axis=0) if given else np.ones(len(data), bool)


def label(given: Sequence[str] | None) -> str:
    """A subset in words."""
    return "everything" if given is None else ", ".join(given) or "nothing"


def elements(site: str, shape: Sequence[int]) -> tuple[str, ...]:
    """Names of the elements of a site's value: ``z[0]``, ``z[1]``, ..., or its own if it is a single number."""
    return tuple(f"{site}[{','.join(map(str, index))}]" for index in np.ndindex(*shape)) if shape else (site,)


def columns(draws: Mapping[str, np.ndarray]) -> tuple[tuple[str, ...], np.ndarray]:
    """All latents of draws ``(draws, items, *event)`` side by side, ``(draws, items, latents)``, and their names.

    Raises:
        Unanswerable: there are none.
    """
    if not draws:
        raise Unanswerable("no item has a latent of its own to look at: sample one within batch.plate()")
    names = tuple(element for site, values in draws.items() for element in elements(site, values.shape[2:]))
    parts = [values.reshape(*values.shape[:2], -1).astype(np.float64) for values in draws.values()]
    return names, np.concatenate(parts, 2)


def beginning(prefix: str, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What an answer holds under names that begin so, by the rest of the name."""
    return {name.removeprefix(prefix): values for name, values in found.items() if name.startswith(prefix)}


def checked_draws(draws: int, what: str = "draws") -> int:
    """The number of draws.

    Raises:
        ValueError: they are more than a question is asked for at once.
    """
    if not 1 <= draws <= DRAWS:
        raise ValueError(f"{what} is {draws}; give from 1 to {DRAWS}")
    return draws


def shown(batch: Batch) -> Batch:
    """What the batch's masks show of its modalities."""
    masks, inner = batch.observed or {}, measurements(batch)
    return inner.without({name: ~ops.as_tensor(masks[GIVEN + name]) for name in inner.arrays})


def hidden(model: Any, batch: Batch) -> Batch:
    """What the batch's masks do not show, and what the model takes as given."""
    masks, inner = batch.observed or {}, measurements(batch)
    return inner.without({n: ops.as_tensor(masks[GIVEN + n]) for n in inner.arrays if n not in model.conditions})


def measurements(batch: Batch) -> Batch:
    """The batch without the arrays that stand beside the data."""
    return batch.given([name for name in batch.arrays if not name.startswith(AT)])


@in_turn(MANY)
@each_draw
def log_weights(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """``log p(x_S, z) − log q(z | x_S)`` of every draw for the S that is shown: ``(draws, items)``."""
    return questions.log_weights(model, guide, shown(batch), draws)


@each_draw
def bounds(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """``log p(X, z) − log q(z | x_S)`` of every draw: z from what is shown, measured by all there is."""
    with items().repeated(draws), items().enumerating():
        proposal = guide_sites(guide, shown(batch))
        target = random_sites(model, batch, latents(proposal))
        return {"bounds": weights(target, proposal)}


@each_draw
def terms(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """Draws z of q(z | x_S), ``drawn NAME``, and there ``log_guide``, ``log_prior`` and ``log_joint``, log p(x_S, z).

    ``log_like NAME`` is log p(x_m | z) of each modality of S; where it depends on what the model alone enumerates, and
    is summed out, also given the other modalities. All are ``(draws, items)`` but the latents.
    """
    with items().repeated(draws):
        proposal = guide_sites(guide, shown(batch))
        with items().enumerating():
            target = random_sites(model, shown(batch), latents(proposal))
    local = {name: site for name, site in proposal.items() if is_local(site)}
    known = {name: target[name] for name in local if name in target}
    log_p = joint(target, known)
    return {
        **{DRAWN + name: value for name, value in local_latents(local).items()},
        "log_guide": total(local, local),
        "log_prior": sum(log_p[name] for name in known),
        "log_joint": sum(log_p.values()),
        **{f"log_like {n}": _left_out(target, known, n) for n in batch.arrays if n not in model.conditions},
    }


def _left_out(target: Sites, drawn: Sites, name: str) -> Any:
    """The density of a site given all other sites, what is enumerated summed out."""
    own = pieces(target, name)
    if not mixtures(target, drawn) & set(own):
        return total(target, own)
    others = {other: site for other, site in target.items() if other not in own}
    return sum(joint(target, drawn).values()) - sum(joint(others, drawn).values())


@each_draw
def simulated(model: Any, guide: Any, batch: Batch, draws: int, ask: tuple[str, ...]) -> dict[str, Any]:
    """A new item of the model with its latents, and draws of those from q(z | x_S) of what is shown of the item.

    The batch holds what the model takes as given, and masks. Returns the latents as ``drawn NAME``, ``(draws, items,
    ...)``, and as they were, ``true NAME``; log p(x_S, z) at either, ``log_joint`` and ``log_joint_at_truth``; and the
    measurements, ``new NAME``.
    """
    truth, item = new_item(model, guide, batch, ask)
    with items().repeated(draws):
        proposal = guide_sites(guide, shown(item))
        at_draws = log_joint(model, shown(item), latents(proposal))
    local = {name: site for name, site in proposal.items() if is_local(site)}
    at_truth = log_joint(model, shown(item), {name: truth[name] for name in proposal})
    return {
        **{DRAWN + name: value for name, value in local_latents(local).items()},
        "log_joint": at_draws,
        "log_joint_at_truth": at_truth.reshape(1, -1),
        **{f"true {name}": items_first({**site, "single": False}, truth[name])[None] for name, site in local.items()},
        **{f"new {name}": item.arrays[name][None] for name in ask},
    }


def new_item(model: Any, guide: Any, batch: Batch, ask: tuple[str, ...]) -> tuple[dict[str, Any], Batch]:
    """The latents of a new item, and the batch with its measurements. Global latents are the guide's."""
    common = shared(guide, batch)
    sites = model_sites(model, batch, common)
    truth = latents(sites)
    item = Batch(
        {**batch.arrays, **{name: whole(sites, name) for name in ask}}, batch.observed, batch.total, batch.size
    )
    return {**truth, **common}, item


@by_items
def ranks(model: Any, guide: Any, batch: Batch, draws: int, ask: tuple[str, ...]) -> dict[str, Any]:
    """How many predictive draws given what is shown lie below each measured element, and how many are equal to it."""
    drawn = Question(questions.predict, draws, ask)(model, guide, shown(batch))
    found = {}
    for name, value in drawn.items():
        x = batch.get(name)
        found[f"below {name}"] = (value < x).sum(0)[None]
        found[f"equal {name}"] = (value == x).sum(0)[None]
    return found


@each_draw
def divergences(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """``log q(z | X) − log q(z | x_S)`` at draws of q(z | X), S what is shown: ``(draws, items)``."""
    with items().repeated(draws):
        whole = guide_sites(guide, batch)
        part = guide_sites(guide, shown(batch), latents(whole))
    local = {name: site for name, site in whole.items() if is_local(site)}
    return {"divergences": _nothing(batch, draws) + total(whole, local) - total(part, local)}


@each_draw
def conflicts(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """``log q − log r`` at draws of q, plus ``log r − log q`` at draws of r: ``(draws, items)``.

    Here q is q(z | x_S), S what is shown, and r the posterior given all the rest; latents of one modality are left out.
    Their mean is Jeffreys' divergence.
    """
    one, other = shown(batch), hidden(model, batch)
    with items().repeated(draws):
        q, r = guide_sites(guide, one), guide_sites(guide, other)
        r_at_q, q_at_r = guide_sites(guide, other, latents(q)), guide_sites(guide, one, latents(r))
    names = [name for name, site in q.items() if is_local(site) and not is_private(name)]
    away = total(q, names) - total(r_at_q, names) + total(r, names) - total(q_at_r, names)
    return {"conflicts": _nothing(batch, draws) + away}


def _nothing(batch: Batch, draws: int) -> Any:
    """Zeros ``(draws, items)``: what sums over latents are where items have none of their own."""
    return ops.zeros((draws, batch.size))


def densities(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """``log q(z | x_S)`` at latents that stand beside the data as ``at NAME``, ``(items, draws, ...)``."""
    with items().repeated(draws):
        fixed = _standing(guide_sites(guide, shown(batch)), batch)
        return {"log_guide": total(guide_sites(guide, shown(batch), fixed), fixed)}


def joints(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """``log p(x_S, z)`` at the same: ``(draws, items)``. What all items share is the guide's."""
    with items().repeated(draws):
        sites = guide_sites(guide, shown(batch))
        return {"log_joint": log_joint(model, shown(batch), {**latents(sites), **_standing(sites, batch)})}


def _standing(sites: Sites, batch: Batch) -> dict[str, Any]:
    """Each local site's latents that stand beside the data, in its own layout and type."""
    own = {name: site for name, site in sites.items() if is_local(site)}
    there = {n: ops.as_tensor(batch.arrays[AT + n][0], dtype=s["value"].dtype)[:, None] for n, s in own.items()}
    return {name: as_drawn(own[name], value, own[name]["layout"]) for name, value in there.items()}


def total(sites: Sites, names: Iterable[str]) -> Any:
    """The sum of the named sites' log densities."""
    return sum(density(sites[name]) for name in names)


def log_joint(model: Any, batch: Batch, values: Mapping[str, Any]) -> Any:
    """``log p`` of each item's measurements and given latents, ``(..., items)``; what is enumerated is summed out."""
    with items().enumerating():
        sites = random_sites(model, batch, values)
    return sum(joint(sites, {}).values())
