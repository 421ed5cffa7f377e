"""Guesses: which likelihood an array asks for, with the reason, and whether it might as well be another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

FEW = 20  # different whole numbers, up to which they may be categories or grades
CODES = (-1, -9, -99, -999, -9999, 99, 999, 9999, 99999)  # that people write where nothing was measured
PIXELS, WHITE = 16, 255  # numbers a row that may be a picture, and the largest of one byte
COLOURS = (1, 3, 4)  # channels of pictures: grey, colours, and how much is seen through
HEAD = 10_000  # values that tell most arrays of many numbers from those of few


class Guess(NamedTuple):
    """A likelihood and why it was chosen; where it may well be wrong, why, and which others may be right."""

    likelihood: str
    reason: str
    doubt: str = ""
    others: tuple[str, ...] = ()


def guess_likelihood(array: np.ndarray, names: Sequence[str | int] | None = None) -> Guess:
    """The likelihood of an array ``(items, *shape)`` of numbers, NaN in its holes.

    Zeros and ones are Bernoulli, other whole numbers of 0 or more negative binomial, all else normal. ``names`` are
    those of the elements of a row, for the doubt.
    """
    values = array[np.isfinite(array)]
    if (values != np.round(values)).any():
        return Guess("normal", "fractions", _marked(array, names), ("laplace", "student_t"))
    if values.min(initial=0) < 0:
        doubt = "they may be categories, to be counted from 0, or mark with -1 or -999 what is missing, to be NaN"
        doubt = doubt if _few(values) or np.isin(values[values < 0], CODES).all() else _marked(array, names)
        return Guess("normal", "whole numbers, some below 0", doubt, ("laplace",))
    if values.max(initial=0) <= 1:
        doubt = "each row holds a single 1, as one-hot code does, whose x.argmax(1) is categorical"
        return Guess("bernoulli", "zeros and ones", doubt if is_one_hot(array) else "", ("categorical",))
    if values.max() == WHITE and array[0].size >= PIXELS:
        doubt = "the largest is 255, as in pictures, which are logistic, or from 0 to 1 where divided by it"
        return Guess("negative_binomial", "whole numbers of 0 or more", doubt + _convolved(array.shape), ("logistic",))
    others = ("poisson", "categorical", "normal")
    return Guess("negative_binomial", "whole numbers of 0 or more", _doubt(array, values, names), others)


def _convolved(shape: tuple[int, ...]) -> str:
    """How pictures ``(items, height, width)``, or with channels first or last, get networks of their own."""
    if len(shape) == 3:
        event, how = (1, *shape[1:]), ", of x[:, None]"
    elif len(shape) == 4 and shape[1] in COLOURS:
        event, how = shape[1:], ""
    elif len(shape) == 4 and shape[3] in COLOURS:
        event, how = (shape[3], *shape[1:3]), ", of numpy.moveaxis(x, -1, 1)"
    else:
        return ""
    return (
        f'; networks for pictures come with modalities=[ppvae.Modality(NAME, {event}, "logistic", kind="image")]{how}'
    )


def _marked(array: np.ndarray, names: Sequence[str | int] | None) -> str:
    """Why a number may be none: it is a code, and further from the others of its column than these are apart."""
    columns = array.reshape(len(array), -1)
    for ends in (np.fmin.reduce(columns), np.fmax.reduce(columns)):
        for i in np.flatnonzero(np.isin(ends, CODES)).tolist():
            column = columns[np.isfinite(columns[:, i]), i]
            rest = column[column != ends[i]]
            if rest.size and np.abs(rest - ends[i]).min() > np.ptp(rest):
                return (
                    f"{_element(i, names)} holds {ends[i]:g} in {len(column) - len(rest)} items, far from all else, "
                    "as if to mark what is missing, to be NaN"
                )
    return ""


def _element(i: int, names: Sequence[str | int] | None) -> str | int:
    return names[i] if names is not None else f"element {i}"


def is_one_hot(array: np.ndarray) -> bool:
    """Are these rows ``(items, categories)``, not all alike, of zeros and a single one?"""
    if array.ndim != 2 or array.shape[1] < 2 or not ((array == 0) | (array == 1) | np.isnan(array)).all():
        return False
    whole = array[~np.isnan(array).any(1)]
    return bool(len(whole) and (whole.sum(1) == 1).all() and (whole != whole[:1]).any())


def _few(values: np.ndarray) -> int:
    """How many different ones there are, if few, else 0."""
    few = len(np.unique(values[:HEAD])) <= FEW and len(found := np.unique(values)) <= FEW
    return len(found) if few else 0


def _doubt(array: np.ndarray, values: np.ndarray, names: Sequence[str | int] | None) -> str:
    """Why whole numbers may be no counts."""
    if few := _few(values):
        return f"the different ones are only {few}, as of categories or grades"
    columns = array.reshape(len(array), -1)
    for i, column in enumerate(columns.T):
        found = np.unique(column[np.isfinite(column)])
        if 1 < len(found) <= min(FEW, len(array) // 3) and found[0] > 0:
            return f"{_element(i, names)} takes only {len(found)}, and never 0"
    return ""
