"""Texts: the likelihood of token after token against all texts there are, and networks that no padding moves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import numpy as np
import numpyro
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from ppvae import Batch, Dataset, Modality, Program, handlers, method, parity, pyro
from ppvae.backends import mirror
from ppvae.backends.mirror.running.program import Mirror
from ppvae.language import ppl
from ppvae.language.tokens import END, PADDING, START, UNKNOWN
from ppvae.parts import networks
from ppvae.parts.likelihoods import Likelihood
from ppvae.parts.text.decoders import GRUDecoder, TransformerDecoder
from ppvae.parts.text.encoders import GRUEncoder, TransformerEncoder

LATENT, LEVELS, POSITIONS = 2, 6, 3
WORDS = (UNKNOWN, 4, 5)
DECODERS: dict[str, Callable[[int], nn.Module]] = {
    "gru": lambda latent: GRUDecoder(latent, LEVELS, 8),
    "transformer": lambda latent: TransformerDecoder(latent, LEVELS, 2 * POSITIONS, 8),
}
ENCODERS: dict[str, Callable[[], nn.Module]] = {
    "gru": lambda: GRUEncoder(LEVELS, 4, 8),
    "transformer": lambda: TransformerEncoder(LEVELS, 4, 2 * POSITIONS, 8),
}

both = pytest.mark.parametrize("backend", ["pyro", "numpyro"])
# What the parity of both backends does not show already
apart = pytest.mark.parametrize(("backend", "decoder"), [("pyro", "gru"), ("pyro", "transformer"), ("numpyro", "gru")])
written = pytest.mark.parametrize("decoder", DECODERS)
read = pytest.mark.parametrize("encoder", ENCODERS)


def text(positions: int = POSITIONS, **options: Any) -> Modality:
    return Modality("x", (positions,), "autoregressive", levels=LEVELS, kind="text", **options)


class Model(Program):
    """Texts under latents that are known."""

    def __init__(self, decoder: str, positions: int, z: torch.Tensor) -> None:
        super().__init__()
        self.likelihood = Likelihood(text(positions, decoder=DECODERS[decoder]), LATENT)
        self.register_buffer("z", z)

    def forward(self, batch: Batch) -> Any:
        with batch.plate():
            return self.likelihood(self.z, batch.get("x"))


@cache
def weights(decoder: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    likelihood = Likelihood(text(decoder=DECODERS[decoder]), LATENT).double()
    with torch.no_grad():
        likelihood.decoder.logits.weight.mul_(4)
    return likelihood.state_dict()


def model(decoder: str, z: Any, positions: int = POSITIONS) -> Model:
    made = Model(decoder, positions, torch.as_tensor(z)).double()
    known = {name: value for name, value in weights(decoder).items() if name.startswith("decoder")}
    made.likelihood.load_state_dict(known, strict=False)
    return made


def mirrored(made: Model) -> Mirror:
    return Mirror(made, mirror.Parameters(mirror.arrays(made), mirror.aliases(made)))


def run(backend: str, made: Model, batch: Batch, seed: int = 0) -> Any:
    """The site ``x``."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(seed)
    try:
        with ppl.running(backend), jax.enable_x64(True), torch.no_grad(), numpyro.handlers.seed(rng_seed=seed):
            program = made if backend == "pyro" else mirrored(made)
            site = handlers.trace(program).get_trace(batch).nodes["x"]
            return np.asarray(site["value"]), np.asarray(site["fn"].log_prob(site["value"]))
    finally:
        torch.set_default_dtype(before)


