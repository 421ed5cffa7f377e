"""Modalities of a data set: declared, asked for by likelihood or guessed, and held against the arrays."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ppvae.language.guesses import guess_likelihood, is_one_hot
from ppvae.language.modality import LIKELIHOODS, Modality, estimated, observed_values

Arrays = Mapping[str, np.ndarray]


def declared(
    given: Sequence[Modality], arrays: Arrays, observed: Arrays, features: Mapping[str, Sequence[Any]]
) -> tuple[Modality, ...]:
    """The modalities, what they leave open of center and spread taken from their arrays.

    Raises:
        ValueError: they are not those of the arrays, or do not fit them.
    """
    if sorted(m.name for m in given) != sorted(arrays):
        raise ValueError(f"modalities {[m.name for m in given]} do not name the arrays {list(arrays)}")
    found = []
    for modality in given:
        name = modality.name
        check_fits(modality, arrays[name], features.get(name))
        if modality.features is None and name in features and len(modality.shape) == 1:
            modality = replace(modality, features=tuple(features[name]))
        open_ = modality.center is None or modality.spread is None
        found.append(estimated(modality, arrays[name], observed.get(name)) if open_ else modality)
    return tuple(found)


def found_in(
    arrays: Arrays, observed: Arrays, features: Mapping[str, Sequence[Any]], likelihood: Mapping[str, str]
) -> tuple[tuple[Modality, ...], dict[str, str]]:
    """Modalities of the likelihoods that were asked for, else guessed, and the reason of each guess.

    Warns:
        UserWarning: a guess may well be wrong.

    Raises:
        ValueError: a likelihood names no array or does not suit it, or an array has no value to tell anything from.
    """
    if unknown := sorted(set(likelihood) - set(arrays)):
        raise ValueError(f"likelihood names {unknown}, which are not among the arrays {list(arrays)}")
    given, reasons = [], {}
    for name, array in arrays.items():
        seen = observed_values(array, observed.get(name))
        if not observed.get(name, np.True_).any():
            raise ValueError(f"modality {name!r} has no value at all; leave it out, or declare it in modalities=")
        kind = likelihood.get(name)
        if kind is None:
            guess = guess_likelihood(seen, features.get(name))
            kind, reasons[name] = guess.likelihood, guess.reason
            if guess.doubt:
                reasons[name] += f", but {guess.doubt}"
                _ask(name, kind, reasons[name])
        levels = _levels(name, seen) if kind == "categorical" else None
        given.append(Modality(name, array.shape[1:], kind, levels=levels))
    return declared(given, arrays, observed, features), reasons


def unmeasured(array: np.ndarray, observed: np.ndarray | None) -> tuple[int, ...]:
    """The elements of a row, counted row by row, that no item has."""
    seen = np.ones(array.shape[1:], bool) if observed is None else np.broadcast_to(observed.any(0), array.shape[1:])
    return tuple(int(i) for i in np.flatnonzero(~seen))


def check_fits(modality: Modality, array: np.ndarray, features: Sequence[Any] | None = None) -> None:
    """Raise ValueError where the array's shape or values, or the names of its elements, do not fit the modality."""
    what = f"modality {modality.name!r}"
    if array.shape[1:] != modality.shape:
        raise ValueError(f"{what} has items of shape {array.shape[1:]}, but shape {modality.shape} was declared")
    _check_features(modality, features)
    whole, low = bool((array == np.round(array)).all()), float(array.min())
    top = {"bernoulli": 1.0, "categorical": (modality.levels or 0) - 1.0}.get(modality.likelihood, np.inf)
    if modality.likelihood not in ("normal", "laplace") and not (whole and low >= 0 and array.max() <= top):
        limit = f"from 0 to {top:.0f}" if np.isfinite(top) else "of 0 or more"
        raise ValueError(
            f"{what} is {modality.likelihood}: it takes whole numbers {limit}, but holds {_bad(array, top)}"
        )


def _check_features(modality: Modality, features: Sequence[Any] | None) -> None:
    known = modality.features
    if features is None or known is None or known == tuple(features):
        return
    i = next((i for i, (own, other) in enumerate(zip(features, known, strict=False)) if own != other), 0)
    raise ValueError(
        f"modality {modality.name!r} has other columns, or in another order: its column {i} is {features[i]!r}, where "
        f"{known[i]!r} is expected; choose the columns of the data frame in that order"
    )


def _ask(name: str, kind: str, why: str) -> None:
    others = ", ".join(other for other in LIKELIHOODS if other != kind)
    warnings.warn(
        f"modality {name!r} is guessed to be {kind}, because {why}: "
        f"write likelihood={{{name!r}: {kind!r}}}, or one of {others} (--likelihood {name}={kind} on the command line)",
        UserWarning,
        stacklevel=5,  # the call of Dataset
    )


def _levels(name: str, seen: np.ndarray) -> int:
    """How many categories the codes of a categorical array need; they may count from 0 or from 1."""
    if is_one_hot(seen):
        raise ValueError(f"modality {name!r} is in one-hot code; categorical takes the codes themselves: x.argmax(1)")
    if np.nanmin(seen) > 1:
        raise ValueError(
            f"modality {name!r} is categorical, whose codes count from 0, but holds none below {np.nanmin(seen):g}: "
            "give numpy.unique(x, return_inverse=True)[1].reshape(x.shape)"
        )
    return max(int(np.nanmax(seen)) + 1, 1)


def _bad(array: np.ndarray, top: float) -> float:
    return float(array[(array != np.round(array)) | (array < 0) | (array > top)][0])
