"""Shapes: do sites have one density an item, also where latents take all of their values at once?"""

from __future__ import annotations

import re
import traceback
from collections.abc import Collection, Iterable, Iterator
from itertools import zip_longest
from typing import Any

import numpy as np

from ppvae.language.batch import Batch
from ppvae.language.pieces import misnumbered, owner
from ppvae.language.plates import depth, items_first, own_dims, tempering
from ppvae.language.traces import is_enumerated, is_local, joint, mixtures, paired
from ppvae.runs.vae import VAE

# What a text raises that does not fit.
FAILURES = (RuntimeError, ValueError, IndexError, TypeError, KeyError, AssertionError)
MOST = 60  # enumerated latents: torch's arrays have 64 dimensions, and items, draws and events take some


def check_latents(sites: dict[str, Any]) -> None:
    """Raise ValueError where a latent of the items has dimensions of its own to the left of its event."""
    for name, site in sites.items():
        extra = len(site["fn"].batch_shape) - depth(site, default=0)
        if is_local(site) and not site["is_observed"] and extra > 0:
            raise ValueError(
                f"the latent {name!r} has batch shape {tuple(site['fn'].batch_shape)}, more than its plates give it: "
                f"end its distribution with .to_event({extra}), or draw a single number, with parameters (items,)"
            )


def check_same_shape(model: dict[str, Any], guide: dict[str, Any], latents: Iterable[str]) -> None:
    """Raise ValueError where one density of the guide stands for several of the model, or the other way round."""
    for name in latents:
        own, other = (tuple(sites[name]["fn"].shape()) for sites in (model, guide))
        if any(one != two for one, two in zip_longest(own[::-1], other[::-1], fillvalue=1)):
            raise ValueError(
                f"the latent {name!r} has shape {own} in the model and {other} in the guide: draw it within the same "
                "plates, with the same event, in both"
            )


def check_handlers(sites: dict[str, Any]) -> None:
    """Raise ValueError where a mask or a scale is wider than the site under it, which would broadcast in silence."""
    for name, site in sites.items():
        own = tuple(site["fn"].batch_shape)
        for kind in ("mask", "scale"):
            given = tuple(getattr(site[kind], "shape", ()))
            under = zip_longest(given[::-1], own[::-1][: len(given)], fillvalue=1)
            if any(size not in (1, there) for size, there in under):
                raise ValueError(
                    f"site {name!r} has batch shape {own}, but is under a {kind} of shape {given}: give it one entry "
                    "an item; the single numbers of Modality(name, ()) are (items,)"
                )


def check_measured(sites: dict[str, Any], batch: Batch) -> None:
    """Raise ValueError where a measured site is not one density an item, which would broadcast in silence."""
    for name, site in sites.items():
        modality, number = owner(name, batch.arrays)
        if modality not in batch.arrays or not site["is_observed"]:
            continue
        array, fn, value = batch.arrays[modality], site["fn"], site["value"]
        if number is not None:
            if not site["fn"].batch_shape and not is_local(site):
                raise ValueError(
                    f"the model observes {modality!r} one item after the other, at the site {name!r} and others; "
                    f"observe all items at once, at one site {modality!r} within `with batch.plate():`"
                )
            check_numbered(name, modality, number, items_first(site, value), batch)
            array = array[:, 0]
        if is_local(site) and site["layout"].own:
            check_in_plates(name, site, tuple(array.shape))
            continue
        own, event = tuple(fn.batch_shape), tuple(fn.event_shape)
        if own != (batch.size,) or tuple(value.shape) != (batch.size, *event):
            raise ValueError(
                f"the model's site {name!r} has batch shape {own} and event shape {event} where {batch.size} items are "
                f"measured, each of shape {tuple(value.shape[1:])}: {_cure(name, own, event, tuple(array.shape[1:]))}"
            )


def check_in_plates(name: str, site: Any, shape: tuple[int, ...]) -> None:
    """Raise ValueError where a measured site has not one density for each entry of its plates."""
    layout, fn, value = site["layout"], site["fn"], site["value"]
    sizes, within = {frame.dim: frame.size for frame in site["cond_indep_stack"]}, 1 + len(own_dims(site, layout))
    plates = tuple(sizes.get(dim, 1) for dim in range(-depth(site), 0))
    if (
        tuple(fn.batch_shape) != plates
        or tuple(value.shape) != (*plates, *fn.event_shape)
        or tuple(items_first(site, value).shape[:within]) != shape[:within]
    ):
        moved = f"x.movedim(0, {layout.items - len(shape) + within})"
        raise ValueError(
            f"the model's site {name!r} has batch shape {tuple(fn.batch_shape)}, event shape {tuple(fn.event_shape)} "
            f"and a value of shape {tuple(value.shape)} in plates of sizes {plates}, the items' at dim {layout.items}, "
            f"where the data have shape {shape}: observe {moved}, x the data, with .to_event for axes in no plate"
        )


def enumerated_in(role: str, sites: dict[str, Any]) -> frozenset[str]:
    """The sites that are to be enumerated.

    Raises:
        ValueError: one of them cannot be.
    """
    found = {name: site for name, site in sites.items() if is_enumerated(site)}
    for name, site in found.items():
        try:
            finite = bool(len(site["fn"].enumerate_support(expand=False)))
        except NotImplementedError:
            finite = False
        exact = site["infer"]["enumerate"] in ("parallel", "sequential") and not site["infer"].get("num_samples")
        if not finite or not is_local(site) or not exact:
            raise ValueError(
                f"the {role}'s site {name!r} cannot be enumerated; what can is a dist.Categorical or dist.Bernoulli "
                'of batch shape (items,), within batch.plate(), marked infer={"enumerate": "parallel"}'
            )
        if role == "guide" and own_dims(site, site["layout"]):
            raise ValueError(
                f"the guide's site {name!r} is enumerated in a plate within that of the items: leave it out of the "
                "guide, and the model sums it out exactly"
            )
    return frozenset(found)


