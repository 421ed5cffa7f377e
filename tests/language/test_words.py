"""Words: what a Pyro program says about its sites is one text for both backends, exactly or by one sentence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import jax
import numpy as np
import numpyro
import pyro as library
import pytest
import torch
from pyro.infer import config_enumerate, reparam
from pyro.infer.reparam import AutoReparam, HaarReparam, LocScaleReparam
from scipy import stats
from scipy.special import logsumexp
from torch import nn

import ppvae
from ppvae import VAE, Batch, Dataset, Program, dist, pyro
from ppvae.backends import mirror
from ppvae.backends.mirror.running.program import mirrored
from ppvae.language import ppl
from ppvae.language.ppl import handlers as poutine
from ppvae.language.traces import density, random_sites

ITEMS = 6


def data() -> Dataset:
    return Dataset({"x": np.random.default_rng(0).normal(size=(ITEMS, 2))})


def latent(batch: Any, name: str = "z") -> Any:
    return pyro.sample(name, dist.Normal(0.0, 1.0).expand([2]).to_event(1))


class Text(Program):
    """A model whose middle is one of the texts below: it takes the program and the batch, and gives the mean of x."""

    def __init__(self, text: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.text, self.net = text, nn.Linear(2, 2)

    def forward(self, batch: Any) -> None:
        mean = self.text(self, batch)
        with batch.plate():
            pyro.sample("x", dist.Normal(mean, 0.7).to_event(1), obs=batch.get("x"))


class Drawn(Program):
    """Draws sites as they are listed: name, the plates it is in, its distribution."""

    def __init__(self, **sites: Callable[[Any], Any]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.sites, self.net = sites, nn.Linear(2, 2)

    def forward(self, batch: Any) -> None:
        for name, make in self.sites.items():
            make(self, name, batch)  # type: ignore[call-arg]


def local(guide: Any, name: str, batch: Any) -> None:
    with batch.plate():
        pyro.sample(name, dist.Normal(guide.net(batch.get("x")), 0.6).to_event(1))


def shared(guide: Any, name: str, batch: Any) -> None:
    pyro.sample(name, dist.Normal(guide.net.bias, 0.5).to_event(1))


# Texts over the local latent z, which every guide draws.


def loops(model: Any, batch: Any) -> Any:
    """A Markov chain written with pyro.markov as a loop, over a list of arrays too, a context and a decorator."""

    @pyro.markov
    def move(h: Any) -> Any:
        return torch.tanh(model.net(h))

    with batch.plate():
        h = latent(batch)
        for _, step in enumerate(pyro.markov(range(3), history=2)):
            h = move(h) + 0.1 * step
        for part in pyro.markov(list(h.unbind(-1)), keep=True):
            h = h + part.unsqueeze(-1)
        with pyro.markov():
            return h + 1.0


def loop_plates(model: Any, batch: Any) -> Any:
    """Sequential plates: of a size, and of a few rows, whose scale weighs what is drawn there."""
    with batch.plate():
        z = latent(batch)
        for i in pyro.plate("steps", 3):
            pyro.factor(f"a_{i}", -0.1 * i * z.sum(-1))
        for i in pyro.plate("rows", 6, subsample=[1, 4]):
            pyro.factor(f"b_{i}", -0.1 * i * (z**2).sum(-1))
    return z


def open_plates(model: Any, batch: Any) -> Any:
    """Plates without a size, by name alone, one within the other, and dims that are found on entry."""
    with pyro.plate("items"):
        z = pyro.sample("z", dist.Normal(torch.zeros(batch.size, 2), 1.0).to_event(1))
    inner, outer = pyro.plate("inner", batch.size), pyro.plate("outer", 3)
    with inner, outer:
        w = pyro.sample("w", dist.Normal(0.0, 1.0), obs=z[:, 0].expand(3, batch.size))
    with pyro.plate_stack("grid", (3, batch.size)):
        pyro.sample("v", dist.Normal(w, 2.0), obs=0.5 * w.detach())
    return z + w.mean(0).unsqueeze(-1)


def rows(model: Any, batch: Any) -> Any:
    """A plate that draws its rows, and one that is given them."""
    with batch.plate():
        z = latent(batch)
    with pyro.plate("half", batch.size, subsample_size=batch.size, dim=-1) as all_of_them:
        pyro.sample("u", dist.Normal(z[all_of_them, 0], 1.0), obs=batch.get("x")[all_of_them, 1])
    with pyro.plate("given", 10, subsample=torch.tensor([0, 2]), dim=-1) as few:
        pyro.sample("few", dist.Normal(z[few, 1], 1.0), obs=pyro.subsample(torch.arange(10.0), event_dim=0))
    return z


def looped(self: Any, batch: Any) -> Any:
    """Four steps of a network, and what comes of each."""
    with batch.plate():
        z = latent(batch)

    def step(state: Any) -> Any:
        state = self.net(state[0]).tanh(), state[1] + 1
        return state, state[0] * state[1]

    return ppl.iterated(step, (z, torch.zeros(())), 4).sum(0)


def cubic(z: Any, weight: Any) -> Any:
    """``z_0² z_1 + w z_1``, ``(items,)``."""
    return z[:, 0] ** 2 * z[:, 1] + weight * z[:, 1]


def sloped(self: Any, batch: Any) -> Any:
    """Slope and second derivatives of a function of each item's vector, and of a network, which passes no gradient."""
    x = batch.get("x")
    slope, curvature = ppl.derivatives(lambda z: cubic(z, self.net(x).sum(-1)), x)
    with batch.plate():
        return latent(batch) + slope + curvature.sum(-1)


