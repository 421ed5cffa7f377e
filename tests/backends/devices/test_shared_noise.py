"""Shared noise: rows that are drawn apart are those of a batch that is drawn as a whole."""

from __future__ import annotations

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.nn import functional as F

from ppvae.backends.devices import random_operations, shared_noise

Draw = Callable[[int], torch.Tensor]


def drawn_left(items: int) -> torch.Tensor:
    """Categories in a plate to the left of that of the items."""
    with pyro.plate("draws", 3, dim=-2), pyro.plate("items", items, dim=-1):
        return pyro.sample("c", dist.Categorical(logits=torch.zeros(3, items, 5))).T


def own_right(items: int) -> torch.Tensor:
    """Categories in a plate to the right of that of the items."""
    with pyro.plate("items", items, dim=-2), pyro.plate("own", 2, dim=-1):
        return pyro.sample("c", dist.Categorical(logits=torch.zeros(items, 2, 5)))


DRAWS: dict[str, Draw] = {
    "sizes": lambda n: torch.randn(n, 3),
    "items last": lambda n: torch.rand(4, n).T,
    "as many others": lambda n: torch.rand(3, n).T,
    "in place": lambda n: torch.empty(n, 2).exponential_(),
    "dropout": lambda n: F.dropout(torch.ones(n, 40)),
    "draws flattened": lambda n: F.dropout1d(torch.ones(5 * n, 6, 2)).reshape(5, n, 6, 2).transpose(0, 1),
    "transposed": lambda n: torch.multinomial(torch.ones(5, n).T, 2),
    "a distribution": lambda n: dist.Normal(torch.zeros(n), 2.0).sample((3,)).T,
    "plate of draws": drawn_left,
    "plate of its own": own_right,
}


def seeded(draw: Draw, items: int) -> torch.Tensor:
    torch.manual_seed(0)
    return draw(items)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize("rows", [slice(0, 3), slice(3, 7), slice(6, 7)], ids=str)
def test_rows_are_those_of_the_whole(draw: Draw, rows: slice) -> None:
    with torch.random.fork_rng():
        whole, places = seeded(draw, 7), random_operations.places(draw)
        with shared_noise.drawing(places, rows, 7):
            part = seeded(draw, rows.stop - rows.start)
    torch.testing.assert_close(part, whole[rows], rtol=0, atol=0)


def test_what_all_items_share_is_drawn_alike() -> None:
    """Three numbers, for three items of seven."""

    def draw(items: int) -> torch.Tensor:
        return torch.randn(3)

    with torch.random.fork_rng():
        whole, places = seeded(draw, 7), random_operations.places(draw)
        with shared_noise.drawing(places, slice(0, 3), 7):
            torch.testing.assert_close(seeded(draw, 3), whole, rtol=0, atol=0)


REFUSED: dict[str, Draw] = {
    "pairs of items": lambda n: torch.rand(n, n),
    "one more": lambda n: torch.rand(n + 1),
    "one by one": lambda n: torch.stack([torch.rand(2) for _ in range(n)]),
}


@pytest.mark.parametrize("draw", REFUSED.values(), ids=REFUSED)
def test_what_is_not_of_single_items_is_refused(draw: Draw) -> None:
    with pytest.raises(ValueError, match="is not so many numbers for each item of the batch"):
        random_operations.places(draw)


def test_draws_that_depend_on_values_are_refused() -> None:
    places = random_operations.places(lambda n: torch.rand(n))
    with (
        torch.random.fork_rng(),
        pytest.raises(ValueError, match="whatever they see"),
        shared_noise.drawing(places, slice(0, 3), 7),
    ):
        torch.rand(3) + torch.rand(3)


def test_programs_that_take_all_rows_alone_are_refused() -> None:
    with pytest.raises(ValueError, match="the programs fail on 2 rows of a batch"):
        random_operations.places(lambda n: torch.ones(7) + torch.rand(n))
