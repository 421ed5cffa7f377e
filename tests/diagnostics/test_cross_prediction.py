"""Crossing: predictions from each subset against the linear-Gaussian oracle."""

from __future__ import annotations

import linear_gaussian as lg
import numpy as np
import pytest
from sklearn.metrics import r2_score

import ppvae
from ppvae import Dataset, Modality
from ppvae.diagnostics.cross_prediction import crossing
from ppvae.language.tokens import END, PADDING, SPECIAL, UNKNOWN
from ppvae.plots import crossing_figure


def test_predictions_from_each_modality_and_from_all_are_the_oracle_s() -> None:
    truth = lg.orthogonal()
    values = truth.draw(30, seed=1)
    values["a"][3, 1], values["b"][5] = np.nan, np.nan
    found = crossing(lg.fitted(truth, lg.Exact(truth), "pyro"), lg.dataset(truth, values), draws=200)
    assert found.given == (("a",), ("b",), ("c",), ("a", "b", "c"))
    assert found.names == ["a", "b", "c", "all"]
    for name in truth.names:
        np.testing.assert_array_equal(found.measured[name], values[name])
        for subset, made in zip(found.given, found.predicted[name], strict=True):
            mean, cov = truth.posterior({n: values[n] for n in subset})
            weight = truth.weights[name]
            error = np.sqrt(np.einsum("dk,nkl,dl->nd", weight, cov, weight) / 200)
            seen = ~np.all([np.isnan(values[n]).all(1) for n in subset], axis=0)
            assert (np.isnan(made).all(1) == ~seen).all()
            assert (np.abs(made - mean @ weight.T - truth.biases[name])[seen] < (5 * error + 1e-9)[seen]).all()
    there = [~np.isnan(made).any(1) for made in found.predicted["c"]]
    wanted = [
        r2_score(values["c"][seen], made[seen], multioutput="variance_weighted")
        for seen, made in zip(there, found.predicted["c"], strict=True)
    ]
    np.testing.assert_allclose(found.r2[:, 2], wanted)
    assert found.r2.shape == (4, 3)


def test_modalities_that_the_data_lack_cannot_be_asked_for() -> None:
    truth = lg.orthogonal()
    part = lg.dataset(truth, {name: array for name, array in truth.draw(4, 0).items() if name != "b"})
    with pytest.raises(ValueError, match="the data have no modality 'b' to ask for; they have a, c"):
        crossing(lg.fitted(truth, lg.Exact(truth), "pyro"), part, ask=["b"])


def test_an_item_that_lacks_what_is_given_has_no_prediction_from_it() -> None:
    truth = lg.orthogonal()
    values = truth.draw(40, 0)
    some = np.arange(40) % 4 > 0
    values["b"] = np.where(some[:, None], values["b"], np.nan)
    data, fitted = lg.dataset(truth, values), lg.fitted(truth, lg.Exact(truth), "pyro")
    found = crossing(fitted, data, [["b"]], ["c"])
    assert (np.isnan(found.predicted["c"][0]).all(1) == ~some).all()
    part = crossing(fitted, data.take(some), [["b"]], ["c"])
    np.testing.assert_allclose(found.r2, part.r2, rtol=1e-9)


def test_codes_have_no_share_of_variance() -> None:
    rng = np.random.default_rng(0)
    words = np.tile([UNKNOWN, UNKNOWN, END, PADDING], (12, 1))
    kinds = [
        Modality("size", (2,)),
        Modality("kind", (1,), "categorical", levels=3),
        Modality("word", (4,), "autoregressive", levels=len(SPECIAL) + 2, kind="text"),
    ]
    data = Dataset(
        {"size": rng.normal(size=(12, 2)), "kind": np.arange(12)[:, None] % 3, "word": words}, modalities=kinds
    )
    vae = ppvae.method("mopoe", data.modalities, latent=1, hidden=(4,))
    found = crossing(ppvae.fit(vae, data, backend="pyro", epochs=0, progress=False), data, draws=2)
    assert found.coded == {"kind", "word"}
    assert (np.isfinite(found.r2) == np.array([True, False, False])).all()
    assert "size" in crossing_figure(found).get_label()
    assert "nan" not in crossing_figure(found).get_label()
