"""Special functions: the gamma family, entropies, and those whose derivative JAX loses at the ends of the domain."""

# ruff: noqa: D103 - what a rule computes is said by the torch function that it stands for

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.special as special
import torch

from ppvae.backends.mirror.functions.arguments import floating, mirrors, namesakes
from ppvae.backends.mirror.functions.elementwise import Array, clamp


@mirrors(*namesakes("digamma", "psi"))
def digamma(input: Array) -> jax.Array:
    """At zero torch keeps the one-sided limit."""
    x = floating(input)
    return jnp.where(x == 0, jnp.copysign(jnp.inf, -x), special.digamma(x))


def _with_slope(compute: Callable[[Any], Any], slope: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """``compute`` with the derivative ``slope(x, compute(x))``, where JAX's own fails at the ends of the domain."""
    function = jax.custom_jvp(compute)
    function.defjvps(lambda tangent, y, x: tangent * slope(x, y))
    return lambda input: function(floating(input))


mirrors(*namesakes("lgamma", "gammaln"))(_with_slope(special.gammaln, lambda x, y: digamma(x)))
mirrors(*namesakes("i0"))(_with_slope(special.i0, lambda x, y: special.i1(x)))
mirrors(*namesakes("ndtri"))(_with_slope(special.ndtri, lambda x, y: math.sqrt(2 * math.pi) * jnp.exp(y**2 / 2)))


@mirrors(*namesakes("polygamma"))
def polygamma(n: int, input: Array) -> jax.Array:
    return digamma(input) if n == 0 else special.polygamma(n, floating(input))


@mirrors(*namesakes("mvlgamma", "multigammaln"))
def mvlgamma(input: Array, p: int) -> jax.Array:
    return special.multigammaln(floating(input), p)


@mirrors(*namesakes("igamma", "gammainc"))
def gammainc(input: Array, other: Array) -> jax.Array:
    return special.gammainc(input, other)


@mirrors(*namesakes("igammac", "gammaincc"))
def gammaincc(input: Array, other: Array) -> jax.Array:
    return special.gammaincc(input, other)


_logit = _with_slope(special.logit, lambda x, y: jnp.where((x < 0) | (x > 1), jnp.nan, 1 / (x * (1 - x))))


@mirrors(*namesakes("logit"))
def logit(input: Array, eps: float | None = None) -> jax.Array:
    return _logit(input if eps is None else clamp(floating(input), eps, 1 - eps))


@mirrors(*namesakes("entr"))
def entr(input: Array) -> jax.Array:
    return special.entr(floating(input))


@mirrors(*namesakes("xlogy"))
def xlogy(input: Array, other: Array) -> jax.Array:
    """No gradient where ``input`` is 0 and ``other`` is not positive; jnp's is infinite, and torch's NaN at (0, 0).

    Elsewhere at an ``other`` of 0 it is infinite, but 0 of what counts nothing, as what ``where`` leaves out: jnp's is
    NaN then. A product with two numbers too large for one is both.
    """
    x, y = jnp.broadcast_arrays(floating(input), floating(other))
    still, at_zero = jax.lax.stop_gradient, (x != 0) & (y == 0)
    large = jnp.where(at_zero, jnp.finfo(x.dtype).max, 1)
    steep = ((y - still(y)) * jnp.sign(still(x)) - (x - still(x))) * large * large
    edge = at_zero | ((x == 0) & (y <= 0))
    return jnp.where(at_zero, still(special.xlogy(x, y)) + steep, special.xlogy(x, jnp.where(edge, 1, y)))


@mirrors(*namesakes("xlog1py"))
def xlog1py(input: Array, other: Array) -> jax.Array:
    return special.xlog1py(input, other)


@mirrors(torch.complex)
def complex_(real: jax.Array, imag: jax.Array) -> jax.Array:
    return jax.lax.complex(real, imag)


@mirrors(torch.conj)
def conj(input: jax.Array) -> jax.Array:
    return jnp.conj(input)


@mirrors(torch.view_as_complex)
def view_as_complex(input: jax.Array) -> jax.Array:
    return jax.lax.complex(input[..., 0], input[..., 1])


@mirrors(torch.view_as_real)
def view_as_real(input: jax.Array) -> jax.Array:
    return jnp.stack([input.real, input.imag], -1)


def _fourier(name: str) -> None:
    transform = getattr(jnp.fft, name)

    @mirrors(getattr(torch.fft, name))
    def rule(input: jax.Array, n: int | None = None, dim: int = -1, norm: str | None = None) -> jax.Array:
        return transform(input, n, dim, norm)


def _fourier_of_several(name: str) -> None:
    transform, default = getattr(jnp.fft, name), (-2, -1) if name.endswith("2") else None

    @mirrors(getattr(torch.fft, name))
    def rule(input: jax.Array, s: Any = None, dim: Any = default, norm: str | None = None) -> jax.Array:
        last = tuple(range(-len(s), 0)) if s is not None and dim is None else dim
        return transform(input, s, (last,) if isinstance(last, int) else last, norm)


def _shifted(name: str) -> None:
    shift = getattr(jnp.fft, name)

    @mirrors(getattr(torch.fft, name))
    def rule(input: jax.Array, dim: Any = None) -> jax.Array:
        return shift(input, dim)


for _name in ("fft", "ifft", "rfft", "irfft"):
    _fourier(_name)
    _fourier_of_several(f"{_name}2")
    _fourier_of_several(f"{_name}n")
for _name in ("fftshift", "ifftshift"):
    _shifted(_name)
