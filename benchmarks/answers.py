"""Answers: what an item costs that a fitted pair is asked about, on Pyro, alone and with others, and on NumPyro.

MVAE of six views of `mfeat`, encoders and decoders of its defaults, untrained: what is asked costs the same. On Pyro
items are asked together where each then draws as it does alone; the first column has that switched off. Evidence is
timed on fewer items than the rest.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import measured
from interleave import interleave

import ppvae
from ppvae.backends.answers import in_torch
from ppvae.zoo import page

ITEMS, FEWER, PARTICLES = 1000, 200, 100
HEAD = ("question", "Pyro alone, ms an item", "Pyro, ms an item", "alone / together", "NumPyro, ms an item")


def main() -> int:
    """Time each question in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", action="store_true", help="keep the figures and show them in docs/performance.md")
    parser.add_argument("--seconds", type=float, default=6, help="of timing for each pair of columns")
    parser.add_argument("--shared", action="store_true", help="time the processor and not the clock, on a busy machine")
    chosen = parser.parse_args()
    clock = time.process_time if chosen.shared else time.perf_counter
    machine, data = measured.machine(), ppvae.datasets.load("mfeat").take(range(ITEMS))
    vae = ppvae.method("mvae", data.modalities, latent=16)
    runs = [ppvae.fit(vae, data, backend=backend, epochs=0, progress=False) for backend in ("pyro", "numpyro")]
    on_pyro, on_numpyro = (questions(run, data) for run in runs)
    rows = [row(name, *on_pyro[name], on_numpyro[name][1], chosen.seconds, clock) for name in on_pyro]
    figures = {"machine": machine, "rows": rows}
    print(tables(figures))
    if chosen.page:
        measured.keep("answers", figures)
    return 0


def questions(fitted: Any, data: Any) -> dict[str, tuple[int, Callable[[], Any]]]:
    """How many items each question is asked of, and the asking."""
    views, few = {"given": ["fou", "fac"], "ask": ["kar"]}, data.take(range(FEWER))
    return {
        "`encode`": (ITEMS, lambda: fitted.encode(data)),
        "`query` of one view from two": (ITEMS, lambda: fitted.query(data, **views)),
        "the same, ten draws": (ITEMS, lambda: fitted.query(data, draws=10, **views)),
        "`generate`": (ITEMS, lambda: fitted.generate(ITEMS)),
        f"`log_evidence`, {PARTICLES} particles": (FEWER, lambda: fitted.log_evidence(few, particles=PARTICLES)),
    }


def row(
    name: str,
    items: int,
    ask: Callable[[], Any],
    ask_numpyro: Callable[[], Any],
    seconds: float,
    clock: Callable[[], float],
) -> dict[str, Any]:
    """The figures of one question."""

    def alone() -> None:
        several, in_torch.SEVERAL = in_torch.SEVERAL, sys.maxsize
        ask()
        in_torch.SEVERAL = several

    ask_numpyro()  # compiled
    both, other = interleave(alone, ask, items, seconds, clock), interleave(ask, ask_numpyro, items, seconds, clock)
    return {
        "name": name,
        "alone": both.hand_ms,
        "together": both.ours_ms,
        "ratio": 1 / both.ratio,
        "numpyro": other.ours_ms,
    }


def tables(figures: dict[str, Any]) -> str:
    """A row for each question, in Markdown."""
    cells = [
        [r["name"], f"{r['alone']:.2f}", f"{r['together']:.3f}", f"{r['ratio']:.1f}", f"{r['numpyro']:.3f}"]
        for r in figures["rows"]
    ]
    return page.table(HEAD, cells, right=len(HEAD) - 1)


if __name__ == "__main__":
    sys.exit(main())
