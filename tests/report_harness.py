"""A small run with awkward names, and the page about it: made once for all tests of reports."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from ppvae import cli

HOSTILE = "<img src=x onerror=alert(1)>"
LONG = "a_very_long_name_of_a_modality_that_nobody_would_break"
FEW = ["--items", "20", "--particles", "25"]


@cache
def folder() -> Path:
    """A folder with ``data.npz``, and a ``run`` on it."""
    place = Path(tempfile.mkdtemp(prefix="ppvae-report-"))
    rng = np.random.default_rng(0)
    z = rng.normal(size=(80, 1))
    np.savez(place / "data.npz", **{name: z + rng.normal(size=(80, 3)) for name in (HOSTILE, LONG, "$x_")})
    options = ["--latent", "2", "--set", "hidden=[8]", "--batch-size", "16", "--epochs", "3", "--backend", "pyro"]
    words = ["fit", "mvae", "--data", str(place / "data.npz"), *options, "--out", str(place / "run")]
    assert cli.main(words) == 0
    return place


@cache
def page() -> Path:
    """The page about the run, with its folder of figures beside it."""
    out = folder() / "deep" / "report.html"
    words = ["report", str(folder() / "run"), "--data", str(folder() / "data.npz"), "--out", str(out), *FEW]
    assert cli.main(words) == 0
    return out
