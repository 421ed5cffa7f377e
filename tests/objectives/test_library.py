"""The libraries' own ELBO classes as objectives: as by hand, by their namesake on the other backend, or refused."""

from __future__ import annotations

from typing import Any

import hand_loops as hand
import numpy as np
import numpyro.infer
import optax
import pyro.infer
import pytest
import torch
from torch import nn

import ppvae
from ppvae import VAE, Batch, Dataset, Program, dist
from ppvae import pyro as words
from ppvae.backends import numpyro as numpyro_engine
from ppvae.backends import pyro as pyro_engine

BACKENDS = ("pyro", "numpyro")
LIBRARIES = {"pyro": pyro.infer, "numpyro": numpyro.infer}
both = pytest.mark.parametrize("backend", BACKENDS)


def fit(backend: str, objective: Any, **more: Any) -> Any:
    return ppvae.fit(
        hand.pair(objective), hand.data(), **{**hand.options(backend), "optimizer": "sgd", "lr": 0.05, **more}
    )


@pytest.mark.parametrize("name", ["TraceMeanField_ELBO", "TraceGraph_ELBO"])
@both
def test_one_takes_the_steps_of_a_loop_by_hand(backend: str, name: str) -> None:
    """Made of the backend's own class, or asked for by the class of the other library."""
    other = LIBRARIES[BACKENDS[1 - BACKENDS.index(backend)]]
    made = getattr(LIBRARIES[backend], name)(num_particles=2)
    if backend == "pyro":
        expected = hand.in_torch(lambda named: torch.optim.SGD(named.values(), lr=0.05), made)
    else:
        expected = hand.in_optax(optax.sgd(0.05), made)
    asked = (made, {}) if name == "TraceMeanField_ELBO" else (getattr(other, name), {"particles": 2})
    hand.assert_close(fit(backend, asked[0], **asked[1]).snapshot.weights, expected)


@both
def test_renyis_bound_is_that_of_each_item_on_both_backends(backend: str) -> None:
    """With half of the data in a batch: ppvae's own bound, whose gradient is known."""
    other = LIBRARIES[BACKENDS[1 - BACKENDS.index(backend)]]
    made = other.RenyiELBO(alpha=0.5, num_particles=4)
    own = ppvae.objectives.renyi(0.5, 4)
    still = {"batch_size": 12, "lr": 1e-9, "epochs": 50}
    runs = [fit(backend, objective, **still) for objective in (made, own)]
    losses, norms = ([[e[k] for e in run.history] for run in runs] for k in ("loss", "gradient_norm"))
    assert np.mean(losses[0]) == pytest.approx(np.mean(losses[1]), abs=0.1)
    assert np.mean(norms[0]) == pytest.approx(np.mean(norms[1]), rel=0.15)


class Coin(Program):
    """k ~ Bernoulli(1/2);  x ~ N(2 k − 1, 1)."""

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            k = words.sample("k", dist.Bernoulli(0.5))
            words.sample("x", dist.Normal((2 * k - 1)[..., None], 1.0).to_event(1), obs=batch.get("x"))


class Toss(Program):
    """k ~ Bernoulli(sigmoid(logit)), which cannot be reparameterised."""

    def __init__(self, infer: dict[str, str] | None = None) -> None:
        super().__init__()
        self.logit, self.infer = nn.Parameter(torch.tensor(0.3)), infer

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            words.sample("k", dist.Bernoulli(logits=self.logit), infer=self.infer)


X = np.array([[0.8], [-0.2]])


def exact() -> tuple[float, float]:
    """The ELBO per item and its derivative by the logit, in closed form."""
    logit = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    q, x = torch.sigmoid(logit), torch.as_tensor(X)
    normal = torch.distributions.Normal(x, 1.0)
    fit = (q * normal.log_prob(torch.tensor(1.0)) + (1 - q) * normal.log_prob(torch.tensor(-1.0))).mean()
    elbo = fit - q * torch.log(q / 0.5) - (1 - q) * torch.log((1 - q) / 0.5)
    (slope,) = torch.autograd.grad(elbo, [logit])
    return elbo.item(), slope.item()


@pytest.mark.parametrize("name", ["TraceGraph_ELBO", "TraceEnum_ELBO"])
@both
def test_a_discrete_latent_is_learned_on_both_backends(backend: str, name: str) -> None:
    """By the score function, or summed out without noise."""
    sums = name == "TraceEnum_ELBO"
    marks = {"enumerate": "parallel"} if sums else None
    vae = VAE(Coin(), Toss(marks), getattr(pyro.infer, name)(num_particles=1 if sums else 1000))
    options = {"backend": backend, "dtype": "float64", "optimizer": "sgd", "lr": 1.0, "epochs": 1, "batch_size": 2}
    run = ppvae.fit(vae, Dataset({"x": X}), **options)
    elbo, slope = exact()
    assert -run.history[0]["loss"] == pytest.approx(elbo, abs=1e-6 if sums else 0.1)
    assert run.snapshot.weights["guide.logit"] - np.float32(0.3) == pytest.approx(slope, abs=1e-6 if sums else 0.04)


