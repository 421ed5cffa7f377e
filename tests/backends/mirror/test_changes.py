"""Changes in place: elements assigned, views written through, and draws into new tensors, as torch has them."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import pytest
import torch
from mirror_oracle import assert_mirrors, parameters
from torch import nn
from torch.nn import functional as F

from ppvae import dist
from ppvae.backends import mirror
from ppvae.language import ppl


class Of(nn.Module):
    """A network whose forward is a function of itself and its inputs."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body

    def forward(self, *args: Any) -> Any:
        return self.body(self, *args)


def x(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def changed(h: Any, *steps: Any) -> Any:
    """``h`` after each step has changed it in place."""
    for step in steps:
        step(h)
    return h.sin()


def put(index: Any, value: Any) -> Any:
    return lambda h: h.__setitem__(index(h) if callable(index) else index, value)


CHANGES = {
    "an element": put((0, 1), 2.0),
    "a column": put((..., 0), 3.0),
    "a strided slice": put((slice(None), slice(None, None, 2)), -1.0),
    "rows by a mask": put(lambda h: h.sum(-1) > 0, 0.5),
    "a mask": put(lambda h: h > 0, torch.tensor(7.0)),
    "a mask and whole rows": put(
        lambda h: (h.sum(-1) > 0, slice(None)), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    ),
    "listed rows": put([0, 2], 4.0),
    "everything": put(slice(None), 1.5),
    "an augmented element": lambda h: h[1].mul_(2.0),
    "a view of a view": lambda h: h.view(-1)[::4].add_(1.0),
    "a transposed view": lambda h: h.t()[0].mul_(h[:, 1].clone()),
    "a diagonal": lambda h: h[:3].diagonal(dim1=-2, dim2=-1).add_(5.0),
    "without a gradient": lambda h: h.detach().clamp_(min=0.1),
    "data": lambda h: h.data[..., 0].masked_fill_(h.data[..., 1] > 0, 9.0),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_in_place_equals_torch(name: str) -> None:
    assert_mirrors(Of(lambda self, x: changed(x * 1.0, CHANGES[name])), x(4, 3))


def test_a_tensor_of_torchs_own_is_changed_too() -> None:
    def body(self: Any, x: Any) -> Any:
        made = torch.zeros(4, 3, dtype=x.dtype)
        made[:, 0] = x[:, 1]
        made.add_(x)
        return made * 2

    assert_mirrors(Of(body), x(4, 3))


def test_a_part_of_a_tensor_and_another_shape_of_it_are_changed_too() -> None:
    assert_mirrors(Of(lambda self, x: torch.zeros(2, 2, dtype=x.dtype)[0].add_(x.sum())), x(4, 3))
    assert_mirrors(Of(lambda self, x: [h := x * 1, h.reshape(-1).add_(1.0), h.sum()]), x(4, 3))


FUNCTIONS = {
    "relu_": torch.relu_,
    "elu_": F.elu_,
    "leaky_relu_": lambda h: F.leaky_relu_(h, 0.2),
    "hardtanh_": lambda h: F.hardtanh_(h, -0.5, 0.5),
    "threshold_": lambda h: F.threshold_(h, 0.1, 2.0),
    "rrelu_": lambda h: F.rrelu_(h, 0.1, 0.3),
    "clamp_": lambda h: torch.clamp_(h, -0.5, 0.5),
    "exp_": lambda h: torch.exp_(h[0]),
    "dropout_": lambda h: torch.dropout_(h, 0.5, False),
    "fill_": lambda h: torch.fill_(h[:, 0], 2.0),
    "zero_": lambda h: torch.zero_(h[1]),
    "index_put_": lambda h: torch.index_put_(h, (torch.tensor([0, 0]),), h[1].clone(), accumulate=True),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_that_changes_its_argument_equals_torch(name: str) -> None:
    assert_mirrors(Of(lambda self, x: changed(x * 1.0, FUNCTIONS[name])).eval(), x(4, 3))


@pytest.mark.parametrize("function", [nn.init.eye_, lambda h: torch._foreach_exp_([h])])
def test_a_function_that_changes_its_argument_without_a_rule_is_refused(function: Any) -> None:
    network = Of(lambda self, x: function(x))
    with pytest.raises(mirror.MirrorError, match="has no mirror"):
        mirror.forward(network, parameters(network), jnp.ones((2, 2)))


def test_an_assignment_to_data_is_refused() -> None:
    network = Of(lambda self, x: setattr(x, "data", 2 * x))
    with pytest.raises(mirror.MirrorError, match=r"w \* mask"):
        mirror.forward(network, parameters(network), jnp.ones((2, 2)))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (lambda self, x: x.__setitem__((x > 0, 0), 1.0), "a boolean array"),
        (lambda self, x: x.__setitem__(x > 0, torch.ones(2)), "a boolean array"),
    ],
)
def test_a_change_whose_places_depend_on_values_is_refused(body: Any, words: str) -> None:
    with pytest.raises(mirror.MirrorError, match=words):
        mirror.forward(Of(body), parameters(Of(body)), jnp.ones((2, 2)))


MOMENTS = {
    "rand": (lambda: torch.rand(4000), 0.5, 1 / 12),
    "randn": (lambda: torch.randn(4000), 0.0, 1.0),
    "normal": (lambda: torch.normal(torch.zeros(4000), 2.0), 0.0, 4.0),
    "normal_": (lambda: torch.empty(4000).normal_(1.0, 2.0), 1.0, 4.0),
    "uniform_": (lambda: torch.zeros(4000).uniform_(-1, 2), 0.5, 0.75),
    "exponential_": (lambda: torch.empty(4000).exponential_(2.0), 0.5, 0.25),
    "bernoulli_": (lambda: torch.empty(4000).bernoulli_(0.25), 0.25, 0.1875),
    "randint": (lambda: torch.randint(0, 4, (4000,)).float(), 1.5, 1.25),
    "randperm": (lambda: torch.randperm(101).float(), 50.0, 850.0),
    "poisson": (lambda: torch.poisson(torch.full((4000,), 3.0)), 3.0, 3.0),
    "large poisson": (lambda: torch.poisson(torch.full((4000,), 1e8)) / 1e4, 1e4, 1.0),
    "binomial": (lambda: torch.binomial(torch.full((4000,), 5.0), torch.full((4000,), 0.5)), 2.5, 1.25),
    "multinomial": (lambda: torch.multinomial(torch.tensor([1.0, 3.0]), 4000, True).float(), 0.75, 0.1875),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_what_is_drawn_in_a_network_has_torchs_moments_and_changes_with_the_key(name: str) -> None:
    draw, mean, variance = MOMENTS[name]
    keys = iter(jax.random.split(jax.random.key(0), 9))
    net = Of(lambda self: [draw(), draw()])
    with jax.enable_x64(True):
        one, other = mirror.forward(net, mirror.Parameters({}, {}, key=lambda: next(keys)))
        again = mirror.forward(net, mirror.Parameters({}, {}, key=lambda: next(keys)))[0]
    assert abs(one.mean() - mean) < 5 * (variance / len(one)) ** 0.5 + 1e-9
    assert abs(one.var() / variance - 1) < 0.2
    assert (one != other).any()
    assert (one != again).any()


def test_a_constant_that_was_changed_lives_as_long_as_a_distribution_knows_its_id() -> None:
    seen: list[weakref.ref[torch.Tensor]] = []

    class Level(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            level = torch.zeros(3)
            seen.append(weakref.ref(level))
            level += x
            return dist.Normal(level * 2, 1.0)

    with ppl.running("numpyro"):
        fn = mirror.forward(Level(), mirror.Parameters({}, {}), jnp.ones(3))
    gc.collect()
    known = seen[0]()
    assert known is not None
    assert id(known) in fn.known


def test_elements_of_a_buffer_are_known_until_the_text_changes_it() -> None:
    class Steps(nn.Module):
        def __init__(self, body: Any) -> None:
            super().__init__()
            self.register_buffer("steps", torch.tensor([2.0, 3.0]))
            self.weight, self.body = nn.Parameter(torch.ones(2, dtype=torch.float64)), body

        def forward(self, x: torch.Tensor) -> Any:
            return self.body(self, x)

    def looked_at(net: Any, x: torch.Tensor) -> Any:
        assert net.steps[1:].numel() == 1
        for _ in range(int(net.steps.tolist()[1])):
            x = x * net.weight * float(net.steps.numpy()[0])
        return x

    assert_mirrors(Steps(looked_at), x(4, 2))
    for body in (
        lambda net, x: net.weight.tolist(),
        lambda net, x: x.sum().item(),
        lambda net, x: (net.steps + 0).tolist(),
    ):
        net = Steps(body)
        with pytest.raises(mirror.MirrorError, match="reading the values of an array has no mirror"):
            mirror.forward(net, parameters(net), jnp.ones(2))
