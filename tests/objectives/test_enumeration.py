"""Enumeration: labels summed out by the model, the guide or both, against brute force and Pyro's own estimator."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from objective_harness import BACKENDS, SETTINGS, evaluate, gradients, shares
from objective_harness import total as summed
from pyro.infer import TraceEnum_ELBO
from scipy import stats
from scipy.special import logsumexp, softmax
from torch import nn

import ppvae
from ppvae import VAE, Dataset, Program, dist, distribution, ops, pyro
from ppvae.backends import pyro as engine
from ppvae.objectives import stages
from ppvae.objectives.elbo import elbo
from ppvae.objectives.multisample import BOUND, dreg, iwae, renyi, stl
from ppvae.objectives.subsets import mvae

both = pytest.mark.parametrize("backend", BACKENDS)

ENUMERATED = {"enumerate": "parallel"}
LABELS, COLOURS = 3, 2
RNG = np.random.default_rng(0)
VALUES = {"x": RNG.normal(size=(4, 2)), "y": RNG.normal(size=(4, 1))}
VALUES["y"][2] = np.nan
NOISE = np.array([0.7, -1.1])

WEIGHTS = {
    "label_logits": RNG.normal(size=LABELS),
    "colour_logits": RNG.normal(size=(LABELS, COLOURS)),
    "centres": RNG.normal(size=(LABELS, 2)),
    "offsets": RNG.normal(size=(LABELS, 2)),
    "shades": RNG.normal(size=(COLOURS, 1)),
}


class Weighted(Program):
    """A program that holds the weights."""

    def __init__(self) -> None:
        super().__init__()
        for name, value in WEIGHTS.items():
            setattr(self, name, nn.Parameter(torch.as_tensor(value)))

    def label(self, logits: Any) -> Any:
        return pyro.sample("label", dist.Categorical(logits=logits), infer=ENUMERATED)

    def colour(self, logits: Any) -> Any:
        return pyro.sample("colour", dist.Categorical(logits=logits), infer=ENUMERATED)


class Clusters(Weighted):
    """``label``; ``z | label``; ``x | z``: the prior of z is a mixture."""

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            label = self.label(self.label_logits)
            z = pyro.sample("z", dist.Normal(self.centres[label], 0.8).to_event(1))
            pyro.sample("x", dist.Normal(z, 0.5).to_event(1), obs=batch.get("x"))
            pyro.sample("y", dist.Normal(z[..., :1], 0.9).to_event(1), obs=batch.get("y"))


class Labelled(Weighted):
    """``label``; ``z``; ``x | z, label``; ``y | z``."""

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            label = self.label(self.label_logits)
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            pyro.sample("x", dist.Normal(z + self.offsets[label], 0.5).to_event(1), obs=batch.get("x"))
            pyro.sample("y", dist.Normal(z[..., :1], 0.9).to_event(1), obs=batch.get("y"))


class Coloured(Weighted):
    """``label``; ``colour | label``; ``z | label``; ``x | z, label``; ``y | z, colour``."""

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            label = self.label(self.label_logits)
            colour = self.colour(self.colour_logits[label])
            z = pyro.sample("z", dist.Normal(self.centres[label], 0.8).to_event(1))
            pyro.sample("x", dist.Normal(z + self.offsets[label], 0.5).to_event(1), obs=batch.get("x"))
            mean = z[..., :1] + self.shades[colour]
            pyro.sample("y", dist.Normal(mean, 0.9).to_event(1), obs=batch.get("y"))


def still(loc: Any, scale: float) -> Any:
    """A normal whose noise is always the same, so that any two programs draw the same latents."""
    noise = ops.as_tensor(NOISE)

    def sample(draw: Any) -> Any:
        return loc + scale * (noise + 0.0 * draw(dist.Normal(ops.zeros_like(loc), 1.0)))

    def log_prob(z: Any) -> Any:
        return dist.Normal(loc, scale).log_prob(z).sum(-1)

    return distribution(sample, log_prob, loc.shape[:-1], loc.shape[-1:])


class Plain(Weighted):
    """``z | x``, no label."""

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            pyro.sample("z", still(0.5 * batch.get("x"), 0.6))


class Labelling(Weighted):
    """``label | x``; ``z | x, label``."""

    def forward(self, batch: Any) -> Any:
        x = batch.get("x")
        x = ops.zeros(batch.size, 2) if x is None else x
        with batch.plate():
            label = self.label(ops.einsum("nd,kd->nk", x, self.offsets))
            pyro.sample("z", still(0.5 * x + 0.3 * self.centres[label], 0.6))


class Colouring(Labelling):
    """``label | x``; ``colour | x, label``; ``z | x, label``."""

    def forward(self, batch: Any) -> Any:
        x = batch.get("x")
        with batch.plate():
            label = self.label(ops.einsum("nd,kd->nk", x, self.offsets))
            self.colour(x[..., :1] * self.colour_logits[label])
            pyro.sample("z", still(0.5 * x + 0.3 * self.centres[label], 0.6))


# Brute force, in numpy: log densities of one item by label and colour.


def log_p(model: type, z: np.ndarray, label: int, colour: int, row: int, values: Any = VALUES) -> tuple[float, float]:
    """Of the latents, and of the data given them."""
    w = WEIGHTS
    prior = np.log(softmax(w["label_logits"]))[label]
    clustered = model in (Clusters, Coloured)
    prior += stats.norm.logpdf(z, w["centres"][label] if clustered else 0.0, 0.8 if clustered else 1.0).sum()
    if model is Coloured:
        prior += np.log(softmax(w["colour_logits"][label]))[colour]
    x, y, fit = values["x"][row], values["y"][row], 0.0
    if not np.isnan(x).any():
        fit += stats.norm.logpdf(x, z if model is Clusters else z + w["offsets"][label], 0.5).sum()
    if not np.isnan(y).any():
        fit += stats.norm.logpdf(y, z[:1] + (w["shades"][colour] if model is Coloured else 0.0), 0.9).sum()
    return prior, fit


def log_q(guide: type, label: int, colour: int, row: int, values: Any = VALUES) -> tuple[Any, float, float, float]:
    """The draw of z, its log density, and those of label and colour."""
    x, w = np.nan_to_num(values["x"][row]), WEIGHTS
    loc = 0.5 * x + (0.0 if guide is Plain else 0.3 * w["centres"][label])
    q_label = np.log(softmax(x @ w["offsets"].T))[label]
    q_colour = np.log(softmax(x[0] * w["colour_logits"][label]))[colour]
    return loc + 0.6 * NOISE, stats.norm.logpdf(0.6 * NOISE, 0.0, 0.6).sum(), q_label, q_colour


def brute_elbo(model: type, guide: type, row: int, beta: float = 1.0) -> float:
    """What the guide enumerates in the mean, what the model alone does inside the logarithm."""
    colours = range(COLOURS) if model is Coloured else (0,)
    labels = range(LABELS)
    if guide is Plain:
        z, q_z, _, _ = log_q(guide, 0, 0, row)
        each = [log_p(model, z, *pair, row) for pair in itertools.product(labels, colours)]
        prior = logsumexp([p for p, _ in each])
        return logsumexp([p + f for p, f in each]) - prior + beta * (prior - q_z)
    found = 0.0
    for label in labels:
        z, q_z, q_label, _ = log_q(guide, label, 0, row)
        if guide is Labelling:
            each = [log_p(model, z, label, colour, row) for colour in colours]
            prior = logsumexp([p for p, _ in each])
            inner = logsumexp([p + f for p, f in each]) - prior + beta * (prior - q_z - q_label)
            found += np.exp(q_label) * inner
            continue
        for colour in colours:
            (p, f), q_colour = log_p(model, z, label, colour, row), log_q(guide, label, colour, row)[3]
            found += np.exp(q_label + q_colour) * (f + beta * (p - q_z - q_label - q_colour))
    return found


def brute_weight(model: type, guide: type, row: int) -> float:
    """``log Σ p(x, z, label, colour) / q(z | label)``, everything discrete summed out."""
    colours, found = range(COLOURS) if model is Coloured else (0,), []
    for label, colour in itertools.product(range(LABELS), colours):
        z, q_z, _, _ = log_q(guide, label, colour, row)
        found.append(sum(log_p(model, z, label, colour, row)) - q_z)
    return logsumexp(found)


PAIRS = [
    (Clusters, Plain),
    (Labelled, Plain),
    (Coloured, Plain),
    (Clusters, Labelling),
    (Labelled, Labelling),
    (Coloured, Labelling),
    (Coloured, Colouring),
]
pairs = pytest.mark.parametrize(("model", "guide"), PAIRS, ids=lambda program: program.__name__)


def some_on_numpyro(slow: Sequence[int] = ()) -> Any:
    """Every pair on Pyro and three on NumPyro, of which those of ``slow`` are left to the slow tests."""
    there = [pytest.param("numpyro", *PAIRS[i], marks=[pytest.mark.slow] if i in slow else []) for i in (0, 5, 6)]
    return pytest.mark.parametrize(
        ("backend", "model", "guide"),
        [*(("pyro", *pair) for pair in PAIRS), *there],
        ids=lambda part: getattr(part, "__name__", part),
    )


def vae(model: Callable[[], Program], guide: Callable[[], Program]) -> VAE:
    return VAE(model(), guide())


@some_on_numpyro(slow=[0, 5])
def test_the_elbo_is_that_of_brute_force(backend: str, model: type, guide: type) -> None:
    beta = 0.3
    expected = [brute_elbo(model, guide, row, beta) for row in range(4)]
    chosen = [elbo(), stl(3)] if backend == "numpyro" else [elbo(), elbo(analytic=False), stl(), stl(3), renyi(1.0, 3)]
    for objective in chosen:
        found = shares(backend, vae(model, guide), objective, VALUES, beta=beta)
        np.testing.assert_allclose(summed(found), expected, rtol=1e-10)


@some_on_numpyro()
def test_log_weights_sum_over_everything_discrete(backend: str, model: type, guide: type) -> None:
    expected = [brute_weight(model, guide, row) for row in range(4)]
    for objective in [dreg(3)] if backend == "numpyro" else [iwae(1), iwae(3), dreg(1), dreg(3), renyi(0.5, 3)]:
        found = shares(backend, vae(model, guide), objective, VALUES)[BOUND]
        np.testing.assert_allclose(found, expected, rtol=1e-10)


@both
def test_shares_keep_the_names_of_data_and_of_the_guides_latents(backend: str) -> None:
    """A missing modality has no share, whatever it has in common with others; the cluster has no name of its own."""
    found = shares(backend, vae(Coloured, Plain), elbo(), VALUES)
    assert set(found) == {"x", "y", "z"}
    assert abs(found["y"][2]) < 1e-12
    assert set(shares(backend, vae(Coloured, Labelling), elbo(), VALUES)) == {"x", "y", "z", "label"}


@both
def test_parts_of_a_batch_enumerate_too(backend: str) -> None:
    found = summed(shares(backend, vae(Labelled, Labelling), mvae(random=0), VALUES))
    expected = []
    for row in range(4):
        terms = 0.0
        for lost in ({}, {"y": np.nan}, {"x": np.nan}):
            part = {name: array + lost.get(name, 0.0) for name, array in VALUES.items()}
            for label in range(LABELS):
                z, q_z, q_label, _ = log_q(Labelling, label, 0, row, part)
                terms += np.exp(q_label) * (sum(log_p(Labelled, z, label, 0, row, part)) - q_z - q_label)
        expected.append(terms)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("model", "guide", "objective"),
    [
        pytest.param(Coloured, Plain, elbo(), id="Coloured-Plain-elbo"),
        pytest.param(Coloured, Plain, dreg(2), id="Coloured-Plain-dreg", marks=pytest.mark.slow),
        pytest.param(Coloured, Plain, stl(2), id="Coloured-Plain-stl", marks=pytest.mark.slow),
        pytest.param(Coloured, Labelling, elbo(), id="Coloured-Labelling-elbo"),
        pytest.param(Coloured, Labelling, dreg(2), id="Coloured-Labelling-dreg"),
        pytest.param(Coloured, Labelling, stl(2), id="Coloured-Labelling-stl", marks=pytest.mark.slow),
    ],
)
def test_both_backends_have_the_same_gradient(model: type, guide: type, objective: Any) -> None:
    (_, one), (_, other) = (
        evaluate(backend, vae(model, guide), objective, VALUES, gradients=True) for backend in BACKENDS
    )
    for name, slope in one.items():
        np.testing.assert_allclose(slope, other[name], rtol=1e-8, atol=1e-10, err_msg=name)


@pairs
@pytest.mark.parametrize("total", [4, 20])
def test_the_elbo_and_its_gradient_are_those_of_pyros_own_estimator(model: type, guide: type, total: int) -> None:
    """TraceEnum_ELBO scales the items of a batch up to all; per item both are the same."""
    pair = vae(model, guide)
    found, slopes = evaluate("pyro", pair, elbo(analytic=False), VALUES, total=total, gradients=True)
    with engine.environment(SETTINGS):
        holes = {"y": ~np.isnan(VALUES["y"])}
        batch = ppvae.Batch(engine.put(VALUES), engine.put(holes), total)
        loss = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(pair.model, pair.guide, batch) / total
        named = dict(pair.pair.named_parameters())
        theirs = torch.autograd.grad(loss, list(named.values()), allow_unused=True, materialize_grads=True)
    assert -summed(found).mean() == pytest.approx(loss.item(), rel=1e-10)
    for (name, slope), other in zip(slopes.items(), theirs, strict=True):
        np.testing.assert_allclose(slope, -other.numpy(), rtol=1e-8, atol=1e-10, err_msg=name)


def test_a_label_that_the_guide_enumerates_learns_from_the_elbo_alone() -> None:
    pair, logits = vae(Labelled, Labelling), "guide.offsets"
    plain, stuck, weighted = (
        gradients("pyro", pair, objective, VALUES)[logits] for objective in (elbo(analytic=False), stl(), iwae(2))
    )
    assert plain.any()
    np.testing.assert_allclose(stuck, plain, rtol=1e-10)
    assert not weighted.any()


@both
def test_a_chance_of_zero_counts_nothing(backend: str) -> None:
    class Certain(Weighted):
        def forward(self, batch: Any) -> Any:
            x = batch.get("x")
            with batch.plate():
                certain = dist.Categorical(probs=ops.as_tensor(np.array([0.0, 1.0, 0.0])))
                label = pyro.sample("label", certain, infer=ENUMERATED)
                pyro.sample("z", still(0.5 * x + 0.3 * self.centres[label], 0.6))

    found, slopes = evaluate(backend, vae(Labelled, Certain), elbo(analytic=False), VALUES, gradients=True)
    expected = []
    for row in range(4):
        z, q_z, _, _ = log_q(Labelling, 1, 0, row)
        expected.append(sum(log_p(Labelled, z, 1, 0, row)) - q_z)
    np.testing.assert_allclose(summed(found), expected, rtol=1e-10)
    assert all(np.isfinite(slope).all() for slope in slopes.values())


# A user's own program, trained.


class UserModel(Program):
    """Two clusters in the plane."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor([[0.5, 0.0], [-0.5, 0.0]]))

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            label = pyro.sample("label", dist.Bernoulli(0.5), infer=ENUMERATED)
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            loc = label[..., None] * self.loc[0] + (1 - label[..., None]) * self.loc[1]
            pyro.sample("x", dist.Normal(loc + 0.3 * z, 0.3).to_event(1), obs=batch.get("x"))


