"""Lengths: one thing that is far longer than the rest is cut, and told, whatever kind it is of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppvae.data.preprocessing.lengths import SHORT, bounded
from ppvae.data.preprocessing.series import Trace
from ppvae.data.preprocessing.series import fitted as fitted_series
from ppvae.data.preprocessing.sounds import Recording
from ppvae.data.preprocessing.sounds import fitted as fitted_sounds
from ppvae.data.preprocessing.text import fitted as fitted_texts


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=300))
def test_at_most_one_of_a_hundred_and_one_more_are_cut_and_none_that_is_short(lengths: list[int]) -> None:
    found = bounded(lengths)
    assert min(max(lengths), SHORT) <= found <= max(lengths)
    assert sum(length > found for length in lengths) <= len(lengths) // 100 + 1
    assert bounded([*lengths] * 2) >= found


def test_a_text_a_sound_and_a_series_that_are_far_longer_than_the_rest_are_cut() -> None:
    texts = ["a red square"] * 30 + ["so " * 3000]
    made = fitted_texts(texts)
    assert made.length == SHORT
    with pytest.warns(UserWarning, match="1 of 31 texts are cut off after 128 tokens; length = 9001 keeps all"):
        array, _ = made.encode(texts)
    assert made.decode(array)[29:] == ["a red square", ("so " * 3000)[:128]]
    assert fitted_texts(texts, length=9001).length == 9001

    recordings = [Recording(np.ones(800), 1000)] * 5 + [Recording(np.ones(60_000), 1000)]
    told = r"1 of 6 recordings are cut off after 1\.61 seconds; seconds = 60 keeps all"
    with pytest.warns(UserWarning, match=told):
        assert fitted_sounds(recordings, bands=8).frames == 2 * (80 + 1)
    assert fitted_sounds(recordings, bands=8, seconds=60).frames == 6001

    traces = [Trace(("x",), np.arange(ticks), np.zeros((ticks, 1))) for ticks in (100, 90, 100, 5000)]
    with pytest.warns(UserWarning, match="1 of 4 series are cut off after 200 ticks of the clock; times = 5000"):
        assert fitted_series(traces).times == 200
    assert fitted_series(traces, times=5000).times == 5000


def test_a_clock_that_hardly_ever_measures_is_refused() -> None:
    apart = [Trace(("x",), begin + np.arange(20), np.zeros((20, 1))) for begin in (0, 5e6, 9e6)]
    with pytest.raises(ValueError, match="would tick 9000020 times, and no series has more than 20: let the time of"):
        fitted_series([*apart] * 40)
    assert fitted_series(apart, times=30).times == 30
