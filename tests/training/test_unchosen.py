"""Unchosen: how long a run is, and how slowly its prior begins to pull, where nobody says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyro import infer

import ppvae
from ppvae import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.runs.settings import Settings
from ppvae.training.epochs import steps_in
from ppvae.training.unchosen import FEWEST, filled

DATA = Dataset({"a": np.random.default_rng(0).normal(size=(40, 3))})
VAE = ppvae.method("vae", DATA.modalities, latent=1, hidden=(2,))
MVAE = ppvae.method("mvae", DATA.modalities, latent=1, hidden=(2,))


def fit(backend: str, **options: Any) -> Fitted:
    return ppvae.fit(VAE, DATA, backend=backend, progress=False, **{"batch_size": 4, **options})


@given(st.integers(1, 10**6), st.integers(1, 1000))
def test_a_run_has_the_fewest_epochs_of_so_many_steps_and_fifty_at_least(items: int, batch_size: int) -> None:
    found = filled(Settings(batch_size=batch_size), VAE, items)
    assert found.epochs >= 50
    assert found.epochs * steps_in(items, found) >= FEWEST
    assert found.epochs == 50 or (found.epochs - 1) * steps_in(items, found) < FEWEST


@pytest.mark.parametrize("chosen", [0, 1, 50, "auto"])
def test_a_number_that_somebody_chose_is_kept(chosen: Any) -> None:
    assert filled(Settings(epochs=chosen), VAE, 10).epochs == chosen


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_a_small_data_set_is_seen_more_often_and_a_run_goes_on_alike(backend: str, tmp_path: Path) -> None:
    cut = fit(backend, out=tmp_path, callbacks=[lambda entry: entry["epoch"] == 3])
    run = fit(backend, out=tmp_path, resume=True)
    assert (len(cut.history), len(run.history), run.settings.epochs) == (3, 100, 100)
    assert run.notes["stopped"] == "all 100 epochs are done"
    assert ppvae.load(tmp_path).settings.epochs == 100


def test_what_is_watched_takes_no_part_in_the_steps() -> None:
    assert fit("pyro", patience=1000).settings.epochs == 112  # of 36 items, in nine steps


@given(st.integers(1, 10**5), st.integers(0, 500))
def test_mvae_warms_up_for_500_steps_or_half_of_its_epochs(items: int, epochs: int) -> None:
    found = filled(Settings(epochs=epochs), MVAE, items)
    assert found.kl_warmup == min(500 / steps_in(items, found), epochs / 2)
    assert filled(Settings(epochs="auto"), MVAE, items).kl_warmup == 500 / steps_in(items, found)
    assert filled(Settings(epochs=epochs, kl_warmup=0), MVAE, items).kl_warmup == 0
    assert filled(Settings(epochs=epochs), VAE, items).kl_warmup == 0


@pytest.mark.parametrize("vae", [replace(MVAE, objective=infer.RenyiELBO), ppvae.VAE(MVAE.model, MVAE.guide, "mvae")])
def test_other_objectives_and_own_pairs_do_not(vae: ppvae.VAE) -> None:
    assert filled(Settings(), vae, 100).kl_warmup == 0
