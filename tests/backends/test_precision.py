"""Precision: products of networks have factors and answers in bfloat16 and sums in float32; nothing else is rounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyro.infer
import pytest
import torch
from torch import nn

import ppvae
from ppvae import VAE, Dataset, Modality
from ppvae.backends import mirror
from ppvae.backends import pyro as engine
from ppvae.backends.mirror.layers import convolution
from ppvae.backends.precision import in_jax, in_torch
from ppvae.runs.settings import Settings

HALF, FULL = Settings(precision="bfloat16", device="cpu"), Settings(device="cpu")
BACKENDS = ("pyro", "numpyro")
ULP = 2.0**-8  # of a bfloat16, relative to its power of two

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(40, 7), (5, 40)),
    "with more dims": (lambda: nn.Linear(40, 7), (2, 3, 40)),
    "without a bias": (lambda: nn.Linear(40, 7, bias=False), (5, 40)),
    "conv1d": (lambda: nn.Conv1d(3, 4, 3, padding=1), (2, 3, 8)),
    "conv2d": (lambda: nn.Conv2d(3, 4, 3, 2, 1), (2, 3, 8, 8)),
    "of one item": (lambda: nn.Conv2d(3, 4, 3), (3, 8, 8)),
    "in groups": (lambda: nn.Conv2d(4, 6, 3, groups=2), (2, 4, 8, 8)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), (2, 2, 4, 4, 4)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 3, 2, 1, 1), (2, 3, 5, 5)),
    "transposed, one dim": (lambda: nn.ConvTranspose1d(3, 4, 4, 2, 1), (2, 3, 5)),
}
layers = pytest.mark.parametrize("name", list(LAYERS))
both = pytest.mark.parametrize("backend", BACKENDS)


def made(name: str) -> tuple[nn.Module, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module, shape = LAYERS[name][0](), LAYERS[name][1]
        return module, torch.randn(shape)


def rounded(x: torch.Tensor) -> torch.Tensor:
    """By hand, in whole numbers: the upper sixteen bits, to the nearest, of two the even one."""
    bits = x.detach().float().numpy().view(np.uint32).astype(np.uint64)
    upper = (bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16) << np.uint64(16)
    return torch.from_numpy(upper.astype(np.uint32).view(np.float32))


def by_hand(module: nn.Module, x: torch.Tensor, upstream: torch.Tensor) -> dict[str, torch.Tensor]:
    """The product and the gradients in float64, of factors that are rounded; what is to be rounded then is not yet."""
    x = rounded(x).double().requires_grad_()
    weights = {n: rounded(p).double().requires_grad_() for n, p in module.named_parameters() if n == "weight"}
    none = {n: torch.zeros_like(p).double() for n, p in module.named_parameters() if n == "bias"}
    y = torch.func.functional_call(module.double(), weights | none, x)
    module.float()
    slopes = torch.autograd.grad(y, [x, weights["weight"]], rounded(upstream).double())
    return {"y": y.detach(), "x": slopes[0], "weight": slopes[1]}


def on_torch(module: nn.Module, x: torch.Tensor, upstream: Any, settings: Settings = HALF) -> dict[str, torch.Tensor]:
    x = x.clone().requires_grad_()
    with in_torch.products(settings):
        y = module(x)
    assert y.dtype == torch.float32
    names, parameters = zip(*module.named_parameters(), strict=True)
    slopes = torch.autograd.grad(y, [x, *parameters], upstream)
    return {"y": y.detach(), "x": slopes[0], **dict(zip(names, slopes[1:], strict=True))}


def on_jax(module: nn.Module, x: torch.Tensor, upstream: Any, settings: Settings = HALF) -> dict[str, torch.Tensor]:
    @jax.jit
    def both_ways(params: Any, x: Any, upstream: Any) -> Any:
        with in_jax.products(settings):
            y, back = jax.vjp(lambda p, x: mirror.forward(module, mirror.Parameters(p, aliases), x), params, x)
        return y, back(upstream)

    aliases = mirror.aliases(module)
    y, (params, slope) = both_ways(mirror.arrays(module), x.numpy(), upstream.numpy())
    assert y.dtype == jnp.float32
    return {n: torch.from_numpy(np.array(a)) for n, a in {"y": y, "x": slope, **params}.items()}


def on_jax_as_on_a_gpu(*given: Any) -> dict[str, torch.Tensor]:
    """Factors are held in bfloat16, and convolutions are XLA's own."""
    with pytest.MonkeyPatch.context() as patch:
        for file in (in_jax, convolution):
            patch.setattr(file, "on_cpu", lambda: False)
        return on_jax(*given)


