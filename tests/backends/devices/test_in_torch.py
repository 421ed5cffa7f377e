"""Residence: within it torch makes the same tensors, by functions that do not wait for the device."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import scipy.stats
import torch

from ppvae.backends.devices.in_torch import Resident


@pytest.mark.parametrize("number", [0.0, -1.5, 3, True])
def test_a_number_becomes_the_same_tensor(number: float) -> None:
    with Resident("cpu"):
        found = torch.tensor(number)
    torch.testing.assert_close(found, torch.tensor(number), rtol=0, atol=0)


def test_what_is_said_of_a_tensor_is_kept() -> None:
    with Resident("cpu"):
        found = torch.tensor(2, dtype=torch.float64, requires_grad=True)
    assert found.dtype is torch.float64
    assert found.requires_grad


def test_what_is_made_is_on_the_device() -> None:
    with Resident("meta"):
        made = [
            torch.tensor(1.0),
            torch.zeros(2),
            dist.Normal(0.0, 1.0, validate_args=False).loc,  # checks read values
            torch.normal(torch.zeros(2), torch.ones(2)),
        ]
    assert [tensor.device.type for tensor in made] == ["meta"] * len(made)


def test_draws_have_their_distribution_and_no_gradient() -> None:
    loc = torch.tensor([[-2.0], [3.0]], dtype=torch.float64, requires_grad=True)
    scale = torch.tensor([0.5, 2.0], dtype=torch.float64)
    with Resident("cpu"), torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = dist.Normal(loc, scale).sample((2000,))
    assert drawn.shape == (2000, 2, 2)
    assert not drawn.requires_grad
    unit = ((drawn - loc) / scale).detach().numpy()
    for row in (0, 1):
        for column in (0, 1):
            assert scipy.stats.kstest(unit[:, row, column], "norm").pvalue > 1e-3
