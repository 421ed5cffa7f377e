"""The normal distribution: on Pyro its own density and gradients, by fewer passes, and the same on NumPyro."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro.distributions as dist
import pytest
import torch

import ppvae
from ppvae import Dataset, Modality
from ppvae.backends.distributions.normal import Normal

SHAPES = {
    "alike": ((3, 4), (3, 4), (3, 4)),
    "a scale of each element": ((2, 3, 4), (2, 3, 4), (4,)),
    "a scale of each channel": ((5, 3, 4), (5, 3, 4), (3, 1)),
    "one scale": ((3, 4), (2, 3, 4), ()),
    "values against components": ((2, 3, 1, 4), (3, 5, 4), (3, 5, 4)),
    "many values of one location": ((6, 3, 4), (4,), (3, 4)),
}


def numbers(shapes: Any) -> list[torch.Tensor]:
    """A value, a location and a scale, to be differentiated."""
    made = torch.Generator().manual_seed(0)
    value, loc, scale = (torch.randn(shape, generator=made, dtype=torch.float64) for shape in shapes)
    return [each.requires_grad_() for each in (value, loc, scale.exp())]


@pytest.mark.parametrize("event", [0, 1, 2])
@pytest.mark.parametrize("shapes", SHAPES)
def test_density_and_its_first_and_second_gradients_are_pyros(shapes: str, event: int) -> None:
    value, loc, scale = wanted = numbers(SHAPES[shapes])
    known, dims = [], min(event, max(loc.ndim, scale.ndim))
    for family in (Normal, dist.Normal):
        log_p = family(loc, scale).to_event(dims).log_prob(value)
        weighed = log_p * torch.linspace(0.5, 1.5, log_p.numel()).reshape(log_p.shape)
        first = torch.autograd.grad(weighed.sum(), wanted, create_graph=True)
        second = torch.autograd.grad(sum(each.square().sum() for each in first), wanted)
        known.append([log_p, *first, *second])
    for ours, pyros in zip(*known, strict=True):
        assert ours.shape == pyros.shape
        torch.testing.assert_close(ours, pyros, rtol=1e-11, atol=1e-11)


def test_it_broadcasts_masks_and_differs_from_another_as_pyros_does() -> None:
    value, loc, scale = numbers(((2, 3, 4), (3, 4), (4,)))
    mask = torch.arange(12).reshape(3, 4) % 5 > 0
    ours, pyros = (family(loc, scale) for family in (Normal, dist.Normal))
    for each in (
        lambda fn: fn.to_event(1).expand([2, 3]).log_prob(value),
        lambda fn: fn.mask(mask).to_event(1).log_prob(value),
        lambda fn: fn.to_event(1).to_event(1).log_prob(value),
        lambda fn: fn.to_event(1).mask(mask[:, 1]).log_prob(value),
        lambda fn: dist.kl.kl_divergence(fn.to_event(1), dist.Normal(0.0, 1.0).expand([4]).to_event(1)),
    ):
        torch.testing.assert_close(each(ours), each(pyros), rtol=1e-12, atol=0.0)
    torch.testing.assert_close(Normal(0.0, 1.0).log_prob(value), dist.Normal(0.0, 1.0).log_prob(value))
    assert torch.autograd.gradcheck(lambda x: ours.mask(mask).to_event(2).log_prob(x), (value,))


def test_values_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="support"):
        Normal(torch.zeros(3), 1.0, validate_args=True).to_event(1).log_prob(torch.tensor([0.0, torch.nan, 1.0]))


@pytest.mark.parametrize("size", [1e-17, 1e-12, 1e-6, 1e12])
def test_both_backends_know_densities_and_gradients_of_data_of_any_size(size: float) -> None:
    x = size * np.random.default_rng(0).normal(size=(8, 3))
    data = Dataset({"x": x}, modalities=[Modality("x", (3,), "normal")])
    found = ppvae.parity(ppvae.method("vae", data.modalities, latent=1, hidden=(4,)), data.batch())
    assert found["ok"], found