RUN = {"pyro": on_torch, "numpyro": on_jax, "numpyro, GPU": on_jax_as_on_a_gpu}


def upstream(like: torch.Tensor) -> torch.Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("backend", list(RUN))
@layers
def test_a_product_is_that_of_rounded_factors(name: str, backend: str) -> None:
    """To the last bit but where sums in another order round to a neighbour."""
    module, x = made(name)
    slope = upstream(module(x))
    found, expected = RUN[backend](module, x, slope), by_hand(module, x, slope)
    if getattr(module, "bias", None) is not None:
        level = module.bias.detach().reshape(-1, *(1,) * (module.weight.ndim - 2))
        dims = [d for d in range(slope.ndim) if d != (slope.ndim - max(level.ndim, 1))]
        torch.testing.assert_close(found["bias"], slope.sum(dims), rtol=1e-5, atol=1e-5)  # never rounded
        expected_y = rounded(expected["y"]) + level
        assert (found["y"] == expected_y).double().mean() > 0.98
        torch.testing.assert_close(found["y"].double(), expected["y"] + level, rtol=ULP, atol=ULP)
    else:
        assert torch.equal(found["y"], rounded(found["y"]))
        assert (found["y"] == rounded(expected["y"])).double().mean() > 0.98
    for each in ("x", "weight"):
        assert torch.equal(found[each], rounded(found[each]))
        assert (found[each] == rounded(expected[each])).double().mean() > 0.98
        torch.testing.assert_close(found[each].double(), expected[each], rtol=ULP, atol=1e-4)


def test_without_a_bias_it_is_torchs_autocast() -> None:
    module, x = made("without a bias")
    slope = upstream(module(x))
    given = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = module(given)
    expected = torch.autograd.grad(y, [given, module.weight], slope.bfloat16())
    found = on_torch(module, x, slope)
    assert torch.equal(found["y"], y.detach().float())
    assert torch.equal(found["x"], expected[0])
    assert torch.equal(found["weight"], expected[1])


