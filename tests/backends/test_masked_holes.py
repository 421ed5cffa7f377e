"""Masks of a text's own beside holes: both hide what they hide, on both backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyro as library
import pytest
import torch
from scipy import stats

import ppvae
from ppvae import VAE, Batch, Program, dist, pyro

X = np.random.default_rng(0).normal(size=(6, 3))
X[1, 2] = X[3] = np.nan
SEEN, ITEMS, ELEMENTS = ~np.isnan(X), np.arange(6) != 4, np.array([True, False, True])


def normal() -> Any:
    return dist.Normal(pyro.param("loc", torch.zeros(3)), 1.0)


def by_a_handler(x: Any) -> None:
    with pyro.poutine.mask(mask=torch.as_tensor(ITEMS)):
        pyro.sample("x", normal().to_event(1), obs=x)


MASKED: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "items": (
        lambda x: pyro.sample("x", normal().to_event(1).mask(torch.as_tensor(ITEMS)), obs=x),
        ITEMS[:, None],
    ),
    "both": (
        lambda x: pyro.sample(
            "x", normal().mask(torch.as_tensor(ELEMENTS)).to_event(1).mask(torch.as_tensor(ITEMS)), obs=x
        ),
        ITEMS[:, None] & ELEMENTS,
    ),
    "handler": (by_a_handler, ITEMS[:, None]),
}


class Said(Program):
    """A text of the data."""

    def __init__(self, text: Callable[[Any], Any]):
        super().__init__()
        self.text = text

    def forward(self, batch):
        with batch.plate():
            self.text(batch.get("x"))


@pytest.mark.parametrize("case", MASKED)
def test_what_counts_is_seen_and_not_masked(case: str) -> None:
    text, shown = MASKED[case]
    vae, batch = VAE(Said(text), Said(lambda _: None)), Batch({"x": X})
    assert ppvae.parity(vae, batch, dtype="float64")["ok"]
    site = library.poutine.trace(vae.model).get_trace(batch)
    site.compute_log_prob()
    expected = np.where(SEEN & shown, stats.norm.logpdf(np.nan_to_num(X)), 0.0).sum(-1)
    np.testing.assert_allclose(site.nodes["x"]["log_prob"].detach(), expected, rtol=1e-5)
