"""Page of the study: docs/methods.md, its tables made from the zoo and from the results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import study_rows
from study_jobs import Setting

from ppvae.zoo import page as zoo_page

PAGE = Path(__file__).resolve().parents[1] / "docs" / "methods.md"
ARMS = {"0": "Complete training data", "0.5": "Half of the training entries missing completely at random"}
HEAD = (
    *("method", "log p(x)", "log p(x_m given the rest)", "1 view", "3 views", "5 views"),
    *("own prior", "fitted prior", "probe, 1 view", "probe, all"),
)
PERCENT = ("coherence_1", "coherence_3", "coherence_5", "prior_own_all", "prior_fitted_all", "probe_1", "probe_all")


def write(results: Path, methods: Sequence[str], setting: Setting, page: Path = PAGE) -> None:
    """Renew both blocks of the page."""
    zoo_page.renew(page)
    text = zoo_page.replaced(page.read_text(encoding="utf-8"), "study", study(results, methods, setting))
    page.write_text(text, encoding="utf-8")


def study(results: Path, methods: Sequence[str], setting: Setting) -> str:
    """The study in Markdown: how it was made, a table for each arm, the judges, and the seconds."""
    made = {name: rows for name in methods if (rows := current(results / f"{name}.csv", setting))}
    parts = [described(setting), *(f"**{title}**\n\n{arm(made, missing)}" for missing, title in ARMS.items())]
    for file, shown in (("judges", judged), ("corrected", ranked), ("seconds", timed)):
        if rows := current(results / f"{file}.csv", setting):
            parts.append(shown(rows))
    return "\n\n".join(parts)


def current(path: Path, setting: Setting) -> list[study_rows.Row]:
    """The rows that were made under this setting."""
    return [row for row in study_rows.read(path) if row["setting"] == setting.key]


def described(s: Setting) -> str:
    """How the study was made."""
    return (
        f"Every method: {s.latent} shared latents, {s.private} private ones a view where it has such, hidden layers "
        f"{' and '.join(map(str, s.hidden))} wide, Adam at {s.lr:g} with a cosine schedule, "
        f"a KL warm-up over {s.kl_warmup:.0f} epochs, {s.epochs} epochs, batches of "
        f"{s.batch_size}; multi-sample objectives with {s.draws} draws. Evidence is in nats per item, over "
        f"{s.evidence_items} test items, with {s.particles} particles, and with {s.fewer} for one view given the "
        "others (mean over views). The rest are percentages: of views predicted from 1, 3 or 5 others that a "
        "classifier reads as the item's digit; of generated items whose six views are all read as the same digit, "
        f"with the model's own prior and with a mixture of {s.components} Gaussians fitted to the aggregate posterior "
        "after training; of digits that a linear classifier reads off the mean of z given one view or all. Mean ± "
        "standard error over seeds, each with its own split, weights, noise and holes."
    )


def arm(made: dict[str, list[study_rows.Row]], missing: str) -> str:
    """One row for each method, of the jobs with this share of missing entries."""
    rows = []
    for name, jobs in made.items():
        if chosen := [job for job in jobs if job["missing"] == missing]:
            rows.append([f"`{name}`", *figures(chosen)])
    return zoo_page.table(HEAD, rows, right=len(HEAD) - 1)


def figures(jobs: Sequence[study_rows.Row]) -> list[str]:
    """The figures of one method, mean and standard error over its jobs."""
    joint = [float(job["evidence"]) for job in jobs]
    conditional = [np.mean([float(v) for name, v in job.items() if name.startswith("evidence_")]) for job in jobs]
    shares = [spread([100 * float(job[name]) for job in jobs]) for name in PERCENT]
    return [spread(joint), spread(conditional), *shares]


def spread(values: Sequence[float]) -> str:
    """Mean ± standard error; the mean alone of a single value."""
    mean = f"{np.mean(values):.1f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.1f}"


def ranked(rows: Sequence[study_rows.Row]) -> str:
    """Evidence by corrected posteriors beside that by guides, the best first, and the place that the guide gives."""
    by = {how: means(rows, f"evidence_{how}") for how in ("corrected", "guide")}
    order, before = (sorted(by[how], key=by[how].__getitem__, reverse=True) for how in ("corrected", "guide"))
    cells = [
        [f"`{name}`", f"{by['corrected'][name]:.1f}", f"{by['guide'][name]:.1f}", str(before.index(name) + 1)]
        for name in order
    ]
    head = ["method", "log p(x), corrected", "by the guide", "its place by the guide"]
    seeds = sorted({row["seed"] for row in rows})
    named = f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}"
    title = f"**Evidence by corrected posteriors**, complete training data, 200 test items, 1,000 particles, {named}"
    return f"{title}\n\n{zoo_page.table(head, cells, right=3)}"


def means(rows: Sequence[study_rows.Row], column: str) -> dict[str, float]:
    """The mean of a column over the seeds of each method."""
    methods = dict.fromkeys(row["method"] for row in rows)
    return {name: float(np.mean([float(r[column]) for r in rows if r["method"] == name])) for name in methods}


def judged(rows: Sequence[study_rows.Row]) -> str:
    """What the classifiers make of real test items."""
    names = [name for name in rows[0] if name.startswith("accuracy_")]
    texts = [f"{name.removeprefix('accuracy_')} {share(rows, name)}" for name in names]
    return (
        f"Coherences are to be compared with what the classifiers read off real test items: the digit from "
        f"{', '.join(texts)} "
        f"%; the same digit from all six views of {share(rows, 'agree_all')} % of the items."
    )


def share(rows: Sequence[study_rows.Row], name: str) -> str:
    """A column as a percentage."""
    return f"{np.mean([100 * float(row[name]) for row in rows]):.1f}"


def timed(rows: Sequence[study_rows.Row]) -> str:
    """Seconds per epoch on both backends."""
    cells = [[f"`{row['method']}`", *(f"{float(row[backend]):.2f}" for backend in ("numpyro", "pyro"))] for row in rows]
    return "**Seconds per epoch, one thread**\n\n" + zoo_page.table(["method", "NumPyro", "Pyro"], cells, right=2)
