"""Delayed: a Gaussian over the path, read off aligned series, and each lag's exact posterior given the path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ppvae import Modality, Program, dist, ops, pyro
from ppvae.language.batch import Batch, over
from ppvae.parts import networks
from ppvae.parts.conditionals import one_hot
from ppvae.parts.delays import SUFFIX, told_apart
from ppvae.parts.encoders import BOUND
from ppvae.parts.trajectories import markov, realigned

CERTAIN = 100.0  # log odds of a lag that was measured
WIDTH = 9  # times that a convolution sees


class Delayed(Program):
    """``q(z | x_S) = ∏_t N(z_t; m_t + a_t (z_{t-1} - m_{t-1}), s_t)``;  ``q(lag_s | z, x_S) = p(lag_s | z, x_s)``.

    Convolutions over time make m, a and s of the series (structured inference: Archer et al. 2015,
    https://arxiv.org/abs/1511.07367). A first guess of the path, from the series as they are, tells the likely lags,
    by which they are moved back before a second look. Lags given the path are exact. Holes are zeros beside a mask.
    Sites: ``z`` is ``(items, latent, grid)``, ``x_delay`` ``(items,)``, enumerated wherever that is wanted.

    >>> from ppvae import Batch, method
    >>> parts = [Modality("a", (1, 9)), Modality("b", (2, 9)), Modality("b_lag", (1,), "categorical", levels=4)]
    >>> tuple(method("delayed", parts, latent=1).guide(Batch(size=3)).shape)
    (3, 1, 12)
    """

    def __init__(
        self, modalities: Sequence[Modality], latent: int = 2, channels: Sequence[int] = (32, 32), *, model: Any
    ) -> None:
        super().__init__()
        self.grid, self.series, self.delays = model.grid, model.series, model.delays
        series, _ = told_apart(modalities)
        self.scales = networks.ByName({m.name: networks.Standardise(m) for m in series})
        width = sum(2 * m.shape[0] for m in series)
        self.first, self.second = (convolutions(width, channels, outputs) for outputs in (latent, 3 * latent))

    def forward(self, batch: Batch) -> Any:
        read, known = self.read(batch), {name: self.known(batch, name) for name in self.delays}
        rough = self.first(self.aligned(read, known))
        likely = {name: ops.softmax(self.logits(batch, name, rough), -1) for name in self.delays}
        loc, keep, log_scale = ops.chunk(self.second(self.aligned(read, likely)), 3, 1)
        path = markov(loc, ops.logsigmoid(keep), ops.exp(ops.clamp(log_scale, -BOUND, BOUND)))  # type: ignore[attr-defined]
        with batch.plate():
            z = pyro.sample("z", path)
            for name in self.delays:
                lag = dist.Categorical(logits=self.logits(batch, name, z))
                pyro.sample(f"{name}_delay", lag, infer={"enumerate": "parallel"})
            return z

    def read(self, batch: Batch) -> dict[str, Any]:
        """Readings in units of their spread beside where there are any, ``(items, times, 2 * channels)``, by series."""
        found = {}
        scales: dict[str, Any] = dict(self.scales.items())
        for name, scale in scales.items():
            x = batch.get(name)
            x = ops.zeros((batch.size, *scale.center.shape)) if x is None else x
            mask = batch.present(name) if batch.mask(name) is None else batch.mask(name)
            seen = ops.where(over(mask, x), 1.0, 0.0) * ops.ones_like(x)
            found[name] = ops.transpose(ops.cat([seen * scale(x), seen], 1), 1, 2)
        return found

    def known(self, batch: Batch, name: str) -> Any:
        """The lag of a series as zeros and a one, ``(items, lags)``: 0 where it was not measured."""
        lag = batch.get(name + SUFFIX)
        return one_hot(ops.zeros(batch.size) if lag is None else lag[..., 0], self.delays[name].levels)

    def aligned(self, read: Mapping[str, Any], lags: Mapping[str, Any]) -> Any:
        """All series on the grid, each moved back by the mean over lags, ``(items, channels, grid)``."""
        moved = [realigned(x, lags.get(name, ops.ones((len(x), 1))), self.grid) for name, x in read.items()]
        return ops.transpose(ops.cat(moved, -1), 1, 2)

    def logits(self, batch: Batch, name: str, z: Any) -> Any:
        """Log odds of a lag given the path, ``(..., items, lags)``."""
        levels, prior = self.delays[name].levels, self.delays[name].logits
        found = prior + ops.zeros((*z.shape[:-2], levels))
        found = found + self.series[name].heard(batch, z, levels) if name in batch.arrays else found
        return ops.where(batch.present(name + SUFFIX)[:, None], CERTAIN * self.known(batch, name), found)


def convolutions(inputs: int, channels: Sequence[int], outputs: int) -> nn.Sequential:
    """Over time, with ReLU between them: ``(items, inputs, grid) -> (items, outputs, grid)``."""
    sizes, layers = [inputs, *channels], list[nn.Module]()
    for before, after in zip(sizes, channels, strict=False):
        layers += [nn.Conv1d(before, after, WIDTH, padding="same"), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv1d(sizes[-1], outputs, 1))
