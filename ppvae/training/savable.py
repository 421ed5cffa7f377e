"""Savable: what could refuse to be written when a run ends is tried before it begins."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ppvae.inference.fitted import Fitted
from ppvae.runs.snapshot import Snapshot


def plain(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Notes as a run folder keeps them; numpy's numbers and arrays become Python's.

    Raises:
        ValueError: JSON cannot hold one of them.
    """
    kept: dict[str, Any] = {}
    for name, value in notes.items():
        try:
            kept |= json.loads(json.dumps({name: value}, allow_nan=False, default=_number))
        except (TypeError, ValueError, RecursionError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"the note {name!r} cannot be kept in a run folder, as JSON: {reason}") from None
    return kept


def _number(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"it holds a {type(value).__name__}; keep numbers, text, lists and dicts")


def check_savable(fitted: Fitted, out: str | Path | None) -> None:
    """Save the run before its first step, within its folder, or elsewhere where it has none.

    Raises:
        ValueError: the folder cannot be written, or JSON cannot hold what describes the run.
    """
    try:
        if out is not None:
            Path(out).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out) as folder:
            replace(fitted, snapshot=Snapshot({})).save(folder)
    except OSError as error:
        raise ValueError(f"cannot write the run folder {str(out)!r}: {error.strerror}") from None
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the run could not be saved: {error}; give modalities and options Python's own numbers"
        ) from None
