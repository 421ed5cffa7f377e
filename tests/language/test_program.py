"""Program: an ordinary Pyro program, with no engine around it, and the same text on NumPyro."""

from __future__ import annotations

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pyro as pyro_itself
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

import ppvae
from ppvae import Batch, Modality, Program, dist, pyro
from ppvae.backends import mirror
from ppvae.backends.mirror.running.program import Mirror
from ppvae.backends.parity import log_probs
from ppvae.inference.questions import Question, encode, generate, log_weights
from ppvae.language import ppl
from ppvae.language.traces import random_sites
from ppvae.parts.likelihoods import Likelihood
from ppvae.runs.settings import Settings

both = pytest.mark.parametrize("backend", ["pyro", "numpyro"])


class Digits(Program):
    """z ~ Normal(0, I);  image | z ~ Bernoulli(decoder(z))."""

    def __init__(self, latent: int = 20) -> None:
        super().__init__()
        self.latent = latent
        self.decoder = nn.Sequential(nn.Linear(latent, 40), nn.ReLU(), nn.Linear(40, 784))

    def forward(self, batch: Batch) -> Any:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([self.latent]).to_event(1))
            return pyro.sample("image", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=batch.get("image"))


def images(items: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, size=(items, 784)).astype(np.float32)


def run(backend: str, program: Program, question: Any) -> Any:
    """``question(program)`` with the words on a backend, in double precision, seeded."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with ppl.running(backend), jax.enable_x64(True), numpyro.handlers.seed(rng_seed=0), torch.no_grad():
            if backend == "pyro":
                return question(program.double())
            program = program.double()
            return question(Mirror(program, mirror.Parameters(mirror.arrays(program), mirror.aliases(program))))
    finally:
        torch.set_default_dtype(before)


def test_a_program_is_an_ordinary_pyro_program() -> None:
    batch = Batch({"image": images(5)}, total=50)
    trace = pyro_itself.poutine.trace(Digits()).get_trace(batch)
    trace.compute_log_prob()
    assert trace.nodes["z"]["value"].shape == (5, 20)
    assert trace.nodes["image"]["is_observed"]
    assert trace.nodes["image"]["log_prob"].shape == (5,)
    image = trace.nodes["image"]
    torch.testing.assert_close(image["log_prob_sum"], 10 * image["fn"].log_prob(image["value"]).sum())


def test_a_program_trains_with_pyros_own_svi() -> None:
    class Guide(Program):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(784, 2)

        def forward(self, batch: Batch) -> None:
            with batch.plate():
                pyro.sample("z", dist.Normal(self.encoder(batch.get("image")), 1.0).to_event(1))

    loss = pyro_itself.infer.Trace_ELBO().differentiable_loss(Digits(2), Guide(), Batch({"image": images(4)}))
    loss.backward()
    assert 0 < loss.item() / 4 < 784


def test_without_data_a_program_draws_every_site() -> None:
    assert Digits()(Batch(size=3)).shape == (3, 784)


class Two(Program):
    """Two views with parameters, lists, dicts, methods and properties of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.offset = nn.Parameter(torch.tensor([0.3, -0.2]))
        self.heads = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
        self.layers = nn.ModuleList([nn.Linear(2, 2), nn.Tanh()])
        self.scale = 0.7

    @property
    def twice(self) -> Any:
        return 2 * self.offset

    def lift(self, z: Any) -> Any:
        for layer in self.layers:
            z = layer(z)
        return z + self.twice

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1), obs=batch.get("z"))
            for name, head in self.heads.items():
                pyro.sample(name, dist.Normal(head(self.lift(z)), self.scale).to_event(1), obs=batch.get(name))


def test_the_same_text_has_the_same_density_on_both_backends() -> None:
    rng = np.random.default_rng(1)
    x = {name: rng.normal(size=(4, 2)) for name in ("z", "a", "b")}
    x["a"][1], x["b"][2, 0] = np.nan, np.nan

    def densities(program: Any) -> dict[str, np.ndarray]:
        nodes = ppl.handlers.trace(program).get_trace(Batch(x)).nodes
        return {name: np.asarray(nodes[name]["fn"].log_prob(nodes[name]["value"])) for name in x}

    on_pyro, on_numpyro = (run(backend, Two(), densities) for backend in ("pyro", "numpyro"))
    for name in x:
        np.testing.assert_allclose(on_pyro[name], on_numpyro[name], rtol=1e-10)
    assert on_pyro["a"][1] == 0
    assert on_pyro["b"].all()


