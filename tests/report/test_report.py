"""Reports: an exact posterior is trusted everywhere, a narrow one nowhere, and the page says why."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jax
import linear_gaussian as lg
import mixed
import numpy as np
import pytest
import report_harness as harness
from matplotlib.figure import Figure
from matplotlib.image import imread
from scipy import stats

from ppvae import cli
from ppvae.diagnostics.calibration import Uniform
from ppvae.diagnostics.khat import KHat
from ppvae.metrics import Interval
from ppvae.metrics.skills import Skill
from ppvae.report import figures
from ppvae.report.advice import advice
from ppvae.report.corrections import corrections
from ppvae.report.diagnosis import POINTS, Coherence, Correction, Diagnosis, Fit, Posterior, Prediction
from ppvae.report.measures import Measures, measure
from ppvae.report.page import evidence, facts, matrix, percent
from ppvae.report.page import page as written
from ppvae.report.subsets import Effort, Subset, label
from ppvae.report.summary import summary, worst
from ppvae.report.verdict import CARE, DISTRUST, ENOUGH, TRUST, band, holm, interval, verdict

COMPILED: list[str] = []  # the functions that JAX compiled
PROGRAMS: dict[tuple[float, str], int] = {}  # how many of them answered the questions behind measures


def _note(event: str, seconds: float, **about: str | int) -> None:
    if event.endswith("backend_compile_duration"):
        COMPILED.append(str(about.get("fun_name")))


jax.monitoring.register_event_duration_secs_listener(_note)


@cache
def measures(widen: float, names: str) -> Measures:
    """Of the oracle's guide, whose scale is multiplied, on rows that have some of the modalities."""
    truth = lg.general()
    rows = lg.dataset(truth, {name: values for name, values in truth.draw(300, seed=0).items() if name in names})
    effort, before = Effort(particles=200), len(COMPILED)
    found = measure(lg.fitted(truth, lg.Exact(truth, widen), "numpyro"), rows, effort=effort, trained_on=False)
    PROGRAMS[widen, names] = sum("all_of_them" in name for name in COMPILED[before:])
    return found


def diagnosis(**changes: Any) -> Diagnosis:
    """One posterior and one prediction in which there is nothing to be found fault with, but for the changes."""
    posterior = Posterior(("a",), "a", 2, 2, 0.0, -1.0, 0.1, 0.5, "z[0] is too narrow", 0.9, 48)
    prediction = Prediction(("a",), "a", "b", 300, 0.5, 0.9)
    changed = [
        replace(each, **{name: value for name, value in changes.items() if name in each.__dataclass_fields__})
        for each in (posterior, prediction)
    ]
    shares = {"a": 0.5, "b": 0.5}
    return Diagnosis("mvae", "d", "pyro", False, 300, 300, 64, 1000, (changed[0],), (changed[1],), shares, (), ())


def test_an_exact_posterior_is_trusted_everywhere() -> None:
    found = summary(measures(1.0, "abc"))
    said = verdict(found)
    assert {each.level for each in (*said.posteriors, *said.predictions)} == {TRUST}
    assert [each.label for each in said.posteriors] == [*"abc", "all but a", "all but b", "all but c", "everything"]
    assert [each.about for each in said.predictions[-3:]] == [f"{name} given all others" for name in "abc"]
    assert len(said.predictions) == 9
    assert said.headline == ("Of 9 predictions, trust 9.", "Of 7 posteriors, trust 7.")
    assert said.why == ()
    assert advice(found, said) == ()
    assert "in 300 simulations truths fall where it says" in said.posteriors[0].sentence


def test_the_numbers_of_an_exact_posterior_are_the_oracles() -> None:
    found = summary(measures(1.0, "abc"))
    truth = lg.general()
    chosen = np.random.default_rng(0).permutation(300)[:32]
    values = {name: array[chosen] for name, array in truth.draw(300, seed=0).items()}
    for each in found.posteriors:
        exact = truth.evidence({name: values[name] for name in each.given})
        assert each.evidence == pytest.approx(exact.mean(), rel=1e-9)
        assert each.evidence_error == pytest.approx(stats.sem(exact), rel=1e-6)
        means, _ = truth.posterior({name: values[name] for name in each.given})
        assert (each.khat_share, each.active, each.latents) == (0.0, (means.var(0, ddof=1) > 0.01).sum(), 2)
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert (found.items, found.weighed, found.particles, found.missing) == (300, 32, 200, ())


