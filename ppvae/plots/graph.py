"""Graph: a model drawn as its sites, edges and plates, by the renderer of either library."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from numpyro.infer import inspect as numpyro_inspect
from pyro.infer import inspect as pyro_inspect

from ppvae.backends import mirror, numpyro, pyro
from ppvae.backends.numpyro_items import boxed
from ppvae.data.dataset import Dataset
from ppvae.language.ppl import BACKENDS
from ppvae.runs.settings import Settings
from ppvae.runs.vae import VAE

if TYPE_CHECKING:
    from graphviz import Digraph

ROWS = 2  # of the data, on which the program is run


def graph(vae: VAE, data: Dataset, backend: str = "pyro") -> Digraph:
    """The model as a ``graphviz.Digraph``, by ``render_model`` of Pyro or of NumPyro.

    An ellipse is a site, grey where the data hold it; an arrow leads from a site to those that depend on it directly;
    a box is a plate. Modalities that the model takes as given are no sites. Needs the extra ``ppvae[graph]``.

    Raises:
        ValueError: the backend is unknown, or the Python package graphviz is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    if importlib.util.find_spec("graphviz") is None:
        raise ValueError("a graph is drawn by the package graphviz, which is not installed: pip install 'ppvae[graph]'")
    batch, pair = data.batch(slice(0, ROWS)), copy.deepcopy(vae.pair).float().cpu().eval()
    settings = Settings.model_validate({"backend": backend, "device": "cpu"})
    if backend == "pyro":
        with pyro.environment(settings):
            return pyro_inspect.render_model(pair["model"], (batch,))
    with numpyro.environment(settings):
        model, _ = numpyro.programs(pair, mirror.arrays(pair), mirror.aliases(pair))
        return numpyro_inspect.render_model(boxed(model), (batch,))


def picture(drawn: Digraph, path: str | Path) -> Path:
    """Write a graph as a picture, of the kind that the path's suffix names: ``.svg``, ``.png``, ``.pdf``.

    Raises:
        ValueError: Graphviz's program ``dot``, which places the nodes, is not installed.
    """
    from graphviz import ExecutableNotFound

    try:
        return Path(drawn.render(outfile=path, cleanup=True))
    except ExecutableNotFound:
        advice = "install Graphviz from https://graphviz.org/download, or read the graph's .source"
        raise ValueError(f"{path} was not drawn, as the program dot is not installed: {advice}") from None
