"""A small run with awkward names, and the page about it: made once for all tests of reports."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ppvae import cli
from ppvae.metrics import Interval
from ppvae.report.diagnosis import Coherence, Diagnosis, Posterior, Prediction, Suspect
from ppvae.report.figures import Picture
from ppvae.report.page import page as written
from ppvae.report.verdict import verdict

HOSTILE = "<img src=x onerror=alert(1)>"
DATA = f"{HOSTILE}.npz"  # modalities cannot be called so, but files can
LONG = "expression_of_many_genes"
FEW = ["--items", "20", "--particles", "25"]


@cache
def folder() -> Path:
    """A folder with data, and a ``run`` on them."""
    place = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, place)
    rng = np.random.default_rng(0)
    z = rng.normal(size=(80, 1))
    arrays = {name: z + rng.normal(size=(80, 3)) for name in ("a", "__b__", LONG)}
    np.savez(place / DATA, **arrays, **{f"labels.{HOSTILE}": np.where(z[:, 0] > 0, "up", "down")})
    options = ["--latent", "2", "--set", "hidden=[8]", "--batch-size", "16", "--epochs", "3", "--backend", "pyro"]
    words = ["fit", "mvae", "--data", str(place / DATA), *options, "--out", str(place / "run")]
    assert cli.main(words) == 0
    return place


def hostile() -> str:
    """A page in which everything that comes from a run is markup."""
    posterior = Posterior((HOSTILE,), HOSTILE, 1, 2, 0.9, -1.0, 0.1, 1e-6, f"{HOSTILE} is too narrow", 0.5, 48)
    prediction = Prediction((HOSTILE,), HOSTILE, HOSTILE, 300, 0.2, 0.5)
    about: dict[str, Any] = {
        "method": HOSTILE,
        "data_set": HOSTILE,
        "backend": "pyro",
        "trained_on": False,
        "history": (),
    }
    amounts: dict[str, Any] = {
        "items": 300,
        "simulated": 300,
        "weighed": 64,
        "particles": 1000,
        "shares": {HOSTILE: 0.001},
        "missing": (HOSTILE,),
    }
    suspects = (Suspect(3, HOSTILE, 20.0, 1.0, None),)
    read = (Coherence(HOSTILE, HOSTILE, Interval(0.5, 0.4, 0.6), Interval(0.9, 0.8, 1.0)),)
    diagnosis = Diagnosis(
        posteriors=(posterior,), predictions=(prediction,), suspects=suspects, coherences=read, **about, **amounts
    )
    drawn = Picture("latents", HOSTILE, f'"{HOSTILE}', "data:,", "data:,", "01-x", 400, 300)
    return written(diagnosis, verdict(diagnosis), [drawn], HOSTILE)


@cache
def page() -> Path:
    """The page about the run, with its folder of figures beside it."""
    out = folder() / "deep" / "report.html"
    words = ["report", str(folder() / "run"), "--out", str(out), *FEW]
    assert cli.main(words) == 0
    return out