def test_a_narrow_posterior_is_trusted_nowhere_and_the_reason_names_it() -> None:
    found = summary(measures(0.4, "ac"))
    said = verdict(found)
    assert [each.level for each in said.posteriors] == [DISTRUST] * 3
    for each, posterior in zip(said.posteriors, found.posteriors, strict=True):
        assert re.search(r"k-hat is above 0.7 for \d\d% of 32 rows", each.sentence)
        assert re.search(
            r"in 300 simulations z\[[01]\] is too narrow: 90% intervals held \d\d% of truths", each.sentence
        )
        assert posterior.sbc_coverage == pytest.approx(2 * stats.norm.cdf(0.4 * stats.norm.ppf(0.95)) - 1, abs=0.08)
    levels = {each.about: each.level for each in said.predictions}
    assert levels == {"c given a": CARE, "a given c": DISTRUST}
    assert "too narrow" in said.predictions[1].reasons[0]
    assert said.headline[0] == "Of 2 predictions, trust none, take 1 with care and do not trust 1."
    assert said.headline[1:] == (
        "Of 3 posteriors, trust none.",
        "Corrected: of 3 posteriors, trust none and take 3 with care.",
    )
    assert (
        "k-hat is above 0.7 for 0% of 16 rows (0% to 21%, 95% interval), and for 0% of 48 rows given anything"
        in said.corrected[0].sentence
    )
    assert said.why == (
        "What is wrong with predictions: the latents behind are not to be trusted (2 of 2); "
        "intervals are too narrow (1 of 2).",
        "What is wrong with posteriors: k-hat is above 0.7 for more than 10% of rows (3 of 3); "
        "in simulations truths do not fall where it says (3 of 3).",
    )
    assert "the latents behind it are not to be trusted" in said.predictions[0].sentence
    assert "the guide is at fault, as corrected latents mend them" in said.predictions[1].sentence
    assert 'posterior="corrected"' in advice(found, said)[0].sentence


def test_what_the_rows_lack_is_said() -> None:
    found = summary(measures(0.4, "ac"))
    assert found.missing == ("b",)
    assert "The rows do not have b: nothing is known of that." in verdict(found).remarks


def test_a_diagnosis_is_one_line_of_json() -> None:
    found = summary(measures(0.4, "ac"))
    text = json.dumps(asdict(found), allow_nan=False)
    assert "\n" not in text
    assert json.loads(text)["posteriors"][0]["label"] == "a"


@pytest.mark.parametrize(
    ("changes", "posterior", "prediction", "why"),
    [
        ({}, TRUST, TRUST, "50% intervals held 50% and 90% intervals held 90% of values"),
        ({"khat_share": 0.3}, CARE, CARE, "k-hat is above 0.7 for 30% of 48 rows"),
        ({"khat_share": 0.6}, DISTRUST, CARE, "k-hat is above 0.7 for 60% of 48 rows"),
        ({"sbc_p": 0.001, "sbc_coverage": 0.87}, CARE, CARE, "z[0] is too narrow: 90% intervals held 87% of truths"),
        ({"sbc_p": 0.001, "sbc_coverage": 0.8}, DISTRUST, CARE, "z[0] is too narrow: 90% intervals held 80% of truths"),
        ({"coverage_90": 0.8}, TRUST, DISTRUST, "90% intervals held 80% of values: too narrow"),
        ({"coverage_50": 0.7}, TRUST, CARE, "50% intervals held 70% and 90% intervals held 90% of values: wider"),
        ({"coverage_50": 0.46, "items": 10**6}, TRUST, TRUST, "50% intervals held 46%"),
        (
            {"coverage_50": 0.4, "items": 20},
            TRUST,
            CARE,
            "90% intervals held 90% (68% to 99%, 95% interval) of values in 20 rows",
        ),
        ({"coverage_50": None, "coverage_90": None}, TRUST, CARE, "not measured, as fewer than two rows have b"),
        ({"khat_share": None, "sbc_p": None}, CARE, CARE, "k-hat was not measured"),
    ],
)
def test_each_fault_has_its_level_and_its_reason(
    changes: dict[str, Any], posterior: str, prediction: str, why: str
) -> None:
    said = verdict(diagnosis(**changes))
    assert (said.posteriors[0].level, said.predictions[0].level) == (posterior, prediction)
    assert why in " ".join(said.sentences)


