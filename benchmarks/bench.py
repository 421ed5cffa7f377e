"""Bench: milliseconds per training step of hand-written loops and of ppvae, in torch and in JAX, side by side."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from typing import Any

LIBRARIES = {"torch": "pyro", "jax": "numpyro"}
AGREEMENT, FIRST_STEP_SECONDS = 1e-4, 10.0


def main() -> int:
    """Time every pair of loops in a process of its own; 1 where two loops do not compute the same."""
    chosen = _arguments()
    if chosen.only:
        print(json.dumps(measure(*chosen.only, chosen.shared, chosen.device)))
        return 0
    rows = [
        _in_own_process(case, library, chosen.shared, chosen.device)
        for case in ("mvae", "vae")
        for library in LIBRARIES
    ]
    print(table(rows), file=sys.stderr if chosen.json else sys.stdout)
    if chosen.json:
        print(json.dumps({"shared": chosen.shared, "cpus": os.cpu_count(), "rows": rows}))
    return 0 if all(row["loss_difference"] <= AGREEMENT for row in rows) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON; the table goes to stderr")
    parser.add_argument(
        "--shared", action="store_true", help="one core and CPU time, not wall time: for a machine busy with other work"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--only", nargs=2, metavar=("CASE", "LIBRARY"), help="one pair, as JSON")
    return parser.parse_args()


def _in_own_process(case: str, library: str, shared: bool, device: str) -> dict[str, Any]:
    """One pair alone: two thread pools in one process would take turns on the same cores."""
    flags = ["--device", device, *(["--shared"] if shared else [])]
    done = subprocess.run(
        [sys.executable, __file__, "--only", case, library, *flags], stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(case: str, library: str, shared: bool, device: str) -> dict[str, Any]:
    """The figures of one pair of loops."""
    if shared:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    clock = time.process_time if shared else time.perf_counter
    from cases import CASES
    from interleave import interleave

    from ppvae.runs.settings import Settings

    backend, loops = LIBRARIES[library], importlib.import_module(f"{library}_loops")
    made = CASES[case]()
    with loops.engine.environment(Settings(**made.options(backend, device))):
        both = loops.Loops(case, made, clock, device)
        difference = both.check()
        timing = interleave(both.hand, both.ours, len(both.rows), made.blocks, clock)
    return {
        "case": case,
        "backend": backend,
        "loss_difference": difference,
        **vars(timing),
        "target": made.targets[backend],
        "first_step_seconds": both.first_step_seconds,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The figures as lines of text."""
    head = f"{'case':6}{'backend':9}{'by hand':>10}{'ppvae':>10}{'ratio':>8}{'10-90 %':>15}{'target':>8}"
    lines = [f"{head}{'first step':>12}{'loss differs by':>17}"]
    for row in rows:
        first = f"{row['first_step_seconds']:.1f} s" if row["first_step_seconds"] else ""
        lines.append(
            f"{row['case']:6}{row['backend']:9}{row['hand_ms']:7.2f} ms{row['ours_ms']:7.2f} ms{row['ratio']:8.2f}"
            f"{row['low']:9.2f}-{row['high']:.2f}{row['target']:9.2f}{first:>12}{row['loss_difference']:17.0e}"
        )
    lines.append(
        f"Milliseconds per step, medians; the first step, with compilation, may take {FIRST_STEP_SECONDS:.0f} s."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
