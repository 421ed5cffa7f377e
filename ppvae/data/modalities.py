"""Modalities of a data set: declared, asked for by likelihood or guessed, and held against the arrays."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from ppvae.data.stored import in_blocks
from ppvae.language.guesses import Guess, guess_likelihood, is_one_hot
from ppvae.language.intake import over
from ppvae.language.modality import REALS, Modality, estimated, observed_values
from ppvae.language.tokens import END, PADDING, START

Arrays = Mapping[str, np.ndarray]


def resolved(
    given: Sequence[Modality],
    likelihood: Mapping[str, str],
    arrays: Arrays,
    observed: Arrays,
    features: Mapping[str, Sequence[Any]],
    words: Mapping[str, tuple[Modality, str]] = MappingProxyType({}),
) -> tuple[tuple[Modality, ...], dict[str, str]]:
    """The given modalities, then those of the other arrays, and the reason for each likelihood that was guessed.

    ``words`` are those whose arrays were names, with why they are taken for categories.

    What they leave open of center and spread is taken from the arrays, and names of elements from the features.

    Raises:
        ValueError: they do not fit the arrays, or an array has no value to guess from.
    """
    named = [m.name for m in given]
    reasons: dict[str, str] = {}
    for what, found in (("modalities", named), ("likelihood", list(likelihood))):
        if unknown := [name for name in found if name not in arrays]:
            some = ": give [m for m in fitted.modalities if m.name in arrays]" if what == "modalities" else ""
            raise ValueError(f"{what} names {unknown}, which are not among the arrays {list(arrays)}{some}")
    if twice := [name for i, name in enumerate(named) if name in named[:i] or name in likelihood]:
        raise ValueError(f"modality {twice[0]!r} is declared twice")
    made = list(given)
    for name in (name for name in arrays if name not in named):
        if name in words:
            modality, reason = _of_words(*words[name], likelihood.get(name))
        else:
            modality, reason = _made(name, arrays[name], observed.get(name), features.get(name), likelihood.get(name))
        made.append(modality)
        reasons |= {name: reason} if reason else {}
    return tuple(_fitted(m, arrays[m.name], observed.get(m.name), features.get(m.name)) for m in made), reasons


def _of_words(modality: Modality, reason: str, likelihood: str | None) -> tuple[Modality, str]:
    """A modality whose array was names, and the reason for that where its likelihood was not asked for."""
    if likelihood not in (None, modality.likelihood):
        raise ValueError(f"modality {modality.name!r} holds names, which are {modality.likelihood}, not {likelihood}")
    return modality, "" if likelihood else reason


def _made(
    name: str, array: np.ndarray, observed: np.ndarray | None, features: Sequence[Any] | None, likelihood: str | None
) -> tuple[Modality, str]:
    """A modality of the likelihood that was asked for, else guessed, and then the reason."""
    plain = Modality(name, array.shape[1:])  # a name that cannot be is refused before anything is guessed
    if observed is not None and not observed.any():
        raise ValueError(f"modality {name!r} has no value at all; leave it out, or declare it in modalities=")
    seen = observed_values(array, observed)
    reason = ""
    if likelihood is None:
        guess = guess_likelihood(seen, features)
        likelihood, reason = guess.likelihood, guess.reason
        if guess.doubt:
            warnings.warn(_question(name, guess), UserWarning, stacklevel=5)  # the call of Dataset
    if likelihood == "autoregressive":
        return replace(plain, likelihood=likelihood, levels=int(np.nanmax(seen)) + 1, kind="text"), reason
    levels = _levels(name, seen) if likelihood == "categorical" else None
    return replace(plain, likelihood=likelihood, levels=levels), reason


def _fitted(
    modality: Modality, array: np.ndarray, observed: np.ndarray | None, features: Sequence[Any] | None
) -> Modality:
    """The modality, which fits the array, with what it left open."""
    check_fits(modality, array, features, observed)
    if modality.features is None and features is not None and len(modality.shape) == 1:
        modality = replace(modality, features=tuple(features))
    if modality.center is None or modality.spread is None:
        return estimated(modality, array, observed)
    return modality


def unmeasured(array: np.ndarray, observed: np.ndarray | None) -> tuple[int, ...]:
    """The elements of a row, counted row by row, that no item has."""
    seen = np.ones(array.shape[1:], bool) if observed is None else np.broadcast_to(observed.any(0), array.shape[1:])
    return tuple(int(i) for i in np.flatnonzero(~seen))


def check_fits(
    modality: Modality,
    array: np.ndarray,
    features: Sequence[Any] | None = None,
    observed: np.ndarray | None = None,
) -> None:
    """Raise ValueError where the array's shape, values or holes, or its elements' names, do not fit the modality."""
    what = f"modality {modality.name!r}"
    _check_features(modality, features)
    if array.shape[1:] != modality.shape:
        mended = _mended(array.shape[1:], modality.shape)
        raise ValueError(
            f"{what} has items of shape {array.shape[1:]}, but shape {modality.shape} was declared{mended}"
        )
    for place, block in in_blocks(array):
        _check_values(what, modality, block)
        if modality.likelihood == "autoregressive":
            seen = np.ones(block.shape, bool) if observed is None else over(observed[place], block)
            _check_texts(what, block, seen, place.start or 0)


def _mended(shape: tuple[int, ...], declared: tuple[int, ...]) -> str:
    """How items of one shape become items of another, if they can."""
    if declared == (shape[-1:] + shape[:-1]) and len(shape) > 1:
        return ": put the last axis first, by numpy.moveaxis(x, -1, 1)"
    if declared == (1, *shape):
        return ": give x[:, None]"
    flat = min(len(shape), len(declared)) == 1 and prod(shape) == prod(declared)
    return f": give x.reshape(-1, {', '.join(map(str, declared))})" if flat else ""


def _check_values(what: str, modality: Modality, array: np.ndarray) -> None:
    """Raise ValueError where values do not fit the modality."""
    if modality.likelihood not in REALS and (bad := array[_impossible(modality, array)]).size:
        numbers = "numbers" if modality.likelihood == "continuous_bernoulli" else "whole numbers"
        limit = f"from 0 to {modality.top:.0f}" if np.isfinite(modality.top) else "of 0 or more"
        raise ValueError(f"{what} is {modality.likelihood}: it takes {numbers} {limit}, but holds {bad[0]}")


def _impossible(modality: Modality, array: np.ndarray) -> np.ndarray:
    """Which elements of an array no draw of the modality's likelihood can be."""
    outside = (array < 0) | (array > modality.top)
    return outside if modality.likelihood == "continuous_bernoulli" else outside | (array != np.round(array))