class UserGuide(Program):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(2, 1)
        self.gain = nn.Parameter(torch.zeros(2))

    def forward(self, batch: Any) -> Any:
        x = batch.get("x")
        with batch.plate():
            pyro.sample("label", dist.Bernoulli(logits=self.net(x)[..., 0]), infer=ENUMERATED)
            pyro.sample("z", dist.Normal(self.gain * x, 0.9).to_event(1))


@pytest.fixture(scope="module")
def blobs() -> Dataset:
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 200)
    return Dataset({"x": np.where(label, 2.0, -2.0)[:, None] * [1.0, 0.5] + 0.4 * rng.normal(size=(200, 2))})


@both
def test_a_plain_program_trains_and_finds_its_clusters(backend: str, blobs: Dataset) -> None:
    torch.manual_seed(0)
    pair = VAE(UserModel(), UserGuide())
    fitted = ppvae.fit(pair, blobs, backend=backend, epochs=40, batch_size=50, lr=0.05)
    losses = [entry["loss"] for entry in fitted.history]
    assert losses[-1] < losses[0] - 5
    assert set(fitted.history[0]["sites"]) == {"x", "z", "label"}
    centres = fitted.vae.model.loc.detach().numpy()
    assert np.abs(np.sort(centres, 0) - [[-2, -1], [2, 1]]).max() < 0.25
    evidence = fitted.log_evidence(blobs, particles=200).mean()
    assert -losses[-1] < evidence < -losses[-1] + 1.0


