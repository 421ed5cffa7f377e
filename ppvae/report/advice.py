"""Advice: what to do about what cannot be trusted, the most worth first, each with the words to type."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ppvae.report.diagnosis import Diagnosis, Fit
from ppvae.report.verdict import NARROW, REACH, SCARCE, UNCALIBRATED, WIDE, Verdict
from ppvae.training.early_stopping import overtrained, still_falls, stop_at
from ppvae.zoo.table import METHODS

HEAVIER = {
    "normal": "student_t",
    "laplace": "student_t",
    "logistic": "logistic_mixture",
    "poisson": "negative_binomial",
}  # likelihoods with heavier tails, or more freedom
BEHIND = 0.05  # of R² or accuracy: so much better a simple regression must be to be named; our choice
SHARPER = "mvtcae"  # whose posteriors sharpen with every modality, and which did not collapse at the defaults
RIVALS = {"mean": "the column's mean", "ridge": "ridge regression", "neighbours": "nearest neighbours"}
NUTS = ("ppvae.diagnostics.rescue(fitted, data)",)


@dataclass(frozen=True)
class Action:
    """Something to do.

    Attributes:
        why: what it is good for, in a sentence.
        words: to type, in Python or in a shell.
    """

    why: str
    words: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Both in a sentence."""
        return f"{self.why}: {'; or '.join(self.words)}"


def advice(diagnosis: Diagnosis, said: Verdict) -> tuple[Action, ...]:
    """What to do about a diagnosis on which this was said; nothing where all can be trusted."""
    if idle := tuple(_idle(diagnosis)):  # what else is wrong follows from it
        return idle
    of_model = *_training(diagnosis), *_models(diagnosis, said), *_skills(diagnosis)
    return (*_posteriors(diagnosis, said), *of_model, *_rows(diagnosis, said))


def _idle(diagnosis: Diagnosis) -> Iterator[Action]:
    """Where no latent follows the data, whatever is shown: the guide fell back on the prior."""
    known = [each.active for each in diagnosis.posteriors if each.active is not None and each.latents]
    if known and not any(known):
        warms_up = diagnosis.method in METHODS and METHODS[diagnosis.method].warmup
        again = [
            "ppvae",
            "fit",
            diagnosis.method,
            *_data(diagnosis),
            "--set",
            "lr=3e-4" if warms_up else "kl_warmup=20",
        ]
        yield Action(
            "No latent follows the data, so that every row gets the same answers, honest as these may be; train with a "
            "weight of the latents that grows, a smaller learning rate, or longer",
            (shlex.join(again),),
        )


def _posteriors(diagnosis: Diagnosis, said: Verdict) -> Iterator[Action]:
    if not any(fault in (REACH, UNCALIBRATED) for each in said.posteriors for fault in each.faults):
        return
    if diagnosis.correction is not None and diagnosis.correction.why_not:
        yield Action(
            f"The guide's posteriors cannot be corrected, as {diagnosis.correction.why_not}; referee them", NUTS
        )
        return
    yield Action(
        "Ask for each row's own posterior; the answer's served.passes says where even that cannot be trusted",
        ('fitted.query(data, posterior="corrected")', "ppvae query RUN --posterior corrected --out FILE"),
    )
    yield Action(
        "Or, where z is the only latent, teach the guide, which takes minutes once",
        ("ppvae.amortise(fitted, train)",),
    )
    if any(each and REACH in each.faults for each in said.corrected):
        yield Action("Where corrected posteriors fail, let chains walk to them, which takes minutes", NUTS)


def _training(diagnosis: Diagnosis) -> Iterator[Action]:
    again = shlex.join(["ppvae", "fit", diagnosis.method, *_data(diagnosis), "--epochs"])
    if sentence := overtrained(diagnosis.history):
        yield Action(sentence.rstrip("."), (f"{again} {stop_at(diagnosis.history)}", f"{again} auto"))
    elif still_falls(diagnosis.history):
        more = 2 * len(diagnosis.history)
        words = f"ppvae.fit(fitted, train, epochs={more})", f"{again} {more} --resume --out RUN"
        yield Action("Train longer, with the options of the run: the loss still falls where training ended", words)


