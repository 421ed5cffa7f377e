"""Chunks: a question asked of many items and draws, in bounded memory, whatever the backend."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ppvae.backends.pyro_words import STACKS
from ppvae.backends.stacks import emptied
from ppvae.inference.questions import Question, answering
from ppvae.language import ppl
from ppvae.language.batch import Batch
from ppvae.language.traces import shared
from ppvae.runs.settings import Settings

DRAWS = 1000  # at most so many draws of an item are held at once
ROWS = 32768  # at most so many draws times items
NUMBERS = 2**26  # at most so many numbers in the draws of latents that all items share, as each item has its own draws


def answer(
    pair: Any, settings: Settings, question: Question, batch: Batch, keys: np.ndarray, seed: int, trained: bool = False
) -> Any:
    """The question's answer for every item, each alone, seeded by its key: name to ``(draws, items, ...)``.

    Blocks of draws, and within them blocks of items, are each reduced at once. Items of a batch that is ``trained``, of
    the data that the pair was trained on, have their rows. A mask without dims is that of every item.

    Raises:
        ValueError: no draws or no items were asked for, or the seed is out of range.
    """
    if question.draws < 1 or not len(keys):
        raise ValueError(f"{question.draws} draws of {len(keys)} items were asked for; ask for at least one of one")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed}; it must be from 0 to {2**32 - 1}")
    batch = batch if trained else replace(batch, index=None)
    engine = importlib.import_module(f"ppvae.backends.{settings.backend}")
    sizes = [min(DRAWS, question.draws - start) for start in range(0, question.draws, DRAWS)]
    with engine.environment(settings):
        rows = min(ROWS, NUMBERS // max(1, _shared(_first(pair, batch))))
    blocks = [
        _block(engine, pair, settings, replace(question, draws=size), batch, _seeded(keys, seed, number), rows)
        for number, size in enumerate(sizes)
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def shares(pair: Any, settings: Settings, batch: Batch, trained: bool) -> bool:
    """Has the pair latents that all items share?"""
    batch = batch if trained else replace(batch, index=None)
    with importlib.import_module(f"ppvae.backends.{settings.backend}").environment(settings):
        return _shared(_first(pair, batch)) > 0


@dataclass(frozen=True)
class _First:
    """A pair with the first of the items that it is asked about; one that looks alike is as good."""

    pair: Any
    shapes: frozenset[tuple[str, tuple[int, ...]]]
    batch: Batch = field(compare=False)


def _first(pair: Any, batch: Batch) -> _First:
    arrays, observed = (_taken(group, slice(1)) for group in (batch.arrays, batch.observed or {}))
    index = {} if batch.index is None else {"index": batch.index[:1]}
    shapes = frozenset((name, array.shape) for name, array in [*arrays.items(), *observed.items(), *index.items()])
    return _First(pair, shapes, Batch(arrays, observed, 1, 1, index=index.get("index")))


@lru_cache(maxsize=64)
def _shared(first: _First) -> int:
    """How many numbers the latents hold that all items share."""
    guide = first.pair["guide"].to(torch.empty(()).device)
    with answering(), ppl.running("pyro"), emptied(*STACKS), torch.no_grad(), torch.random.fork_rng():
        common = shared(guide, first.batch)
    return sum(math.prod(value.shape) for value in common.values())


def _block(
    engine: Any, pair: Any, settings: Settings, question: Question, batch: Batch, keys: np.ndarray, most: int
) -> dict[str, np.ndarray]:
    """Chunks of one size, so that a backend compiles once; the last wraps around to the first rows.

    Each is a turn of its own, so that other threads need not wait for the last; what JAX has begun goes on beyond it.
    """
    items = len(keys)
    chunks = -(-items // max(1, min(engine.ITEMS, most // question.draws)))
    size = -(-items // chunks)
    parts = []
    for start in range(0, items, size):
        rows = np.arange(start, start + size) % items
        with engine.environment(settings):
            inputs = [engine.put(_taken(group, rows)) for group in (batch.arrays, batch.observed or {})]
            numbers = None if batch.index is None else batch.index[rows]
            answers = engine.each_item(pair, question, *inputs, keys[rows], numbers)
        parts.append(question.reduced({name: np.asarray(values) for name, values in answers.items()}))
    return {name: np.concatenate([p[name] for p in parts], 1)[:, :items] for name in parts[0]}


def _taken(arrays: Any, rows: Any) -> Any:
    """The arrays of some rows; what has no dims is of all of them."""
    return {name: array[rows] if array.ndim else array for name, array in arrays.items()}


def _seeded(keys: np.ndarray, seed: int, block: int) -> np.ndarray:
    return np.stack([keys, np.full_like(keys, seed), np.full_like(keys, block)], 1)
