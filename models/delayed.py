"""Delayed: a path through time that every series sees later, by a lag of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppvae import Modality, Program, dist, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import networks
from ppvae.parts.conditionals import one_hot
from ppvae.parts.delays import SUFFIX, Choice, Series, told_apart
from ppvae.parts.trajectories import Reverting, picked

CERTAIN = 1e4  # log odds of the lag that is read against any other: a lag is read without error


class Delayed(Program):
    """``z ~ random walk``;  ``lag_s ~ Categorical``;  ``x_s[t] | z, lag_s ~ likelihood_s(decoder_s(z[t - lag_s]))``.

    Series are modalities ``(channels, times)`` on one clock. The lag of a series ``x`` is itself a modality, ``x_lag``,
    categorical of shape ``(1,)``, in steps of the clock: read without error where it was measured, else summed out. A
    series without one has lag 0; where all have one, lags are known up to what they share. Readings that are missing,
    or after a series' end, are holes. Shapes: ``z`` is ``(items, latent, grid)``, ``x_delay`` is ``(items,)``.

    >>> from ppvae import Batch
    >>> parts = [Modality("a", (1, 9)), Modality("b", (2, 9)), Modality("b_lag", (1,), "categorical", levels=4)]
    >>> tuple(Delayed(parts, latent=1)(Batch(size=3))["b"].shape)
    (3, 2, 9)

    Raises:
        ValueError: a modality is neither a series, as long as the others, nor the lag of one.
    """

    def __init__(self, modalities: Sequence[Modality], latent: int = 2, hidden: Sequence[int] = (32,)) -> None:
        super().__init__()
        series, lags = told_apart(modalities)
        self.grid = series[0].shape[1] + max(lags.values(), default=1) - 1
        self.path = Reverting(latent, self.grid)
        self.delays = networks.ByName({name: Choice(levels) for name, levels in lags.items()})
        self.series = networks.ByName({m.name: Series(m, latent, hidden) for m in series})

    def forward(self, batch: Batch) -> dict[str, Any]:
        path, values = self.path(batch.size), {}
        with batch.plate():
            z = pyro.sample("z", path)
            for name in self.series:
                lag = self.lag(name)
                if batch.asked([name]):
                    series: Any = self.series[name]
                    seen = picked(series.seen(z, lag.shape[-1]), lag)
                    values[name] = series.measured(series.arranged(seen), batch.get(name))
                if name in self.delays and batch.asked([name + SUFFIX]):
                    read = dist.Categorical(logits=CERTAIN * lag[..., None, :]).to_event(1)
                    values[name + SUFFIX] = pyro.sample(name + SUFFIX, read, obs=batch.get(name + SUFFIX))
        return values

    def lag(self, name: str) -> Any:
        """The lag of a series as zeros and a one, ``(..., items, lags)``."""
        if name not in self.delays:
            return ops.ones(1)
        delay: Any = self.delays[name]
        lag = pyro.sample(f"{name}_delay", delay(), infer={"enumerate": "parallel"})
        return one_hot(lag, delay.levels)