def masks(model: Any, batch: Any) -> Any:
    """mask, scale: as contexts with tensors, around functions, within each other."""
    x = batch.get("x")
    there = x[:, 0] > 0
    with batch.plate():
        z = latent(batch)
        with poutine.mask(mask=there), poutine.scale(scale=x[:, 0].abs() + 0.5):
            pyro.sample("a", dist.Normal(z, 1.0).to_event(1), obs=x)
        poutine.scale(lambda: pyro.sample("b", dist.Normal(z[:, 0], 1.0), obs=x[:, 1]), scale=0.3)()
        poutine.mask(mask=~there)(lambda: pyro.factor("c", -(z**2).sum(-1)))()
        with poutine.mask(mask=False):
            pyro.sample("d", dist.Normal(z[:, 0], 1.0), obs=x[:, 1])
        assert poutine.get_mask() is None
        pyro.sample("e", dist.Normal(z[:, 0], 1.0).mask(there), obs=x[:, 1])
    return z


def given(model: Any, batch: Any) -> Any:
    """condition, do, block, replay, trace, uncondition, substitute: on a function of the text, with arrays of it."""
    x = batch.get("x")

    def inner(scale: float = 1.0) -> Any:
        first = pyro.sample("first", dist.Normal(0.0, scale).expand([batch.size]))
        pyro.sample("second", dist.Normal(first, pyro.param("width", torch.tensor(1.0), dist.constraints.positive)))
        return first

    with batch.plate():
        z = latent(batch)
        with poutine.block():
            trace = poutine.trace(pyro.condition(inner, data={"first": x[:, 0], "second": z[:, 1]})).get_trace(2.0)
            done = pyro.do(inner, data={"first": z[:, 0]})()
            fixed = pyro.do(poutine.condition(inner, data={"second": z[:, 0]}), data={"first": 0.25})()
            again = poutine.replay(inner, trace=poutine.trace(poutine.uncondition(inner)).get_trace())()
            narrow = poutine.substitute(poutine.condition(inner, data=trace), data={"width": torch.tensor(0.5)})
            with poutine.trace() as kept:
                narrow()
        value, fn = trace.nodes["second"]["value"], trace.nodes["second"]["fn"]
        pyro.factor("kept", fn.log_prob(value) + kept.get_trace().nodes["second"]["fn"].log_prob(value))
        poutine.condition(inner, data={"first": x[:, 1], "second": x[:, 0]})()
        return z + done.unsqueeze(-1) + fixed.unsqueeze(-1) * (0.0 * again.detach()).unsqueeze(-1)


