"""Table: a data set as its ``repr`` shows it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ppvae.data.dataset import Dataset

SHOWN = 3  # names of features
WIDTH = 80  # of a terminal, within which rows break
LIKELIHOOD, FEATURES = (20, 40), 10  # the least and most that a column takes, and the least


def table(data: Dataset) -> str:
    """One row a modality: shape, likelihood and where it comes from, share observed, first features."""
    rows = [("modality", "shape", "likelihood", "observed", "features")]
    for modality in data.modalities or ():
        name, reason = modality.name, data.guesses.get(modality.name)
        said = f"{modality.likelihood} (guessed: {reason})" if reason else f"{modality.likelihood} (declared)"
        features = [str(feature)[:20] for feature in modality.features or ()]
        first = ", ".join(features[:SHOWN]) + (", ..." if len(features) > SHOWN else "")
        rows.append((name, str(modality.shape), said, f"{_share(data, name):.1%}", first))
    labels = f", labels {', '.join(data.labels)}" if data.labels else ""
    return "\n".join([*wrap(f"Dataset of {len(data)} items{_ids(data)}{labels}", WIDTH), *_lines(rows)])


def _lines(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines of 80 characters, or of more where names and shapes are long."""
    name, shape, _, observed, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    left = WIDTH - name - shape - observed - 4 * len("  ")
    bound = min(max(left - FEATURES, LIKELIHOOD[0]), LIKELIHOOD[1])
    likelihood = max(len(line) for row in rows for line in wrap(row[2], bound))
    widths = [name, shape, likelihood, observed, max(left - likelihood, FEATURES)]
    lines = []
    for row in rows:
        cells = [wrap(text, width, break_on_hyphens=False) for text, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            lines.append("  ".join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip())
    return lines


def _share(data: Dataset, name: str) -> float:
    mask = (data.observed or {}).get(name)
    return 1.0 if mask is None else float(np.mean(mask))


def _ids(data: Dataset) -> str:
    return (
        ""
        if data.ids is None
        else f" ({', '.join(str(i)[:20] for i in data.ids[:SHOWN])}{', ...' * (len(data) > SHOWN)})"
    )
