"""Peers: milliseconds a training step of MultiVae's own trainer and of ppvae on both backends, in turns.

Each of the three lives in a process of its own and waits while the others run. Six views of mfeat, encoders 512-512 and
decoders 512, which are MultiVae's own defaults, latent 16, batches of 128, Adam.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import measured
import numpy as np

HERE = Path(__file__).parent
PEER = HERE.parent / ".venv-peers" / "bin" / "python"
BATCH, LATENT, DRAWS, WIDTH, FEWEST = 128, 16, 3, 512, 3
WANTED = {"mvae": (1, 3), "mopoe": (2, 3), "mmvae": (1, 2), "mvtcae": (1, 3)}  # Pyro, NumPyro
HEAD = ("method", "MultiVae", "Pyro", "MultiVae / Pyro", "wanted", "NumPyro", "MultiVae / NumPyro", "wanted")


def main() -> int:
    """Time every method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON; the table goes to stderr")
    parser.add_argument("--page", action="store_true", help="keep the figures and show them in docs/performance.md")
    parser.add_argument("--seconds", type=float, default=15, help="of timing for each method, the three together")
    parser.add_argument("--only", type=lambda names: names.split(","), default=list(WANTED), help="methods, by commas")
    parser.add_argument("--serve", nargs=2, metavar=("METHOD", "BACKEND"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve(*chosen.serve)
        return 0
    seen_on = measured.machine()
    figures = {"machine": seen_on, "rows": [row(method, chosen.seconds) for method in chosen.only]}
    print(tables(figures), file=sys.stderr if chosen.json else sys.stdout)
    if chosen.page:
        measured.keep("peers", figures)
    if chosen.json:
        print(json.dumps(figures))
    return 0


def row(method: str, seconds: float) -> dict[str, Any]:
    """Medians of the three over rounds, milliseconds a step, and of ratios round by round."""
    commands = {
        "multivae": [PEER, HERE / "peers_multivae.py", method],
        **{name: [sys.executable, __file__, "--serve", method, name] for name in ("pyro", "numpyro")},
    }
    with ExitStack() as living:
        asked = {name: living.enter_context(asking(command)) for name, command in commands.items()}
        for ask in asked.values():
            ask()  # what is made once, and compiled
        rounds, begin = [], time.perf_counter()
        while len(rounds) < FEWEST or time.perf_counter() - begin < seconds:
            rounds.append({name: ask() for name, ask in asked.items()})
    times = {name: float(np.median([each[name] for each in rounds])) for name in commands}
    ratios = {
        f"{name}_ratio": float(np.median([each["multivae"] / each[name] for each in rounds]))
        for name in ("pyro", "numpyro")
    }
    return {"method": method, "rounds": len(rounds), **times, **ratios}


@contextmanager
def asking(command: Sequence[Any]) -> Iterator[Callable[[], float]]:
    """A process that trains for an epoch whenever it is asked, and says how many milliseconds a step took."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        said, asked = process.stdout, process.stdin

        def ask() -> float:
            print(file=asked, flush=True)
            if not (answer := said.readline()):
                raise RuntimeError(f"{' '.join(map(str, command))} ended without an answer; see what it wrote above")
            return float(answer)

        yield ask
        asked.close()


def serve(method: str, backend: str) -> None:
    """Train an epoch for each line that is read."""
    from ppvae.runs.plan import Pace
    from ppvae.training.epochs import engine_of, order
    from ppvae.training.fit import init

    data, pair = made(method)
    state = init(pair, data, backend=backend, batch_size=BATCH)
    engine, rows = engine_of(state.plan.settings), order(state.plan.settings, len(data), 0)
    ones = np.ones(len(rows), np.float32)
    with engine.environment(state.plan.settings):
        given = [engine.put(data.arrays), {}, rows, rows, Pace(ones, ones)]
    engine.compile_epoch(state, *given)
    for _ in sys.stdin:
        begin = time.perf_counter()
        state, _ = engine.epoch(state, *given)
        print(1e3 * (time.perf_counter() - begin) / len(rows), flush=True)


def made(method: str) -> tuple[Any, Any]:
    """The six views of mfeat, and a method's pair with MultiVae's networks."""
    from torch import nn

    import ppvae
    from ppvae import Dataset
    from ppvae.objectives import subsets

    def decoder(size: int) -> Callable[[int], nn.Module]:
        return lambda latent: nn.Sequential(nn.Linear(latent, WIDTH), nn.ReLU(), nn.Linear(WIDTH, size))

    data = ppvae.datasets.load("mfeat")
    parts = [replace(m, likelihood="normal", levels=None, decoder=decoder(*m.shape)) for m in data.modalities or ()]
    data = Dataset(data.arrays, modalities=parts)
    options = {"draws": DRAWS} if method == "mmvae" else {}
    pair = ppvae.method(method, data.modalities or (), latent=LATENT, hidden=(WIDTH, WIDTH), **options)
    if method == "mvae":  # of random subsets, MultiVae scores none unless asked to
        pair = replace(pair, objective=subsets.mvae(random=0))
    return data, pair


def tables(figures: dict[str, Any]) -> str:
    """A row for each method, in Markdown."""
    from ppvae.zoo import page

    rows = []
    for each in figures["rows"]:
        cells = [f"{each['multivae']:.0f}"]
        for name, wanted in zip(("pyro", "numpyro"), WANTED[each["method"]], strict=True):
            cells += [f"{each[name]:.0f}", f"{each[f'{name}_ratio']:.2f}", f"{wanted}"]
        rows.append([f"`{each['method']}`", *cells])
    return f"Milliseconds a step, medians of rounds.\n\n{page.table(HEAD, rows, right=len(HEAD) - 1)}"


if __name__ == "__main__":
    sys.exit(main())
