"""Pieces: a modality that is observed along its first axis, at sites ``NAME_0``, ``NAME_1``, ..., one an index."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ppvae.language.plates import items_first, own_dims
from ppvae.language.ppl import ops


def owner(site: str, names: Collection[str]) -> tuple[str, int | None]:
    """The modality among ``names`` of which a site is a piece, and the piece's number; the site itself, and None."""
    name, _, number = site.rpartition("_")
    return (name, int(number)) if site not in names and name in names and number.isdecimal() else (site, None)


def pieces(sites: Iterable[str], name: str) -> list[str]:
    """The sites of a modality: its own, or its pieces in the order of their numbers; none where there is none."""
    numbered = {number: site for site in sites for found, number in [owner(site, [name])] if found == name}
    return [numbered[None]] if None in numbered else [numbered[number] for number in sorted(numbered)]  # type: ignore[type-var]


def pooled(shares: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Shares by site, those of a modality's pieces added up under its name."""
    total: dict[str, Any] = {}
    for site, share in shares.items():
        name, _ = owner(site, names)
        total[name] = total[name] + share if name in total else share
    return total


def whole(sites: Mapping[str, Any], name: str, of: Callable[[Any], Any] = lambda site: site["value"]) -> Any:
    """What the site of a modality has, such as its value, items first; pieces along the modality's first axis.

    Raises:
        ValueError: the model has no such site.
    """
    found = pieces(sites, name)
    if not found:
        raise ValueError(
            f"the model has no site {name!r} where that modality is not given: draw it there too, with obs=None"
        )
    if found == [name]:
        return items_first(sites[name], of(sites[name]))
    parts, first = [items_first(sites[piece], of(sites[piece])) for piece in found], sites[found[0]]
    return ops.stack(parts, parts[0].ndim - first["fn"].event_dim - len(own_dims(first, first["layout"])))


def mask_of(site: str, masks: Mapping[str, Any], names: Collection[str]) -> Any:
    """The mask of holes of an observed site, whose modality is one of ``names``; None where it has none.

    Raises:
        ValueError: single elements of the modality are holes, and its pieces are not numbered as they are.
    """
    name, number = owner(site, names)
    mask = masks.get(name)
    if mask is None or number is None or mask.ndim == 1:
        return mask
    if number >= mask.shape[1]:
        raise ValueError(misnumbered(site, name, mask.shape[1]))
    return mask[:, number]


def misnumbered(site: str, name: str, count: int) -> str:
    """What is wrong with a piece that is not the one of its number."""
    return (
        f"the modality {name!r} has holes within its items, and its site {site!r} is not the piece of that number: "
        f"name the sites {name}_0 to {name}_{count - 1}, and observe x[:, t] at the site {name}_t"
    )
