"""Threads: several at once do what each does alone, and whatever is raised, the next call finds all in order."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import numpyro as real_numpyro
import pyro as real_pyro
import pytest
import torch
from torch import nn

import ppvae
from ppvae import VAE, Dataset, Program, dist, pyro
from ppvae.backends.numpyro_words import STACKS as NUMPYRO_STACKS
from ppvae.backends.pyro_words import STACKS as PYRO_STACKS
from ppvae.language import ppl

BACKENDS = ["pyro", "numpyro"]
Arrays = dict[str, np.ndarray]

both = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(autouse=True)
def _hasty() -> Iterator[None]:
    """Threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class Line(Program):
    """z ~ N(0, 1);  x ~ N(W z, 1).  A ``fault`` is raised within two plates, one of which stays open."""

    fault: BaseException | None = None

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5, -1.0, 2.0]))

    def forward(self, batch: Any) -> None:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
            if Line.fault is not None:
                pyro.plate("open", 2, dim=-2).__enter__()
                raise Line.fault
            pyro.sample("x", dist.Normal(z * self.weight, 1.0).to_event(1), obs=batch.get("x"))


class Guide(Program):
    """q(z | x) = N(w x, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 1)

    def forward(self, batch: Any) -> None:
        with batch.plate():
            pyro.sample("z", dist.Normal(self.net(batch.get("x")), 1.0).to_event(1))


@cache
def data() -> Dataset:
    return Dataset({"x": np.random.default_rng(0).normal(size=(12, 3))})


@cache
def pair() -> VAE:
    torch.manual_seed(0)
    return VAE(Line(), Guide())


def fit(backend: str, dtype: str = "float32", **options: Any) -> Any:
    return ppvae.fit(pair(), data(), backend=backend, dtype=dtype, batch_size=4, **{"epochs": 3, **options})


@cache
def trained(backend: str, dtype: str) -> Any:
    return fit(backend, dtype, epochs=1)


def weights(backend: str, dtype: str = "float32") -> Arrays:
    return fit(backend, dtype).snapshot.weights


@cache
def alone(backend: str) -> Arrays:
    return weights(backend)


def initial() -> Arrays:
    made = ppvae.method("mvae", data().modalities, latent=2, hidden=(4,), seed=3).pair
    return {name: value.numpy() for name, value in made.state_dict().items()}


JOBS: dict[str, Callable[[], Arrays]] = {"initial weights": initial}
for _backend, _dtype in (("pyro", "float32"), ("pyro", "float64"), ("numpyro", "float64")):
    JOBS |= {
        f"{_backend} {_dtype} fit": lambda b=_backend, d=_dtype: weights(b, d),
        f"{_backend} {_dtype} encode": lambda b=_backend, d=_dtype: trained(b, d).encode(data(), draws=2),
        f"{_backend} {_dtype} query": lambda b=_backend, d=_dtype: trained(b, d).query(data(), draws=2),
        f"{_backend} {_dtype} log_evidence": lambda b=_backend, d=_dtype: {
            "evidence": trained(b, d).log_evidence(data(), particles=5)
        },
    }


def same(found: Arrays, expected: Arrays) -> bool:
    return found.keys() == expected.keys() and all(
        found[n].dtype == expected[n].dtype and np.array_equal(found[n], expected[n]) for n in found
    )


def test_several_threads_on_both_backends_get_the_bits_of_each_alone() -> None:
    expected = {name: job() for name, job in JOBS.items()}
    together = threading.Barrier(3)

    def work(number: int) -> list[str]:
        names = [str(name) for name in np.random.default_rng(number).permutation(list(JOBS))]
        together.wait(timeout=60)
        return [name for name in names if not same(JOBS[name](), expected[name])]

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(work, range(3))) == [[], [], []]
    assert torch.get_default_dtype() == torch.float32


def plain_pyro() -> set[str]:
    """The sites of a program of the user's own, under names that ppvae uses too; no random number is drawn."""

    def program() -> None:
        with real_pyro.plate("items", 5):
            real_pyro.sample("z", real_pyro.distributions.Normal(torch.zeros(()), torch.ones(())), obs=torch.zeros(5))

    return set(real_pyro.poutine.trace(program).get_trace().nodes)


