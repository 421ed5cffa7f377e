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
REFUSED: dict[str, tuple[Any, Any, Dataset, str]] = {
    "logarithms": (torch.log1p, normal(4), WHOLE, r"observes 'x' as [\d.]+ where the data have \d+, "),
    "standardised": (lambda x: (x - 5) / 2, normal(4), HOLED, "change the data set so, or the distribution"),
    "another order": (lambda x: x.flip(-1), normal(4), HOLED, "observes 'x' as"),
    "flattened": (lambda x: x.flatten(1), normal(4), PICTURES, r"shape \(4,\) where an item of the data has \(2, 2\)"),
    "one hot": (
        lambda x: one_hot(x.long(), 4),
        lambda: dist.OneHotCategorical(logits=torch.zeros(4)),
        NAMES,
        r"in shape \(4,\) where an item of the data has \(\), .* \.to_event\(0\), or the data set the other",
    ),
}


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_predicted_in_other_units_is_refused(case: str, backend: str) -> None:
    of, family, data, said = REFUSED[case]
    with pytest.raises(ValueError, match=said):
        begun(of, family, data, backend)


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_what_stands_for_the_data_is_let_through(backend: str) -> None:
    for data in (HOLED, WHOLE):
        assert begun(lambda x: x, normal(4), data, backend)
        assert begun(lambda x: x.clamp(0.01, 1e3), normal(4), data, backend)
        assert begun(lambda x: x + 0.5 * torch.rand_like(x), normal(4), data, backend)
    assert begun(lambda x: x.long(), lambda: dist.Categorical(logits=torch.zeros(4)), NAMES, backend)
    assert begun(lambda x: x, normal(4), Dataset({"x": np.zeros((12, 4))}, modalities=[Modality("x", (4,))]), backend)
