"""Own noise: what several items draw together is what each draws alone."""

from __future__ import annotations

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.nn import functional as F

from ppvae.backends.devices import own_noise, random_operations

ITEMS = 5
RATES = torch.tensor([0.1, 30.0, 2.0, 400.0, 7.0])
Draw = Callable[[int], torch.Tensor]  # of so many items, from the first on, which go along the first axis


def drawn_left(items: int) -> torch.Tensor:
    """Categories in a plate to the left of that of the items."""
    with pyro.plate("draws", 3, dim=-2), pyro.plate("items", items, dim=-1):
        return pyro.sample("c", dist.Categorical(logits=torch.zeros(3, items, 5))).T


def own_right(items: int) -> torch.Tensor:
    """Categories in a plate to the right of that of the items, and then numbers."""
    with pyro.plate("items", items, dim=-2), pyro.plate("own", 2, dim=-1):
        found = pyro.sample("c", dist.Categorical(logits=torch.zeros(items, 2, 5)))
        return found + pyro.sample("x", dist.Normal(0.0, 1.0).expand([items, 2]))


DRAWS: dict[str, Draw] = {
    "sizes": lambda n: torch.randn(n, 3),
    "many": lambda n: torch.randn(20, n, 7).transpose(0, 1),
    "items last": lambda n: torch.rand(4, n).T,
    "in place": lambda n: torch.empty(n, 2).exponential_(),
    "transposed in place": lambda n: torch.empty(3, n, 20).permute(1, 2, 0).normal_(),
    "dropout": lambda n: F.dropout(torch.ones(n, 40)),
    "draws flattened": lambda n: F.dropout1d(torch.ones(5 * n, 6, 2)).reshape(5, n, 6, 2).transpose(0, 1),
    "transposed": lambda n: torch.multinomial(torch.ones(5, n).T, 2),
    "a distribution": lambda n: dist.Normal(torch.zeros(n), 2.0).sample((3,)).T,
    "gamma": lambda n: dist.Gamma(RATES[:n], 1.0).sample((4,)).T,
    "dirichlet": lambda n: dist.Dirichlet(RATES[:n, None].expand(n, 3)).sample(),
    "counts": lambda n: dist.NegativeBinomial(RATES[:n], logits=torch.zeros(n)).sample((2,)).T,
    "trials": lambda n: dist.Binomial(50, logits=RATES[:n, None].log() * torch.ones(2)).sample(),
    "one after the other": lambda n: torch.stack([dist.Poisson(RATES[:n]).sample(), torch.rand(n)], 1),
    "plate of draws": drawn_left,
    "plate of its own": own_right,
}


def states() -> list[torch.Tensor]:
    return [torch.Generator().manual_seed(seed).get_state() for seed in range(ITEMS)]


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_each_item_draws_as_it_does_alone(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.random.fork_rng():
        places = random_operations.places(draw)
        with own_noise.drawing(places, states()):
            together = draw(ITEMS)
        for item, state in enumerate(states()):
            monkeypatch.setitem(globals(), "RATES", RATES[item:])
            torch.set_rng_state(state)
            alone = draw(1)
            monkeypatch.undo()
            torch.testing.assert_close(together[item : item + 1], alone, rtol=0, atol=0)


def shared(items: int) -> torch.Tensor:
    """A number for each item, and one for all."""
    return torch.rand(items) + torch.randn(3)[0]


def test_what_items_share_is_refused() -> None:
    places = random_operations.places(shared)
    with pytest.raises(ValueError, match="not of single items"), own_noise.drawing(places, states()):
        shared(ITEMS)


def test_what_items_draw_jointly_is_one_draw_for_all() -> None:
    places = random_operations.places(shared)
    with torch.random.fork_rng(), own_noise.drawing(places, states(), jointly=True):
        together = shared(ITEMS)
    own = torch.stack([torch.rand(1, generator=torch.Generator().manual_seed(seed))[0] for seed in range(ITEMS)])
    torch.testing.assert_close(together - own, (together - own)[:1].expand(ITEMS))
