"""Parameters of single items, as in eight schools: trained by rows or all at once, and refused where they cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro
from ppvae.language import ppl

both = pytest.mark.parametrize("backend", ppl.BACKENDS)

EFFECTS = np.array([2.8, 0.8, -0.3, 0.7, -0.1, 0.1, 1.8, 1.2])
ERRORS = [0.15, 0.1, 0.16, 0.11, 0.09, 0.11, 0.1, 0.18]  # a tenth of theirs, a tenth again: each theta is near its y


def schools() -> Dataset:
    return Dataset({"y": EFFECTS}, modalities=[Modality("y", ())])


class Schools(Program):
    """theta_j ~ Normal(mu, 5), y_j ~ Normal(theta_j, error_j), with mu shared; errors are a buffer by school."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("errors", torch.tensor(ERRORS))

    def forward(self, batch: Any) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
        with batch.plate():
            theta = pyro.sample("theta", dist.Normal(mu, 5.0))
            pyro.sample("y", dist.Normal(theta, self.errors[batch.rows]), obs=batch.get("y"))


class Guide(Program):
    """A location and a scale for each school; how they are declared and picked is said below."""

    def __init__(self) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(2))
        self.loc, self.log_scale = nn.Parameter(torch.zeros(8)), nn.Parameter(torch.ones(8))

    def theta(self, batch: Any) -> Any:
        return dist.Normal(self.loc[batch.rows], self.log_scale[batch.rows].exp())

    def forward(self, batch: Any) -> None:
        pyro.sample("mu", dist.Normal(self.mu[0], self.mu[1].exp()))
        with batch.plate():
            pyro.sample("theta", self.theta(batch))


class Stated(Guide):
    """By pyro.param, of as many rows as there are items."""

    def theta(self, batch: Any) -> Any:
        loc = pyro.param("loc", torch.zeros(8))
        scale = pyro.param("scale", torch.ones(8), constraint=dist.constraints.positive)
        return dist.Normal(loc[batch.rows], scale[batch.rows])


class AtOnce(Guide):
    """All rows, whatever the batch."""

    def theta(self, batch: Any) -> Any:
        return dist.Normal(self.loc, self.log_scale.exp())


class Sized(Guide):
    """As many rows as the batch has."""

    def theta(self, batch: Any) -> Any:
        return dist.Normal(pyro.param("loc", lambda: torch.zeros(batch.size)), 0.1)


class WholeSchools(Schools):
    """The same, all at once."""

    def forward(self, batch: Any) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
        with batch.plate():
            theta = pyro.sample("theta", dist.Normal(mu, 5.0))
            pyro.sample("y", dist.Normal(theta, self.errors), obs=batch.get("y"))


PAIRS: dict[str, tuple[Program, Program, int]] = {
    "rows": (Schools(), Guide(), 4),
    "declared rows": (Schools(), Stated(), 4),
    "all rows": (Schools(), Stated(), 8),
    "at once": (WholeSchools(), AtOnce(), 8),
    "declared at once": (WholeSchools(), Sized(), 8),
}


@both
@pytest.mark.parametrize("pair", PAIRS)
def test_parameters_of_items_find_their_items(pair: str, backend: str) -> None:
    model, guide, batch_size = PAIRS[pair]
    options: dict[str, Any] = {"epochs": 60, "batch_size": batch_size, "lr": 0.1, "dtype": "float64"}
    run = ppvae.fit(VAE(model, guide, "mean_field_elbo"), schools(), backend=backend, **options)
    name = "guide.pyro_params.loc" if "declared" in pair or pair == "all rows" else "guide.loc"
    np.testing.assert_allclose(run.snapshot.weights[name], EFFECTS, atol=0.5)


def test_rows_are_the_same_on_both_backends() -> None:
    for rows in (range(8), [5, 1, 6]):
        found = ppvae.parity(VAE(Schools(), Stated()), schools().batch(rows), dtype="float64")
        assert max(found["max_logprob_difference"], found["max_gradient_difference"]) < 1e-10


@both
def test_what_cannot_train_on_a_few_rows_says_how_it_could(backend: str) -> None:
    for model, guide in ((WholeSchools(), Guide()), (Schools(), AtOnce())):
        with pytest.raises(
            ValueError, match=r"row for each of the 8 items .*self.theta\[batch.rows\], or trained with"
        ):
            ppvae.init(VAE(model, guide), schools(), backend=backend, batch_size=4)
    with pytest.raises(ValueError, match="fails on the data"):
        ppvae.init(VAE(Schools(), Sized()), schools(), backend=backend, batch_size=4)


