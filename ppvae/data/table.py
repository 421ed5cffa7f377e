"""Table: a data set as its ``repr`` shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ppvae.data.dataset import Dataset

SHOWN = 3  # names of features


def table(data: Dataset) -> str:
    """One row a modality: shape, likelihood and where it comes from, share observed, first features."""
    rows = [("modality", "shape", "likelihood", "observed", "features")]
    for modality in data.modalities or ():
        name, reason = modality.name, data.guesses.get(modality.name)
        said = f"{modality.likelihood} (guessed: {reason})" if reason else f"{modality.likelihood} (declared)"
        features = [str(feature)[:20] for feature in modality.features or ()]
        first = ", ".join(features[:SHOWN]) + (", ..." if len(features) > SHOWN else "")
        rows.append((name, str(modality.shape), said, f"{_share(data, name):.1%}", first))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    labels = f", labels {', '.join(data.labels)}" if data.labels else ""
    return "\n".join([f"Dataset of {len(data)} items{_ids(data)}{labels}", *lines])


def _share(data: Dataset, name: str) -> float:
    mask = (data.observed or {}).get(name)
    return 1.0 if mask is None else float(np.mean(mask))


def _ids(data: Dataset) -> str:
    return (
        ""
        if data.ids is None
        else f" ({', '.join(str(i)[:20] for i in data.ids[:SHOWN])}{', ...' * (len(data) > SHOWN)})"
    )
