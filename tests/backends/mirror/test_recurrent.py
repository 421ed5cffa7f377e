"""Recurrent networks equal torch's."""

from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from mirror_oracle import assert_mirrors, parameters
from torch import nn

from ppvae.backends import mirror

drawn = settings(max_examples=10, deadline=None, derandomize=True)


def x(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


class Started(nn.Module):
    """A network with its first state given as separate inputs, so that their gradients are checked too."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor, *state: torch.Tensor) -> Any:
        return self.net(x, state if len(state) == 2 else state[0])


@drawn
@given(
    kind=st.sampled_from([nn.RNN, nn.GRU, nn.LSTM, nn.LSTM]),
    layers=st.integers(1, 2),
    both=st.booleans(),
    first=st.booleans(),
    bias=st.booleans(),
    batched=st.booleans(),
    started=st.booleans(),
    projection=st.booleans(),
)
def test_a_recurrent_network_equals_torch(
    kind: Any, layers: int, both: bool, first: bool, bias: bool, batched: bool, started: bool, projection: bool
) -> None:
    projected = 2 if projection and kind is nn.LSTM else 0
    options = {"num_layers": layers, "bidirectional": both, "batch_first": first, "bias": bias}
    net = kind(3, 4, **options, **({"proj_size": projected} if projected else {}))
    items = (2,) if batched else ()
    inputs = x(*((2, 5) if first else (5, 2)), 3) if batched else x(5, 3)
    if not started:
        assert_mirrors(net, inputs)
        return
    depth = layers * (1 + both)
    states = [x(depth, *items, projected or 4)] + ([x(depth, *items, 4)] if kind is nn.LSTM else [])
    assert_mirrors(Started(net), inputs, *states)


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
@pytest.mark.parametrize("items", [(), (2,)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_cell_equals_torch(kind: Any, items: tuple[int, ...], bias: bool) -> None:
    cell = kind(3, 4, bias=bias)
    assert_mirrors(cell, x(*items, 3))
    states = [x(*items, 4)] * (2 if kind is nn.LSTMCell else 1)
    assert_mirrors(Started(cell), x(*items, 3), *states)


def test_the_relu_of_a_simple_network_equals_torch() -> None:
    assert_mirrors(nn.RNN(3, 4, nonlinearity="relu"), x(5, 2, 3))


def test_dropout_between_layers_acts_under_training_alone() -> None:
    net = nn.GRU(3, 4, num_layers=2, dropout=0.5)
    inputs = x(5, 2, 3).float().numpy()
    plain, _ = mirror.forward(net, parameters(net), jax.numpy.asarray(inputs))
    np.testing.assert_allclose(plain, net.eval()(torch.tensor(inputs))[0].detach(), rtol=1e-5, atol=1e-6)
    noisy = [mirror.forward(net, parameters(net, True, seed), jax.numpy.asarray(inputs))[0] for seed in (0, 0, 1)]
    assert (noisy[0] == noisy[1]).all()
    assert not np.allclose(noisy[0], noisy[2])
    assert not np.allclose(noisy[0], plain)


def test_packed_sequences_are_refused() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.GRU(3, 4)

        def forward(self, x: torch.Tensor) -> Any:
            return self.net(nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3])))

    net = Packed()
    with pytest.raises(mirror.MirrorError, match="pack_padded_sequence"):
        mirror.forward(net, parameters(net), jax.numpy.ones((5, 2, 3)))
