"""Decisions: where the model is broken the verdict names the model, where the guide is the guide, and what to do."""

from __future__ import annotations

from functools import cache

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
    """A model whose scale of b is half of what it should be."""
    return LinearGaussian(TRUTH.weights, TRUTH.biases, {**TRUTH.scales, "b": TRUTH.scales["b"] / 2}), TRUTH.draw(300, 0)


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


@pytest.mark.parametrize("broken", [narrow, unimodal, overfitted])
def test_a_broken_model_is_named_though_its_guide_is_exact(broken) -> None:
    found, said = judged(*broken())
    assert {each.level for each in said.posteriors} == {TRUST}
    assert not any(said.corrected)
    levels = {each.about: each.level for each in said.predictions if each.ask == "b"}
    assert levels == dict.fromkeys(levels, DISTRUST)
    reasons = [each.reasons[0] for each in said.predictions if each.ask == "b"]
    assert all("the model of b is at fault" in reason for reason in reasons)
    assert {each.ask: each.level for each in said.models}["b"] == DISTRUST
    (todo,) = (each for each in advice(found, said) if "model of b is at fault, not the guide" in each.why)
    assert todo.words == ('Modality("b", (2,), "student_t")',)
    assert not any("corrected" in word for word in words(found, said))


@cache
def both() -> tuple[Diagnosis, Verdict]:
    return judged(*narrow(), widen=0.4)


def test_where_both_are_broken_both_are_named() -> None:
    found, said = both()
    assert {each.level for each in said.posteriors} == {DISTRUST}
    assert found.correction is not None
    assert found.correction.sbc_p is not None
    assert found.correction.sbc_p > 0.01
    assert {each.corrected_khat_share for each in found.posteriors} == {0.0}
    blamed = {(each.ask, each.label): each.reasons[0] for each in said.predictions}
    assert "the model of b is at fault, as corrected latents do not mend them" in blamed["b", "all others"]
    assert "the guide is at fault, as corrected latents mend them" in blamed["a", "all others"]
    assert [each.level == DISTRUST for each in said.models] == [each.ask == "b" for each in said.models]
    assert 'fitted.query(data, posterior="corrected")' in words(found, said)[0]
    assert any("model of b" in each.why for each in advice(found, said))


def words(found: Diagnosis, said: Verdict) -> list[str]:
    return [word for each in advice(found, said) for word in each.words]


def test_where_all_is_well_there_is_nothing_to_do() -> None:
    found, said = judged(TRUTH, TRUTH.draw(300, 0))
    assert advice(found, said) == ()
    assert {each.level for each in (*said.posteriors, *said.predictions, *said.models)} == {TRUST}
