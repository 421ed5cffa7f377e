"""Convolutional: the stock networks of pictures, sounds and series, their shapes and their mirrors."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ppvae
from ppvae import Modality
from ppvae.backends import mirror
from ppvae.parts import convolutional, networks
from ppvae.parts.likelihoods import Likelihood

LATENT, HIDDEN = 3, (32, 16)
SHAPES = {
    "image": [(1, 8, 8), (3, 8, 8), (1, 15, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64), (2, 5, 21)],
    "sound": [(40, 31), (7, 64)],
    "series": [(1, 8), (3, 101)],
}
every = pytest.mark.parametrize(("kind", "shape"), [(kind, shape) for kind in SHAPES for shape in SHAPES[kind]])


def layers(net: nn.Module) -> list[nn.Module]:
    return [layer for layer in net.modules() if isinstance(layer, nn.modules.conv._ConvNd)]


@every
@pytest.mark.parametrize("lead", [(), (5,), (2, 1, 3)])
def test_they_take_any_number_of_leading_dimensions(kind: str, shape: tuple[int, ...], lead: tuple[int, ...]) -> None:
    modality = Modality("x", shape, kind=kind)
    encoder, decoder = networks.encoder(modality, LATENT, HIDDEN), networks.decoder(modality, LATENT, HIDDEN)
    assert len(layers(encoder)) == len(layers(decoder)) == math.floor(math.log2(max(shape[1:]) / 4) + 1 - 1e-9)
    x, z = torch.randn(*lead, *shape), torch.randn(*lead, LATENT)
    assert encoder(x).shape == (*lead, 2 * LATENT)
    assert decoder(z).shape == (*lead, *shape)
    if lead == (2, 1, 3):
        torch.testing.assert_close(encoder(x)[1, 0, 2], encoder(x[1, 0, 2]), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(decoder(z)[1, 0, 2], decoder(z[1, 0, 2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("likelihood", "last"), [("categorical", 4), ("logistic_mixture", 6)])
@pytest.mark.parametrize("shape", [(3, 8, 9), (2, 4, 4)])
def test_levels_stand_at_the_end_and_each_channel_has_its_own(likelihood: str, last: int, shape: tuple) -> None:
    modality = Modality("x", shape, likelihood, levels=4, components=2, kind="image")
    y = Likelihood(modality, LATENT, HIDDEN).decoded(torch.randn(5, LATENT))
    assert y.shape == (5, *shape, last)
    stack, features = convolutional.up((3, 8, 9), HIDDEN, last)
    x = torch.randn(1, *features)
    plain = stack.net[:-1](x)
    torch.testing.assert_close(stack(x)[0, 2, 5, 7, 1], plain[0, 2 * last + 1, 5, 7])


@pytest.mark.parametrize("kind", ["vector", "image"])
def test_vectors_and_models_without_hidden_layers_have_no_convolutions(kind: str) -> None:
    hidden = HIDDEN if kind == "vector" else ()
    modality = Modality("x", (1, 8, 8), kind=kind)
    assert not layers(networks.encoder(modality, LATENT, hidden))
    assert not layers(networks.decoder(modality, LATENT, hidden))


def test_hidden_sets_the_width() -> None:
    modality = Modality("x", (3, 64, 64), kind="image")
    wide = lambda net: [layer.out_channels for layer in layers(net)]  # noqa: E731
    assert wide(networks.encoder(modality, LATENT, (256, 256))) == [16, 32, 64, 64]
    assert wide(networks.decoder(modality, LATENT, (256, 256))) == [64, 32, 16, 3]
    assert wide(networks.encoder(modality, LATENT, (4,))) == [1, 1, 1, 1]
    assert wide(networks.encoder(Modality("x", (3, 64), kind="series"), LATENT, (256,))) == [32, 64, 64, 64]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 70), min_size=1, max_size=2), st.integers(1, 3), st.booleans())
def test_a_stack_comes_down_to_a_few_places_and_up_again(sizes: list[int], channels: int, residual: bool) -> None:
    shape = (channels, *sizes)
    down, features = convolutional.down(shape, HIDDEN, residual=residual)
    up, same = convolutional.up(shape, HIDDEN, residual=residual)
    x = torch.randn(2, *shape)
    assert down(x).shape[1:] == features == same
    assert max(features[1:]) <= convolutional.FEW
    assert up(down(x)).shape == x.shape


def test_every_place_of_a_picture_is_read() -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 3, 15, 29, requires_grad=True)  # in some of them: a unit may rest
    (moved,) = torch.autograd.grad(convolutional.down((3, 15, 29), (64,))[0](x).square().sum(), x)
    assert (moved != 0).any(0).all()


@pytest.mark.parametrize(
    ("shape", "residual"),
    [*((shape, False) for shapes in SHAPES.values() for shape in shapes), ((1, 15, 16), True), ((3, 20), True)],
)
def test_they_and_their_gradients_are_torchs_on_jax(shape: tuple[int, ...], residual: bool) -> None:
    torch.manual_seed(0)
    (down, _), (up, _) = (
        convolutional.down(shape, HIDDEN, residual=residual),
        convolutional.up(shape, HIDDEN, residual=residual),
    )
    net, x = nn.Sequential(down, up).double(), torch.randn(2, *shape, dtype=torch.float64)
    loss = net(x).square().sum()
    slopes = torch.autograd.grad(loss, list(net.parameters()))
    with jax.enable_x64(True):
        arrays, aliases = mirror.arrays(net), mirror.aliases(net)
        value = lambda a: jnp.square(mirror.forward(net, mirror.Parameters(a, aliases), jnp.asarray(x.numpy()))).sum()  # noqa: E731
        found, gradients = jax.jit(jax.value_and_grad(value))(arrays)
    np.testing.assert_allclose(found, loss.item(), rtol=1e-10)
    for (name, _), slope in zip(net.named_parameters(), slopes, strict=True):
        np.testing.assert_allclose(gradients[name], slope, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("likelihood", ["categorical", "logistic"])
def test_programs_with_pictures_agree_on_both_backends(likelihood: str) -> None:
    x = np.random.default_rng(0).integers(0, 2, size=(6, 1, 9, 8)).astype(float)
    modality = Modality("x", (1, 9, 8), likelihood, levels=2, kind="image")
    data = ppvae.Dataset({"x": x}, modalities=[modality]).refitted()
    vae = ppvae.method("mopoe", data.modalities, latent=2, hidden=(16, 8))
    assert ppvae.parity(vae, data.batch(), dtype="float64")["ok"]


def test_a_channel_has_one_learned_scale() -> None:
    scales = {kind: Likelihood(Modality("x", (3, 8, 8), kind=kind), LATENT).log_scale for kind in ("image", "vector")}
    assert {kind: tuple(scale.shape) for kind, scale in scales.items()} == {"image": (3, 1, 1), "vector": (3, 8, 8)}