def _data(diagnosis: Diagnosis) -> list[str]:
    return ["--data", diagnosis.data_set] if diagnosis.data_set else []


def _models(diagnosis: Diagnosis, said: Verdict) -> Iterator[Action]:
    judged = zip(diagnosis.fits, said.models, strict=True)
    off = [fit for fit, each in judged if {NARROW, WIDE} & {*each.faults}]
    off.sort(key=lambda fit: fit.coverage_90 or 0.0)
    if light := [fit for fit in off if fit.likelihood in HEAVIER]:
        yield Action(f"{_fault(light)}; try another likelihood", _another(diagnosis, light))
    if rest := [fit for fit in off if fit.likelihood not in HEAVIER]:
        yield Action(f"{_fault(rest)}; try more latents and a larger decoder", _larger(diagnosis))


def _larger(diagnosis: Diagnosis) -> tuple[str, ...]:
    larger = ["--latent", "32", "--set", "hidden=[512]"]
    return (shlex.join(["ppvae", "fit", diagnosis.method, *_data(diagnosis), *larger]),)


def _skills(diagnosis: Diagnosis) -> Iterator[Action]:
    """Where simple regressions, fitted to the rows that training saw, predict a modality better."""
    behind = []
    for name, skill in diagnosis.skills.items():
        own, rivals = skill.scores.get("model"), [key for key in RIVALS if key in skill.scores]
        best = max(rivals, key=skill.scores.__getitem__, default=None)
        if own is not None and best is not None and skill.scores[best] > own + BEHIND:
            behind.append(f"{name} by {RIVALS[best]} ({skill.measure} {skill.scores[best]:.2f}, not {own:.2f})")
    if behind:
        why = f"Simple regressions predict better than the model: {', '.join(behind)}"
        yield Action(f"{why}; train until the held-out loss rises, or try a larger model", _larger(diagnosis))
    if behind and _mixes(diagnosis.method):
        words = shlex.join(["ppvae", "fit", SHARPER, *_data(diagnosis)])
        yield Action(
            "Each draw of a mixture's posterior follows only some of what is shown, which blurs predictions from "
            "several; try a product of experts",
            (words,),
        )


def _mixes(method: str) -> bool:
    """Is the guide of this method a mixture over experts or subsets?"""
    return method in METHODS and METHODS[method].guide.startswith("mixture")


def _fault(fits: Sequence[Fit]) -> str:
    held = ", ".join(
        f"of {fit.ask} {fit.coverage_90:.0%}" for fit in sorted(fits, key=lambda fit: fit.coverage_90 or 0)
    )
    return f"The model is at fault, not the guide: predicted from right latents, 90% intervals held {held} of values"


def _another(diagnosis: Diagnosis, fits: Sequence[Fit]) -> tuple[str, ...]:
    """How to declare other likelihoods; a shipped set and a description say theirs themselves."""
    if (diagnosis.data_set or "").endswith(".toml"):
        return tuple(f'[modalities.{fit.ask}] likelihood = "{HEAVIER[fit.likelihood]}"' for fit in fits)
    words = [f'Modality("{fit.ask}", {fit.shape}, "{HEAVIER[fit.likelihood]}")' for fit in fits]
    if (diagnosis.data_set or "").endswith(".npz"):
        chosen = [word for fit in fits for word in ("--likelihood", f"{fit.ask}={HEAVIER[fit.likelihood]}")]
        words.append(shlex.join(["ppvae", "fit", diagnosis.method, *_data(diagnosis), *chosen]))
    return tuple(words)


def _rows(diagnosis: Diagnosis, said: Verdict) -> Iterator[Action]:
    few = [each for each in (*said.posteriors, *said.predictions) if SCARCE in each.faults]
    if few:
        yield Action(
            f"Collect rows: of {len(few)} judgements too few were looked at to be sure",
            ("ppvae report RUN --data FILE --all", "ppvae report RUN --items 1000"),
        )
