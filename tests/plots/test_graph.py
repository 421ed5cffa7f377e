"""Graph: both backends draw the same sites, edges and plates, those that the model's text says."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, pyro
from ppvae.guides.product import Product
from ppvae.plots import graph, picture

BACKENDS = ("pyro", "numpyro")


KINDS = {"a": Modality("a", (2,)), "b": Modality("b", (1,)), "kind": Modality("kind", (1,), "categorical", levels=3)}


def views(*names: str) -> Dataset:
    """Five items of the views named; an element of a and one item's b are missing."""
    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(5, 2)), "b": rng.normal(size=(5, 1)), "kind": np.ones((5, 1))}
    arrays["a"][0, 1], arrays["b"][1] = np.nan, np.nan
    return Dataset({name: arrays[name] for name in names}, modalities=[KINDS[name] for name in names])


def shared(*names: str, **options: Any) -> VAE:
    return ppvae.method("mvae", [KINDS[name] for name in names], latent=2, hidden=(4,), **options)


def edges(source: str) -> set[tuple[str, str]]:
    return set(re.findall(r"(\w+) -> (\w+)", source))


def nodes(source: str) -> dict[str, str]:
    """Each site's colour."""
    return {name: colour.replace("gray", "grey") for name, colour in re.findall(r"(\w+) \[.*fillcolor=(\w+)", source)}


def plates(source: str) -> dict[str, set[str]]:
    found = re.findall(r"subgraph cluster_(\w+) {(.*?)}", source, re.DOTALL)
    return {name: set(nodes(inside)) for name, inside in found}


# method, options, modalities: edges, and the sites outside the plate of items
CASES = [
    ("mvae", {}, ("a", "b"), {("z", "a"), ("z", "b")}, set()),
    ("mvae", {"prior": "mixture"}, ("a", "b"), {("z", "a"), ("z", "b")}, set()),
    ("mvae", {"prior": "vamp"}, ("a", "b"), {("z", "a"), ("z", "b")}, set()),
    ("dmvae", {}, ("a", "b"), {("z", "a"), ("w_a", "a"), ("z", "b"), ("w_b", "b")}, set()),
    ("m2", {}, ("a", "kind"), {("z", "a"), ("y", "a"), ("y", "kind")}, set()),
    ("nexus", {}, ("a", "b"), {("z", "z_a"), ("z", "z_b"), ("z_a", "a"), ("z_b", "b")}, set()),
    (
        "mofa",
        {},
        ("a", "b"),
        {(f"{up}_{v}", down) for v in "ab" for up, down in (("scales", f"loadings_{v}"), ("loadings", v))}
        | {("z", "a"), ("z", "b")},
        {"scales_a", "scales_b", "loadings_a", "loadings_b"},
    ),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("method", "options", "names", "expected", "outside"), CASES, ids=[f"{c[0]}{c[1]}" for c in CASES]
)
def test_sites_edges_and_plates_are_those_of_the_model(
    method: str, options: dict, names: tuple, expected: set, outside: set, backend: str
) -> None:
    data = views(*names)
    drawn = graph(ppvae.method(method, data.modalities, latent=2, **options), data, backend).source
    assert edges(drawn) == expected
    sites = {site for edge in expected for site in edge}
    assert nodes(drawn) == {site: "grey" if site in names else "white" for site in sites}
    assert plates(drawn) == {"items": sites - outside}


class Own(Program):
    """``m ~ Normal``;  ``z ~ Normal(m, 1)``;  ``a ~ Normal(z, 1)``, in a plate written by hand."""

    def forward(self, batch):
        mean = pyro.sample("m", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", batch.size):
            z = pyro.sample("z", dist.Normal(mean, 1.0).expand([2]).to_event(1))
            return pyro.sample("a", dist.Normal(z, 1.0).to_event(1), obs=batch.get("a"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_program_of_one_s_own_is_drawn_in_float64_too_and_is_left_as_it_was(backend: str) -> None:
    vae = VAE(Own(), Product([KINDS["a"]], latent=2).double())
    whole = Dataset({"a": np.ones((5, 2))}, modalities=[KINDS["a"]])
    drawn = graph(vae, whole, backend).source
    assert edges(drawn) == {("m", "z"), ("z", "a")}
    assert plates(drawn) == {"items": {"z", "a"}}
    assert {str(p.dtype) for p in vae.pair.parameters()} == {"torch.float64"}


def test_what_the_data_lack_is_white() -> None:
    drawn = graph(shared("a", "b"), views("a")).source
    assert nodes(drawn) == {"z": "white", "a": "grey", "b": "white"}


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown backend 'jax'; choose one of pyro, numpyro"):
        graph(shared("a"), views("a"), "jax")


def test_without_the_package_graphviz_one_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "graphviz", None)
    with pytest.raises(ValueError, match="pip install 'ppvae"):
        graph(shared("a"), views("a"))


def test_without_the_program_dot_one_is_told_where_to_find_it(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    drawn = graph(shared("a"), views("a"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="the program dot is not installed"):
        picture(drawn, tmp_path / "model.svg")
