"""Bench: milliseconds per training step of hand-written loops and of ppvae, in torch and in JAX, side by side."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from typing import Any

import measured
from cases import CASES

LIBRARIES = {"torch": "pyro", "jax": "numpyro"}
AGREEMENT = 1e-5
HEAD = (
    *("case", "torch", "Pyro", "ratio", "10-90 %", "wanted", "JAX", "NumPyro", "ratio", "10-90 %", "wanted"),
    *("Pyro / NumPyro", "GFLOP by hand", "Pyro", "first step, s", "losses differ by"),
)


def main() -> int:
    """Time every pair of loops in a process of its own; 1 where two loops do not compute the same."""
    chosen = _arguments()
    if chosen.pair:
        print(json.dumps(measure(*chosen.pair, chosen.shared, chosen.device, chosen.seconds)))
        return 0
    seen_on, flags = measured.machine(), ["--device", chosen.device, "--seconds", str(chosen.seconds)]
    flags += ["--shared"] * chosen.shared
    pairs = [(case, library) for case in chosen.only for library in LIBRARIES]
    rows = [measured.in_own_process(__file__, "--pair", *pair, *flags) for pair in pairs]
    figures = {"machine": seen_on, "shared": chosen.shared, "seconds": chosen.seconds, "rows": rows}
    print(tables(figures), file=sys.stderr if chosen.json else sys.stdout)
    if chosen.page:
        measured.keep("bench", figures)
    if chosen.json:
        print(json.dumps(figures))
    return 0 if all(row["loss_difference"] <= AGREEMENT for row in rows) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON; the table goes to stderr")
    parser.add_argument("--page", action="store_true", help="keep the figures and show them in docs/performance.md")
    parser.add_argument(
        "--shared", action="store_true", help="one core and CPU time, not wall time: for a machine busy with other work"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--seconds", type=float, default=6, help="of timing for each pair of loops")
    parser.add_argument("--only", type=_cases, default=list(CASES), help=f"of {','.join(CASES)}")
    parser.add_argument("--pair", nargs=2, metavar=("CASE", "LIBRARY"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _cases(names: str) -> list[str]:
    chosen = names.split(",")
    if unknown := set(chosen) - set(CASES):
        raise argparse.ArgumentTypeError(f"no case is called {', '.join(unknown)}; choose of {','.join(CASES)}")
    return chosen


def measure(case: str, library: str, shared: bool, device: str, seconds: float) -> dict[str, Any]:
    """The figures of one pair of loops."""
    if shared:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        importlib.import_module("torch").set_num_threads(1)  # two would wait for each other
    clock = time.process_time if shared else time.perf_counter
    from interleave import interleave

    from ppvae.runs.settings import Settings

    backend, loops = LIBRARIES[library], importlib.import_module(f"{library}_loops")
    made = CASES[case]()
    with loops.engine.environment(Settings(**made.options(backend, device))):
        both = loops.Loops(case, made, clock, device)
        difference = both.check()
        both.ours()  # until its steps are recorded
        timing = interleave(both.hand, both.ours, len(both.rows), seconds, clock)
    return {
        "case": case,
        "title": made.title,
        "backend": backend,
        "loss_difference": difference,
        **vars(timing),
        "target": made.targets.get(backend),
        "first_step_seconds": both.first_step_seconds,
        "flop": both.flop() if library == "torch" else None,
    }


def tables(figures: dict[str, Any]) -> str:
    """The figures in Markdown: a row for each case."""
    from ppvae.zoo import page

    by_case: dict[str, dict[str, Any]] = {}
    for row in figures["rows"]:
        by_case.setdefault(row["title"], {})[row["backend"]] = row
    rows = [[title, *cells(both["pyro"], both["numpyro"])] for title, both in by_case.items()]
    table = page.table(HEAD, rows, right=len(HEAD) - 1)
    return f"Milliseconds a step, medians of turns, {figures['seconds']:g} s a pair.\n\n{table}"


def cells(pyro: dict[str, Any], numpyro: dict[str, Any]) -> list[str]:
    """The figures of one case."""
    found = []
    for row in (pyro, numpyro):
        wanted = "" if row["target"] is None else f"{row['target']:.2f}"
        found += [f"{row['hand_ms']:.2f}", f"{row['ours_ms']:.2f}", f"{row['ratio']:.2f}"]
        found += [f"{row['low']:.2f}-{row['high']:.2f}", wanted]
    differences = [row["loss_difference"] for row in (pyro, numpyro)]
    faster = pyro["ours_ms"] / numpyro["ours_ms"]
    counted = [f"{flop / 1e9:.3f}" for flop in pyro["flop"]]
    return [*found, f"{faster:.1f}", *counted, f"{numpyro['first_step_seconds']:.1f}", f"{max(differences):.0e}"]


if __name__ == "__main__":
    sys.exit(main())
