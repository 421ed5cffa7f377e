"""The words: which backend they speak to, where they stop, and distributions written by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pyro as real_pyro
import pytest
import torch
from numpyro import infer as numpyro_infer
from pyro import infer as pyro_infer

from ppvae.language import ppl
from ppvae.language.ppl import dist, distribution, handlers, ops, pyro

transforms = dist.transforms


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with jax.enable_x64(True), torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    torch.set_default_dtype(before)


@pytest.fixture(params=ppl.BACKENDS)
def name(request: Any) -> Iterator[str]:
    with ppl.running(request.param):
        yield request.param


def array(values: Any) -> Any:
    return torch.tensor(values) if ppl.backend() == "pyro" else jnp.asarray(values)


def run(program: Callable[[], Any], seed: int = 0) -> Any:
    return handlers.trace(handlers.seed(program, rng_seed=seed)).get_trace()


def test_the_default_is_pyro() -> None:
    assert ppl.backend() == "pyro"
    assert dist.Normal is real_pyro.distributions.Normal
    assert pyro.sample is real_pyro.sample
    assert handlers.replay is real_pyro.poutine.replay
    assert ops.exp is torch.exp


def test_blocks_nest_and_restore() -> None:
    with ppl.running("numpyro"):
        with ppl.running("pyro"):
            assert dist.Normal is real_pyro.distributions.Normal
        assert isinstance(dist.Normal(0.0, 1.0), numpyro.distributions.Distribution)
    with pytest.raises(KeyError), ppl.running("numpyro"):
        raise KeyError
    assert ppl.backend() == "pyro"


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown backend 'tensorflow'; choose one of pyro, numpyro"):
        ppl.running("tensorflow").__enter__()


def test_threads_do_not_see_each_others_backend() -> None:
    together = Barrier(2, timeout=30)

    def speak(backend: str) -> tuple[str, Any]:
        with ppl.running(backend):
            together.wait()
            return ppl.backend(), type(dist.Normal(0.0, 1.0)).__mro__

    with ThreadPoolExecutor(2) as pool, ppl.running("numpyro"):
        answers = list(pool.map(speak, ppl.BACKENDS))
        assert pool.submit(ppl.backend).result() == "pyro"
    kinds = real_pyro.distributions.Normal, numpyro.distributions.Distribution
    assert [backend for backend, _ in answers] == ["pyro", "numpyro"]
    assert [[kind in mro for kind in kinds] for _, mro in answers] == [[True, False], [False, True]]


def test_tasks_do_not_see_each_others_backend() -> None:
    async def speak(backend: str) -> tuple[str, str]:
        with ppl.running(backend):
            first = ppl.backend()
            await asyncio.sleep(0)
            return first, ppl.backend()

    async def both() -> list[tuple[str, str]]:
        return await asyncio.gather(*(speak(backend) for backend in ppl.BACKENDS))

    assert asyncio.run(both()) == [(backend, backend) for backend in ppl.BACKENDS]


def test_a_sub_module_kept_from_import_follows_the_backend(name: str) -> None:
    assert isinstance(transforms.ExpTransform(), real_pyro.distributions.transforms.ExpTransform)
    assert repr(transforms) == f"<dist.transforms on {name}>"


@pytest.mark.parametrize(
    ("word", "wrong", "right"),
    [
        (dist, "Gama", "dist.Gamma"),
        (dist.transforms, "ExpTransfrom", "dist.transforms.ExpTransform"),
        (handlers, "blok", "handlers.block"),
        (pyro, "smaple", "pyro.sample"),
        (ops, "sqtr", "ops.sqrt"),
    ],
)
def test_a_misspelt_word_names_the_nearest(word: Any, wrong: str, right: str, name: str) -> None:
    with pytest.raises(AttributeError, match=rf"{wrong} does not exist; did you mean .*\b{right}\b"):
        getattr(word, wrong)


@pytest.mark.parametrize(
    ("word", "absent"),
    [(dist, "Empirical"), (dist.transforms, "batchnorm"), (handlers, "queue"), (pyro, "optim"), (ops, "compile")],
)
def test_a_word_without_counterpart_says_so(word: Any, absent: str) -> None:
    assert getattr(word, absent) is not None
    with (
        ppl.running("numpyro"),
        pytest.raises(AttributeError, match=f"{absent} has no counterpart on NumPyro; nearest"),
    ):
        getattr(word, absent)


def test_everything_a_word_lists_is_there(name: str) -> None:
    words = [pyro, handlers, dist, ops] if name == "numpyro" else [pyro, handlers]
    for word in words:
        assert all(hasattr(word, attribute) for attribute in dir(word))


def test_ops_are_the_mirrored_functions(name: str) -> None:
    x = array([0.5, 2.0])
    np.testing.assert_allclose(ops.exp(x), np.exp([0.5, 2.0]))
    np.testing.assert_allclose(ops.nn.functional.relu(-x), [0.0, 0.0])
    np.testing.assert_allclose(ops.linalg.inv(array([[2.0]])), [[0.5]])
    assert ops.float32 is torch.float32
    assert ops.pi == np.pi
    assert ops.inf == np.inf
    assert isinstance(x, ops.Tensor)


def normal_pair() -> None:
    with pyro.plate("items", 3, dim=-1):
        z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1).expand([3]))
        pyro.deterministic("twice", 2.0 * z, event_dim=1)
        pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=z + 1.0, infer={"is_auxiliary": False})
    pyro.factor("extra", array(-1.5), has_rsample=False)


def score(trace: Any) -> dict[str, Any]:
    sites = {key: site for key, site in trace.nodes.items() if site["type"] == "sample" and "value" in site}
    return {k: s["fn"].log_prob(s["value"]).sum() for k, s in sites.items() if k in ("z", "x", "extra")}


def test_statements_and_traces_read_alike(name: str) -> None:
    trace = run(normal_pair)
    z = np.asarray(trace.nodes["z"]["value"])
    assert z.shape == (3, 2)
    np.testing.assert_allclose(trace.nodes["twice"]["value"], 2 * z)
    replayed = run(handlers.replay(normal_pair, trace=trace), seed=1)
    np.testing.assert_array_equal(replayed.nodes["z"]["value"], z)
    joint = score(trace)
    np.testing.assert_allclose(joint["z"], -0.5 * (z**2 + np.log(2 * np.pi)).sum())
    np.testing.assert_allclose(joint["x"], -0.5 * (1 + np.log(2 * np.pi)) * 6)
    np.testing.assert_allclose(joint["extra"], -1.5)


def three() -> None:
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    b = pyro.sample("b", dist.Normal(a, 1.0))
    pyro.sample("c", dist.Normal(b, 1.0), obs=array(0.3))


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        ({}, ""),
        ({"hide": ["a"]}, "bc"),
        ({"expose": ["a"]}, "a"),
        ({"hide_fn": lambda site: site["name"] == "b"}, "ac"),
        ({"expose_fn": lambda site: site["name"] == "b"}, "b"),
        ({"hide_types": ["observe"]}, "ab"),
        ({"expose_types": ["observe"]}, "c"),
        ({"hide_all": False, "expose_all": True}, "abc"),
    ],
)
def test_block_hides_alike(arguments: dict[str, Any], seen: str, name: str) -> None:
    trace = run(lambda: handlers.block(three, **arguments)())
    assert [key for key in trace.nodes if key in "abc"] == list(seen)


def test_condition_do_and_uncondition_read_alike(name: str) -> None:
    given = run(handlers.condition(three, data={"a": array(2.0)}))
    assert given.nodes["a"]["is_observed"]
    assert float(given.nodes["a"]["value"]) == 2.0
    free = run(handlers.uncondition(three))
    assert float(free.nodes["c"]["value"]) != 0.3
    run(handlers.do(three, data={"a": array(2.0)}))


def test_scale_and_mask_read_alike(name: str) -> None:
    def program() -> None:
        with handlers.scale(scale=2.0), handlers.mask(mask=array([True, False])), pyro.plate("rows", 2):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=array([0.0, 0.0]))

    site = run(program).nodes["x"]
    assert float(site["scale"]) == 2.0


def test_a_plate_takes_its_rows(name: str) -> None:
    def program() -> None:
        with pyro.plate("rows", 10, subsample=array([1, 4]), dim=-1) as rows:
            assert list(np.asarray(rows)) == [1, 4]
            pyro.sample("x", dist.Normal(0.0, 1.0))

    site = run(program).nodes["x"]
    assert (site["value"].shape, float(site["scale"])) == ((2,), 5.0)


def test_what_numpyro_cannot_do_is_refused_in_one_sentence() -> None:
    with ppl.running("numpyro"):
        with pytest.raises(NotImplementedError, match=r"pyro.param\('w'\) is for a Program's text"):
            pyro.param("w", 1.0)
        with pytest.raises(TypeError, match=r"site 'x' is given 0\.5, which is no distribution"):
            pyro.sample("x", 0.5)


# A mixture of two Gaussians, written once.
WEIGHT = [0.2, 0.7, 0.5]
LOC = [[[0.3, -1.0], [1.2, 0.4], [0.0, 2.0]], [[-0.8, 0.5], [2.1, -0.3], [0.6, 0.1]]]


def mixture(loc: Any, scale: Any, items: int = 3) -> Any:
    weight = array(WEIGHT[:items])

    def sample(draw: Callable[[Any], Any]) -> Any:
        second = draw(dist.Bernoulli(weight))[..., None] == 1.0
        noise = draw(dist.Normal(array([0.0, 0.0]), 1.0).expand([items, 2]))
        return ops.where(second, loc[1], loc[0]) + scale * noise

    def log_prob(z: Any) -> Any:
        first, second = (ops.exp(dist.Normal(each, scale).to_event(1).log_prob(z)) for each in loc)
        return ops.log((1.0 - weight) * first + weight * second)

    return distribution(sample, log_prob, (items,), (2,))


def draws(d: Any, shape: tuple[int, ...] = ()) -> Any:
    return d(torch.Size(shape)) if ppl.backend() == "pyro" else d.sample(jax.random.key(1), shape)


def test_a_written_distribution_is_one(name: str) -> None:
    d = mixture(array(LOC), array(0.6))
    home = real_pyro if name == "pyro" else numpyro
    assert isinstance(d, home.distributions.Distribution)
    assert (tuple(d.batch_shape), tuple(d.event_shape), d.has_rsample) == ((3,), (2,), True)
    assert d.support.event_dim == 1
    for other in (d, d.expand([5, 3]), d.to_event(1), d.expand([5, 3]).to_event(1), d.mask(array([True, False, True]))):

        def scored(d: Any = other) -> tuple[Any, Any]:
            z = draws(d, (4,))
            return z, d.log_prob(z)

        z, density = scored() if name == "pyro" else jax.eval_shape(scored)
        assert tuple(z.shape) == (4, *other.batch_shape, *other.event_shape)
        assert tuple(density.shape) == (4, *other.batch_shape)


def test_a_written_density_is_the_same_on_both() -> None:
    z = np.random.default_rng(0).normal(size=(7, 3, 2))
    here = mixture(array(LOC), array(0.6)).log_prob(array(z))
    with ppl.running("numpyro"):
        there = mixture(array(LOC), array(0.6)).log_prob(array(z))
    np.testing.assert_allclose(there, here, rtol=1e-12)


@pytest.mark.parametrize("shape", [[5, 3], [5, 1], [2, 1], [4]])
def test_every_copy_is_drawn_on_its_own(shape: list[int], name: str) -> None:
    d = mixture(array(LOC), array(0.6)) if shape[-1] == 3 else mixture(array(np.array(LOC)[:, :1]), array(0.6), 1)
    z = np.asarray(draws(d.expand(shape)))
    assert z.shape == (*shape, 2)
    assert len(np.unique(z)) == z.size


def test_gradients_flow_through_the_draw(name: str) -> None:
    """For E|z|² of a mixture the gradients are 2 w loc and, by scale, twice dimension times scale per item."""

    def objective(loc: Any, scale: Any) -> Any:
        return (draws(mixture(loc, scale), (20_000,)) ** 2).sum(-1).mean(0).sum()

    loc, scale = array(LOC), array(0.6)
    if name == "pyro":
        loc.requires_grad_(), scale.requires_grad_()
        by_loc, by_scale = torch.autograd.grad(objective(loc, scale), (loc, scale))
    else:
        by_loc, by_scale = jax.grad(objective, (0, 1))(loc, scale)
    weight = np.stack([1 - np.array(WEIGHT), np.array(WEIGHT)])
    np.testing.assert_allclose(by_loc, 2 * weight[..., None] * np.array(LOC), atol=0.08)
    np.testing.assert_allclose(by_scale, 2 * 2 * 3 * 0.6, rtol=0.03)


def same() -> None:
    with pyro.plate("draws", 4, dim=-2), pyro.plate("items", 3, dim=-1):
        assert tuple(pyro.sample("z", mixture(array(LOC), array(0.6))).shape) == (4, 3, 2)


@pytest.mark.parametrize("estimator", ["Trace_ELBO", "TraceMeanField_ELBO"])
def test_elbos_take_it_and_vanish_where_guide_and_model_agree(estimator: str, name: str) -> None:
    if name == "pyro":
        loss = getattr(pyro_infer, estimator)().loss(same, same)
    else:
        loss = getattr(numpyro_infer, estimator)().loss(jax.random.key(0), {}, same, same)
    assert abs(float(loss)) < 1e-12


def test_it_is_drawn_under_jit_vmap_and_scan() -> None:
    with ppl.running("numpyro"):
        d = mixture(array(LOC), array(0.6))
        keys = jax.random.split(jax.random.key(0), 5)
        mapped = jax.jit(jax.vmap(d.sample))(keys)
        _, scanned = jax.lax.scan(lambda carry, key: (carry, d.sample(key)), 0, keys)
        np.testing.assert_allclose(mapped, jnp.stack([d.sample(key) for key in keys]))
        np.testing.assert_allclose(scanned, mapped)