def lifted(model: Any, batch: Any) -> Any:
    """lift: a parameter that is drawn from a prior, here at a value that condition gives."""
    prior = {"slope": dist.Normal(torch.zeros(2), 1.0).to_event(1)}
    with batch.plate():
        z = latent(batch)
    slope = poutine.lift(lambda: pyro.param("slope", torch.ones(2)), prior=prior)
    return z * poutine.condition(slope, data={"slope": batch.get("x")[0]})()


def broadcast(model: Any, batch: Any) -> Any:
    """broadcast, infer_config, deterministic with event_dim, sample with infer and obs=None, validation_enabled."""
    pyro.validation_enabled()
    with batch.plate(), poutine.broadcast(), poutine.infer_config(config_fn=lambda site: {"note": site["name"]}):
        z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1), obs=None, infer={"note": 1})
        return pyro.deterministic("twice", 2 * z, event_dim=1)


def partly(model: Any, batch: Any) -> Any:
    """obs_mask: what is not observed is drawn."""
    x = batch.get("x")
    with batch.plate():
        z = latent(batch)
        seen = pyro.sample("s", dist.Normal(z[:, 0], 1.0), obs=x[:, 0], obs_mask=x[:, 0] > 0)
    return z + seen.unsqueeze(-1)


def unseen(guide: Any, name: str, batch: Any) -> None:
    with batch.plate():
        pyro.sample(name, dist.Normal(guide.net(batch.get("x"))[:, 0], 1.0))


def decentred(centered: float | None, made: Callable[[], Any]) -> Callable[[Any, Any], Any]:
    """reparam: location and scale taken out, with what is in between learned or given."""

    def text(model: Any, batch: Any) -> Any:
        def prior() -> Any:
            with batch.plate():
                h = pyro.sample("h", dist.StudentT(5.0, model.net.bias, model.net.weight[0].exp()).to_event(1))
                return h + pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))

        return poutine.reparam(prior, config={"h": made()(centered)})()

    return text


@library.do(data={"w": torch.tensor(0.5)})
@library.poutine.reparam(config={"h": LocScaleReparam(0.3)})
def decorated(model: Any, batch: Any) -> Any:
    """Pyro's own handlers, around a function since it was defined."""
    with batch.plate():
        w = pyro.sample("w", dist.Normal(0.0, 1.0))
        h = pyro.sample("h", dist.Normal(model.net.bias, model.net.weight[0].exp()).to_event(1))
        return h + w.unsqueeze(-1) + latent(batch) * 0.0


def transformed(model: Any, batch: Any) -> Any:
    """TransformReparam of a distribution that is pushed forward."""

    @poutine.reparam(config=lambda site: pyro.infer.reparam.TransformReparam() if site["name"] == "h" else None)
    def prior() -> Any:
        with batch.plate():
            base = dist.Normal(model.net.bias, 1.0).to_event(1)
            moved = [dist.transforms.AffineTransform(model.net.bias, 2.0), dist.transforms.ExpTransform()]
            return pyro.sample("h", dist.TransformedDistribution(base, moved)).log() + latent(batch)

    return prior()


def by_numpy(model: Any, batch: Any) -> Any:
    """NumPy's functions of tensors, and its scalars beside them."""
    x = np.log(np.abs(batch.get("x"))) * model.net.bias[0]
    x = np.float64(1) - np.float32(2) * x + np.float64(2) ** x.sigmoid() / np.float64(3)
    with batch.plate():
        return latent(batch) + (x * (np.float64(0) < x))[:, :2] + np.pi / (3 + model.net.bias.exp())


def ours() -> Any:
    return pyro.infer.reparam.LocScaleReparam


def theirs() -> Any:
    return LocScaleReparam


def strategic(model: Any, batch: Any) -> Any:
    """A strategy that chooses by itself, and a rotation."""

    def prior() -> Any:
        with batch.plate():
            h = pyro.sample("h", dist.LogNormal(model.net.bias, 0.5).to_event(1))
            r = pyro.sample("r", dist.Normal(model.net.bias, 2.0).to_event(1))
            return latent(batch) + h.log() + r

    return poutine.reparam(poutine.reparam(prior, config={"r": HaarReparam()}), config=AutoReparam())()


