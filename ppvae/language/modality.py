"""Modality: one kind of measurement, and guessing it from data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ppvae.language.guesses import COLOURS, guess_likelihood
from ppvae.language.tokens import SPECIAL

ELEMENTWISE = (
    *("normal", "laplace", "student_t", "bernoulli", "continuous_bernoulli", "categorical"),
    *("logistic", "logistic_mixture", "poisson", "negative_binomial"),
)
LIKELIHOODS = (*ELEMENTWISE, "autoregressive")
RESERVED = ("_INPUT", "_RETURN")  # Pyro's traces keep arguments and results under these
COUNTS = ("poisson", "negative_binomial")
REALS = ("normal", "laplace", "student_t")  # take any number
LEVELED = ("categorical", "autoregressive", "logistic", "logistic_mixture")  # take 0..levels-1
CATEGORIES = ("categorical", "autoregressive")  # whose values are names
CHANNELLED = {"image": "(channels, height, width)", "sound": "(bands, frames)", "series": "(channels, times)"}
KINDS = {"vector": "", "text": "(positions,)", **CHANNELLED}
BLOCK = 2**18  # numbers that are taken to float64 at once


@dataclass(frozen=True, eq=False)
class Modality:
    """One kind of measurement of an item.

    Attributes:
        name: any identifier that no latent has; also the name of the site in programs. An ``nn.ModuleDict`` takes not
            all of them as keys, ``ppvae.parts.ByName`` does.
        shape: event shape of one measurement, ``(240,)`` or ``(1, 28, 28)``; ``()`` for a single number, whose arrays
            are ``(items,)`` and whose site needs no ``.to_event``.
        likelihood: one of ``normal``, ``laplace``, ``student_t``, ``bernoulli``, ``continuous_bernoulli``,
            ``categorical``, ``logistic``, ``logistic_mixture``, ``poisson``, ``negative_binomial``, or of
            texts ``autoregressive``: each token given those before it.
        scale: the likelihood's scale in units of ``spread`` (normal, Laplace, Student-t, logistic), or the negative
            binomial's inverse dispersion; learned if None, per element, but per channel of an image or series, per band
            of a sound. To fix a noise in the data's units, declare ``spread`` too.
        levels: number of categories of each element (categorical), size of the vocabulary (autoregressive), or number
            of the whole numbers from 0 that an element may be (logistic and its mixture), then 256 if None.
        components: how many logistics an element's mixture has.
        center, spread: typical value and deviation of each element, ``shape`` or scalar; those that are estimated are
            alike at all places of a channel of an image or series, of a band of a sound. Networks see
            ``(x - center) / spread`` (of ``log(1 + x)`` for counts, whose rate is ``exp(center) - 1`` where a decoder
            gives 0), likelihoods speak in the data's own units. What is declared stays; what is None is estimated by
            the first :class:`~ppvae.Dataset` that has the modality, and again from the training rows by its ``split``.
            Programs that are built without either take 0 and 1: build them from ``dataset.modalities``.
        encoder: ``latent -> network`` from ``(..., *shape)`` to ``(..., 2 * latent)``; None for a stock one. It sees
            ``(x - center) / spread`` of a normal, Laplace or Bernoulli modality, ``(log(1 + x) - center) / spread`` of
            counts, both 0 in holes, and the categories of a categorical or autoregressive one, and all text, as they
            are: integers ``0..levels-1``, as ``nn.Embedding`` takes them, 0 in holes.
        decoder: ``latent -> network`` from ``(..., latent)`` to ``(..., *shape)``, with one more axis at the end for
            the ``levels`` of a categorical or the ``3 * components`` numbers of a mixture of logistics: their
            log weights, then their places, then their log scales; for an autoregressive one as in
            :mod:`ppvae.parts.text.decoders`; None for a stock one.
        kind: what is measured, which chooses the stock networks: ``vector`` unless declared, ``image``
            (channels, height, width), ``text`` (positions), ``sound`` (bands, frames) or ``series`` (channels, times).
        preprocessing: how pictures, strings or sounds became these numbers and become themselves again, as JSON holds
            it; None of what came as numbers.
        features: names of the elements, where there is one axis of them.
        unmeasured: which elements, counted row by row, no item had in training: answers about them are NaN.
        estimates: the center and spread that were taken from data, if any; :func:`estimated` fills it.
    """

    name: str
    shape: tuple[int, ...]
    likelihood: str = "normal"
    scale: float | None = None
    levels: int | None = None
    components: int = 5
    center: Any = None
    spread: Any = None
    encoder: Callable[[int], Any] | None = None
    decoder: Callable[[int], Any] | None = None
    kind: str = "vector"
    preprocessing: Mapping[str, Any] | None = None
    features: tuple[str | int, ...] | None = None
    unmeasured: tuple[int, ...] = ()
    estimates: tuple[Any, Any] = field(default=(None, None), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if not self.name.isidentifier():
            raise ValueError(f"a modality's name must be an identifier, {self.name!r} is not; rename it")
        if self.name in RESERVED:
            raise ValueError(f"a modality cannot be named {self.name!r}, which Pyro keeps for itself; rename it")
        if self.likelihood not in LIKELIHOODS:
            wrong = f"modality {self.name!r} has unknown likelihood {self.likelihood!r}"
            raise ValueError(f"{wrong}; choose one of {', '.join(LIKELIHOODS)}")
        if self.kind not in KINDS:
            raise ValueError(f"modality {self.name!r} has unknown kind {self.kind!r}; choose one of {', '.join(KINDS)}")
        if KINDS[self.kind] and len(self.shape) != KINDS[self.kind].count(" ") + 1:
            wrong = f"modality {self.name!r} of kind {self.kind!r} has shape {self.shape}"
            one = (1, *self.shape)
            grey = f", with {one} for one channel, of x[:, None]" if len(one) == KINDS[self.kind].count(" ") + 1 else ""
            raise ValueError(f"{wrong}; it must be {KINDS[self.kind]}{grey}")
        self._check_order()
        if self.levels is None and self.likelihood in ("logistic", "logistic_mixture"):
            object.__setattr__(self, "levels", 256)
        if self.components < 1 or self.components != int(self.components):
            raise ValueError(f"modality {self.name!r} has components {self.components}; it is a whole number above 0")
        if self.levels is not None and (self.levels < 1 or self.levels != int(self.levels)):
            raise ValueError(f"modality {self.name!r} has levels {self.levels}; it is a whole number of categories")
        if self.likelihood in CATEGORIES and self.levels is None:
            raise ValueError(f"modality {self.name!r} is {self.likelihood}: give levels, the number of its categories")
        if min(self.shape, default=1) < 1:
            raise ValueError(f"modality {self.name!r} has shape {self.shape}; every size in it must be 1 or more")
        if self.features is not None:
            object.__setattr__(self, "features", tuple(self.features))
            if (len(self.features),) != self.shape:
                raise ValueError(f"modality {self.name!r} of shape {self.shape} has {len(self.features)} features")
        self._check_text()
        object.__setattr__(self, "unmeasured", tuple(int(n) for n in self.unmeasured))
        for key in ("scale", "center", "spread"):
            self._check_number(key, getattr(self, key))
        for key, kind in (("scale", float), ("levels", int), ("components", int)):
            object.__setattr__(self, key, None if getattr(self, key) is None else kind(getattr(self, key)))

    def _check_order(self) -> None:
        """Raise ValueError where the shape of a picture reads as if its channels came last."""
        if self.kind != "image" or not (self.shape[0] > max(COLOURS) and self.shape[1] > self.shape[2] in COLOURS):
            return
        channels, height, width = self.shape
        raise ValueError(
            f"modality {self.name!r} of kind 'image' has shape {self.shape}, {channels} channels of {height} x {width} "
            f"pixels, as if channels came last; put them first, by numpy.moveaxis(x, -1, 1), in shape "
            f"{(width, channels, height)}"
        )

    def _check_text(self) -> None:
        text, sequential = self.kind == "text", self.likelihood == "autoregressive"
        if text and self.likelihood not in CATEGORIES:
            likelihoods = " or ".join(CATEGORIES)
            raise ValueError(
                f"modality {self.name!r} is text, whose likelihood is {likelihoods}, not {self.likelihood}"
            )
        if sequential and not text:
            raise ValueError(f"modality {self.name!r} is autoregressive, a likelihood of texts: declare kind='text'")
        if sequential and (self.levels or 0) <= max(SPECIAL):
            raise ValueError(f"modality {self.name!r} has levels {self.levels}; the first {len(SPECIAL)} are no words")

    def _check_number(self, key: str, value: Any) -> None:
        if value is None:
            return
        wrong = f"modality {self.name!r} has {key} {value}"
        if not np.isfinite(value).all() or (key != "center" and not (np.asarray(value) > 0).all()):
            raise ValueError(f"{wrong}; it must be {'finite' if key == 'center' else 'above zero and finite'}")
        if np.shape(value) not in ((), () if key == "scale" else self.shape):
            raise ValueError(
                f"{wrong.partition(' has ')[0]} of shape {self.shape} has {key} of shape {np.shape(value)}"
            )

    @property
    def channelled(self) -> bool:
        """Whether it is a picture, a sound or a series: channels that mean the same at all their places."""
        return self.kind in CHANNELLED

    @property
    def distinct(self) -> tuple[int, ...]:
        """The shape of one number for each channel, or else for each element: it broadcasts to ``shape``."""
        return (self.shape[0], *(1,) * (len(self.shape) - 1)) if self.channelled else self.shape

    @property
    def top(self) -> float:
        """The largest value that its likelihood takes; infinity where there is none."""
        if self.likelihood in LEVELED:
            return (self.levels or 0) - 1.0
        return 1.0 if self.likelihood in ("bernoulli", "continuous_bernoulli") else np.inf

    def plain(self) -> dict[str, Any]:
        """What JSON can hold of it; center and spread live in the programs' buffers."""
        kept = ("name", "shape", "likelihood", "scale", "levels", "components", "kind", "preprocessing")
        return {key: getattr(self, key) for key in (*kept, "features", "unmeasured")}


