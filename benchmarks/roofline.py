"""Roofline: how near a training step of every method of the zoo comes to the cores' peak at matrix products.

FLOP are those of products and convolutions in one step, forward and backward, as torch counts them while Pyro takes it;
XLA's own count of the compiled step, of which elementwise operations are a part, stands beside. The limit of a step is
its FLOP at the highest rate that either library reached in this process, at a large square product or a network's own,
and the update of its weights by Adam alone, which reads and writes memory, by the faster of both.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import measured
import numpy as np
import optax
import torch
from interleave import interleave, taken_by
from torch.utils.flop_counter import FlopCounterMode

import ppvae
from ppvae import Dataset, Modality
from ppvae.backends import numpyro as on_numpyro
from ppvae.backends import pyro as on_pyro
from ppvae.datasets.lagged import lagged
from ppvae.runs.plan import Pace
from ppvae.training.epochs import order
from ppvae.training.fit import init
from ppvae.zoo import build, page
from ppvae.zoo.table import METHODS

BATCH, DRAWS, STEPS = 128, 3, 3
LATENT, HIDDEN = 16, (512, 512)
PRODUCTS = {  # rows, inner, columns
    "square": (2048, 2048, 2048),
    "hidden layers": (BATCH, 512, 512),
    "first layer of `fou`": (BATCH, 76, 512),
    "last layer of `pix`": (BATCH, 512, 240),
    "latents": (BATCH, 512, 2 * LATENT),
}
REPEATS = 9
HEAD = (
    *("method", "GFLOP", "passes", "by XLA", "Adam, ms", "limit, ms", "Pyro, ms", "share"),
    *("NumPyro, ms", "share", "times its limit"),
)


def main() -> int:
    """Measure the peak, then every method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON; the tables go to stderr")
    parser.add_argument("--page", action="store_true", help="keep the figures and show them in docs/performance.md")
    parser.add_argument("--seconds", type=float, default=1, help="of timing for each method")
    parser.add_argument("--only", type=lambda names: names.split(","), default=list(METHODS), help="methods, by commas")
    chosen = parser.parse_args()
    seen_on, peaks = measured.machine(), {name: rates(*shape) for name, shape in PRODUCTS.items()}
    rows = [row(method, chosen.seconds) for method in chosen.only]
    figures = {"machine": seen_on, "peaks": peaks, "rows": rows}
    print(tables(figures), file=sys.stderr if chosen.json else sys.stdout)
    if chosen.page:
        measured.keep("roofline", figures)
    if chosen.json:
        print(json.dumps(figures))
    return 0


def rates(rows: int, inner: int, columns: int) -> dict[str, float]:
    """GFLOP a second of a product in float32, by each library: the best of several."""
    left, right = (
        np.random.default_rng(0).normal(size=s).astype(np.float32) for s in ((rows, inner), (inner, columns))
    )
    here, there = [torch.as_tensor(x) for x in (left, right)], [jnp.asarray(x) for x in (left, right)]
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(*there))
    flop = 2e-9 * rows * inner * columns
    many = max(1, int(2 / flop))  # about the work of a step, so that a clock is not all that is seen
    calls: dict[str, Callable[[], Any]] = {
        "torch": lambda: [torch.matmul(*here) for _ in range(many)],
        "jax": lambda: jax.block_until_ready([product(*there) for _ in range(many)]),
    }
    return {name: many * flop / best(call) for name, call in calls.items()}


def row(method: str, seconds: float) -> dict[str, Any]:
    """The figures of one method."""
    data, pair = made(method)
    sizes = [p.numel() for p in pair.pair.parameters()]
    weights = sum(p.numel() for p in pair.pair.parameters() if p.ndim > 1)
    flop, pyro = stepping(on_pyro, "pyro", pair, data)
    by_xla, numpyro = stepping(on_numpyro, "numpyro", pair, data)
    timing = interleave(pyro, numpyro, STEPS, seconds, time.perf_counter)
    found = {"flop": flop, "xla_flop": by_xla, "one_pass": 6 * BATCH * weights, "adam_ms": 1e3 * min(updates(sizes))}
    print(f"{method}: {found}, {timing}", file=sys.stderr, flush=True)
    return {"method": method, **found, "pyro_ms": timing.hand_ms, "numpyro_ms": timing.ours_ms}


