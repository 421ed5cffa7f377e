"""Convolutions on the CPU: seconds of gradient steps by torch, by XLA's own convolutions and by the mirror.

JAX's steps are in a compiled loop, as in training: there XLA's convolutions are slower than alone. Rounds are
interleaved, so that a busy machine slows all three alike; medians are printed, and their ratios to torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import torch
from torch import nn

from ppvae.backends import mirror
from ppvae.backends.mirror.layers import convolution
from ppvae.parts.convolutional import down, up

ROUNDS, STEPS = 9, 5


def stack(layer: type[nn.Module], *channels: int, kernel: int = 4, stride: int = 2) -> nn.Sequential:
    """Layers of one kind with ReLU after each."""
    return nn.Sequential(*(m for i, o in pairwise(channels) for m in (layer(i, o, kernel, stride, 1), nn.ReLU())))


CASES: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "encoder 1x28x28": (stack(nn.Conv2d, 1, 32, 64), (64, 1, 28, 28)),
    "decoder 1x28x28": (stack(nn.ConvTranspose2d, 64, 32, 1), (64, 64, 7, 7)),
    "encoder 3x64x64": (stack(nn.Conv2d, 3, 32, 64, 128), (32, 3, 64, 64)),
    "decoder 3x64x64": (stack(nn.ConvTranspose2d, 128, 64, 32, 3), (32, 128, 8, 8)),
    "stock 3x32x32": (nn.Sequential(down((3, 32, 32), (256,))[0], up((3, 32, 32), (256,))[0]), (128, 3, 32, 32)),
    "stock 32x32 sound": (nn.Sequential(down((32, 32), (256,))[0], up((32, 32), (256,))[0]), (128, 32, 32)),
    "residual 3x32x32": (down((3, 32, 32), (256,), residual=True)[0], (128, 3, 32, 32)),
    "3x3 convolutions": (stack(nn.Conv2d, 3, 32, 32, kernel=3, stride=1), (32, 3, 32, 32)),
    "3x3 transposed": (stack(nn.ConvTranspose2d, 32, 32, 3, kernel=3, stride=1), (32, 32, 32, 32)),
}


def on_torch(net: nn.Module, x: torch.Tensor) -> Callable[[], Any]:
    """Gradient steps."""
    weights = list(net.parameters())
    return lambda: [torch.autograd.grad((net(x) ** 2).sum(), weights) for _ in range(STEPS)]


def on_jax(net: nn.Module, x: torch.Tensor, products: bool) -> Callable[[], Any]:
    """A compiled loop of gradient steps, with convolutions as matrix products or as XLA's own."""
    arrays, aliases, rows = mirror.arrays(net), mirror.aliases(net), jnp.asarray(x.numpy())

    def loss(arrays: dict[str, jax.Array]) -> jax.Array:
        return (mirror.forward(net, mirror.Parameters(arrays, aliases), rows) ** 2).sum()

    def step(arrays: dict[str, jax.Array], _: None) -> tuple[dict[str, jax.Array], None]:
        return jax.tree.map(lambda weight, slope: weight - 1e-9 * slope, arrays, jax.grad(loss)(arrays)), None

    kept, convolution.on_cpu = convolution.on_cpu, lambda: products
    loop = jax.jit(lambda arrays: jax.lax.scan(step, arrays, length=STEPS)[0]).lower(arrays).compile()
    convolution.on_cpu = kept
    return lambda: jax.block_until_ready(loop(arrays))


def seconds(step: Callable[[], Any]) -> float:
    """Of one step."""
    start = time.perf_counter()
    step()
    return (time.perf_counter() - start) / STEPS


def main() -> None:
    """Print one line for each stack."""
    for name, (net, shape) in CASES.items():
        x = torch.randn(shape)
        steps = {"torch": on_torch(net, x), "lax": on_jax(net, x, False), "mirror": on_jax(net, x, True)}
        rounds = [{kind: seconds(step) for kind, step in steps.items()} for _ in range(ROUNDS + 2)][2:]
        times = {kind: median(r[kind] for r in rounds) for kind in steps}
        line = "  ".join(f"{kind} {1e3 * t:7.1f} ms ({t / times['torch']:5.2f})" for kind, t in times.items())
        print(f"{name:18s} {line}", flush=True)


if __name__ == "__main__":
    main()
