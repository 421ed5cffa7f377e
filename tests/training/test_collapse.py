"""Collapse: latents that tell nothing are told of when training ends, and others are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import ppvae
from ppvae.training.collapse import collapsed


def fitted(lr: float, epochs: int, kl_warmup: int = 0) -> ppvae.Fitted:
    """MVAE of two modalities that show one number, almost without noise."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200, 1))
    noise = rng.normal(size=(200, 5))
    data = ppvae.Dataset({"a": 20 * z + 2 * noise[:, :3], "b": np.hstack([z, -z]) + 0.1 * noise[:, 3:]})
    vae = ppvae.method("mvae", data.modalities, latent=2)
    chosen = {"lr": lr, "epochs": epochs, "kl_warmup": kl_warmup, "batch_size": 50}
    return ppvae.fit(vae, data, backend="pyro", seed=0, progress=True, **chosen)


def test_latents_that_tell_nothing_are_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    run = fitted(lr=0.003, epochs=30)
    sentence = collapsed(run) or ""
    assert sentence.startswith("The latents z tell items apart by no more than")
    assert "kl_warmup=20" in sentence
    assert sentence in " ".join(capsys.readouterr().err.split())
    last = run.history[-1]
    unmeasured = [{**last, "sites": {**last["sites"], "z": 0.0}}]
    assert collapsed(replace(run, history=unmeasured)) is None
    warmed = replace(run, settings=run.settings.model_copy(update={"kl_warmup": 14.2}))
    assert "kl_warmup=29" in (collapsed(warmed) or "")


def test_latents_that_tell_something_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert collapsed(fitted(lr=0.003, epochs=30, kl_warmup=20)) is None
    assert "The latents" not in capsys.readouterr().err
