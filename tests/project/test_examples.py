"""Every example is one text for both backends, learns the same on both, and prints a figure that means what it says."""

from __future__ import annotations

import ast
import importlib.util
import math
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

import ppvae

FOLDER = Path(__file__).parents[2] / "examples"
PATHS = {path.stem: path for path in sorted(FOLDER.glob("*.py"))}
ALONE = "attend_infer_repeat"  # on Pyro alone, for the reason that its first sentence gives


class Run(NamedTuple):
    """How far an example is trained here, and what its figures must be then."""

    epochs: int
    holds: Callable[[dict[str, float]], bool]


RUNS = {
    "causal_effect": Run(15, lambda f: abs(f["effect"] - f["truth"]) < 0.08 and f["naive"] < 0),
    "deep_exponential_family": Run(90, lambda f: f["elbo"] > f["baseline"] + 5),
    "deep_markov": Run(35, lambda f: f["elbo"] > f["baseline"] + 0.7),
    "hidden_markov": Run(40, lambda f: f["error"] < 0.1),
    "mixture": Run(300, lambda f: f["agreement"] > 0.8),
    "semi_supervised": Run(50, lambda f: f["accuracy"] > f["baseline"] + 0.01),
    "sequence_transformer": Run(12, lambda f: f["elbo"] > f["baseline"] + 0.15),
    "topic_model": Run(20, lambda f: f["overlap"] > 0.75),
}
LONG = {"causal_effect", "deep_exponential_family", "deep_markov", "semi_supervised", "sequence_transformer"}
each = pytest.mark.parametrize("name", RUNS)
trained_each = [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in RUNS]


@cache
def example(name: str) -> Any:
    """The module of an example."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", PATHS[name])
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trained(module: ModuleType, monkeypatch: Any, **options: Any) -> tuple[dict[str, float], list[float]]:
    """The figures of an example's ``main``, and the losses of the training within."""
    runs: list[Any] = []

    def fit(*args: Any, **kwargs: Any) -> Any:
        runs.append(ppvae.fit(*args, **kwargs))
        return runs[-1]

    monkeypatch.setattr(module, "fit", fit)
    figures = module.main(**options)
    return figures, [epoch["loss"] for epoch in runs[0].history]


def test_every_example_is_tried() -> None:
    assert {*RUNS, ALONE} == set(PATHS)


@each
def test_it_means_the_same_on_both_backends(name: str) -> None:
    module = example(name)
    rows = range(40, 56)  # some with holes, some without
    found = ppvae.parity(module.vae(), module.data()[0].batch(rows), dtype="float64")
    assert found["max_logprob_difference"] < 1e-10
    assert found["max_gradient_difference"] < 1e-10


@pytest.mark.parametrize("name", trained_each)
def test_it_learns_the_same_on_both_backends(name: str, monkeypatch: Any, capsys: Any) -> None:
    ends = []
    for backend in ("pyro", "numpyro"):
        figures, losses = trained(example(name), monkeypatch, backend=backend, epochs=RUNS[name].epochs)
        assert RUNS[name].holds(figures), (backend, figures)
        assert losses[-1] < losses[0]
        ends.append(np.mean(losses[-3:]))
        printed = capsys.readouterr().out
        assert sum(printed.count(character) for character in "0123456789") > 2, printed
    assert math.isclose(*ends, rel_tol=0.04, abs_tol=0.1)


@pytest.mark.parametrize("name", PATHS)
def test_no_line_is_for_one_backend(name: str) -> None:
    text = PATHS[name].read_text(encoding="utf-8")
    tree = ast.parse(text)
    lines = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {getattr(node, "module", None) or node.names[0].name for node in lines}
    assert {module.partition(".")[0] for module in modules} <= {*sys.stdlib_module_names, *KNOWN}
    assert text.count('"numpyro"') == (name != ALONE), "as the default of main alone"
    assert len(text.splitlines()) <= 110
    assert ast.get_docstring(tree)


KNOWN = {"numpy", "ppvae", "scipy", "sklearn", "torch", "typer"}


@pytest.mark.parametrize("name", PATHS)
def test_it_is_a_command(name: str) -> None:
    app = typer.Typer()
    app.command()(example(name).main)
    found = CliRunner().invoke(app, ["--help"])
    assert found.exit_code == 0
    assert "--epochs" in found.output
    assert ("--backend" in found.output) == (name != ALONE)


def test_attend_infer_repeat_runs_on_pyro_and_is_refused_by_name_on_numpyro() -> None:
    module = example(ALONE)
    train, _ = module.data(pictures=300)
    fitted = ppvae.fit(module.vae(), train, backend="pyro", epochs=4, batch_size=50)
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"]
    with pytest.raises(ValueError, match="NumPyro cannot differentiate the guide's site 'here_0'"):
        ppvae.fit(module.vae(), train, backend="numpyro", epochs=1)


@pytest.mark.slow
def test_attend_infer_repeat_counts() -> None:
    assert example(ALONE).main(epochs=40)["accuracy"] > 0.6


def test_the_likelihood_of_a_hidden_markov_model_is_that_of_the_forward_algorithm() -> None:
    module = example("hidden_markov")
    torch.manual_seed(1)
    vae = module.vae()
    for parameter in vae.model.parameters():
        parameter.data += torch.randn(parameter.shape)
    train, test = module.data(sequences=130)
    start, transition = (p.softmax(-1).detach().numpy() for p in (vae.model.start, vae.model.transition))
    loc, scale = vae.model.loc.detach().numpy(), vae.model.log_scale.exp().item()
    readings = np.stack([test.holed(f"x_{t}") for t in range(module.STEPS)], -1)[..., None]
    density = np.exp(-0.5 * ((readings - loc) / scale) ** 2) / (scale * np.sqrt(2 * np.pi))
    density = np.where(np.isnan(density), 1.0, density)
    forward = np.ones((len(test), 1)) * start * density[:, 0]
    for t in range(1, module.STEPS):
        forward = forward @ transition * density[:, t]
    for backend in ("pyro", "numpyro"):
        fitted = ppvae.fit(vae, train, backend=backend, epochs=0)
        np.testing.assert_allclose(fitted.log_evidence(test, particles=1), np.log(forward.sum(-1)), rtol=1e-4)


def test_spelled_numbers_differ() -> None:
    words = [example("sequence_transformer").spelled(number) for number in range(1000)]
    assert len(set(words)) == 1000
    assert (words[0], words[13], words[80], words[999]) == ("zero", "thirteen", "eighty", "nine hundred ninety nine")
    assert all(len(word) < example("sequence_transformer").STEPS for word in words)
