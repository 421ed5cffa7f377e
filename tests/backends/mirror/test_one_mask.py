"""One mask, computed twice: what it picks is assigned where it picks, as with one that is computed once."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import torch
from torch import nn

from ppvae.backends import mirror


class Filled(nn.Module):
    """As Pyro's conditional VAE fills what it is not given."""

    def forward(self, x, y):
        filled = x.clone()
        filled[x == -1] = y[x == -1]
        filled[y > x] = (2 * x)[y > x]
        return filled


def test_it_is_torchs() -> None:
    x, y = np.random.default_rng(0).integers(-1, 2, (2, 5, 4)).astype(np.float32)
    found = jax.jit(lambda x, y: mirror.forward(Filled(), mirror.Parameters({}, {}), x, y))(x, y)
    np.testing.assert_array_equal(found, Filled()(torch.tensor(x), torch.tensor(y)))


class Other(nn.Module):
    """The mask changes between its two computations."""

    def forward(self, x, y):
        filled = x.clone()
        picked = y[x == -1]
        x += 1
        filled[x == -1] = picked
        return filled


def test_another_mask_is_refused() -> None:
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(mirror.MirrorError, match="a mask that is computed gives an unknown shape"):
        jax.jit(lambda x, y: mirror.forward(Other(), mirror.Parameters({}, {}), x, y))(x, x)