def test_a_name_of_a_librarys_estimator_stands_for_our_own_where_labels_are_enumerated(blobs: Dataset) -> None:
    pair = VAE(UserModel(), UserGuide(), "mean_field_elbo")
    state = ppvae.init(pair, blobs, backend="pyro")
    assert callable(state.plan.objective(0))
    assert [stage.objective for stage in stages("elbo")] == ["elbo"]


class Wrong(UserModel):
    """A model whose label is made wrongly."""

    def __init__(self, label: Callable[[], Any], infer: dict[str, str], inside: bool = True) -> None:
        super().__init__()
        self.make, self.infer, self.inside = label, infer, inside

    def forward(self, batch: Any) -> Any:
        if not self.inside:
            pyro.sample("label", self.make(), infer=self.infer)
        with batch.plate():
            if self.inside:
                pyro.sample("label", self.make(), infer=self.infer)
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            pyro.sample("x", dist.Normal(z, 0.3).to_event(1), obs=batch.get("x"))


class OnlyZ(Program):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(2))

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            pyro.sample("z", dist.Normal(self.gain * batch.get("x"), 0.9).to_event(1))


@both
@pytest.mark.parametrize(
    "model",
    [
        Wrong(lambda: dist.Poisson(2.0), ENUMERATED),
        Wrong(lambda: dist.Normal(0.0, 1.0), ENUMERATED),
        Wrong(lambda: dist.Bernoulli(0.5).expand([3]).to_event(1), ENUMERATED),
        Wrong(lambda: dist.Categorical(logits=ops.zeros(3)), {**ENUMERATED, "num_samples": 3}),
        Wrong(lambda: dist.Categorical(logits=ops.zeros(3)), ENUMERATED, inside=False),
    ],
    ids=["infinite", "continuous", "event", "sampled", "shared"],
)
def test_what_cannot_be_enumerated_is_named_before_training(backend: str, model: Program, blobs: Dataset) -> None:
    with pytest.raises(ValueError, match="the model's site 'label' cannot be enumerated; what can is a"):
        ppvae.fit(VAE(model, OnlyZ()), blobs, backend=backend, epochs=1)