@pytest.mark.parametrize("weights", [False, True])
def test_attention_is_rounded_on_both_backends(weights: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module, x = nn.MultiheadAttention(16, 2, batch_first=True), torch.randn(4, 6, 16)

    class Looking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y, shares = self.attention(x, x, x, need_weights=weights)
            return y if shares is None else torch.cat([y.flatten(1), shares.flatten(1)], 1)

    slope = upstream(Looking()(x))
    plain = on_torch(Looking(), x, slope, FULL)
    for run in RUN.values():
        found = run(Looking(), x, slope)
        for each, expected in plain.items():
            error = (found[each] - expected).norm() / expected.norm()
            assert error < 0.02, (each, error)
            assert error > 1e-4 or each.endswith("bias"), (each, error)


def test_scaled_products_too() -> None:
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
    with in_torch.products(HALF):
        found = torch.nn.functional.scaled_dot_product_attention(x, x, x)
    expected = torch.nn.functional.scaled_dot_product_attention(x, x, x)
    assert found.dtype == torch.float32
    assert 1e-4 < (found - expected).norm() / expected.norm() < 0.02


class Others(nn.Module):
    """What is no layer that multiplies: formulas, norms, recurrence, densities."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.norm, self.weight = nn.GRU(8, 8), nn.LayerNorm(8), nn.Parameter(torch.eye(8) / 3)
        self.bilinear = nn.Bilinear(8, 8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.gru(self.bilinear(self.norm(x), x))
        return torch.einsum("abi,ij->abj", y @ self.weight, self.weight) - torch.log1p((y - x) ** 2)


@both
def test_nothing_else_is_rounded(backend: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module, x = Others(), torch.randn(4, 2, 8)
    slope = upstream(x)
    found, expected = (RUN[backend](module, x, slope, settings) for settings in (HALF, FULL))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@both
def test_float64_is_left_alone(backend: str) -> None:
    module, x = made("linear")
    expected = module.double()(x.double())
    if backend == "pyro":
        with in_torch.products(HALF):
            assert torch.equal(module(x.double()), expected)
    else:
        with jax.enable_x64(True), in_jax.products(HALF):
            p = mirror.Parameters(mirror.arrays(module), mirror.aliases(module))
            found = mirror.forward(module, p, jnp.asarray(x.double().numpy()))
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-12)


def data() -> Dataset:
    random = np.random.default_rng(0)
    z = random.normal(size=(256, 2))
    views = {name: z @ random.normal(size=(2, 6)) + 0.3 * random.normal(size=(256, 6)) for name in ("a", "b")}
    return Dataset(views, modalities=[Modality(name, (6,), likelihood="normal") for name in views])


def fitted(backend: str, precision: str, objective: Any = None, epochs: int = 20, **more: Any) -> Any:
    pair = ppvae.method("mvae", data().modalities or (), latent=2, hidden=(32,))
    pair = pair if objective is None else VAE(pair.model, pair.guide, objective)
    options = {"batch_size": 32, "lr": 1e-2, "device": "cpu", "progress": False, **more}
    return ppvae.fit(pair, data(), backend=backend, precision=precision, epochs=epochs, **options)


@both
def test_a_run_ends_near_that_in_full_precision(backend: str, tmp_path: Any) -> None:
    full, half = (fitted(backend, precision, validation=data()) for precision in ("full", "bfloat16"))
    for told in ("loss", "validation_loss"):
        figures = [[entry[told] for entry in run.history] for run in (full, half)]
        assert figures[0] != figures[1]
        np.testing.assert_allclose(figures[1][-1], figures[0][-1], rtol=0.02)
    assert {weight.dtype for weight in half.snapshot.weights.values()} == {np.dtype("float32")}
    half.save(tmp_path / "run")
    assert ppvae.load(tmp_path / "run").settings.precision == "bfloat16"


@both
def test_answers_are_in_full_precision(backend: str) -> None:
    half = fitted(backend, "bfloat16", epochs=1)
    full = replace(half, settings=half.settings.model_copy(update={"precision": "full"}))
    np.testing.assert_array_equal(*(run.log_evidence(data(), particles=10) for run in (half, full)))


@both
def test_losses_of_the_libraries_are_rounded_too(backend: str) -> None:
    made = pyro.infer.RenyiELBO(alpha=0.5, num_particles=2)
    full, half = (fitted(backend, p, made, epochs=2).history[-1]["loss"] for p in ("full", "bfloat16"))
    assert 0 < abs(half - full) < 0.02 * abs(full)


def test_on_a_gpu_sums_are_added_up_in_float32() -> None:
    blas = torch.backends.cuda.matmul
    with engine.environment(HALF):
        assert not blas.allow_bf16_reduced_precision_reduction
    assert blas.allow_bf16_reduced_precision_reduction


def test_it_is_of_float32_alone() -> None:
    said = "precision='bfloat16' is of dtype='float32' alone, not of 'float64'"
    with pytest.raises(ValueError, match=said):
        ppvae.fit(ppvae.method("mvae", data().modalities or ()), data(), precision="bfloat16", dtype="float64")
