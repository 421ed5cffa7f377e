"""Validation: held-out items are checked like those of training, and what they lack is a hole, on both backends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import linear_gaussian as lg
import numpy as np
import pytest
import torch

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro

BACKENDS = ("pyro", "numpyro")
SMALL = {"latent": 2, "hidden": (4,)}


def held_out(truth: lg.LinearGaussian, case: str) -> dict[str, np.ndarray]:
    """Items that lack modalities, or elements of them, or hold them in another order or type."""
    values = truth.draw(7, seed=2)
    if case == "holes":
        return {"c": lg.with_holes(values, seed=3)["c"]}
    return {
        "b alone": {"b": values["b"]},
        "reversed": dict(reversed(values.items())),
        "integers": {"a": values["a"].astype(int), "b": values["b"].astype(np.float32)},
        "many": {"b": truth.draw(1201, seed=4)["b"]},
    }[case]


@pytest.mark.parametrize(
    ("case", "backend"),
    [(case, "pyro") for case in ("holes", "b alone", "reversed", "integers", "many")]
    + [("holes", "numpyro"), pytest.param("many", "numpyro", marks=pytest.mark.slow)],
)
def test_the_loss_is_minus_the_evidence_of_what_there_is(case: str, backend: str) -> None:
    """Under the exact posterior every draw's ELBO is the evidence, so that both backends must give that number."""
    truth, values = lg.general(), held_out(lg.general(), case)
    data = lg.dataset(truth, truth.draw(20, seed=1))
    vae = VAE(lg.joint(truth), lg.Exact(truth))
    options = {"backend": backend, "epochs": 1, "lr": 1e-12, "dtype": "float64"}
    run = ppvae.fit(vae, data, validation=Dataset(values, likelihood=dict.fromkeys(values, "normal")), **options)
    assert run.history[0]["validation_loss"] == pytest.approx(-truth.evidence(values).mean(), abs=1e-6)


def train() -> Dataset:
    rng = np.random.default_rng(0)
    arrays = {"x": rng.normal(size=(30, 3)), "kind": rng.integers(0, 3, (30, 1)), "count": rng.poisson(2.0, (30, 2))}
    modalities = [
        Modality("x", (3,)),
        Modality("kind", (1,), "categorical", levels=3),
        Modality("count", (2,), "poisson"),
    ]
    return Dataset(arrays, modalities=modalities)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.ones((5, 1))}, r"validation: .*'x' has items of shape \(1,\), but shape \(3,\) was declared"),
        ({"kind": np.full((5, 1), 3)}, "validation: .*'kind' is categorical: it takes whole numbers from 0 to 2"),
        ({"count": np.full((5, 2), -1.0)}, "validation: .*'count' is poisson: .* holds -1"),
        ({"y": np.ones((5, 3))}, "validation has the modality 'y', which the training data lack; they have x, kind"),
        ({"x": np.ones((5, 3)), "y": np.ones((5, 3))}, r"leave it out: validation.only\(\['x'\]\)"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(
    arrays: dict[str, np.ndarray], said: str, backend: str, tmp_path: Path
) -> None:
    vae, out = ppvae.method("mvae", train().modalities, **SMALL), tmp_path / "never"
    wrong = Dataset(arrays, likelihood=dict.fromkeys(arrays, "normal"))
    with pytest.raises(ValueError, match=said):
        ppvae.fit(vae, train(), validation=wrong, backend=backend, epochs=1, out=out, callbacks=[pytest.fail])
    assert not out.exists()


def test_arrays_are_no_data_set() -> None:
    vae = ppvae.method("mvae", train().modalities, **SMALL)
    with pytest.raises(TypeError, match="validation takes a Dataset, not dict"):
        ppvae.fit(vae, train(), validation=train().arrays)


class Waiting(Program):
    """A program of one's own, whose likelihood knows what the declared modality does not: times are above zero."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = torch.nn.Parameter(torch.ones(()))

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            rate = (self.rate + z).exp()[..., None]
            pyro.sample("time", dist.Exponential(rate).to_event(1), obs=batch.get("time"))


class Guess(Program):
    """q(z) of all items alike."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = torch.nn.Parameter(torch.zeros(()))

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            pyro.sample("z", dist.Normal(self.loc, 1.0))


def test_a_distribution_of_ones_own_is_asked_too() -> None:
    times = np.random.default_rng(0).exponential(size=(10, 1))
    wrong = Dataset({"time": -np.ones((3, 1))}, likelihood={"time": "normal"})
    with pytest.raises(ValueError, match=r"validation: the model gives 'time' the distribution Exponential.*-1"):
        ppvae.fit(VAE(Waiting(), Guess()), Dataset({"time": times}), validation=wrong)
