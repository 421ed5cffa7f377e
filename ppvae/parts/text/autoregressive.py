"""Autoregressive: a distribution over texts, token after token, each given all before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution, constraints

from ppvae.language.ppl import dist, iterated
from ppvae.language.tokens import END, PADDING, START


class Autoregressive(TorchDistribution):
    """``log p(x | z) = Σ_t log Categorical(x_t | softmax(network(z, START, x_1, ..., x_{t-1})))`` up to the first END.

    What follows END is PADDING and counts nothing, so that a density does not depend on how much of it there is; any
    other row has the density zero. A row without END is a text cut off at ``positions``. PADDING and START are never
    drawn. Event shape ``(positions,)``, batch shape that of ``z`` without its last axis.

    Args:
        network: see :mod:`ppvae.parts.text.decoders`.
        z: latents ``(..., latent)``.
        positions: the length of a row.
        levels: the size of the vocabulary.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, network: Any, z: Any, positions: int, levels: int) -> None:
        self.network, self.z, self.positions, self.levels = network, z, positions, levels
        super().__init__(z.shape[:-1], torch.Size([positions]), validate_args=False)

    @property
    def support(self) -> Any:
        return constraints.independent(constraints.integer_interval(0, self.levels - 1), 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        z = self.z.expand(*batch_shape, self.z.shape[-1])
        return Autoregressive(self.network, z, self.positions, self.levels)

    def log_prob(self, value: Any) -> Any:
        shape = torch.broadcast_shapes(self.batch_shape, value.shape[:-1])
        z = self.z.expand(*shape, self.z.shape[-1]).reshape(-1, self.z.shape[-1])
        x = value.expand(*shape, self.positions).reshape(-1, self.positions).long()
        before = torch.cat([torch.full_like(x[:, :1], START), x[:, :-1]], -1)
        _, logits = self._next(self.network.begin(z), before)
        each = logits.log_softmax(-1).gather(-1, x[..., None])[..., 0]
        ends = (x == END).long()
        after = ends.cumsum(-1) > ends
        return torch.where(after, torch.where(x == PADDING, 0.0, -torch.inf), each).sum(-1).reshape(shape)

    def sample(self, sample_shape: Any = ()) -> Any:
        return self._written(lambda logits: dist.Categorical(logits=logits).sample(), sample_shape)

    def greedy(self) -> Any:
        """The text of the likeliest token after token: ``(..., positions)``."""
        return self._written(lambda logits: logits.argmax(-1))

    def _written(self, choose: Callable[[Any], Any], sample_shape: Any = ()) -> Any:
        """Texts, each token chosen from its logits ``(n, levels)``."""
        z = self.z.expand(*sample_shape, *self.z.shape)
        flat = z.reshape(-1, z.shape[-1])

        def write(written: Any) -> tuple[Any, Any]:
            state, before, after = written
            state, logits = self._next(state, before[:, None])
            token = torch.where(after, PADDING, choose(logits[:, 0]))
            return (state, token, after | (token == END)), token

        first = torch.full(flat.shape[:1], START, device=z.device)
        tokens = iterated(write, (self.network.begin(flat), first, first == END), self.positions)
        return tokens.movedim(0, -1).reshape(*z.shape[:-1], self.positions)

    def _next(self, state: Any, before: Any) -> tuple[Any, Any]:
        """The network's state after the tokens ``before``, ``(n, k)``, and the logits of those that come next."""
        state, logits = self.network(state, before)
        tokens = torch.arange(self.levels, device=logits.device)
        return state, logits.masked_fill((tokens == PADDING) | (tokens == START), -torch.inf)