def density(backend: str, decoder: str, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    return run(backend, model(decoder, z, x.shape[-1]), Batch({"x": x.astype(float)}))[1]


def padded(*tokens: int, positions: int = POSITIONS) -> list[int]:
    return [*tokens, *[PADDING] * (positions - len(tokens))]


def every_text(positions: int = POSITIONS) -> np.ndarray:
    """All texts, those that are cut off too."""
    ended = [
        padded(*words, END, positions=positions)
        for n in range(positions)
        for words in itertools.product(WORDS, repeat=n)
    ]
    return np.array([*ended, *itertools.product(WORDS, repeat=positions)])


@apart
def test_the_densities_of_all_texts_sum_to_one_and_nothing_else_has_any(backend: str, decoder: str) -> None:
    texts = every_text()
    z = np.tile([[0.3, -1.0]], (len(texts), 1))
    np.testing.assert_allclose(np.exp(density(backend, decoder, texts, z)).sum(), 1, rtol=1e-10)
    others = [[4, PADDING, PADDING], [END, 4, PADDING], [END, END, PADDING], [START, END, PADDING], [PADDING, END, 4]]
    assert (density(backend, decoder, np.array(others), z[:5]) == -np.inf).all()


@apart
def test_a_density_is_the_sum_of_steps_each_given_the_tokens_before(backend: str, decoder: str) -> None:
    z = np.array([[0.3, -1.0]])
    net = model(decoder, z).likelihood.decoder
    row, state, total = [4, 5, END], net.begin(torch.as_tensor(z)), 0.0
    for before, token in zip([START, *row], row, strict=False):
        with torch.no_grad():
            state, logits = net(state, torch.tensor([[before]]))
        scores = logits[0, 0].numpy()[[UNKNOWN, END, 4, 5]]
        total += scores[[UNKNOWN, END, 4, 5].index(token)] - np.logaddexp.reduce(scores)
    np.testing.assert_allclose(density(backend, decoder, np.array([row]), z), total, rtol=1e-10)


@written
@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=POSITIONS - 1), st.integers(1, POSITIONS), st.integers(0, 2**16))
def test_neither_padding_nor_neighbours_move_a_density(decoder: str, words: list[int], more: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, texts = rng.normal(size=(3, LATENT)), every_text()[rng.integers(20, size=3)]
    texts[1] = padded(*words, END)
    alone = density("pyro", decoder, texts[1:2], z[1:2])
    np.testing.assert_allclose(density("pyro", decoder, texts, z)[1], alone[0], rtol=1e-12)
    longer = np.pad(texts[1:2], ((0, 0), (0, more)))
    np.testing.assert_allclose(density("pyro", decoder, longer, z[1:2]), alone, rtol=1e-12)


@both
@written
def test_texts_are_drawn_as_often_as_their_density_says(backend: str, decoder: str) -> None:
    z = np.tile([[0.3, -1.0]], (4000, 1))
    drawn, _ = run(backend, model(decoder, z), Batch(size=4000), seed=1)
    texts = every_text()
    counts = (drawn[:, None] == texts).all(-1).sum(0)
    assert counts.sum() == 4000
    expected = 4000 * np.exp(density(backend, decoder, texts, z[: len(texts)]))
    rare = expected < 5
    pooled = [np.append(each[~rare], each[rare].sum()) for each in (counts, expected)]
    assert stats.chisquare(*pooled).pvalue > 1e-3


@apart
def test_latents_may_have_any_leading_dimensions(backend: str, decoder: str) -> None:
    z = np.random.default_rng(0).normal(size=(2, 3, 4, LATENT))
    made = model(decoder, z)
    drawn, found = run(backend, made, Batch(size=4))
    assert drawn.shape == (2, 3, 4, POSITIONS)
    _, same = run(backend, model(decoder, z[1, 2]), Batch({"x": drawn[1, 2].astype(float)}))
    np.testing.assert_allclose(found[1, 2], same, rtol=1e-10)
    shared = run(backend, made, Batch({"x": drawn[0, 0].astype(float)}))[1]
    np.testing.assert_allclose(shared[0, 0], found[0, 0], rtol=1e-10)
    assert shared.shape == (2, 3, 4)


@both
def test_a_draw_under_a_plate_of_draws_is_a_text_of_its_own(backend: str) -> None:
    made = model("gru", np.zeros((5, LATENT)))
    with ppl.running(backend), jax.enable_x64(True), numpyro.handlers.seed(rng_seed=0):
        program = made if backend == "pyro" else mirrored(made)
        with pyro.plate("draws", 9, dim=-2), torch.no_grad():
            drawn = np.asarray(program(Batch(size=5)))
    assert drawn.shape == (9, 5, POSITIONS)
    assert len({draw.tobytes() for draw in drawn}) == 9


@written
def test_the_greedy_text_takes_the_likeliest_token_each_time(decoder: str) -> None:
    z, row = np.array([[0.3, -1.0]]), []
    texts = every_text()
    chance = np.exp(density("pyro", decoder, texts, np.tile(z, (len(texts), 1))))
    for place in range(POSITIONS):
        fits = (texts[:, :place] == row).all(1)
        row.append(int(np.argmax(np.bincount(texts[fits, place], chance[fits]))))
    made = model(decoder, z)
    site = handlers.trace(made).get_trace(Batch(size=1)).nodes["x"]
    assert site["fn"].greedy().tolist() == [row]


@apart
def test_a_missing_text_counts_nothing_and_moves_no_gradient(backend: str, decoder: str) -> None:
    z = np.random.default_rng(0).normal(size=(3, LATENT))
    texts = np.array([padded(4, END), padded(5, 4, END), padded(END)], float)
    whole = density(backend, decoder, texts, z)
    holed = Batch({"x": np.where([[True], [False], [True]], texts, np.nan)})
    np.testing.assert_allclose(run(backend, model(decoder, z), holed)[1], whole * [1, 0, 1], rtol=1e-12)


@pytest.mark.parametrize("kind", DECODERS)
def test_both_backends_have_the_same_densities_and_gradients(kind: str) -> None:
    make = {"gru": partial(GRUEncoder, LEVELS), "transformer": partial(TransformerEncoder, LEVELS, positions=POSITIONS)}
    reads = lambda latent: make[kind](outputs=2 * latent, width=8)  # noqa: E731
    caption = text(decoder=DECODERS[kind], encoder=reads)
    rng = np.random.default_rng(0)
    texts = every_text()[rng.integers(20, size=8)].astype(float)
    texts[2] = np.nan
    data = Dataset({"x": texts, "y": rng.normal(size=(8, 3))}, modalities=[caption])
    vae = method("mvae", data.modalities, latent=LATENT, hidden=(8,))
    found = parity(vae, data.batch(), dtype="float64")
    assert found["max_logprob_difference"] < 1e-10
    assert found["max_gradient_difference"] < 1e-10


# Encoders


@read
def test_padding_and_leading_dimensions_change_nothing_that_an_encoder_says(encoder: str) -> None:
    torch.manual_seed(0)
    net = ENCODERS[encoder]().double()
    x = torch.as_tensor(every_text())
    with torch.no_grad():
        found = net(x)
        torch.testing.assert_close(net(torch.nn.functional.pad(x, (0, 2))), found, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(net(x[None, :, None])[0, :, 0], found, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(net(x[3:4])[0], found[3], rtol=1e-12, atol=1e-12)
        assert net(torch.zeros(1, POSITIONS, dtype=torch.long)).isfinite().all()
    assert len(found.numpy().round(9).tolist()) == len(np.unique(found.numpy().round(9), axis=0))


@pytest.mark.parametrize("likelihood", ["autoregressive", "categorical"])
def test_the_kind_chooses_the_encoder_and_the_likelihood_the_decoder(likelihood: str) -> None:
    modality = Modality("x", (POSITIONS,), likelihood, levels=LEVELS, kind="text")
    net = networks.encoder(modality, LATENT, (16,))
    assert isinstance(net[1], GRUEncoder)
    assert net(torch.tensor([padded(4, END)], dtype=torch.float)).shape == (1, 2 * LATENT)
    assert isinstance(networks.decoder(modality, LATENT, (16,)), GRUDecoder) == (likelihood == "autoregressive")


# What is no text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "vector"}, "declare kind='text'"),
        ({"shape": (3, 2)}, "has shape"),
        ({"levels": None}, "give levels"),
        ({"levels": 3}, "the first 4 are no words"),
        ({"likelihood": "normal"}, "whose likelihood is categorical or autoregressive"),
    ],
)
def test_a_modality_that_cannot_be_text_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Modality(**{"name": "x", "shape": (3,), "likelihood": "autoregressive", "levels": 6, "kind": "text", **options})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([4, END, 4], "row 1 goes on after the end"),
        ([4, PADDING, END], "row 1 has 0, the padding, before the end"),
        ([PADDING] * 3, "row 1 has 0, the padding, before the end"),
        ([START, 4, END], "row 1 holds 2, the start"),
        ([4, 6, END], "from 0 to 5, but holds 6"),
        ([4, 4.5, END], "from 0 to 5, but holds 4.5"),
        ([4, np.nan, END], "row 1 has holes, but a text is whole or missing"),
    ],
)
def test_rows_that_are_no_texts_are_refused(row: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dataset({"x": np.array([[4, 5, END], row, [4, 5, 4]], float)}, modalities=[text()])


def test_ids_are_texts_where_that_is_asked_for() -> None:
    data = Dataset({"x": np.array([[4, 5, END], [6, END, PADDING]])}, likelihood={"x": "autoregressive"})
    (made,) = data.modalities or ()
    assert (made.kind, made.levels, made.shape) == ("text", 7, (3,))


def test_factors_take_no_text() -> None:
    vae = method("mofa", [text(), Modality("y", (2,))], latent=2)
    with pytest.raises(ValueError, match="text 'x' is written by a decoder, and this model has none"):
        vae.model(Batch(size=2))
