"""Alike: ids that were meant to be one, and are written in two ways."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

ZEROS = re.compile(r"(?<![\d.])0+(?=\d)|(?<=\d)\.0$")  # in front of a whole number, and what makes a fraction of one


def plain(identity: Any) -> str:
    """An id without what people and programs write in different ways: case, blanks, zeros before a number.

    >>> plain(" Item 007"), plain("7.0"), plain(7), plain("70")
    ('item7', '7', '7', '70')
    """
    return ZEROS.sub("", "".join(unicodedata.normalize("NFKC", str(identity)).casefold().split()))


def check_apart(ids: Mapping[str, Iterable[Any]]) -> None:
    """Raise ValueError where an id that one modality has alone is but for its writing one that another has alone."""
    held = {name: list(own) for name, own in ids.items()}
    times = Counter(identity for own in held.values() for identity in own)
    seen: dict[str, tuple[str, Any]] = {}
    for name, own in held.items():
        alone = {plain(identity): (name, identity) for identity in own if times[identity] == 1}
        if both := sorted(alone.keys() & seen.keys()):
            (other, theirs), (_, mine) = seen[both[0]], alone[both[0]]
            raise ValueError(
                f"{mine!a} of {name} and {theirs!a} of {other} would be two items, and may be one in two ways of "
                f"writing, as {len(both)} such pairs are: write the ids alike"
            )
        seen |= alone