class Nested(Program):
    """A program within a program, both of which see the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Two()

    def forward(self, batch: Batch) -> None:
        self.inner(batch)


@both
def test_a_hole_is_masked_once_however_deep_the_site(backend: str) -> None:
    x = {"z": np.zeros((3, 2)), "a": np.array([[1.0, np.nan], [2.0, 1.0], [np.nan, np.nan]]), "b": np.ones((3, 2))}

    def density(program: Any) -> np.ndarray:
        site = ppl.handlers.trace(program).get_trace(Batch(x)).nodes["a"]
        return np.asarray(site["fn"].log_prob(site["value"]))

    nested = Nested()
    np.testing.assert_array_equal(run(backend, nested, density), run(backend, nested.inner, density))


class Odd(Program):
    """Deterministic sites, a factor, a masked site, and a likelihood that ignores its plate's items."""

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
            pyro.deterministic("double", 2 * z)
            pyro.factor("penalty", -0.5 * (z**2).sum(-1))
            with ppl.handlers.mask(mask=False):
                pyro.sample("silent", dist.Normal(5.0, 1.0).expand([1]).to_event(1), obs=z)
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=batch.get("x"))


class Wide(Program):
    """A guide for Odd."""

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            pyro.sample("z", dist.Normal(0.0, 1.5).expand([1]).to_event(1))


@both
def test_weights_count_every_observed_site_and_respect_masks(backend: str) -> None:
    batch = Batch({"x": np.array([[0.3], [-1.0]])})

    def ask(program: Any) -> tuple[np.ndarray, np.ndarray]:
        sites: dict[str, Any] = {}

        def guide(batch: Batch) -> None:
            trace = ppl.handlers.trace(Wide()).get_trace(batch) if backend == "pyro" else _wide(batch)
            sites.update(trace.nodes)

        weights = log_weights(program, guide, batch, 3)["log_weights"]
        return np.asarray(weights), np.asarray(sites["z"]["value"])

    weights, z = run(backend, Odd(), ask)
    z = z[..., 0]
    expected = stats.norm.logpdf(z) - 0.5 * z**2 + stats.norm.logpdf([0.3, -1.0], z) - stats.norm.logpdf(z, 0, 1.5)
    np.testing.assert_allclose(weights, expected, rtol=1e-10)


def _wide(batch: Batch) -> Any:
    return ppl.handlers.trace(Mirror(Wide(), mirror.Parameters({}, {}))).get_trace(batch)


@both
def test_generating_passes_over_deterministic_sites_and_shares_latents_between_draws(backend: str) -> None:
    drawn = run(backend, Odd(), lambda model: generate(model, lambda batch: None, Batch(size=3), 2000, ("x",)))
    x = np.asarray(drawn["x"])[..., 0]
    assert x.shape == (2000, 3)
    np.testing.assert_allclose(x.std(0), 1.0, atol=0.1)
    assert np.ptp(x.mean(0)) > 0.15


@both
def test_encode_names_the_latents_alone(backend: str) -> None:
    drawn = run(backend, Odd(), lambda model: encode(model, model, Batch({"x": np.zeros((2, 1))}), 4))
    assert set(drawn) == {"z"}
    assert np.asarray(drawn["z"]).shape == (4, 2, 1)


def test_a_question_with_the_same_options_is_the_same_question() -> None:
    assert Question(encode, 3) == Question(encode, 3)
    assert hash(Question(encode, 3)) == hash(Question(encode, 3))
    assert Question(encode, 3) != Question(encode, 4)


def test_a_likelihood_alone_is_a_program_too() -> None:
    likelihood = Likelihood(Modality("x", (2,)), 3)
    assert likelihood(torch.zeros(4, 3)).shape == (4, 2)
    assert jnp.asarray(run("numpyro", likelihood, lambda program: program(jnp.zeros((4, 3))))).shape == (4, 2)


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_the_mask_is_there_when_the_batch_is_passed_by_keyword(backend):

    x = np.array([[1.0, np.nan], [0.5, 2.0]])
    data = ppvae.Dataset({"x": x})
    vae = ppvae.method("vae", data.modalities, latent=1, hidden=(2,))
    engine = importlib.import_module(f"ppvae.backends.{backend}")
    with engine.environment(Settings(backend=backend)):
        if backend == "numpyro":
            weights = mirror.arrays(vae.pair)
            model, guide = engine.programs(vae.pair, weights, mirror.aliases(vae.pair))
        else:
            model, guide = vae.model, vae.guide
        latents = {"z": np.zeros((2, 1), np.float32)}
        latents = engine.put(latents)
        by_position = log_probs(model, guide, data.batch(), latents)
        by_keyword = log_probs(lambda b: model(batch=b), lambda b: guide(batch=b), data.batch(), latents)
        assert {k: p.tolist() for k, p in by_position.items()} == {k: p.tolist() for k, p in by_keyword.items()}
        assert by_position["x"].tolist()[0] > by_position["x"].tolist()[1], "one element of two was measured"


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_ops_create_has_the_dtype_of_the_run(backend, dtype):

    engine = importlib.import_module(f"ppvae.backends.{backend}")
    with engine.environment(Settings(backend=backend, dtype=dtype)):
        for made in (ppvae.ops.zeros((2,)), ppvae.ops.ones(2), ppvae.ops.eye(2), ppvae.ops.tensor([0.5])):
            assert str(made.dtype).removeprefix("torch.") == dtype