def test_a_harmless_latent_does_not_hide_a_joint_density_that_misleads() -> None:
    grid = (np.arange(300) + 0.5) / 300
    wide, low = 0.5 + 0.35 * np.sin(np.pi * (grid - 0.5)), grid**3
    check = Uniform("latents", ("z[0]", "z[1]", "log joint"), np.stack([wide, grid, low], 1))
    assert check.p_values[0] < 1e-4 < 0.9 < check.p_values[1]
    assert worst(check).names == ("log joint",)
    narrow = np.where(grid < 0.5, grid**3, 1 - (1 - grid) ** 3)
    check = Uniform("latents", ("z[0]", "log joint"), np.stack([narrow, low], 1))
    assert worst(check).names == ("z[0]",)


def test_few_weighed_rows_are_no_reason_to_trust() -> None:
    said = verdict(diagnosis(weighed=12)).posteriors[0]
    assert said.level == CARE
    assert "k-hat is above 0.7 for 0% of 12 rows (0% to 26%, 95% interval)" in said.sentence


def test_enough_rows_hold_the_band_within_ten_points() -> None:
    for items in range(ENOUGH, 600):
        low, high = band(items, 0.5)
        assert high - low <= 0.2


def test_a_fault_counts_once_for_each_judgement() -> None:
    found = diagnosis(khat_share=None, sbc_p=None)
    assert verdict(found).why == (
        "What is wrong with predictions: the latents behind are to be taken with care (1 of 1).",
        "What is wrong with posteriors: something was not measured (1 of 1).",
    )


@pytest.mark.slow
def test_rows_are_weighed_that_have_something_of_what_is_shown() -> None:
    truth = lg.general()
    values = truth.draw(300, seed=0)
    rare = np.zeros(300, bool)
    rare[np.random.default_rng(0).permutation(300)[200:230]] = True  # none of the first that are looked at
    values["b"] = np.where(rare[:, None], values["b"], np.nan)
    rows = lg.dataset(truth, values)
    found = summary(measure(lg.fitted(truth, lg.Exact(truth), "numpyro"), rows, effort=Effort(particles=50)))
    assert {each.label: each.weighed for each in found.posteriors} == {
        **dict.fromkeys(("a", "c", "all but a", "all but b", "all but c", "everything"), 32),
        "b": 30,
    }
    assert found.posteriors[1].evidence == pytest.approx(truth.evidence({"b": values["b"][rare]}).mean(), rel=1e-9)
    assert all(share is not None for share in found.shares.values())


def test_exact_predictions_are_all_trusted_but_in_one_report_of_a_hundred() -> None:
    rng, faults = np.random.default_rng(0), 0
    for _ in range(300):
        values = rng.random((36, 300))
        found = replace(
            diagnosis(),
            predictions=tuple(
                Prediction(("a",), "a", "b", 300, *((np.abs(row - 0.5) <= level / 2).mean() for level in (0.5, 0.9)))
                for row in values
            ),
        )
        faults += any(each.level != TRUST for each in verdict(found).predictions)
    assert faults <= 9


def test_few_simulations_tell_nothing() -> None:
    said = verdict(replace(diagnosis(), simulated=100)).posteriors[0]
    assert said.level == CARE
    assert "in 100 simulations truths fall where it says (p = 0.5)" in said.sentence
    assert "90% intervals held 90% of truths (82% to 95%, 95% interval)" in said.sentence


def test_intervals_are_scipy_s() -> None:
    for hits, items in [(0, 12), (3, 12), (12, 12), (90, 100)]:
        exact = stats.binomtest(hits, items).proportion_ci(0.95)
        assert interval(hits / items, items) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize(
    ("changes", "whose"),
    [
        ({}, "the model is at fault, as the latents behind can be trusted"),
        ({"khat_share": 0.9, "off": 0.8}, "the model is at fault, as corrected latents do not mend them"),
        ({"khat_share": 0.9, "off": 0.9}, "the guide is at fault, as corrected latents mend them"),
        ({"khat_share": 0.9}, None),
    ],
)
def test_whose_fault_intervals_are(changes: dict[str, Any], whose: str | None) -> None:
    found = diagnosis(coverage_90=0.8, **changes)
    fits = (Fit("b", (2,), "normal", 300, 0.5, changes["off"]),) if "off" in changes else ()
    reason = verdict(replace(found, fits=fits)).predictions[0].reasons[0]
    assert reason.endswith(whose or "too narrow")


