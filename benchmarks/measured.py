"""Measured: figures are kept in docs/performance/, with the machine they were seen on; tables of the page show them.

``python benchmarks/measured.py`` writes all tables of docs/performance.md anew from what is kept.
"""

from __future__ import annotations

import datetime
import importlib
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
KEPT, PAGE = DOCS / "performance", DOCS / "performance.md"
COMMANDS = ("bench", "answers", "roofline", "growth", "peers")


def machine() -> dict[str, Any]:
    """What figures depend on: the processor, how many cores there are and how many were busy, and the libraries."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": next(iter(names), "an unknown processor"),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "libraries": {name: version(name) for name in ("torch", "jax", "pyro-ppl", "numpyro")},
        "date": datetime.date.today().isoformat(),
    }


def described(seen_on: dict[str, Any]) -> str:
    """The machine in a sentence."""
    libraries = ", ".join(f"{name} {number}" for name, number in seen_on["libraries"].items())
    return (
        f"{seen_on['cores']} cores of {seen_on['processor']} (load {seen_on['load']} before the start), {libraries}, "
        f"{seen_on['date']}."
    )


def keep(command: str, figures: dict[str, Any]) -> None:
    """Keep what a command measured, and show it in the page."""
    KEPT.mkdir(exist_ok=True)
    kept = KEPT / f"{command}.json"
    kept.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(shown(PAGE.read_text(encoding="utf-8"), command, figures), encoding="utf-8")


def shown(page: str, command: str, figures: dict[str, Any]) -> str:
    """The page with the tables of a command's figures."""
    from ppvae.zoo.page import replaced

    tables = importlib.import_module(command).tables(figures)
    return replaced(page, command, f"{described(figures['machine'])}\n\n{tables}")


def renewed(page: str) -> str:
    """The page with all tables that figures are kept for."""
    for command in COMMANDS:
        if (kept := KEPT / f"{command}.json").exists():
            page = shown(page, command, json.loads(kept.read_text(encoding="utf-8")))
    return page


def in_own_process(file: str, *arguments: str, python: str | Path = sys.executable) -> Any:
    """The JSON that ends what a script writes: two thread pools in one process would take turns on the same cores.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    done = subprocess.run([python, file, *arguments], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
