"""Series: measurements at any times on one common clock, ``(channels, times)``, with holes where there were none."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field, FiniteFloat, PositiveInt
from pydantic.dataclasses import dataclass

from ppvae.data.columns import IDS, cells, ids_in, numbers, own_ids
from ppvae.data.preprocessing.extra import extra
from ppvae.data.preprocessing.lengths import SHORT, bounded

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq", ".feather")
CLOCK = "time"  # the column of a file that says when
SPARSE = 10  # ticks for each time of the longest series, above which a clock is another than was meant


class Trace(NamedTuple):
    """What was measured of one item: ``times`` ``(n,)`` that rise, ``values`` ``(n, channels)``, NaN for a hole."""

    channels: tuple[str, ...]
    times: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, config={"extra": "forbid"})
class Series:
    """Series on one clock, whose ticks are ``start``, ``start + step``, ...: so many ``times``, in any unit.

    A tick has the mean of what was measured less than half a step from it; without any it is a hole, as is what lies
    beyond the end of a shorter series. What was measured off the clock is left out.
    """

    channels: tuple[str, ...]
    start: FiniteFloat
    step: Annotated[FiniteFloat, Field(gt=0)]
    times: PositiveInt

    @property
    def shape(self) -> tuple[int, ...]:
        """``(channels, times)``."""
        return len(self.channels), self.times

    @property
    def levels(self) -> None:
        """None: measurements are no categories."""

    @property
    def clock(self) -> np.ndarray:
        """When the clock ticks, ``(times,)``."""
        return self.start + self.step * np.arange(self.times)

    def one(self, trace: Trace) -> np.ndarray:
        """A series as ``(channels, times)`` in float32, NaN in its holes; its channels may be in any order.

        Raises:
            ValueError: it has other channels.
        """
        if sorted(trace.channels) != sorted(self.channels):
            raise ValueError(f"it has the channels {', '.join(trace.channels)}, not {', '.join(self.channels)}")
        values = np.asarray(trace.values, np.float64).reshape(len(trace.times), len(self.channels))
        values = values[:, [trace.channels.index(name) for name in self.channels]]
        tick = np.floor((np.asarray(trace.times, np.float64) - self.start) / self.step + 0.5)
        row, channel = np.nonzero(np.isfinite(values) & ((tick >= 0) & (tick < self.times))[:, None])
        total, count = np.zeros((2, *self.shape))
        place = channel, tick[row].astype(int)
        np.add.at(total, place, values[row, channel])
        np.add.at(count, place, 1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)

    def encode(self, raw: Iterable[Trace | None]) -> tuple[np.ndarray, np.ndarray]:
        """Series, None for a hole, as ``(items, channels, times)``, zeros in holes, and where they were measured."""
        hole = np.full(self.shape, np.nan, np.float32)
        rows = [hole if trace is None else self.one(trace) for trace in raw]
        array = np.stack(rows) if rows else np.zeros((0, *self.shape), np.float32)
        return np.nan_to_num(array), ~np.isnan(array)

    def decode(self, array: np.ndarray) -> list[Trace]:
        """Series from ``(items, channels, times)``, at every tick of the clock."""
        return [Trace(self.channels, self.clock, np.asarray(each).T) for each in array]

    def plain(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return {"kind": "series", **asdict(self), "channels": list(self.channels)}


def fitted(
    raw: Iterable[Trace | None],
    start: float | None = None,
    step: float | None = None,
    times: int | None = None,
) -> Series:
    """Series with the channels of the first, whose clock runs from the first time of all to the last.

    Its step is the median between two times. What is far longer than the rest is cut:
    :func:`~ppvae.data.preprocessing.lengths.bounded`.

    Warns:
        UserWarning: some are cut.

    Raises:
        ValueError: there is no series, no step between two times, or hardly anything on most of the clock's ticks.
    """
    traces = [each for each in raw if each is not None and len(each.times)]
    if not traces:
        raise ValueError("there is no series to find a clock from")
    clocks = [np.asarray(each.times, np.float64) for each in traces]
    steps = np.concatenate([np.diff(clock) for clock in clocks])
    if step is None and not len(steps):
        raise ValueError("no series has two times, so nothing says how far they are apart: give step")
    begin = min(clock[0] for clock in clocks) if start is None else start
    apart = float(np.median(steps)) if step is None else step
    ticks = _ticks(clocks, begin, apart) if times is None else times
    return Series(traces[0].channels, float(begin), apart, ticks)


def _ticks(clocks: list[np.ndarray], begin: float, apart: float) -> int:
    """How often a clock ticks that nobody said an end of."""
    needed = [max(int(np.rint((clock[-1] - begin) / apart)) + 1, 1) for clock in clocks]
    ticks, most = bounded(needed), max(map(len, clocks))
    if ticks > max(SHORT, SPARSE * most):
        raise ValueError(
            f"a clock from {begin:g} with a step of {apart:g} would tick {ticks} times, and no series has more than "
            f"{most}: let the time of each begin at 0, or give step, or times = {ticks}"
        )
    if cut := sum(each > ticks for each in needed):
        warnings.warn(
            f"{cut} of {len(needed)} series are cut off after {ticks} ticks of the clock; times = {max(needed)} keeps "
            "all, and makes every one so long",
            UserWarning,
            stacklevel=3,
        )
    return ticks


def windows(trace: Trace, length: float, every: float | None = None) -> Iterator[Trace]:
    """Pieces of a long series, ``length`` long in its unit of time and each with a clock that begins at 0.

    Windows begin ``every`` so often, end to end where it is left out; the last one may be shorter.
    """
    every = length if every is None else every
    first, last = trace.times[0], trace.times[-1]
    for begin in first + every * np.arange((last - first) // every + 1):
        inside = (trace.times >= begin) & (trace.times < begin + length)
        if inside.any():
            yield Trace(trace.channels, trace.times[inside] - begin, trace.values[inside])


def read(path: str | Path) -> Trace:
    """The series in a table with a column ``time`` and one for each channel.

    Raises:
        ValueError: it is damaged, holds something else than finite numbers and holes, or its times do not rise.
    """
    try:
        return _read(Path(path))
    except ValueError as error:
        raise ValueError(f"cannot read {str(path)!r} as a series: {error}") from None


def several(path: Path, identity: str | None = None) -> dict[str, Trace]:
    """The series in one table, by a column of ids: those of an item are its rows, in their order.

    Raises:
        ValueError: as of :func:`read`, or there is no column of ids.
    """
    frame = cells(path)
    identity = identity or own_ids(frame) or IDS
    ids = ids_in(frame, identity, path)
    try:
        whole = _numbers(frame.drop(columns=identity).set_axis(ids), path)
        return {
            name: _rising(whole, rows, f", of {name!r},") for name, rows in ids.groupby(ids, sort=False).indices.items()
        }
    except ValueError as error:
        raise ValueError(f"cannot read {str(path)!r} as series: {error}") from None


def _read(path: Path) -> Trace:
    frame = cells(path)
    index = frame.attrs.get("index")
    return _rising(_numbers(frame if index in (None, CLOCK) else frame.drop(columns=index), path))


def _rising(trace: Trace, rows: Any = slice(None), of: str = "") -> Trace:
    """These rows of a series, whose times must rise."""
    times = trace.times[rows]
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise ValueError(f"its times{of} must rise from row to row: sort them, and leave one row of each")
    return Trace(trace.channels, times, trace.values[rows])


def _numbers(frame: Any, path: Path) -> Trace:
    """All rows of a table as finite numbers and holes."""
    channels = [str(name) for name in frame.columns if name != CLOCK]
    if CLOCK not in frame or not channels:
        raise ValueError(f"it needs a column {CLOCK!r}, and others beside it; it has {', '.join(frame.columns)}")
    try:
        times = numbers(frame, [CLOCK], path)[CLOCK].to_numpy()
    except ValueError:
        raise ValueError("its times are no numbers: write the seconds or days since the first, or what suits") from None
    values = numbers(frame, channels, path).to_numpy()
    if np.isinf(values).any():
        raise ValueError("it holds infinite values; leave empty what was not measured")
    return Trace(tuple(channels), times, values)


def write(path: str | Path, trace: Trace) -> None:
    """Write a series as a CSV file, which :func:`read` reads again."""
    frame = extra("pandas").DataFrame(trace.values, columns=list(trace.channels))
    frame.insert(0, CLOCK, trace.times)
    frame.to_csv(path, index=False)