@both
def test_a_program_that_cannot_take_all_values_at_once_is_named_before_training(backend: str, blobs: Dataset) -> None:
    class Narrow(UserModel):
        def forward(self, batch: Any) -> Any:
            with batch.plate():
                label = pyro.sample("label", dist.Bernoulli(0.5), infer=ENUMERATED)
                z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
                loc = label.reshape(batch.size, 1) * self.loc[0]
                pyro.sample("x", dist.Normal(loc + z, 0.3).to_event(1), obs=batch.get("x"))

    with pytest.raises(ValueError, match=r"the programs fail where \['label'\] take all of their values at once"):
        ppvae.fit(VAE(Narrow(), OnlyZ()), blobs, backend=backend, epochs=1)


@both
def test_a_measured_site_outside_the_plate_of_items_is_named_before_training(backend: str, blobs: Dataset) -> None:
    class Elsewhere(UserModel):
        def forward(self, batch: Any) -> Any:
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([batch.size, 2]).to_event(1))
            pyro.sample("x", dist.Normal(z, 0.3).to_event(1), obs=batch.get("x"))

    with pytest.raises(ValueError, match="the model's site 'x' is not in the plate of items"):
        ppvae.fit(VAE(Elsewhere(), OnlyZ(), "iwae"), blobs, backend=backend, epochs=1)


