"""Decisions: where the model is broken the verdict names the model, where the guide is the guide, and what to do."""

from __future__ import annotations

import re

import linear_gaussian as lg
import numpy as np
import pytest

from ppvae.datasets.linear_gaussian import LinearGaussian
from ppvae.report.advice import advice
from ppvae.report.diagnosis import Diagnosis
from ppvae.report.measures import measure
from ppvae.report.subsets import Effort
from ppvae.report.summary import summary
from ppvae.report.verdict import DISTRUST, TRUST, Verdict, verdict

TRUTH = lg.general()


def judged(model: LinearGaussian, rows: dict[str, np.ndarray], widen: float = 1.0) -> tuple[Diagnosis, Verdict]:
    """A model whose guide is exact, but for its scale."""
    fitted, data = lg.fitted(model, lg.Exact(model, widen), "numpyro"), lg.dataset(model, rows)
    found = summary(measure(fitted, data, effort=Effort(particles=200), trained_on=False, progress=False))
    return found, verdict(found)


def narrow() -> tuple[LinearGaussian, dict[str, np.ndarray]]:
    """A model whose scale of b is a quarter of what it should be."""
    return LinearGaussian(TRUTH.weights, TRUTH.biases, {**TRUTH.scales, "b": TRUTH.scales["b"] / 4}), TRUTH.draw(300, 0)


def unimodal() -> tuple[LinearGaussian, dict[str, np.ndarray]]:
    """A model that does not know that three rows in ten have their b elsewhere."""
    rows = TRUTH.draw(300, 0)
    far = (np.random.default_rng(1).random((300, 1)) < 0.3) * 8 * TRUTH.scales["b"]
    return TRUTH, {**rows, "b": rows["b"] + far}


def overfitted() -> tuple[LinearGaussian, dict[str, np.ndarray]]:
    """A decoder of b that learned four rows of training by heart: least squares, and the scale of what is left."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=(4, 2))
    b = z @ TRUTH.weights["b"].T + TRUTH.biases["b"] + TRUTH.scales["b"] * rng.normal(size=(4, 2))
    design = np.concatenate([z, np.ones((4, 1))], 1)
    learned = np.linalg.lstsq(design, b, rcond=None)[0]
    scale = np.sqrt(np.square(b - design @ learned).mean(0))
    parts = (TRUTH.weights, TRUTH.biases, TRUTH.scales)
    return LinearGaussian(
        *({**part, "b": own} for part, own in zip(parts, (learned[:2].T, learned[2], scale), strict=True))
    ), TRUTH.draw(300, 0)


@pytest.mark.parametrize(
    "broken", [narrow, *(pytest.param(made, marks=pytest.mark.slow) for made in (unimodal, overfitted))]
)
def test_a_broken_model_is_named_though_its_guide_is_exact(broken) -> None:
    found, said = judged(*broken())
    assert {each.level for each in said.posteriors} == {TRUST}
    assert not any(said.corrected)
    (asked,) = (each for each in said.predictions if each.about == "b given all others")
    assert asked.level == DISTRUST
    assert "the model is at fault, as the latents behind can be trusted" in asked.reasons[0]
    assert {each.ask: each.level for each in said.models}["b"] == DISTRUST
    (todo,) = advice(found, said)
    assert re.match(r"The model is at fault, not the guide: .* 90% intervals held .*of b [0-6]?\d%", todo.why)
    assert 'Modality("b", (2,), "student_t")' in todo.words


@pytest.mark.slow  # corrections of both, which the tests above compile too
def test_where_both_are_broken_both_are_named() -> None:
    """Rows whose b lies elsewhere than the model says, and a guide that is too narrow."""
    rows = TRUTH.draw(300, 0)
    found, said = judged(TRUTH, {**rows, "b": rows["b"] + 10 * TRUTH.scales["b"]}, widen=0.4)
    assert {each.level for each in said.posteriors} == {DISTRUST}
    assert found.correction is not None
    assert found.correction.sbc_p is not None
    assert found.correction.sbc_p > 0.01
    assert {each.corrected_khat_share for each in found.posteriors} == {0.0}
    assert {each.ask: each.level for each in said.models}["b"] == DISTRUST
    reasons = [each.reasons[0] for each in said.predictions if each.ask == "b"]
    assert all("the model is at fault, as corrected latents do not mend them" in reason for reason in reasons)
    guide, learned, model = advice(found, said)
    assert guide.words[0] == 'fitted.query(data, posterior="corrected")'
    assert learned.words == ("ppvae.amortise(fitted, train)",)
    assert "The model is at fault" in model.why


def test_where_all_is_well_there_is_nothing_to_do() -> None:
    found, said = judged(TRUTH, TRUTH.draw(300, 0))
    assert advice(found, said) == ()
    assert {each.level for each in (*said.posteriors, *said.predictions, *said.models)} == {TRUST}