def plain_numpyro() -> set[str]:
    def program() -> None:
        with real_numpyro.plate("items", 5):
            real_numpyro.sample("z", real_numpyro.distributions.Normal(0.0, 1.0), obs=np.zeros(5))

    return set(real_numpyro.handlers.trace(program).get_trace())


@pytest.mark.parametrize("plain", [plain_pyro, plain_numpyro])
def test_programs_of_the_libraries_own_beside_a_fit_are_not_seen_by_it_nor_see_it(plain: Any) -> None:
    backend = plain.__name__.removeprefix("plain_")
    expected, before, done = plain(), alone(backend), threading.Event()

    def work() -> int:
        runs = 0
        while not done.is_set() or not runs:
            assert plain() == expected
            runs += 1
        return runs

    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(work)
        try:
            found = weights(backend)
        finally:
            done.set()
        assert beside.result() > 0
    assert same(found, before)


def test_handlers_around_a_call_are_not_those_of_its_programs() -> None:
    for backend in BACKENDS:
        outside = trained(backend, "float64").encode(data(), draws=2)
        with (
            real_pyro.poutine.trace() as seen,
            real_pyro.poutine.condition(data={"z": torch.zeros(1)}),
            real_pyro.plate("items", 12, dim=-1),
            real_numpyro.handlers.trace() as seen_too,
        ):
            inside = trained(backend, "float64").encode(data(), draws=2)
            real_pyro.sample("own", real_pyro.distributions.Bernoulli(torch.tensor(1.0)))
        assert same(inside, outside)
        assert "own" in seen.trace.nodes
        assert "z" not in seen.trace.nodes
        assert not seen_too


@both
@pytest.mark.parametrize("fault", [ZeroDivisionError, SystemExit])
def test_after_any_exception_the_next_call_works(
    backend: str, fault: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, random = alone(backend), torch.get_rng_state()
    ready = ppvae.init(pair(), data(), backend=backend, dtype="float64", batch_size=4)
    with monkeypatch.context() as broken:
        broken.setattr(Line, "fault", fault())
        for call in (lambda: fit(backend, "float64"), lambda: ppvae.step(ready, data().batch(slice(4)))):
            with pytest.raises(fault):
                call()
    assert not any(any(vars(stack).values()) for stack in (*PYRO_STACKS, *NUMPYRO_STACKS))
    assert (torch.get_default_dtype(), ppl.backend()) == (torch.float32, "pyro")
    assert real_pyro.distributions.is_validation_enabled()
    assert torch.equal(torch.get_rng_state(), random)
    with ThreadPoolExecutor(1) as pool:
        assert same(pool.submit(weights, backend).result(timeout=100), before)


def test_an_answer_does_not_wait_for_the_end_of_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = trained("pyro", "float32").encode(data())
    steps, many = threading.Semaphore(0), Dataset({"x": np.zeros((100_000, 3))})
    forward = Guide.forward
    monkeypatch.setattr(Guide, "forward", lambda self, batch: (steps.release(), forward(self, batch))[1])

    def endless() -> None:
        with pytest.raises(ZeroDivisionError):
            ppvae.fit(pair(), many, backend="pyro", epochs=1, batch_size=1)

    with ThreadPoolExecutor(1) as pool:
        fitting = pool.submit(endless)
        for _ in range(20):
            assert steps.acquire(timeout=60)
        assert same(trained("pyro", "float32").encode(data()), expected)
        assert not fitting.done()
        monkeypatch.setattr(Line, "fault", ZeroDivisionError())
        fitting.result(timeout=60)


@both
def test_a_callback_may_use_other_threads_and_finds_the_words_and_dtypes_of_outside(backend: str) -> None:
    expected, found = trained("pyro", "float64").encode(data()), []

    def callback(entry: Any) -> None:
        with ThreadPoolExecutor(1) as pool:
            found.append(pool.submit(trained("pyro", "float64").encode, data()).result(timeout=60))
        found.append((torch.get_default_dtype(), ppl.backend(), plain_pyro()))

    fit(backend, "float64", epochs=1, callbacks=[callback])
    assert same(found[0], expected)
    assert found[1] == (torch.float32, "pyro", plain_pyro())