def check_enumeration(vae: VAE, batch: Batch, names: Collection[str]) -> None:
    """Raise ValueError where the programs do not run on all values at once, or mean something else then."""
    if len(names) > MOST:
        raise ValueError(
            f"{len(names)} latents take all of their values at once, each along a dimension of its own, and there are "
            f"at most {MOST} of these: sum a longer chain out in one site, such as dist.DiscreteHMM"
        )
    try:
        paired(vae.model, vae.guide, batch, draws=2)
        proposal, target = paired(vae.model, vae.guide, batch)
        check_within_plates(target)
        check_common_scale(target, mixtures(target, proposal))
        joint(target, proposal)
    except FAILURES as error:
        raise ValueError(
            f"the programs fail where {sorted(names)} take all of their values at once, along new dimensions to the "
            f"left of draws and items: {first_line(error)}"
        ) from error


def check_within_plates(sites: dict[str, Any]) -> None:
    """Raise ValueError where what is summed out for each entry of a plate is asked for outside of that plate.

    Sites are those of a single draw.
    """
    for name, site in sites.items():
        layout, own = site["layout"], own_dims(site, site["layout"])
        wide = [dim for dim in (*layout.own, -layout.inner) if dim not in own and _extends(site, dim)]
        if is_local(site) and wide:
            raise ValueError(
                f"the site {name!r} has several entries along dim {wide[0]}, that of draws or of a plate it is "
                "not in: keep dims where what is summed out is reduced, as it has its values to the left of all plates"
            )
        for latent, frame in _summed_out_in_plates(sites):
            axis = sites[latent]["fn"].event_dim - sites[latent]["value"].ndim
            if frame.dim not in own and _extends(site, axis):
                raise ValueError(
                    f"the site {name!r} depends on the latent {latent!r}, which is summed out in the plate "
                    f"{frame.name!r}, and is outside of that plate: draw it within, or {latent!r} in the guide"
                )


def check_common_scale(sites: dict[str, Any], mixed: Collection[str]) -> None:
    """Raise ValueError where ``poutine.scale`` is not one number for what is summed out and all that depends on it."""
    weights = {name: tempering(site) for name, site in sites.items() if name in mixed or is_enumerated(site)}
    if any(getattr(weight, "ndim", 0) for weight in weights.values()) or len({float(w) for w in weights.values()}) > 1:
        raise ValueError(
            f"poutine.scale is not one number for {sorted(weights)}, which are summed out together and weighed then: "
            "put all of them under the same scale"
        )


def _summed_out_in_plates(sites: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Latents that are summed out, each with every plate of the program's own that it is in."""
    for name, site in sites.items():
        for frame in site["cond_indep_stack"] if is_enumerated(site) else ():
            if frame.dim in site["layout"].own:
                if frame.full_size not in (None, frame.size):
                    raise ValueError(
                        f"the latent {name!r} is summed out in the plate {frame.name!r}, which picks some of its rows: "
                        "give that plate all of them"
                    )
                yield name, frame


def _extends(site: Any, dim: int) -> bool:
    """Has the density of a site several entries along a dimension?"""
    shape = np.broadcast_shapes(
        site["fn"].batch_shape, site["value"].shape[: site["value"].ndim - site["fn"].event_dim]
    )
    return len(shape) >= -dim and shape[dim] > 1


def check_numbered(name: str, modality: str, number: int, value: Any, batch: Batch) -> None:
    """Raise ValueError where a piece of a modality with holes within its items is not the piece of its number."""
    mask, array = batch.mask(modality), batch.get(modality)
    if mask is not None and mask.ndim > 1:
        piece = array[:, number] if number < array.shape[1] else None
        if piece is None or piece.shape != value.shape or not bool((value == piece)[mask[:, number]].all()):
            raise ValueError(misnumbered(name, modality, array.shape[1]))


def _cure(name: str, own: tuple[int, ...], event: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """How a measured site gets the shape of its data."""
    if not shape:
        return "one number an item needs parameters of shape (items,), such as decoder(z)[..., 0], and no .to_event"
    if len(own) > 1 and not event:
        return f"end its distribution with .to_event({len(shape)})"
    if shape == (1,) and not event:
        return (
            f"for a site of single numbers declare Modality({name!r}, ()) in the data set; otherwise give its "
            "distribution parameters of shape (items, 1) and .to_event(1)"
        )
    return (
        f"give its distribution parameters of shape (items, {', '.join(map(str, shape))}) and .to_event({len(shape)})"
    )


def outside_plate(line: str, batch: Batch) -> str:
    """Pyro's message; that of a site which does not fit the plate of items in words that say what it lacks."""
    found = re.match(r"Shape mismatch inside plate\('items'\) at site (\w+) dim -1", line)
    if found is None:
        return line
    name, cure = found[1], "end its distribution with .to_event(n), n the number of its axes after the items"
    if name in batch.arrays:
        cure = _cure(name, (batch.size, 1), (), tuple(batch.arrays[name].shape[1:]))
    return f"site {name!r} has other dimensions than the plate of items; {cure}"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its kind where it has none, and the line that raised it."""
    if said := str(error).strip():
        return said.splitlines()[0]
    frames = traceback.extract_tb(error.__traceback__)
    return type(error).__name__ + (f" in {frames[-1].name}: {frames[-1].line}" if frames else "")
