"""Demo of spoken digits: pictures, words and sounds made from each other, measured, and as a page to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ppvae import datasets, metrics
from ppvae.cli.demo import one_of_each, trained
from ppvae.data.dataset import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.report.gallery import gallery
from ppvae.runs.files import replacing

NAME, LEVEL = "spoken_digits", 0.9


@dataclass(frozen=True)
class Recognised:
    """How often a classifier reads the right digit off what was made, and off what is real, with 90 % intervals."""

    given: str
    made: str
    share: float
    low: float
    high: float
    real: float


def demo_spoken_digits(out: Path, method: str = "mopoe", seed: int = 0, force: bool = False) -> list[Recognised]:
    """Train a method, measure how well things made from others are recognised, and write ``out/spoken_digits.html``.

    A run of an earlier demo in ``out`` is gone on with where it stopped; ``force`` trains it again.
    """
    console = Console(stderr=True)
    train, test = datasets.load(NAME).split(0.75, seed=seed)
    console.print(f"{NAME}: {len(train)} digits to train on, {len(test)} to test on; training {method} on numpyro")
    fitted = trained(NAME, method, "numpyro", train, out / NAME, seed, force, epochs="auto")
    console.print("measuring on the test digits")
    found = recognised(fitted, train, test)
    Console().print(table(found))
    path = out / f"{NAME}.html"
    shown = test.take(one_of_each(test))
    names = [f"Digit {digit}" for digit in (shown.labels or {})["digit"]]
    with replacing(path) as temporary:
        temporary.write_text(
            gallery(fitted, shown, "A digit seen, read and heard", names, told(found)), encoding="utf-8"
        )
    console.print(f"wrote {path}", markup=False)
    return found


def recognised(fitted: Fitted, train: Dataset, test: Dataset) -> list[Recognised]:
    """What classifiers, fitted to the training items, read off what is made of each modality of the others."""
    names, judges = fitted.explained, metrics.judges(train, "digit")
    found = metrics.coherence_intervals(fitted, judges, test, [[name] for name in names], level=LEVEL)
    return [
        Recognised(given, made, judged.made.value, judged.made.low, judged.made.high, judged.real.value)
        for given, others in zip(names, found, strict=True)
        for made, judged in others.items()
    ]


def table(found: Sequence[Recognised]) -> Table:
    """The figures for people to read."""
    shown = Table(
        title="how often a classifier reads the right digit", caption=f"{LEVEL:.0%} intervals over test items"
    )
    for column in ("given", "made", "recognised", "interval", "of real ones"):
        shown.add_column(column, justify="left" if column in ("given", "made") else "right")
    for each in found:
        interval = f"{each.low:.1%} to {each.high:.1%}"
        shown.add_row(each.given, each.made, f"{each.share:.1%}", interval, f"{each.real:.1%}")
    return shown


def told(found: Sequence[Recognised]) -> list[str]:
    """The figures in sentences."""
    shares = [f"{each.made} from {each.given} {each.share:.0%}" for each in found]
    real = {each.made: f"{each.made} {each.real:.0%}" for each in found}
    return [
        f"Of test digits that training never saw, a classifier reads right: {', '.join(shares)}.",
        f"Of real ones it reads right: {', '.join(real.values())}.",
    ]
