"""Epochs: how long a run is where nobody says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ppvae
from ppvae import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.runs.settings import Settings
from ppvae.training.epochs import FEWEST, long_enough, steps_in


def fit(backend: str, **options: Any) -> Fitted:
    data = Dataset({"a": np.random.default_rng(0).normal(size=(40, 3))})
    vae = ppvae.method("vae", data.modalities, latent=1, hidden=(2,))
    return ppvae.fit(vae, data, backend=backend, progress=False, **{"batch_size": 4, **options})


@given(st.integers(1, 10**6), st.integers(1, 1000))
def test_a_run_has_the_fewest_epochs_of_so_many_steps_and_fifty_at_least(items: int, batch_size: int) -> None:
    found = long_enough(Settings(batch_size=batch_size), items)
    assert found.epochs >= 50
    assert found.epochs * steps_in(items, found) >= FEWEST
    assert found.epochs == 50 or (found.epochs - 1) * steps_in(items, found) < FEWEST


@pytest.mark.parametrize("chosen", [0, 1, 50, "auto"])
def test_a_number_that_somebody_chose_is_kept(chosen: Any) -> None:
    assert long_enough(Settings(epochs=chosen), 10).epochs == chosen


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_a_small_data_set_is_seen_more_often_and_a_run_goes_on_alike(backend: str, tmp_path: Path) -> None:
    cut = fit(backend, out=tmp_path, callbacks=[lambda entry: entry["epoch"] == 3])
    run = fit(backend, out=tmp_path, resume=True)
    assert (len(cut.history), len(run.history), run.settings.epochs) == (3, 100, 100)
    assert run.notes["stopped"] == "all 100 epochs are done"
    assert ppvae.load(tmp_path).settings.epochs == 100


def test_what_is_watched_takes_no_part_in_the_steps() -> None:
    assert fit("pyro", patience=1000).settings.epochs == 112  # of 36 items, in nine steps
