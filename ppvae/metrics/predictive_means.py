"""Predictive means: modalities without their measurement noise, predicted from others or generated from the prior."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.inference.chunks import answer
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question, each_draw
from ppvae.language.batch import Batch
from ppvae.language.pieces import whole
from ppvae.language.ppl import items, ops
from ppvae.language.traces import Sites, latents, model_sites, random_sites


class NoMean(NotImplementedError):
    """A density that was written without its mean."""


def predicted(
    fitted: Fitted, data: Dataset, ask: Sequence[str] | None = None, draws: int = 1, seed: int = 0
) -> dict[str, np.ndarray]:
    """``E[x_ask | z]`` for draws of z given what each item has: name to ``(draws, items, *shape)``.

    As :meth:`~ppvae.inference.fitted.Fitted.query`, but without the noise of the likelihood. A categorical element
    counts as its expected level, and a text is written with the likeliest token after token.
    """
    question = Question(_predicted, draws, tuple(fitted.asked(ask)))
    return answer(fitted.vae.pair, fitted.settings, question, data.batch(), data.keys, seed)


@contextmanager
def judged(names: Iterable[str]) -> Iterator[None]:
    """Where a density was written without its mean, leave the block, and warn that no predictions are judged."""
    try:
        yield
    except NoMean as error:
        warnings.warn(f"predictions of {', '.join(names)} are not judged: {error}", stacklevel=3)


def generated(fitted: Fitted, items: int, ask: Sequence[str] | None = None, seed: int = 0) -> dict[str, np.ndarray]:
    """``E[x | z]`` for latents of new items from the model: name to ``(items, *shape)``, without measurement noise."""
    question, keys = Question(_generated, 1, tuple(fitted.asked(ask))), np.arange(items, dtype=np.uint32)
    drawn = answer(fitted.vae.pair, fitted.settings, question, Batch(size=items), keys, seed)
    return {name: values[0] for name, values in drawn.items()}


@each_draw
def _predicted(model: Any, guide: Any, batch: Batch, draws: int, ask: tuple[str, ...]) -> dict[str, Any]:
    with items().repeated(draws):
        drawn = latents(random_sites(guide, batch))
        sites = model_sites(model, batch.given([name for name in model.conditions if name in batch.arrays]), drawn)
    return means(sites, ask)


@each_draw
def _generated(model: Any, guide: Any, batch: Batch, draws: int, ask: tuple[str, ...]) -> dict[str, Any]:
    with items().repeated(draws):
        sites = model_sites(model, batch)
    return means(sites, ask)


def means(sites: Sites, ask: tuple[str, ...]) -> dict[str, Any]:
    """The means of the asked modalities' distributions, by name."""
    return {name: whole(sites, name, partial(_mean, name)) for name in ask}


def _mean(name: str, site: Any) -> Any:
    """The mean of a site's distribution; of a categorical one, which neither library gives, its level's.

    A text has none, and is written with the likeliest token after token.

    Raises:
        NoMean: the density was written without.
    """
    base = fn = site["fn"]
    while hasattr(base, "base_dist"):
        base = base.base_dist
    if type(base).__name__ == "Autoregressive":
        return base.greedy()
    if not type(base).__name__.startswith("Categorical"):
        try:
            return fn.mean
        except NotImplementedError:
            advice = "give ppvae.distribution its mean"
            raise NoMean(f"the density of modality {name!r} was written without its mean; {advice}") from None
    probs = base.probs
    return ops.broadcast_to((probs * ops.arange(probs.shape[-1])).sum(-1), (*fn.batch_shape, *fn.event_shape))
