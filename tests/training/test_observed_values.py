"""What a model observes are the data: answers are taken for values of theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro

COUNTS = np.random.default_rng(0).poisson(5, size=(12, 4)).astype(float)


class Seen(Program):
    """x ~ family, as a function of the data; all its parameters are fixed."""

    def __init__(self, of: Callable[[Any], Any], family: Callable[[], Any]) -> None:
        super().__init__()
        self.of, self.family = of, family

    def forward(self, batch: Any) -> None:
        x = batch.get("x")
        with batch.plate():
            pyro.sample("x", self.family(), obs=None if x is None else self.of(x))


class Nothing(Program):
    def forward(self, batch: Any) -> None:
        pass


def normal(*shape: int) -> Callable[[], Any]:
    return lambda: dist.Normal(0.0, 5.0).expand(shape).to_event(len(shape))


def begun(of: Callable[[Any], Any], family: Callable[[], Any], data: Dataset, backend: str) -> Any:
    return ppvae.init(VAE(Seen(of, family), Nothing()), data, backend=backend)


WHOLE = Dataset({"x": COUNTS}, modalities=[Modality("x", (4,))])
HOLED = Dataset({"x": np.where(np.arange(48).reshape(12, 4) % 5, COUNTS, np.nan)}, modalities=[Modality("x", (4,))])
PICTURES = Dataset({"x": COUNTS.reshape(12, 2, 2)}, modalities=[Modality("x", (2, 2))])
NAMES = Dataset({"x": COUNTS[:, 0].clip(0, 3)}, modalities=[Modality("x", (), "categorical", levels=4)])
OTHERS: dict[str, tuple[Any, Dataset]] = {
    "logarithms": (torch.log1p, WHOLE),
    "standardised": (lambda x: (x - 5) / 2, HOLED),
    "another order": (lambda x: x.flip(-1), HOLED),
}
both = pytest.mark.parametrize("backend", ["pyro", "numpyro"])


@both
@pytest.mark.parametrize("case", OTHERS)
def test_what_is_predicted_in_other_units_is_told(case: str, backend: str) -> None:
    of, data = OTHERS[case]
    with pytest.warns(UserWarning, match=r"observes 'x' as -?[\d.]+ where the data have \d+, so that .* change the"):
        begun(of, normal(4), data, backend)


@both
def test_what_has_other_numbers_than_an_item_is_refused(backend: str) -> None:
    said = r"in shape \(4,\) where an item of the data has \(\), .* \.to_event\(0\), or the data set the other"
    with pytest.raises(ValueError, match=said):
        begun(lambda x: one_hot(x.long(), 4), lambda: dist.OneHotCategorical(logits=torch.zeros(4)), NAMES, backend)


@both
def test_pictures_may_be_observed_flat(backend: str) -> None:
    """As Pyro's tutorials have it; answers have the shape of the data."""
    run = ppvae.fit(VAE(Seen(lambda x: x.flatten(1), normal(4)), Nothing()), PICTURES, backend=backend, epochs=0)
    assert run.query(PICTURES, draws=3)["x"].shape == (3, 12, 2, 2)
    assert run.generate(5)["x"].shape == (5, 2, 2)


@both
def test_what_stands_for_the_data_is_let_through(backend: str) -> None:
    for data in (HOLED, WHOLE):
        assert begun(lambda x: x, normal(4), data, backend)
        assert begun(lambda x: x.clamp(0.01, 1e3), normal(4), data, backend)
        assert begun(lambda x: x + 0.5 * torch.rand_like(x), normal(4), data, backend)
    assert begun(lambda x: x.long(), lambda: dist.Categorical(logits=torch.zeros(4)), NAMES, backend)
    assert begun(lambda x: x, normal(4), Dataset({"x": np.zeros((12, 4))}, modalities=[Modality("x", (4,))]), backend)
