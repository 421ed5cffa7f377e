"""What is reported of a model whose items have no latents of their own: evidence and predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pyro.infer.autoguide import AutoNormal

import ppvae
from ppvae import VAE, Dataset, Program, dist, pyro
from ppvae.diagnostics import calibration
from ppvae.report.measures import measure
from ppvae.report.subsets import Effort
from ppvae.report.summary import summary


class Level(Program):
    """One level for all items, measured twice of each."""

    def forward(self, batch: Any) -> None:
        level = pyro.sample("level", dist.Normal(0.0, 5.0))
        with batch.plate():
            for name, sign in (("u", 1), ("v", -1)):
                pyro.sample(name, dist.Normal(sign * level, 1.0).expand([1]).to_event(1), obs=batch.get(name))


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_evidence_and_predictions_are_measured_and_no_latents(backend: str) -> None:
    rng, model = np.random.default_rng(0), Level()
    data = Dataset({"u": rng.normal(2.0, 1.0, (20, 1)), "v": rng.normal(-2.0, 1.0, (20, 1))})
    run = ppvae.fit(VAE(model, AutoNormal(model)), data, backend=backend, epochs=2, progress=False)
    effort = Effort(items=12, weighed=4, particles=25, corrected=2)
    told = summary(measure(run, data, effort=effort, progress=False))
    assert [each.label for each in told.posteriors] == ["u", "v", "everything"]
    for each in told.posteriors:
        assert np.isfinite(each.evidence)
        assert each.khat_share is not None
        assert (each.sbc_p, each.active) == (None, None)
    assert all(each.coverage_90 is not None for each in told.predictions)
    assert set(told.shares.values()) == {0.0}
    with pytest.raises(
        ValueError, match=r"^no item has a latent of its own to look at: sample one within batch\.plate"
    ):
        calibration(run, data, items=4)
