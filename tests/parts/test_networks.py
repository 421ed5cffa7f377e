"""Networks and encoders: shapes, standardisation, and what stands in a hole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ppvae import Batch, Modality
from ppvae.backends import mirror
from ppvae.backends.mirror.running.program import Mirror
from ppvae.language import ppl
from ppvae.parts import networks
from ppvae.parts.encoders import Encoders

LATENT = 3


@pytest.mark.parametrize("lead", [(), (5,), (4, 5), (2, 4, 5)])
@pytest.mark.parametrize("shape", [(), (6,), (2, 3), (1, 2, 3)])
def test_stock_networks_take_any_number_of_leading_dimensions(lead: tuple[int, ...], shape: tuple[int, ...]) -> None:
    modality = Modality("x", shape)
    assert networks.encoder(modality, LATENT, (8,))(torch.zeros((*lead, *shape))).shape == (*lead, 2 * LATENT)
    assert networks.decoder(modality, LATENT, (8,))(torch.zeros((*lead, LATENT))).shape == (*lead, *shape)


@pytest.mark.parametrize("shape", [(), (6,), (2, 3)])
def test_a_categorical_decoder_ends_in_its_levels(shape: tuple[int, ...]) -> None:
    modality = Modality("x", shape, "categorical", levels=4)
    assert networks.output_shape(modality) == (*shape, 4)
    assert networks.decoder(modality, LATENT, (8,))(torch.zeros(5, LATENT)).shape == (5, *shape, 4)


def test_hidden_layers_mirror_each_other_and_may_be_none() -> None:
    widths = lambda net: [layer.out_features for layer in net.modules() if isinstance(layer, nn.Linear)]  # noqa: E731
    modality = Modality("x", (6,))
    assert widths(networks.encoder(modality, LATENT, (8, 4))) == [8, 4, 2 * LATENT]
    assert widths(networks.decoder(modality, LATENT, (8, 4))) == [4, 8, 6]
    assert widths(networks.encoder(modality, LATENT, ())) == [2 * LATENT]


def test_an_encoder_sees_standardised_values() -> None:
    x = torch.tensor([[3.0, 8.0]])
    plain = networks.Standardise(Modality("x", (2,), center=np.array([1.0, 2.0]), spread=2.0))
    torch.testing.assert_close(plain(x), torch.tensor([[1.0, 3.0]]))
    counts = networks.Standardise(Modality("x", (2,), "poisson", center=1.0, spread=0.5))
    torch.testing.assert_close(counts(x), (torch.log1p(x) - 1.0) / 0.5)


@pytest.mark.parametrize("made", [lambda latent: "a string", nn.Linear(3, 3), "a string"])
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_network_must_be_a_function_of_the_latents_that_returns_a_module(part: str, made: object) -> None:
    modality = Modality("x", (3,), **{part: made})
    with pytest.raises(TypeError, match=f"the {part} of modality 'x' must be a function"):
        getattr(networks, part)(modality, LATENT, ())


def seen_by(likelihood: str, x: np.ndarray) -> list[torch.Tensor]:
    """What the network behind the standardisation of an expert was called with."""
    calls: list[torch.Tensor] = []

    class Spy(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(x.detach())
            return super().forward(x)

    modality = Modality("x", (2,), likelihood, center=3.0, spread=2.0, encoder=lambda latent: Spy(2, 2 * latent))
    Encoders([modality], LATENT)(Batch({"x": x}))
    return calls


@pytest.mark.parametrize("likelihood", ["normal", "negative_binomial"])
def test_a_hole_looks_like_the_modalitys_center(likelihood: str) -> None:
    (seen,) = seen_by(likelihood, np.array([[np.nan, 5.0], [5.0, 5.0], [np.nan, np.nan]], np.float32))
    torch.testing.assert_close(seen[:, 0], torch.tensor([0.0, seen[1, 1], 0.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[2], torch.zeros(2), atol=1e-5, rtol=0)
    assert abs(seen[1, 1]) > 0.1


def test_experts_are_stacked_in_the_modalities_order_with_what_is_present() -> None:
    modalities = [Modality("x", (2,)), Modality("y", (1,)), Modality("w", (1,))]
    encoders = Encoders(modalities, LATENT, (4,))
    batch = Batch({"y": np.array([[1.0], [np.nan]], np.float32), "x": np.zeros((2, 2), np.float32)})
    loc, scale, present = encoders(batch)
    assert loc.shape == scale.shape == (3, 2, LATENT)
    assert present.tolist() == [[True, True], [True, False], [False, False]]
    assert not loc[2].any()
    assert (scale[2] == 1).all()
    torch.testing.assert_close(loc[1, 0], encoders.networks["y"](torch.tensor([1.0]))[:LATENT])


@pytest.mark.parametrize("extreme", [-1e6, 1e6])
def test_a_log_scale_is_kept_within_bounds(extreme: float) -> None:
    net = nn.Linear(2, 2 * LATENT)
    net.bias.data.fill_(extreme)
    _, scale, _ = Encoders([Modality("x", (2,), encoder=lambda latent: net)], LATENT)(Batch({"x": np.zeros((1, 2))}))
    torch.testing.assert_close(scale, torch.full_like(scale, np.exp(np.sign(extreme) * 10)))


@pytest.mark.parametrize(("latent", "width"), [(1, 3), (3, 3), (3, 9)])
def test_an_encoder_of_another_width_is_refused(latent: int, width: int) -> None:
    encoders = Encoders([Modality("x", (2,), encoder=lambda latent: nn.Linear(2, width))], latent)
    with pytest.raises(ValueError, match="the encoder of modality 'x' returns"):
        encoders(Batch({"x": np.zeros((4, 2), np.float32)}))


class Tokens(nn.Module):
    """The mean of the vectors of an item's tokens."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(4, 2 * latent)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.vectors(ids).mean(-2)


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_an_own_encoder_sees_categories_as_integers_and_0_in_holes(backend: str) -> None:
    modality = Modality("x", (3,), "categorical", levels=4, center=2.0, spread=0.1, encoder=Tokens)
    encoders = Encoders([modality], LATENT)
    batch = Batch({"x": np.array([[3, 1, 1], [2, np.nan, 0]], np.float32)})
    with ppl.running(backend), torch.no_grad():
        arrays = mirror.Parameters(mirror.arrays(encoders), mirror.aliases(encoders))
        loc, _, _ = (encoders if backend == "pyro" else Mirror(encoders, arrays))(batch)
    vectors = encoders.networks["x"][1].vectors.weight.detach()[:, :LATENT]
    expected = torch.stack([(vectors[3] + 2 * vectors[1]) / 3, (vectors[2] + 2 * vectors[0]) / 3])
    np.testing.assert_allclose(np.asarray(loc)[0], expected, rtol=1e-5)