class Unfinished(Program):
    """A model whose author forgot ``to_event``, or ``obs``."""

    def __init__(self, observed: bool) -> None:
        super().__init__()
        self.loc, self.observed = nn.Linear(2, 1), observed

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            if self.observed:
                pyro.sample("x", dist.Normal(self.loc(z), 1.0), obs=batch.get("x"))
            else:
                pyro.sample("x", dist.Normal(self.loc(z), 1.0).to_event(1), obs=batch.get("misspelt"))


@pytest.mark.parametrize(("observed", "advice"), [(True, r"to_event\(1\)"), (False, r"obs=batch.get\('x'\)")])
def test_a_forgotten_to_event_or_obs_is_found_before_training(observed: bool, advice: str) -> None:
    data = ppvae.Dataset({"x": np.random.default_rng(0).normal(size=(20, 1))})
    vae = ppvae.method("vae", data.modalities, latent=2, hidden=(4,))
    with pytest.raises(ValueError, match=advice):
        ppvae.init(ppvae.VAE(Unfinished(observed), vae.guide), data)


class Base(Program):
    """A model with a list of layers that its net loops over."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 4), nn.Linear(4, 3)])

    def net(self, z: Any) -> Any:
        for layer in self.layers:
            z = layer(z)
        return z

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            pyro.sample("x", dist.Normal(self.net(z), 1.0).to_event(1), obs=batch.get("x"))


class Child(Base):
    """A model that extends another's method."""

    def net(self, z: Any) -> Any:
        assert isinstance(self, Base)
        return 2 * super().net(z)


@pytest.mark.parametrize("model", [Base, Child])
def test_programs_inherit_from_each_other_on_both_backends(model: type[Program]) -> None:
    data = ppvae.Dataset({"x": np.random.default_rng(0).normal(size=(20, 3))})
    guide = ppvae.method("vae", data.modalities, latent=2, hidden=(4,)).guide
    assert ppvae.parity(ppvae.VAE(model(), guide), data.batch(), dtype="float64")["ok"]


class Plain(Program):
    """A model in torch's own words: functions, methods, checks and layouts as people write them."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.heads = nn.Linear(4, 3), nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
        self.weight = nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 4))

    @staticmethod
    def squash(x: Any) -> Any:
        return F.softplus(x) if torch.is_tensor(x) else x

    def features(self, z: Any) -> Any:
        assert isinstance(z, torch.Tensor)
        wide = torch.cat([z, z.new_zeros(z.size(0), 2)], dim=-1).view(-1, 4)
        tall = torch.matmul(wide, self.weight.transpose(0, 1))
        spread = tall.std(-1, keepdim=True) + tall.var(-1).unsqueeze(-1)
        top = tall.max(-1)[0].unsqueeze(-1).expand(-1, 3)
        return self.net.forward(wide).sort(-1)[0] + spread + top + tall.repeat(2, 1)[: z.shape[0]]

    def forward(self, batch: Batch) -> Any:
        with pyro.plate("items", batch.size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), torch.ones(2)).to_event(1))
            y = torch.stack([head(self.features(z)) for head in self.heads]).mean(0)
            noise = dist.Normal(y, self.squash(y.detach()) + 0.1)
            assert isinstance(noise.mean, torch.Tensor)
            pyro.deterministic("center", noise.mean - y.to(device=y.device))
            return pyro.sample("x", noise.to_event(1), obs=batch.get("x"))


class Beside(Program):
    """A guide of the same kind."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 4)

    def forward(self, batch: Batch) -> Any:
        with pyro.plate("items", batch.size, dim=-1):
            loc, log_scale = self.net(batch.get("x")).chunk(2, dim=-1)
            pyro.sample("z", dist.Normal(loc, torch.exp(log_scale.clamp(-3, 3))).to_event(1))


def test_a_program_in_torchs_own_words_is_the_same_on_both_backends() -> None:
    values = np.random.default_rng(0).normal(size=(30, 3))
    values[3, 1] = np.nan
    data, vae = ppvae.Dataset({"x": values}), ppvae.VAE(Plain(), Beside())
    found = ppvae.parity(vae, data.batch(), dtype="float64")
    assert found["max_logprob_difference"] < 1e-12
    assert found["max_gradient_difference"] < 1e-10
    for backend in ppl.BACKENDS:
        run = ppvae.fit(vae, data, backend=backend, epochs=30, batch_size=10)
        assert run.history[-1]["loss"] < run.history[0]["loss"]


def test_torchs_sentence_about_none_is_told_without_its_list_of_signatures() -> None:
    class Reads(Program):
        def forward(self, batch: Any) -> None:
            F.conv2d(batch.get("x"), torch.ones(1, 1, 2, 2))

    with pytest.raises(ValueError, match="a modality is not given") as caught:
        random_sites(Reads(), Batch(size=2))
    assert len(str(caught.value).splitlines()) == 1