def test_what_training_did_says_what_to_do() -> None:
    def todo(losses: list[float], **more: Any) -> list[str]:
        history = tuple({"epoch": i, "loss": -float(i), "validation_loss": loss} for i, loss in enumerate(losses, 1))
        found = replace(diagnosis(), history=history, **more)
        return [each.sentence for each in advice(found, verdict(found))]

    falling = [100.0 / n for n in range(1, 21)]
    (risen,) = todo([*falling, *np.linspace(5, 60, 20)], data_set="a b.npz")
    assert "stop at epoch 20" in risen
    assert "ppvae fit mvae --data 'a b.npz' --epochs 20; or" in risen
    (more,) = todo(list(np.linspace(100, 50, 10)))
    assert "Train longer" in more
    assert "epochs=20" in more
    assert todo([*falling, *[5.0] * 40]) == []


def test_models_of_other_likelihoods_and_what_cannot_be_corrected_have_their_advice() -> None:
    fits = (Fit("b", (), "poisson", 300, 0.5, 0.7), Fit("c", (3,), "categorical", 300, 0.5, 0.7))
    found = replace(
        diagnosis(khat_share=0.9), fits=fits, correction=Correction(why_not="z is discrete"), data_set="x.npz"
    )
    said = advice(found, verdict(found))
    assert "cannot be corrected, as z is discrete" in said[0].why
    assert said[1].words[1] == "ppvae fit mvae --data x.npz --likelihood b=negative_binomial"
    assert "--latent 32" in said[2].words[0]
    described = advice(found := replace(found, data_set="mine.toml"), verdict(found))
    assert described[1].words == ('[modalities.b] likelihood = "negative_binomial"',)
    few = replace(diagnosis(weighed=12), items=20)
    assert advice(few, verdict(few))[0].why.startswith("Collect rows")


def test_latents_that_follow_nothing_are_all_that_is_advised() -> None:
    found = diagnosis(khat_share=0.9)
    idle = replace(found, posteriors=tuple(replace(each, active=0, latents=2) for each in found.posteriors))
    (said,) = advice(idle, verdict(idle))
    assert said.why.startswith("No latent follows the data")
    assert said.words == ("ppvae fit mvae --data d --set lr=3e-4",)  # which warms up by itself
    assert advice(replace(idle, method="vae"), verdict(idle))[0].words == ("ppvae fit vae --data d --set kl_warmup=20",)
    some = replace(idle, posteriors=(*idle.posteriors[:-1], replace(idle.posteriors[-1], active=1)))
    assert "No latent" not in advice(some, verdict(some))[0].why


def test_modalities_that_a_simple_regression_predicts_better_are_named() -> None:
    better, near = {"model": 0.4, "mean": 0.0, "ridge": 0.61, "neighbours": 0.5}, {"model": 0.4, "ridge": 0.44}
    skills = {"a": Skill("R²", better), "b": Skill("R²", near), "c": Skill("R²", {"model": 0.1}), "d": Skill("R²", {})}
    (said,) = advice(found := replace(diagnosis(), skills=skills), verdict(found))
    assert "better than the model: a by ridge regression (R² 0.61, not 0.40); train" in said.why
    _, sharper = advice(replace(found, method="mopoe"), verdict(found))
    assert sharper.words == ("ppvae fit mvtcae --data d",)
    assert len(advice(replace(found, method="mine.py:make"), verdict(found))) == 1


def test_a_prediction_whose_latents_were_not_measured_is_not_trusted() -> None:
    said = verdict(replace(diagnosis(), posteriors=()))
    assert said.predictions[0].level == CARE
    assert "the latents behind it were not measured" in said.predictions[0].sentence


def test_remarks_say_what_flatters_and_what_is_not_used() -> None:
    found = replace(diagnosis(), trained_on=True, shares={"a": 0.995, "b": 0.005, "c": None})
    assert verdict(found).remarks == (
        "Training saw these rows, which flatters everything that is measured on them.",
        "The posterior hardly uses b: without, it would know almost as much.",
    )
    assert "is not known" in verdict(replace(diagnosis(), trained_on=None)).remarks[0]
    alone = replace(diagnosis(), predictions=())
    assert verdict(alone).headline == ("There is nothing to predict.", "Of 1 posterior, trust 1.")


def test_p_values_are_adjusted_as_holm_did() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    p = np.random.default_rng(0).random((4000, 13))
    assert np.mean([min(holm(row)) < 0.05 for row in p]) == pytest.approx(0.05, abs=0.012)


