"""A small run with awkward names, and the page about it: made once for all tests of reports."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ppvae import Modality, cli, method
from ppvae.diagnostics import Activity, Contribution, KHat, Uniform
from ppvae.inference.consistency import Consistency
from ppvae.inference.fitted import Fitted
from ppvae.metrics import Interval, Judged, Skill
from ppvae.report.corrections import Corrections
from ppvae.report.diagnosis import Coherence, Diagnosis, Posterior, Prediction, Suspect
from ppvae.report.figures import Picture
from ppvae.report.measures import Measures
from ppvae.report.page import page as written
from ppvae.report.page import report
from ppvae.report.subsets import Effort, Subset, label
from ppvae.report.verdict import verdict
from ppvae.runs.settings import Settings
from ppvae.runs.snapshot import Snapshot

HOSTILE = "<img src=x onerror=alert(1)>"
DATA = f"{HOSTILE}.npz"  # modalities cannot be called so, but files can
LONG = "expression_of_many_genes"
FEW = ["--items", "20", "--particles", "25", "--corrected", "0"]


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


@cache
def six() -> Path:
    """The page about six modalities, whose measures are random numbers: a guide fails, and correction helps."""
    rng = np.random.default_rng(0)
    kinds = [Modality(name, (3,)) for name in ("fou", "fac", "kar", "pix", "zer", "mor")]
    names = [kind.name for kind in kinds]
    history = [{"epoch": n + 1, "loss": 90 / (n + 1), "validation_loss": abs(n - 9.0)} for n in range(30)]
    fitted = Fitted(
        method("mvae", kinds, latent=2, hidden=(4,)), kinds, Settings(backend="pyro"), history, Snapshot({})
    )

    def uniform(what: str, count: int, items: int = 300) -> Uniform:
        return Uniform(
            what, (*(f"{what}[{n}]" for n in range(count - 1)), "log joint"), rng.random((items, count)) ** 2
        )

    subsets = []
    for given in [
        *((name,) for name in names),
        *(tuple(n for n in names if n != name) for name in names),
        tuple(names),
    ]:
        checks = {name: uniform(name, 3) for name in names if name not in given}
        found = KHat((given,), rng.random((1, 48)) + 0.5, rng.normal(size=(1, 48)), rng.normal(size=(1, 48)), 1000)
        use = Activity(given, ("z[0]", "z[1]"), np.ones(2), np.ones(2))
        subsets.append(Subset(given, label(given, names), np.arange(48), found, None, uniform("z", 3), use, checks))
    khat = {each.given: rng.random(16) * 0.7 for each in subsets}
    corrected = Corrections(khat, uniform("z", 3), {name: uniform(name, 3) for name in names})
    values, ones = rng.normal(size=(6, 300)) ** 3 * 9, np.ones((6, 300))
    agree = Consistency(tuple(names), values, ones, ones, values, ones)
    scores = {"model": 0.84, "mean": -0.01, "ridge": 0.8, "neighbours": 0.77}
    measures = Measures(
        fitted,
        Effort(),
        300,
        False,
        tuple(subsets),
        corrected,
        Contribution(tuple(names), rng.random((6, 300))),
        {name: Skill("R²", scores) for name in names},
        {},
        {name: {"digit": Judged(Interval(0.9, 0.85, 0.95), Interval(0.95, 0.9, 1.0))} for name in names},
        agree,
        np.arange(300),
    )
    report(measures, out := folder() / "six" / "report.html")
    return out


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