def guess(name: str, array: np.ndarray, observed: np.ndarray | None = None) -> Modality:
    """A modality for an array ``(items, *shape)``: zeros and ones are Bernoulli, other counts negative binomial."""
    likelihood = guess_likelihood(observed_values(array, observed)).likelihood
    return estimated(Modality(name, array.shape[1:], likelihood), array, observed)


def estimated(modality: Modality, array: np.ndarray, observed: np.ndarray | None = None) -> Modality:
    """The modality with what was not declared of center and spread taken from what was observed of an array.

    What an earlier array gave is not declared: it is taken anew.
    """
    moments = _moments(array, observed, modality)
    known: dict[str, Any] = {"estimates": tuple(moment.astype(np.float32) for moment in moments)}
    for key, before, now in zip(("center", "spread"), modality.estimates, known["estimates"], strict=True):
        value = getattr(modality, key)
        known[key] = now if value is None or value is before else value
    return replace(modality, **known)


def observed_values(array: np.ndarray, observed: np.ndarray | None) -> np.ndarray:
    """An array with NaN where it was not observed."""
    if observed is None:
        return array
    mask = observed.reshape(observed.shape + (1,) * (array.ndim - observed.ndim))
    return np.where(mask, array, np.nan)


def _moments(array: np.ndarray, observed: np.ndarray | None, modality: Modality) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each element over the items that have it; 0 and 1 where none has.

    Over the places of a channel too, where the modality has channels. An element whose deviation is rounding, a
    millionth of its mean or less, has spread 1. Counts that were all zero have the center of half a count in all items.
    """
    shape, likelihood = array.shape[1:], modality.likelihood
    places = tuple(range(1, len(shape))) if modality.channelled else ()
    sums = _sums(array, observed, likelihood, np.zeros(shape), 1)
    count, total = (part.sum(places, keepdims=True) for part in sums)
    seen, count = count > 0, np.maximum(count, 1)
    center = total / count
    if likelihood in COUNTS:
        center = np.where(seen & (center == 0), np.log1p(0.5 / count), center)
    square = _sums(array, observed, likelihood, np.broadcast_to(center, shape), 2)[1].sum(places, keepdims=True)
    deviation = np.sqrt(square / count)
    spread = np.where(deviation > 1e-6 * np.abs(center), deviation, 1.0)
    return np.broadcast_to(center, shape), np.broadcast_to(spread, shape)


def _sums(
    array: np.ndarray, observed: np.ndarray | None, likelihood: str, center: np.ndarray, power: int
) -> tuple[np.ndarray, np.ndarray]:
    """How many items have each element, and the sum of their ``(value - center) ** power``, block by block of rows."""
    count, total = np.zeros(array.shape[1:], int), np.zeros(array.shape[1:])
    rows = max(BLOCK // max(center.size, 1), 1)
    for place in (slice(start, start + rows) for start in range(0, len(array), rows)):
        block = observed_values(array[place], None if observed is None else observed[place])
        values = np.asarray(block, dtype=np.float64)
        values = np.log1p(values) if likelihood in COUNTS else values
        seen = np.isfinite(values)
        count += seen.sum(0)
        total += np.where(seen, (values - center) ** power, 0).sum(0)
    return count, total