def updates(sizes: Sequence[int]) -> tuple[float, float]:
    """Seconds of Adam's update of weights of these sizes, their gradients given, by torch and by optax."""
    gradients = [np.full(size, 1e-3, np.float32) for size in sizes]
    here = [torch.zeros(size, requires_grad=True) for size in sizes]
    for weight, gradient in zip(here, gradients, strict=True):
        weight.grad = torch.as_tensor(gradient)
    adam, rule = torch.optim.Adam(here, fused=True), optax.adam(1e-3)

    @partial(jax.jit, donate_argnums=(1, 2))
    def update(gradients: Any, weights: Any, state: Any) -> Any:
        change, state = rule.update(gradients, state)
        return optax.apply_updates(weights, change), state

    there = [jnp.zeros(size) for size in sizes]
    handed, state = [jnp.asarray(g) for g in gradients], (there, rule.init(there))

    def call() -> None:
        nonlocal state
        state = jax.block_until_ready(update(handed, *state))

    return best(adam.step), best(call)


def best(call: Callable[[], Any]) -> float:
    """Seconds of the fastest of several calls, the first left out."""
    call()
    return min(taken_by(call) for _ in range(REPEATS))


def stepping(engine: Any, backend: str, pair: Any, data: Dataset) -> tuple[float, Callable[[], Any]]:
    """The FLOP of a step, and what takes a few."""
    state = init(pair, data, backend=backend, batch_size=BATCH)
    settings = state.plan.settings
    with engine.environment(settings):
        arrays, observed = engine.put(data.arrays), engine.put(data.observed or {})
    rows, ones = order(settings, len(data), 0)[:STEPS], np.ones(STEPS, np.float32)
    given = [arrays, observed, rows, rows, Pace(ones, ones)]
    engine.compile_epoch(state, *given)

    def call() -> Any:
        nonlocal state
        state, info = engine.epoch(state, *given)
        return info

    with FlopCounterMode(display=False) as counter:
        call()
    if backend == "pyro":
        return counter.get_total_flops() / STEPS, call
    return state.run.compiled["epoch", 0].cost_analysis()["flops"], call


def made(method: str) -> tuple[Dataset, Any]:
    """Data that suit a method, and its pair: six views of digits, with the digit for labels, or series."""
    if method == "delayed":
        data = lagged()
        return data, ppvae.method(method, data.modalities or ())
    data = ppvae.datasets.load("mfeat")
    parts = [replace(m, likelihood="normal", levels=None) for m in data.modalities or ()]
    arrays = dict(data.arrays)
    if method == "m2":
        arrays["digit"] = np.asarray(data.labels["digit"])[:, None]
        parts.append(Modality("digit", (1,), "categorical", levels=10))
    data = Dataset(arrays, modalities=parts)
    draws = {"draws": DRAWS} if "draws" in build.options_of(method) else {}
    return data, ppvae.method(method, data.modalities or (), latent=LATENT, hidden=HIDDEN, **draws)


def tables(figures: dict[str, Any]) -> str:
    """The peaks, and a row for each method, in Markdown."""
    best = max(rate for by in figures["peaks"].values() for rate in by.values())
    peaks = [
        [f"{name}, {' x '.join(map(str, PRODUCTS[name]))}", *(f"{rate:.0f}" for rate in by.values())]
        for name, by in figures["peaks"].items()
    ]
    rows = [[f"`{each['method']}`", *cells(each, 1e9 * best)] for each in figures["rows"]]
    return "\n\n".join(
        [
            page.table(("product", "torch, GFLOP/s", "JAX, GFLOP/s"), peaks, right=2),
            page.table(HEAD, rows, right=len(HEAD) - 1),
        ]
    )


def cells(each: dict[str, Any], peak: float) -> list[str]:
    """The figures of one method."""
    limit = 1e3 * each["flop"] / peak + each["adam_ms"]
    shares = [f"{100 * limit / each[name]:.0f} %" for name in ("pyro_ms", "numpyro_ms")]
    counted = [f"{each['flop'] / 1e9:.2f}", f"{each['flop'] / each['one_pass']:.1f}", f"{each['xla_flop'] / 1e9:.2f}"]
    pyro, numpyro = (
        [f"{each[name]:.1f}", share] for name, share in zip(("pyro_ms", "numpyro_ms"), shares, strict=True)
    )
    return [*counted, f"{each['adam_ms']:.1f}", f"{limit:.1f}", *pyro, *numpyro, f"{each['numpyro_ms'] / limit:.1f}"]


if __name__ == "__main__":
    sys.exit(main())
