"""Page: the report as one HTML file that fetches nothing and runs no script, and its figures in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ppvae import __version__
from ppvae.inference.arviz import THRESHOLD
from ppvae.metrics.bootstrap import Interval
from ppvae.report import verdict as judging
from ppvae.report.advice import advice
from ppvae.report.diagnosis import Diagnosis, Likeness, Posterior
from ppvae.report.figures import Picture, drawings, file_name, picture
from ppvae.report.measures import Measures
from ppvae.report.summary import summary
from ppvae.report.verdict import Verdict, verdict
from ppvae.runs.files import replacing
from ppvae.training.progress import tracked

KINDS = dict(zip(judging.LEVELS, ("trust", "care", "distrust"), strict=True))
SIGNS = dict(zip(judging.LEVELS, ("✓", "!", "✕"), strict=True))
SHOWN = 5  # suspicious rows, at most
HERE = Path(__file__).parent


def report(measures: Measures, out: str | Path, progress: bool | None = None) -> Diagnosis:
    """Write a page about what of a fitted pair can be believed, as :func:`ppvae.report.measures.measure` found it.

    Args:
        measures: what was measured.
        out: the HTML file; figures go, as SVG and PNG, into a folder beside it, ``report_figures`` for ``report.html``.
        progress: show a bar on stderr; by default where that is a terminal.
    """
    page_file = Path(out)
    folder = page_file.with_name(f"{page_file.stem}_figures")
    folder.mkdir(parents=True, exist_ok=True)
    stems = [(each, folder / file_name(number, each.name)) for number, each in enumerate(drawings(measures), 1)]
    pictures = [picture(*each) for each in tracked(stems, "drawing", progress)]
    diagnosis = summary(measures)
    with replacing(page_file) as temporary:
        temporary.write_text(page(diagnosis, verdict(diagnosis), pictures, folder.name), encoding="utf-8")
    return diagnosis


def rendered(file: str, **values: Any) -> str:
    """A template of this room filled with values, which are escaped, in the common head and style."""
    rules = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters = (percent, evidence, points, opened, active, likeness, score, between, soft)
    rules.filters |= {each.__name__: each for each in filters}
    style = (HERE / "style.css").read_text(encoding="utf-8")
    return rules.get_template(file).render(style=style, version=__version__, **values)


def page(diagnosis: Diagnosis, said: Verdict, pictures: Sequence[Picture], folder: str) -> str:
    """The page's HTML. Whatever comes from a run is escaped."""
    thresholds = {"threshold": THRESHOLD, "points": judging.POINTS, "significant": judging.SIGNIFICANT}
    return rendered(
        "page.html",
        **{**thresholds, "few": judging.FEW, "many": judging.MANY, "kinds": KINDS, "signs": SIGNS},
        diagnosis=diagnosis,
        verdict=said,
        actions=advice(diagnosis, said),
        facts=facts(diagnosis),
        asks=[name for name in diagnosis.shares if any(each.ask == name for each in diagnosis.predictions)],
        matrix=matrix(diagnosis, said),
        posteriors=list(zip(diagnosis.posteriors, said.posteriors, said.corrected, strict=True)),
        rivals=list(dict.fromkeys(name for each in diagnosis.skills.values() for name in each.scores)),
        pictures=pictures,
        folder=folder,
        shown=SHOWN,
    )


def matrix(diagnosis: Diagnosis, said: Verdict) -> dict[str, dict[str, Any]]:
    """Judgement and prediction by what was shown and what was asked."""
    found: dict[str, dict[str, Any]] = {}
    for judged, each in zip(said.predictions, diagnosis.predictions, strict=True):
        found.setdefault(each.label, {})[each.ask] = (judged, each)
    return found


def facts(diagnosis: Diagnosis) -> str:
    """What was trained, and on which rows it was looked at, in two sentences."""
    on = f" on {diagnosis.data_set}" if diagnosis.data_set else ""
    seen = {True: ", which training saw", False: " that training never saw", None: ""}[diagnosis.trained_on]
    epochs = f"{len(diagnosis.history)} epoch{'' if len(diagnosis.history) == 1 else 's'}"
    return f"Trained{on} for {epochs} with {diagnosis.backend}. Looked at on {diagnosis.items} rows{seen}."


def percent(share: float | None) -> str:
    """A share as per cent."""
    return "not measured" if share is None else f"{share:.0%}"


def points(difference: float) -> str:
    """A difference of two shares."""
    return f"{100 * difference:.0f} points"


def evidence(posterior: Posterior) -> str:
    """The evidence with its standard error, in nats."""
    if posterior.evidence is None:
        return "not measured"
    error = "" if posterior.evidence_error is None else f" ± {posterior.evidence_error:.1f}"
    return f"{posterior.evidence:.1f}{error}"


def likeness(each: Likeness) -> str:
    """The mean with its standard error."""
    return f"{each.mean:.2f}" + ("" if each.error is None else f" ± {each.error:.2f}")


def score(value: float) -> str:
    """An R² or an accuracy; what is far below a mean's is not told more exactly."""
    return f"{value:z.2f}" if value > -10 else "below −10"


def between(share: Interval) -> str:
    """A share with its interval."""
    return f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%})"


def active(posterior: Posterior) -> str:
    """How many latents are active."""
    return "not measured" if posterior.active is None else f"{posterior.active} of {posterior.latents}"


def opened(text: str) -> str:
    """A text with a capital first letter."""
    return text[:1].upper() + text[1:]


def soft(text: str) -> Markup:
    """A name that may be broken after each underscore."""
    return escape(text).replace("_", Markup("_<wbr>"))