CASES: dict[str, tuple[Callable[[Any, Any], Any], dict[str, Any]]] = {
    "markov": (loops, {"z": local}),
    "loop plates": (loop_plates, {"z": local}),
    "open plates": (open_plates, {"z": local}),
    "rows": (rows, {"z": local}),
    "loop": (looped, {"z": local}),
    "derivatives": (sloped, {"z": local}),
    "masks": (masks, {"z": local}),
    "given": (given, {"z": local}),
    "lift": (lifted, {"z": local}),
    "broadcast": (broadcast, {"z": local}),
    "obs_mask": (partly, {"z": local, "s_unobserved": unseen}),
    "decorated": (decorated, {"z": local, "h_decentered": local}),
    "LocScaleReparam": (decentred(0.3, ours), {"z": local, "h_decentered": local}),
    "LocScaleReparam, Pyro's own": (decentred(0.0, theirs), {"z": local, "h_decentered": local}),
    "LocScaleReparam, learned": (decentred(None, theirs), {"z": local, "h_decentered": local}),
    "AutoReparam": (strategic, {"z_decentered": local, "h_base_decentered": local, "r_haar_base_decentered": local}),
    "TransformReparam": (transformed, {"z": local, "h_base": local}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_text_is_the_same_on_both_backends(case: str) -> None:
    text, sites = CASES[case]
    found = ppvae.parity(VAE(Text(text), Drawn(**sites)), data().batch(), dtype="float64")
    assert max(found["max_logprob_difference"], found["max_gradient_difference"]) < 1e-10
    assert not len(library.get_param_store())


def test_derivatives_are_the_closed_forms() -> None:
    x, weight = np.random.default_rng(0).normal(size=(5, 2)), np.arange(5.0)
    slope = np.stack([2 * x[:, 0] * x[:, 1], x[:, 0] ** 2 + weight], -1)
    curvature = 2 * np.stack([x[:, ::-1], np.stack([x[:, 0], np.zeros(5)], -1)], 1)
    for backend, array in (("pyro", torch.as_tensor), ("numpyro", jax.numpy.asarray)):
        with ppl.running(backend), jax.enable_x64(True):
            found = ppl.derivatives(partial(cubic, weight=array(weight)), array(x))
        np.testing.assert_allclose(found[0], slope, rtol=1e-12)
        np.testing.assert_allclose(found[1], curvature, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # torch's own, of NumPy 2
def test_numpys_functions_of_tensors_are_torchs() -> None:
    found = ppvae.parity(VAE(Text(by_numpy), Drawn(z=local)), data().batch(), dtype="float64")
    assert max(found["max_logprob_difference"], found["max_gradient_difference"]) < 1e-10


HOLED: dict[str, Callable[[Any], Any]] = {
    "normal": lambda y: dist.Normal(y, 1.0).to_event(1),
    "gamma": lambda y: dist.Gamma(y.exp(), 2.0).to_event(1),
    "uniform": lambda y: dist.Uniform(1.0 + 0 * y, 3.0 + y.exp()).to_event(1),
    "pareto": lambda y: dist.Pareto(0.5, 1.0 + y.exp()).to_event(1),
    "beta": lambda y: dist.Beta(y.exp(), 2.0).to_event(1),
    "mixture": lambda y: dist.MixtureSameFamily(
        dist.Categorical(logits=torch.zeros(3)), dist.LogNormal(torch.stack([y, y + 1, 2 * y], -1), 1.0)
    ).to_event(1),
    "poisson": lambda y: dist.Poisson(y.exp()).to_event(1),
    "bernoulli": lambda y: dist.Bernoulli(logits=y).to_event(1),
    "dirichlet": lambda y: dist.Dirichlet(y.exp()),
    "one hot": lambda y: dist.OneHotCategorical(logits=y),
}


class Holed(Program):
    """What follows a measured site depends on what is returned there, at a hole too."""

    def __init__(self, family: str) -> None:
        super().__init__()
        self.family, self.shift = family, nn.Parameter(torch.tensor([0.2, -0.4, 0.1]))

    def forward(self, batch: Any) -> None:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
            x = pyro.sample("x", HOLED[self.family](z + self.shift), obs=batch.get("x"))
            pyro.sample("next", dist.Normal(x * self.shift, 1.0).to_event(1), obs=z)


class Prior(Program):
    def forward(self, batch: Any) -> None:
        with batch.plate():
            pyro.sample("z", dist.Normal(0.0, 1.0).expand([3]).to_event(1))


@pytest.mark.parametrize("family", HOLED)
def test_a_site_returns_the_same_at_a_hole(family: str) -> None:
    values = np.array([[1.0, 0.0, 0.0], [np.nan] * 3, [0.0, 1.0, 0.0]])
    shift = {"uniform": 1.5, "pareto": 1.5, "gamma": 0.1, "mixture": 0.1}.get(family, 0.0)
    batch = Batch({"x": (values + 1) / 4 if family in ("beta", "dirichlet") else values + shift})
    found = ppvae.parity(VAE(Holed(family), Prior()), batch, dtype="float64")
    assert found["ok"], found
    assert found["sites"]["next"] < 1e-10


# Discrete latents that are summed out, marked in all the ways that there are.


class Mixture(Program):
    """Two clusters; how the label is marked is said by the class below."""

    infer: ClassVar[dict[str, Any] | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.tensor([[1.0, 0.0], [-1.0, 0.5]]))

    def forward(self, batch: Any) -> None:
        with batch.plate():
            k = pyro.sample("k", dist.Categorical(torch.tensor([0.3, 0.7])), infer=self.infer)
            pyro.sample("x", dist.Normal(self.centers[k.long()], 0.7).to_event(1), obs=batch.get("x"))


class Marked(Mixture):
    infer: ClassVar[dict[str, Any] | None] = {"enumerate": "parallel"}


class Sequential(Mixture):
    infer: ClassVar[dict[str, Any] | None] = {"enumerate": "sequential"}


class Decorated(Mixture):
    """Pyro's own decorator, as a module that imports it has it."""

    forward = config_enumerate(Mixture.forward)


class Said(Mixture):
    """The word, in the text; a second decorator of Pyro's around it."""

    @library.poutine.scale(scale=torch.tensor(1.0))
    @library.markov
    def forward(self, batch: Any) -> None:
        pyro.infer.config_enumerate(super().forward, default="sequential")(batch)


class Nothing(Program):
    """A guide of nothing."""

    def forward(self, batch: Any) -> None:
        pass


@pytest.mark.parametrize("model", [Marked, Sequential, Decorated, Said])
@pytest.mark.parametrize("backend", ppl.BACKENDS)
def test_what_is_marked_for_enumeration_is_summed_out(model: type[Mixture], backend: str) -> None:
    batch, centers = data().batch(), np.array([[1.0, 0.0], [-1.0, 0.5]])
    log_p = stats.norm.logpdf(batch.arrays["x"][:, None], centers, 0.7).sum(-1) + np.log([0.3, 0.7])
    state = ppvae.init(VAE(model(), Nothing()), data(), backend=backend, dtype="float64")
    assert state.plan.sites.enumerated == {"k"}
    _, info = ppvae.step(state, batch)
    np.testing.assert_allclose(info["loss"], -logsumexp(log_p, -1).mean(), rtol=1e-10)


class Around(Text):
    """Handlers of Pyro's own around the text, since it was defined."""

    forward = library.poutine.scale(
        library.poutine.mask(Text.forward, mask=torch.tensor([True, False] * 3)), scale=torch.tensor(0.25)
    )


def test_pyros_own_handlers_around_a_text_hold_on_both_backends() -> None:
    found = ppvae.parity(VAE(Around(broadcast), Drawn(z=local)), data().batch(), dtype="float64")
    assert max(found["max_logprob_difference"], found["max_gradient_difference"]) < 1e-10


def test_they_weigh_what_they_say() -> None:
    with ppl.running("pyro"):
        sites = random_sites(Around(broadcast), data().batch(), {"z": torch.zeros(ITEMS, 2)})
        plain = random_sites(Text(broadcast), data().batch(), {"z": torch.zeros(ITEMS, 2)})
        weight = 0.25 * torch.tensor([1.0, 0.0] * 3)
        torch.testing.assert_close(density(sites["x"]), weight * density(plain["x"]))


@pytest.mark.parametrize("case", ["markov", "open plates", "masks", "LocScaleReparam, learned"])
@pytest.mark.parametrize("backend", ppl.BACKENDS)
def test_a_text_trains(case: str, backend: str) -> None:
    text, sites = CASES[case]
    run = ppvae.fit(VAE(Text(text), Drawn(**sites)), data(), backend=backend, epochs=2, batch_size=ITEMS, lr=0.1)
    assert np.isfinite(run.history[-1]["loss"])
    assert len(run.history[-1]["sites"]) == len(run.history[0]["sites"])


# What NumPyro has not.


def loop_over_drawn(model: Any, batch: Any) -> None:
    for _ in pyro.plate("rows", 6, subsample_size=2):
        pass


def equalized(model: Any, batch: Any) -> None:
    library.poutine.equalize(latent, "z")(batch)


def collide(model: Any, batch: Any) -> None:
    with pyro.plate("a", 3, dim=-1), pyro.plate("b", 3, dim=-1):
        pass


def own_plate(model: Any, batch: Any) -> None:
    with model.kept:
        latent(batch)


REFUSED: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "drawn loop": (loop_over_drawn, r"pyro.plate\('rows'\) is a loop over rows that are drawn or an array"),
    "two plates": (collide, "the plates 'a' and 'b' both take dim -1"),
    "rows": (lambda m, b: pyro.plate("a", 9, 3, subsample=[1]), r"'a'\) has subsample_size 3 and 1 rows"),
    "own plate": (own_plate, r"site 'z' is within Pyro's own plate, .* take pyro.plate within forward"),
    "equalize": (
        equalized,
        r"site 'z' is within Pyro's own equalize, which NumPyro cannot follow; leave it out, or train with",
    ),
    "numpy": (
        lambda m, b: np.maximum(b.get("x"), 0.0),
        "NumPy's maximum of an array has no mirror .* function of torch",
    ),
    "barrier": (lambda m, b: pyro.barrier([]), "pyro.barrier has no counterpart on NumPyro: leave it out"),
    "seed": (lambda m, b: pyro.set_rng_seed(0), "pyro.set_rng_seed has no counterpart on NumPyro: set the seed"),
    "store": (lambda m, b: pyro.get_param_store(), "pyro.get_param_store is for code outside programs"),
    "escape": (lambda m, b: poutine.escape(latent), "handlers.escape has no counterpart on NumPyro; nearest"),
    "samples": (
        lambda m, b: pyro.infer.config_enumerate(latent, num_samples=3),
        "sums out exactly: give no num_samples",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_rest_is_one_sentence(case: str) -> None:
    text, said = REFUSED[case]
    model = Text(text)
    model.kept = library.plate("kept", ITEMS)
    with (
        ppl.running("numpyro"),
        numpyro.handlers.seed(rng_seed=0),
        pytest.raises((NotImplementedError, AttributeError, ValueError, TypeError), match=said),
    ):
        mirrored(model, mirror.Parameters(mirror.arrays(model), mirror.aliases(model)))(data().batch())


@pytest.mark.parametrize(
    ("word", "module"), [(pyro, library), (poutine, library.poutine), (pyro.infer.reparam, reparam)]
)
def test_every_name_of_pyro_is_there_or_a_sentence_says_that_it_is_not(word: Any, module: Any) -> None:
    with ppl.running("numpyro"):
        there = set(dir(word))
        for name in {name for name in dir(module) if not name.startswith("_")} - there:
            with pytest.raises(AttributeError, match=f"{name} has no counterpart on NumPyro; nearest"):
                getattr(word, name)
        assert len(there) > 5