@both
def test_answers_know_the_rows_of_the_data_that_were_trained_on_and_of_no_others(backend: str) -> None:
    run = ppvae.fit(VAE(Schools(), Guide()), schools(), backend=backend, epochs=1, batch_size=4)
    state = {"loc": np.arange(8.0) * 10, "log_scale": np.full(8, -9.0)}
    weights = {**run.snapshot.weights, **{f"guide.{name}": value.astype(np.float32) for name, value in state.items()}}
    run.vae.pair.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
    np.testing.assert_allclose(run.encode(schools(), draws=3)["theta"].mean(0), state["loc"], atol=1e-2)
    with pytest.raises(
        ValueError, match=r"asks for batch\.rows, the numbers of the items in the data set that is trained"
    ):
        run.encode(schools().take([3, 1, 2]))


class Plain(Program):
    """A model of one latent."""

    def forward(self, batch: Any) -> None:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(z, 10.0), obs=batch.get("y"))


class Doubly(Program):
    """A model that masks a modality itself."""

    def forward(self, batch: Any) -> None:
        with batch.plate():
            z, y = pyro.sample("z", dist.Normal(0.0, 1.0)), batch.get("y")
            pyro.sample("y", dist.Normal(z, 10.0), obs=y, obs_mask=y > 0)


class Imputed(Program):
    """A model that observes a modality where it was measured, as Pyro's texts do."""

    def forward(self, batch: Any) -> None:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(z, 10.0), obs=batch.get("y"), obs_mask=batch.mask("y"))


class Line(Program):
    """A guide with one line more."""

    def __init__(self, line: Callable[[Any, Any], Any], **infer: Any) -> None:
        super().__init__()
        self.line, self.infer, self.gain = line, infer, nn.Parameter(torch.zeros(2))

    def forward(self, batch: Any) -> None:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(self.gain[0] * batch.get("y"), 1.0), infer=self.infer)
            self.line(batch, z)


def nothing(batch: Any, z: Any) -> None:
    pass


@both
def test_what_a_guide_may_not_say_is_one_sentence(backend: str) -> None:
    observing = Line(lambda batch, z: pyro.sample("y", dist.Normal(z, 1.0), obs=batch.get("y")))
    with pytest.raises(ValueError, match="the guide observes its site 'y', but a guide draws latents"):
        ppvae.init(VAE(Plain(), observing), schools(), backend=backend)
    with pytest.raises(
        ValueError, match=r"site 'z' asks for infer=\{\"baseline\": ...\}, which only Pyro's TraceGraph"
    ):
        ppvae.init(
            VAE(Plain(), Line(nothing, baseline={"use_decaying_avg_baseline": True})), schools(), backend=backend
        )
    with pytest.raises(ValueError, match="the guide lacks the site 'z'"):
        ppvae.init(VAE(Plain(), Nothing()), schools(), backend=backend)
    with pytest.raises(ValueError, match=r"site 'y' an obs_mask, but holes of a modality are masked by themselves"):
        ppvae.init(VAE(Doubly(), Line(nothing)), schools(), backend=backend)
    holed = Dataset({"y": np.where(np.arange(8) % 3, np.nan, 1.0)}, modalities=[Modality("y", ())])
    drawing = Line(lambda batch, z: pyro.sample("y_unobserved", dist.Normal(z, 1.0)))
    with pytest.raises(ValueError, match=r"site 'y' an obs_mask, but holes of a modality are masked by themselves"):
        ppvae.init(VAE(Imputed(), drawing), holed, backend=backend)
    for allowed in (nothing, lambda b, z: pyro.deterministic("d", z), factor(has_rsample=True)):
        assert ppvae.init(VAE(Plain(), Line(allowed)), schools(), backend=backend)


def factor(**options: Any) -> Any:
    return lambda batch, z: pyro.factor("f", 0 * z, **options)


@pytest.mark.parametrize("options", [{}, {"has_rsample": False}])
def test_a_factor_whose_gradient_numpyro_would_take_otherwise_is_refused_there(options: dict[str, Any]) -> None:
    pair = VAE(Plain(), Line(factor(**options)))
    assert ppvae.init(pair, schools(), backend="pyro")
    assert ppvae.init(VAE(Plain(), Line(factor(**options)), objective="iwae"), schools(), backend="numpyro")
    with pytest.raises(
        ValueError, match=r"the guide's pyro.factor\('f', ...\) is not marked has_rsample=True, .* mark it"
    ):
        ppvae.init(pair, schools(), backend="numpyro")


class Nothing(Program):
    """A guide of nothing."""

    def forward(self, batch: Any) -> None:
        pass


class Cancelling(Program):
    """Its shift moves nothing, but for rounding that backends do in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.gain, self.shift = nn.Parameter(torch.tensor(0.3)), nn.Parameter(torch.tensor(0.37))

    def forward(self, batch: Any) -> None:
        with batch.plate():
            y = batch.get("y")
            kept = torch.log_softmax(torch.stack([y, 2 * y, 3 * y], -1) + self.shift, -1)
            pyro.sample("z", dist.Normal(self.gain * 3.3 * kept.sum(-1), 1.0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_gradient_that_is_zero_but_for_rounding_is_no_difference(dtype: str) -> None:
    found = ppvae.parity(VAE(Plain(), Cancelling()), schools().batch(), dtype=dtype)
    assert found["ok"], found
