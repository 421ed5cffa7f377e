"""Items outside the model: the model's own are flagged as often as the level says, and what it would not make is."""

from __future__ import annotations

from functools import cache

import linear_gaussian as lg
import numpy as np
import pytest
from scipy import stats

from ppvae.diagnostics.rescue import rescue
from ppvae.diagnostics.samples.outside import ALARM, SIMULATED, outside
from ppvae.inference.fitted import Fitted

ITEMS = 1000


@cache
def case() -> tuple[lg.LinearGaussian, lg.Arrays, Fitted]:
    """More elements than latents, and a guide that is too narrow and off; half of the items lack ``a``."""
    truth = lg.orthogonal()
    values = truth.draw(ITEMS, seed=5)
    values["a"][::2] = np.nan
    return truth, values, lg.fitted(truth, lg.Exact(truth, widen=0.6, shift=0.3), "numpyro")


def alarms(share: float) -> tuple[float, float]:
    """Between which numbers of items false alarms lie but once in a thousand times, as the level varies as well."""
    above = round(ALARM * SIMULATED / 2)
    rate = stats.beta(above, SIMULATED / 2 + 1 - above)
    return tuple(stats.betabinom(ITEMS, *rate.args).ppf([share, 1 - share]))


@pytest.mark.parametrize("given", [None, ["a"], ["b", "c"]])
def test_items_of_the_model_are_flagged_as_often_as_the_level_says(given: list[str] | None) -> None:
    truth, values, run = case()
    found = outside(run, lg.dataset(truth, values), given)
    lowest, highest = alarms(0.0005)
    assert lowest <= found.flagged.sum() <= highest
    assert np.isnan(found.distance).any() == (given == ["a"])


def test_what_the_model_would_not_make_is_flagged() -> None:
    truth, values, run = case()
    for name in truth.names:
        deviation = np.sqrt((truth.weights[name] ** 2).sum(1) + truth.scales[name] ** 2)
        found = outside(run, lg.dataset(truth, {**values, name: values[name] + 5 * deviation}))
        assert found.flagged[~np.isnan(values[name][:, 0])].mean() > 0.9, name
        assert found.verdict == (
            f"outside the model: {found.flagged.sum()} of 1000 items; correction cannot mend a model that does not fit"
        )
    mixed = {name: np.random.default_rng(0).permuted(array, axis=1) for name, array in values.items()}
    assert outside(run, lg.dataset(truth, mixed)).flagged[1::2].mean() > 0.5


def test_an_item_is_flagged_whatever_its_posterior() -> None:
    """An exact posterior of an item that the model would not make passes k-hat."""
    truth, values, _ = case()
    far = {name: np.concatenate([array[1:4:2], array[1:2] + 9]) for name, array in values.items()}
    found = rescue(lg.fitted(truth, lg.Exact(truth), "numpyro"), lg.dataset(truth, far), draws=50)
    assert found.passes.all()
    assert found.outside.flagged.tolist() == [False, False, True]