class Own(pyro.infer.Trace_ELBO):
    """An estimator of a user's, which needs no name in any list."""


def test_a_users_own_estimator_runs_at_home_alone() -> None:
    expected = fit("pyro", pyro.infer.Trace_ELBO)
    hand.assert_close(fit("pyro", Own).snapshot.weights, dict(expected.snapshot.weights))
    with pytest.raises(ValueError, match="the objective Own is one of pyro's alone; use backend='pyro'"):
        fit("numpyro", Own, callbacks=[pytest.fail])


def test_an_estimator_may_have_a_stage() -> None:
    run = fit("pyro", (ppvae.objectives.Stage(pyro.infer.TraceGraph_ELBO), ppvae.objectives.Stage("elbo")))
    assert [list(entry["sites"]) for entry in run.history] == [["the bound"], ["z", "x"]]


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (pyro.infer.JitTrace_ELBO, "pyro.infer.JitTrace_ELBO cannot be run here; choose TraceEnum_ELBO, TraceMeanFi"),
        (pyro.infer.TraceTMC_ELBO(), "pyro.infer.TraceTMC_ELBO cannot be run here"),
        (pyro.infer.ReweightedWakeSleep, "pyro.infer.ReweightedWakeSleep cannot be run here"),
        (numpyro.infer.elbo.ELBO, "numpyro.infer.ELBO cannot be run here"),
    ],
)
def test_what_cannot_be_run_is_refused_at_construction(objective: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        hand.pair(objective)


@pytest.mark.parametrize("objective", [pyro.infer.SVI, 3, None, Own.__mro__[-1]])
def test_what_is_no_objective_is_refused_at_construction(objective: Any) -> None:
    with pytest.raises(TypeError, match="an objective is a name, a function, or an ELBO of Pyro or NumPyro, not"):
        hand.pair(objective)


@pytest.mark.parametrize(
    ("objective", "options", "said"),
    [
        (
            pyro.infer.RenyiELBO,
            {"beta": 0.5},
            "RenyiELBO tells no latent's share, so beta and kl_warmup cannot weigh it",
        ),
        (numpyro.infer.TraceGraph_ELBO, {"kl_warmup": 2}, "TraceGraph_ELBO tells no latent's share"),
        (
            numpyro.infer.Trace_ELBO(3),
            {"particles": 2},
            "Trace_ELBO was made with particles of its own: drop particles",
        ),
    ],
)
@both
def test_settings_that_would_be_ignored_are_refused(backend: str, objective: Any, options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit(backend, objective, callbacks=[pytest.fail], **options)


class Shared(Program):
    """w ~ N(0, 1);  x ~ N(w, 1), or as a guide q(w) = N(0, 1)."""

    def __init__(self, data: bool) -> None:
        super().__init__()
        self.data = data

    def forward(self, batch: Batch) -> None:
        w = words.sample("w", dist.Normal(0.0, 1.0))
        if self.data:
            with batch.plate():
                words.sample("x", dist.Normal(w, 1.0).expand([1]).to_event(1), obs=batch.get("x"))


@both
def test_an_estimator_that_would_be_wrong_for_a_pair_is_refused(backend: str) -> None:
    marked = VAE(Coin(), Toss({"enumerate": "parallel"}), pyro.infer.TraceGraph_ELBO)
    with pytest.raises(ValueError, match="TraceGraph_ELBO sums no latent out: drop infer="):
        ppvae.init(marked, Dataset({"x": X}), backend=backend)
    with pytest.raises(ValueError, match="RenyiELBO averages weights of each item, and the model's site 'w' is not in"):
        ppvae.init(VAE(Shared(True), Shared(False), pyro.infer.RenyiELBO), Dataset({"x": X}), backend=backend)


@both
def test_the_loss_of_a_whole_estimator_is_told_without_training_too(backend: str) -> None:
    state = ppvae.init(hand.pair(pyro.infer.TraceGraph_ELBO(num_particles=50)), hand.data(), **hand.options(backend))
    plain = ppvae.init(hand.pair(pyro.infer.Trace_ELBO(num_particles=50)), hand.data(), **hand.options(backend))
    engine: Any = {"pyro": pyro_engine, "numpyro": numpyro_engine}[backend]
    losses = []
    for one in (state, plain):
        with engine.environment(one.plan.settings):
            losses.append(engine.validate(one, engine.put(hand.data().arrays), {}, 0))
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