class Chain(Program):
    """A state that jumps, as often as it is told."""

    def __init__(self, steps: int):
        super().__init__()
        self.steps, self.jump = steps, nn.Parameter(torch.zeros(2, 2))

    def forward(self, batch: Any) -> None:
        probs = torch.ones(2) / 2
        with batch.plate():
            for t in pyro.markov(range(self.steps)):
                z = pyro.sample(f"z_{t}", dist.Categorical(probs), infer=ENUMERATED)
                probs = self.jump.softmax(-1)[z]
            pyro.sample("x", dist.Normal(z.float(), 1.0), obs=batch.get("x"))


class Silent(Program):
    """The guide of a model all of whose latents are summed out."""

    def forward(self, batch: Any) -> None:
        pass


def test_a_chain_longer_than_torch_has_dimensions_is_refused_in_a_sentence() -> None:
    data = Dataset({"x": np.zeros(6)}, modalities=[ppvae.Modality("x", ())])
    with pytest.raises(ValueError, match="70 latents take all of their values at once, each along a dimension of its"):
        ppvae.fit(VAE(model=Chain(70), guide=Silent()), data, epochs=1)


class Summed(Chain):
    """The same chain as one site, that sums its states out."""

    def forward(self, batch: Any) -> None:
        jumps = self.jump.log_softmax(-1).expand(self.steps, 2, 2)
        fn = dist.DiscreteHMM(torch.zeros(2), jumps, dist.Normal(torch.arange(2.0), 1.0))
        with batch.plate():
            pyro.sample("x", fn, obs=batch.get("x"))


@both
def test_a_longer_chain_is_one_site_that_sums_it_out(backend: str) -> None:
    data = Dataset({"x": np.zeros((6, 70))})
    vae = VAE(model=Summed(70), guide=Silent())
    assert ppvae.parity(vae, data.batch(), dtype="float64")["ok"]
    assert np.isfinite(ppvae.fit(vae, data, epochs=1, backend=backend).history[-1]["loss"])