def test_the_band_of_a_coverage_is_binomial() -> None:
    low, high = band(300, 0.9)
    counts = np.random.default_rng(0).binomial(300, 0.9, 100_000) / 300
    assert np.mean((counts >= low) & (counts <= high)) == pytest.approx(0.99, abs=0.004)
    assert high - low < 2 * POINTS


def test_subsets_have_short_names() -> None:
    names = ["a", "b", "c", "d"]
    given = [["a"], ["a", "b"], ["a", "b", "d"], names]
    assert [label(each, names) for each in given] == ["a", "a, b", "all but c", "everything"]
    assert [label(each, ["a", "b"]) for each in (["a"], ["a", "b"])] == ["a", "everything"]
    assert label(["a"], ["a"]) == "a"


def test_numbers_that_are_missing_are_said_so() -> None:
    missing = Posterior(("a",), "a", 0, 2)
    assert percent(None) == evidence(missing) == "not measured"
    assert evidence(replace(missing, evidence=-1.0)) == "-1.0"
    assert "which training saw" in facts(replace(diagnosis(), trained_on=True))


def test_further_subsets_are_looked_at_and_unknown_ones_refused(capsys: pytest.CaptureFixture[str]) -> None:
    place = harness.folder()
    words = ["diagnose", str(place / "run"), *harness.FEW, "--given"]
    capsys.readouterr()
    assert cli.main([*words, "a", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (out.count("\n"), err) == (1, "")
    assert len(found["posteriors"]) == 7
    assert found["trained_on"] is False
    assert [(each["ask"], each["label"]) for each in found["coherences"]] == [
        (name, harness.HOSTILE) for name in ("a", "__b__", harness.LONG)
    ]
    assert all(
        0 <= each[what]["low"] <= each[what]["value"] for each in found["coherences"] for what in ("made", "real")
    )
    assert found["verdict"]["headline"][0].startswith("Of 9 predictions, trust ")
    assert cli.main([*words, "a,nope"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"Error: cannot diagnose given 'nope'; the data and the model have .*\n", err)


class Page(HTMLParser):
    """Every element with its attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@cache
def page() -> Page:
    return Page(harness.page().read_text(encoding="utf-8"))


def test_the_page_says_the_verdict_first_and_fetches_nothing() -> None:
    text = page().text
    order = ["Of 9 predictions, trust", "What to do about the rest", "How good predictions are", "Can the guide be"]
    assert sorted(order, key=text.index) == order
    assert [tag for tag, _ in page().elements if re.fullmatch("h[1-6]", tag)] == ["h1"] + ["h2"] * 8
    assert page().all("script") == []
    addresses = [a for _, each in page().elements for name, a in each.items() if name in ("src", "srcset", "href")]
    assert len(addresses) > 20
    assert all(address is not None and address.startswith("data:") for address in addresses)
    assert "url(" not in text
    assert page().all("html") == [{"lang": "en"}]


def test_what_comes_from_a_run_is_text_and_never_markup() -> None:
    assert f"on {harness.HOSTILE}.npz for 3 epochs" in page().text.replace(str(harness.folder()) + "/", "")
    assert all(each["alt"] and "src" in each and "onerror" not in each for each in page().all("img"))
    page_ = Page(harness.hostile())
    assert len(page_.all("img")) == 1
    assert page_.all("img")[0]["alt"] == f'"{harness.HOSTILE}'
    assert "onerror" not in page_.all("img")[0]
    assert page_.text.count(harness.HOSTILE) > 12


def test_every_figure_has_words_and_files() -> None:
    images, folder = page().all("img"), harness.page().with_name("report_figures")
    assert len(images) == len(page().all("figure")) == len(page().all("figcaption")) == 10
    assert all(each["alt"] for each in images)
    for kind in ("svg", "png"):
        assert len(list(folder.glob(f"*.{kind}"))) == len(images)
    for file in folder.glob("*.svg"):
        assert ElementTree.parse(file).getroot().tag.endswith("svg")
    for file in folder.glob("*.png"):
        assert imread(file).std() > 0.01
        assert re.fullmatch(r"\d\d-[A-Za-z0-9-]+", file.stem)


def test_tables_have_captions_and_their_headings_a_scope() -> None:
    assert len(page().all("table")) == len(page().all("caption")) == 6
    assert {each.get("scope") for each in page().all("th")} == {"col", "row"}


def test_what_classifiers_read_of_predictions_stands_beside_what_they_read_of_measurements() -> None:
    some = replace(
        diagnosis(), coherences=(Coherence("b", "side", Interval(0.5, 0.412, 0.6), Interval(1.0, 1.0, 1.0)),)
    )
    row = '<th scope="row">b</th><td>side</td><td>50% (41% to 60%)</td><td>100% (100% to 100%)</td>'
    assert row in written(some, verdict(some), [], "f")
    assert "a classifier" not in written(diagnosis(), verdict(diagnosis()), [], "f")


def test_a_figure_without_words_is_refused(tmp_path: Path) -> None:
    def draw() -> Figure:
        return Figure(figsize=(1, 1))

    with pytest.raises(ValueError, match="the figure 'mute' has no alternative text"):
        figures.picture(figures.Drawing("latents", "mute", "A caption.", draw), tmp_path / "mute")


def test_a_folder_is_no_page(capsys: pytest.CaptureFixture[str]) -> None:
    place = harness.folder()
    capsys.readouterr()
    assert cli.main(["report", str(place / "run"), "--out", str(place)]) == 2
    assert "which is a folder: name a file such as report.html" in capsys.readouterr().err


def test_the_matrix_has_a_cell_for_each_prediction() -> None:
    found = summary(measures(0.4, "ac"))
    cells = matrix(found, verdict(found))
    assert {row: list(columns) for row, columns in cells.items()} == {"a": ["c"], "c": ["a"]}
    assert cells["c"]["a"][0].level == DISTRUST


def test_people_see_a_table_and_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    place = harness.folder()
    capsys.readouterr()
    assert cli.main(["diagnose", str(place / "run"), *harness.FEW, "--all"]) == 0
    out = capsys.readouterr().out
    assert "Of 9 predictions, trust" in out
    assert f"all but {harness.LONG}" in out
    assert "Training saw these rows" in out


@pytest.mark.slow
def test_rows_that_disagree_with_themselves_are_named_and_otherwise_the_section_is_folded() -> None:
    truth = lg.orthogonal()
    rows = truth.draw(60, seed=0)
    far = np.argsort(rows["a"] @ truth.weights["a"][:, 0])[[0, -1]]
    swapped = {**rows, "a": rows["a"].copy()}
    swapped["a"][far] = rows["a"][far[::-1]]
    fitted = lg.fitted(truth, lg.Exact(truth), "numpyro")
    effort = Effort(items=60, weighed=2, particles=25, draws=2, corrected=0)
    found = measure(fitted, lg.dataset(truth, swapped), effort=effort, trained_on=False, progress=False)
    suspects = summary(found).suspects
    assert suspects is not None
    assert {each.row for each in suspects[:2]} == set(far)
    named = summary(replace(found, rows=np.array([f"s{row}" for row in found.rows]))).suspects
    assert named is not None
    assert [each.row for each in named] == [f"s{each.row}" for each in suspects]
    said = diagnosis()
    folded = written(replace(said, suspects=()), verdict(said), [], "f")
    opened = written(replace(said, suspects=suspects), verdict(said), [], "f")
    assert "None of 300 rows" in folded
    assert "<details open>" not in folded
    assert f"<details open>\n<summary>{len(suspects)} of 300 rows" in opened
    assert f'<th scope="row">{suspects[0].row}</th><td>{suspects[0].modality}</td>' in opened
    assert "disagree with themselves" not in written(said, verdict(said), [], "f")


def test_all_subsets_of_a_report_share_their_programs() -> None:
    measures(0.4, "ac")
    assert 10 < PROGRAMS[0.4, "ac"] <= 14


def test_what_fails_for_another_reason_is_no_reason_why_nothing_is_corrected() -> None:
    found, truth = measures(0.4, "ac"), lg.general()
    rows = lg.dataset(truth, {name: values for name, values in truth.draw(300, seed=0).items() if name in "ac"})
    with pytest.raises(ValueError, match="0 draws of 16 items were asked for"):
        corrections(found.fitted, rows, found.subsets, Effort(draws=0))


def test_why_nothing_can_be_corrected_is_told() -> None:
    run, rows = mixed.case(mixed.Marked(enumerate=False))
    far = KHat((("x",),), np.ones((1, 2)), np.zeros((1, 2)), np.zeros((1, 2)), 25)
    found = corrections(run, rows, [Subset(("x",), "x", np.arange(2), far, None, None, None, {})], Effort())
    assert found.why_not is not None
    assert "the latent 'c' is discrete" in found.why_not
