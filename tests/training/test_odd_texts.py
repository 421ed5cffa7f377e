"""Texts as people bring them, with nothing to train or a loop over items: trained, or refused in words."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyro as library
import pytest
import torch

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro
from ppvae.language.ppl import handlers

both = pytest.mark.parametrize("backend", ["pyro", "numpyro"])
HEADS = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
DATA = Dataset({"obs": HEADS}, modalities=[Modality("obs", (), "bernoulli")])


class Said(Program):
    """A function of the data as a program."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, batch: Any) -> Any:
        return self.function(batch.get("obs"))


def items(data: Any) -> None:
    with pyro.plate("data", len(data)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("obs", dist.Bernoulli(logits=z), obs=data)


def prior(data: Any) -> None:
    with pyro.plate("data", len(data)):
        pyro.sample("z", dist.Normal(0.0, 1.0))


def nothing(data: Any) -> None:
    """Draws nothing."""


@both
def test_a_pair_without_parameters_is_fitted_and_answers(backend: str) -> None:
    vae = VAE(Said(items), Said(prior))
    assert ppvae.parity(vae, DATA.batch(), dtype="float64")["ok"]
    run = ppvae.fit(vae, DATA, backend=backend, epochs=2, progress=False)
    assert len(run.history) == 2
    np.testing.assert_allclose(
        run.log_evidence(DATA, particles=4000), np.log(0.5), atol=0.05
    )  # heads as often as tails


@both
def test_a_pair_whose_parameters_count_for_nothing_is_fitted(backend: str) -> None:
    vae = VAE(Said(items), Said(prior))
    vae.guide.unused = torch.nn.Parameter(torch.ones(()))
    run = ppvae.fit(vae, DATA, backend=backend, epochs=2, progress=False)
    assert [entry["gradient_norm"] for entry in run.history] == [0.0, 0.0]
    assert run.vae.guide.unused == 1.0


@both
def test_a_function_under_a_handler_runs_from_the_pair_that_holds_it(backend: str, tmp_path: Any) -> None:
    make = lambda: VAE(Said(handlers.scale(items, scale=1.0)), Said(prior))  # noqa: E731
    run = ppvae.fit(make(), DATA, backend=backend, epochs=1, progress=False)
    run.save(tmp_path / "run")
    again = ppvae.load(tmp_path / "run", vae=make())
    np.testing.assert_array_equal(again.log_evidence(DATA, particles=5), run.log_evidence(DATA, particles=5))


def in_a_loop(data: Any) -> None:
    p = pyro.sample("p", dist.Beta(torch.tensor(10.0), torch.tensor(10.0)))
    for i in range(len(data)):
        pyro.sample(f"obs_{i}", dist.Bernoulli(p), obs=data[i])


def in_a_loop_of_a_plate(data: Any) -> None:
    p = pyro.sample("p", dist.Beta(torch.tensor(10.0), torch.tensor(10.0)))
    for i in pyro.plate("data", len(data)):
        pyro.sample(f"obs_{i}", dist.Bernoulli(p), obs=data[i])


def weight(data: Any) -> None:
    pyro.sample("p", dist.Beta(pyro.param("a", torch.tensor(2.0)), torch.tensor(3.0)))


@both
@pytest.mark.parametrize("text", [in_a_loop, in_a_loop_of_a_plate])
def test_items_that_are_observed_one_by_one_are_refused_in_a_sentence(text: Any, backend: str) -> None:
    with pytest.raises(ValueError, match=r"^the model observes 'obs' one item after the other, at the site 'obs_0'"):
        ppvae.fit(VAE(Said(text), Said(weight)), DATA, backend=backend, epochs=1, progress=False)


def unless_given(data: Any) -> None:
    p = pyro.param("p", torch.tensor(0.0))
    if data is not None:
        with pyro.plate("data", len(data)):
            pyro.sample("obs", dist.Bernoulli(logits=p), obs=data)


@both
def test_a_modality_that_is_drawn_nowhere_is_named(backend: str) -> None:
    run = ppvae.fit(VAE(Said(unless_given), Said(nothing)), DATA, backend=backend, epochs=1, progress=False)
    with pytest.raises(ValueError, match=r"^the model has no site 'obs' where that modality is not given"):
        run.query(DATA)


def silent(data: Any) -> None:
    raise AssertionError


def test_what_fails_without_a_word_is_told_by_its_line() -> None:
    with pytest.raises(ValueError, match=r"fails on the data: AssertionError in silent: raise AssertionError$"):
        ppvae.fit(VAE(Said(silent), Said(prior)), DATA, epochs=1)


def all_at_once(data: Any) -> None:
    theta = pyro.param("theta", torch.zeros(len(HEADS)))
    with pyro.plate("data", len(data)):
        pyro.sample("z", dist.Normal(theta, 1.0))


def test_what_pyro_says_of_sites_that_do_not_fit_is_one_line() -> None:
    run = ppvae.fit(VAE(Said(items), Said(all_at_once)), DATA, backend="pyro", epochs=1, batch_size=6, progress=False)
    with pytest.raises(ValueError, match=r"^Shape mismatch inside plate\('items'\) at site z dim -1, 1 vs 6$"):
        run.encode(DATA)


def for_several(data: Any) -> None:
    if len(data) == 1:
        raise RuntimeError("no items alone")
    prior(data)


def test_what_a_text_says_of_an_item_alone_is_told_with_advice() -> None:
    run = ppvae.fit(VAE(Said(items), Said(for_several)), DATA, backend="pyro", epochs=1, batch_size=6, progress=False)
    with pytest.raises(ValueError, match=r"^a program fails on an item alone, .*\(no items alone\): index from"):
        run.encode(DATA)


def test_a_pair_that_does_not_match_is_still_compared() -> None:
    assert ppvae.parity(VAE(Said(items), Said(nothing)), DATA.batch(), dtype="float64")["ok"]


OUTSIDE = torch.nn.Linear(1, 1)


def reaching_out(data: Any) -> None:
    with pyro.plate("data", len(data)):
        pyro.sample("obs", dist.Bernoulli(logits=OUTSIDE(data.unsqueeze(-1)).squeeze(-1)), obs=data)


def in_a_plate(data: Any) -> None:
    with pyro.plate("data", len(data)):
        p = pyro.sample("p", dist.Beta(torch.tensor(10.0), torch.tensor(10.0)))
        pyro.sample("obs", dist.Bernoulli(p), obs=data)


def by_numpy(data: Any) -> None:
    with pyro.plate("data", len(data)):
        pyro.sample(
            "obs", dist.Bernoulli(logits=torch.tensor(np.tanh(pyro.param("p", torch.zeros(())).numpy()))), obs=data
        )


def asserting(data: Any) -> None:
    assert data.dim() == 2, "data must be a matrix"
    items(data)


def of_torch(data: Any) -> None:
    with pyro.plate("data", len(data)):
        pyro.sample("obs", torch.distributions.Bernoulli(logits=torch.zeros(())), obs=data)


ODD: dict[str, tuple[Any, Any, str]] = {
    "weights of others": (reaching_out, nothing, r"^the site 'obs' of Said depends on weights of shape \(1, 1\) that"),
    "one for many": (in_a_plate, weight, r"^the latent 'p' has shape \(.,\) in the model and \(\) in the guide: draw"),
    "numpy": (
        by_numpy,
        nothing,
        r"^the model Said fails on the data: Can't call numpy\(\) on Tensor that requires grad",
    ),
    "of torch": (
        of_torch,
        nothing,
        r"^the model Said fails .*'obs' is given torch's own Bernoulli, .*: write dist.Berno",
    ),
    "assertion": (asserting, prior, "^the model Said fails on the data: data must be a matrix"),
}


@both
@pytest.mark.parametrize("case", ODD)
def test_what_would_train_to_something_else_is_refused_before(case: str, backend: str) -> None:
    model, guide, said = ODD[case]
    with pytest.raises(ValueError, match=said):
        ppvae.fit(VAE(Said(model), Said(guide)), DATA, backend=backend, epochs=1, progress=False)


def test_torchs_own_distribution_is_refused_where_there_are_holes() -> None:
    some = Dataset({"obs": np.array([1.0, np.nan, 0.0, 1.0])}, likelihood={"obs": "bernoulli"})
    with pytest.raises(ValueError, match="'obs' is given torch's own Bernoulli"):
        ppvae.fit(VAE(Said(of_torch), Said(nothing)), some, backend="pyro", epochs=1, progress=False)


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_weights_that_are_to_stay_may_be_anywhere(backend: Any) -> None:
    OUTSIDE.requires_grad_(False)
    try:
        run = ppvae.fit(VAE(Said(reaching_out), Said(nothing)), DATA, backend=backend, epochs=1, progress=False)
        assert ppvae.parity(VAE(Said(reaching_out), Said(nothing)), DATA.batch(), dtype="float64")["ok"]
    finally:
        OUTSIDE.requires_grad_(True)
    assert np.isfinite(run.history[0]["loss"])


def foreign(data: Any) -> None:
    items(data)
    library.sample("w", library.distributions.Normal(0.0, 1.0))


def own(data: Any) -> None:
    prior(data)
    pyro.sample("w", dist.Normal(0.0, 1.0))


def test_sites_of_pyro_itself_are_named_where_numpyro_has_them_not() -> None:
    said = r"^the site 'w' is there on Pyro alone, as its text takes pyro.sample or pyro.factor from Pyro itself"
    with pytest.raises(ValueError, match=said):
        ppvae.fit(VAE(Said(foreign), Said(own)), DATA, backend="numpyro", epochs=1, progress=False)
    with pytest.raises(ValueError, match=said):
        ppvae.parity(VAE(Said(foreign), Said(own)), DATA.batch())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (prior, "must be a ppvae.Program, not function: write it as the forward of a ppvae.Program"),
        (torch.nn.Linear(1, 1), "must be a ppvae.Program, not Linear: let it inherit from ppvae.Program"),
    ],
)
def test_what_is_no_program_is_refused_with_advice(given: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        VAE(Said(items), given)


def in_no_plate(data: Any) -> None:
    pyro.sample("p", dist.Beta(torch.tensor(10.0), torch.tensor(10.0)))
    pyro.sample("obs", dist.Bernoulli(torch.full((len(data),), 0.5)), obs=data)


@both
def test_evidence_without_items_is_refused_in_a_sentence(backend: str) -> None:
    run = ppvae.fit(VAE(Said(in_no_plate), Said(weight)), DATA, backend=backend, epochs=1, progress=False)
    with pytest.raises(ValueError, match=r"^no site is in the plate of items, so that no item has a weight"):
        run.log_evidence(DATA, particles=3)


class Given(Program):
    """Items of one number, whose mean moves with what is given of them; model and guide both look at it."""

    def __init__(self, role: str):
        super().__init__()
        self.role, self.slope = role, torch.nn.Linear(1, 1)
        self.conditions = ("b",) if role == "model" else ()

    def forward(self, batch: Any) -> None:
        moved = self.slope(batch.get("b"))
        with batch.plate():
            z = pyro.sample("z", dist.Normal(moved if self.role == "guide" else torch.zeros(1), 1.0).to_event(1))
            if self.role == "model":
                pyro.sample("x", dist.Normal(z + moved, 1.0).to_event(1), obs=batch.get("x"))


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_what_a_model_takes_as_given_is_named_where_the_guide_takes_it_too(backend: str) -> None:
    numbers = np.random.default_rng(0).normal(size=(8, 2, 1))
    data = Dataset({"x": numbers[:, 0], "b": numbers[:, 1]})
    run = ppvae.fit(VAE(Given("model"), Given("guide")), data, backend=backend, epochs=1, progress=False)
    with pytest.raises(ValueError, match="the modality 'b', which it takes as given, is not there"):
        run.generate(3)
    assert run.query(data, draws=2)["x"].shape == (2, 8, 1)


class Scaled(Program):
    """Items of one number, whose deviation is given."""

    conditions = ("b",)

    def forward(self, batch: Any) -> None:
        with batch.plate():
            pyro.sample("x", dist.Normal(0.0, batch.get("b")).to_event(1), obs=batch.get("x"))


@both
def test_a_parameter_that_is_not_given_is_named(backend: str) -> None:
    data = Dataset({"x": np.ones((6, 1)), "b": np.ones((6, 1))})
    run = ppvae.fit(VAE(Scaled(), Said(nothing)), data, backend=backend, epochs=1, progress=False)
    with pytest.raises(ValueError, match="the modality 'b', which it takes as given, is not there"):
        run.query(data.only(["x"]))


class Unsaid(library.distributions.TorchDistribution):
    """A density of a user's, who has not said on what."""

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, loc: Any):
        self.loc = loc
        super().__init__(loc.shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return Unsaid(self.loc.expand(batch_shape))

    def log_prob(self, value: Any) -> Any:
        return -((value - self.loc) ** 2)


def unsupported(data: Any) -> None:
    with pyro.plate("data", len(data)):
        pyro.sample("obs", Unsaid(torch.zeros(len(data))), obs=data)


@both
def test_a_distribution_that_does_not_say_its_support_is_trained(backend: str) -> None:
    run = ppvae.fit(VAE(Said(unsupported), Said(nothing)), DATA, backend=backend, epochs=1, progress=False)
    assert run.history[0]["loss"] == pytest.approx((HEADS**2).mean())


class Holding(Program):
    """Items by what it holds: a module of Python's, a compiled function, or anything."""

    def __init__(self, function: Any, held: Any):
        super().__init__()
        self.function, self.held, self.loc = function, [held], torch.nn.Parameter(torch.zeros(()))

    def forward(self, batch: Any) -> None:
        with batch.plate():
            logits = self.function(self.held[0], self.loc)
            pyro.sample("obs", dist.Bernoulli(logits=logits), obs=batch.get("obs"))


@both
def test_a_module_of_python_that_a_program_holds_is_shared_by_its_copies(backend: str) -> None:
    vae = VAE(Holding(lambda held, x: held.exp(x), torch), Said(nothing))
    run = ppvae.fit(vae, DATA, backend=backend, epochs=1, progress=False)
    assert run.vae.model.held == [torch]
    assert ppvae.parity(vae, DATA.batch(), dtype="float64")["ok"]


@both
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_compiled_function_that_a_program_holds_is_shared_by_its_copies(backend: str) -> None:
    traced = torch.jit.trace(lambda x: torch.exp(x), torch.zeros(()))
    vae = VAE(Holding(lambda held, x: held(x), traced), Said(nothing))
    plain = VAE(Holding(lambda held, x: held.exp(x), torch), Said(nothing))
    first, second = (ppvae.fit(v, DATA, backend=backend, epochs=2, progress=False) for v in (vae, plain))
    assert first.history[-1]["loss"] == pytest.approx(second.history[-1]["loss"], rel=1e-6)


@both
def test_what_has_no_copy_is_refused_in_a_sentence(backend: str) -> None:
    with pytest.raises(ValueError, match=r"^Holding holds what has no copy \(cannot pickle 'generator' object\), and"):
        ppvae.fit(
            VAE(Holding(lambda _, x: x, (i for i in ())), Said(nothing)),
            DATA,
            backend=backend,
            epochs=1,
            progress=False,
        )
