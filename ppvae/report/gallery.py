"""Gallery: pictures, words and sounds that were made from each other, as one HTML file to look at and listen to."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.data.preprocessing import library_of, preprocessing
from ppvae.inference.fitted import Fitted
from ppvae.metrics.predictive_means import predicted
from ppvae.metrics.subsets import shown
from ppvae.report.page import rendered

TYPES = {"image": "image/png", "sound": "audio/wav"}


class Thing(NamedTuple):
    """What stands on the page: a text, or a file of a picture or sound within its address."""

    modality: str
    kind: str
    text: str


class Row(NamedTuple):
    """An item: each thing that it has, with what was made from that alone."""

    name: str
    made: list[tuple[Thing, list[Thing]]]


def gallery(
    fitted: Fitted, items: Dataset, title: str, names: Sequence[str], told: Sequence[str] = (), seed: int = 0
) -> str:
    """The HTML of a page on which every modality of each item is made from every other, by one draw without noise.

    Args:
        fitted: a pair whose modalities are pictures, texts or sounds; others are left out.
        items: what is given, complete in these modalities.
        title: of the page.
        names: of the items.
        told: sentences to stand above.
        seed: of the draws.
    """
    told_of: dict[str, Any] = {m.name: m.preprocessing or {} for m in items.modalities or ()}
    kept = [name for name in fitted.explained if told_of[name].get("kind") in (*TYPES, "text")]
    made = predicted(fitted, shown(items, [[name] for name in kept]), kept, seed=seed)
    by_given = {name: np.split(values[0], len(kept)) for name, values in made.items()}
    real = {name: _things(name, told_of[name], items.arrays[name]) for name in kept}
    copies = {
        (given, name): _things(name, told_of[name], by_given[name][number])
        for number, given in enumerate(kept)
        for name in kept
        if name != given
    }
    rows = [
        Row(name, [(real[given][i], [copies[given, other][i] for other in kept if other != given]) for given in kept])
        for i, name in enumerate(names)
    ]
    return rendered("gallery.html", title=title, told=told, rows=rows)


def _things(name: str, told_of: Mapping[str, Any], numbers: np.ndarray) -> list[Thing]:
    """Things from numbers ``(items, *shape)`` of a modality, by its preprocessing."""
    shown = {key: value for key, value in told_of.items() if key != "white"}  # a page shows 1 as white
    found, kind = preprocessing(name, shown).decode(numbers), told_of["kind"]
    return [Thing(name, kind, thing if kind == "text" else _address(kind, thing)) for thing in found]


def _address(kind: str, thing: Any) -> str:
    """A picture or sound as an address that holds all of it."""
    file = io.BytesIO()
    library_of(kind).write(file, thing)
    return f"data:{TYPES[kind]};base64,{base64.b64encode(file.getvalue()).decode()}"