def _check_texts(what: str, array: np.ndarray, observed: np.ndarray, first: int) -> None:
    """Raise ValueError where a text has holes, or is none: ids, END and PADDING, or ids alone."""
    there, ends = observed.any(1), array == END
    after = ends.cumsum(1) > ends
    for wrong, why in (
        (~observed, f"has holes, but a text is whole or missing; fill what follows it with {PADDING}"),
        (after & (array != PADDING), f"goes on after the end of its text, {END}; fill the row with {PADDING}"),
        (~after & (array == PADDING), f"has {PADDING}, the padding, before the end of its text; put {END} there"),
        (array == START, f"holds {START}, the start of a text, which decoders add themselves; leave it out"),
    ):
        if (bad := wrong.any(1) & there).any():
            raise ValueError(f"{what}: row {first + int(bad.argmax())} {why}")


def _check_features(modality: Modality, features: Sequence[Any] | None) -> None:
    known = modality.features
    if features is None or known is None or known == tuple(features):
        return
    what = f"modality {modality.name!r}"
    for which, these, others in (("lacks", known, features), ("takes no", features, known)):
        if apart := [name for name in these if name not in others]:
            more = f", and {len(apart) - 1} more" if len(apart) > 1 else ""
            raise ValueError(f"{what} {which} column {apart[0]!r}{more}: give it the {len(known)} columns of training")
    shortest = min(len(features), len(known))
    i = next((i for i, (own, other) in enumerate(zip(features, known, strict=False)) if own != other), shortest)
    raise ValueError(
        f"{what} has its columns in another order, or one twice: column {i} is {[*features, None][i]!r}, where "
        f"{[*known, None][i]!r} is expected; choose the columns of the data frame in that order"
    )


def _question(name: str, guess: Guess) -> str:
    """What is asked where a guess may well be wrong."""
    others = ", ".join(repr(other) for other in guess.others)
    return (
        f"modality {name!r} is guessed to be {guess.likelihood}, because it holds {guess.reason}; but {guess.doubt}. "
        f"Say what it is: likelihood={{{name!r}: {guess.likelihood!r}}}, or {others} "
        f'(--likelihood {name}={guess.likelihood} of the command line, likelihood = "{guess.likelihood}" in a .toml)'
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
