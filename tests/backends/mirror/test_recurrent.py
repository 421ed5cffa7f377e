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
from torch.nn.utils import rnn

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


class Packed(nn.Module):
    """A recurrent network that reads sequences of these lengths, with its first state given or not."""

    def __init__(self, net: Any, lengths: list[int], total: int | None) -> None:
        super().__init__()
        self.net, self.lengths, self.total = net, torch.tensor(lengths), total

    def forward(self, x: torch.Tensor, *state: torch.Tensor) -> Any:
        first = self.net.batch_first
        given = rnn.pack_padded_sequence(x, self.lengths, first, enforce_sorted=False)
        start = (state if len(state) == 2 else state[0]) if state else None
        read, last = self.net(rnn.PackedSequence(given.data * 2, *given[1:]), start)
        return *rnn.pad_packed_sequence(read, first, padding_value=-1.0, total_length=self.total), last


@drawn
@given(
    kind=st.sampled_from([nn.RNN, nn.GRU, nn.LSTM]),
    layers=st.integers(1, 2),
    both=st.booleans(),
    first=st.booleans(),
    started=st.booleans(),
    lengths=st.lists(st.integers(1, 4), min_size=2, max_size=4),
)
def test_packed_sequences_equal_torchs(
    kind: Any, layers: int, both: bool, first: bool, started: bool, lengths: list[int]
) -> None:
    items = len(lengths)
    net = Packed(kind(3, 4, num_layers=layers, bidirectional=both, batch_first=first), lengths, 4)
    states = [x(layers * (1 + both), items, 4)] * (1 + (kind is nn.LSTM)) if started else []
    assert_mirrors(net, x(*((items, 4) if first else (4, items)), 3), *states)


def test_packed_sequences_are_padded_to_a_length_that_is_known() -> None:
    net = Packed(nn.GRU(3, 4), [2, 3], None)
    with pytest.raises(mirror.MirrorError, match=r"is not known: give pad_packed_sequence total_length=4"):
        mirror.forward(net, parameters(net), jax.numpy.ones((4, 2, 3)))
