"""Plain NumPyro: a pair as two functions of a batch that read their weights through ``numpyro.param``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import numpyro
import torch

from ppvae.backends import mirror
from ppvae.backends.devices import in_torch
from ppvae.backends.mirror.running.program import Mirror
from ppvae.backends.numpyro_items import boxed
from ppvae.inference.plain import Plain
from ppvae.language import ppl
from ppvae.language.batch import Batch
from ppvae.language.turns import turn
from ppvae.runs.vae import VAE


def programs(vae: VAE) -> Plain:
    """Model, guide and their weights, a copy of the pair's."""
    kind = torch.float64 if jax.dtypes.canonicalize_dtype(float) == jax.numpy.float64 else torch.float32
    vae = copy.deepcopy(vae)
    vae.pair.to(dtype=kind).eval()
    arrays = mirror.arrays(vae.pair)
    trained = {name: arrays[name] for name, p in vae.pair.named_parameters() if p.requires_grad}
    fixed = mirror.Parameters({n: a for n, a in arrays.items() if n not in trained}, mirror.aliases(vae.pair))
    own = [{full: trained[full] for full, _ in vae.weights_of(role).values()} for role in ("model", "guide")]
    return Plain(_reading(vae, "model", own[0], fixed, kind), _reading(vae, "guide", own[1], fixed, kind), trained)


def _reading(
    vae: VAE, role: str, own: Mapping[str, jax.Array], fixed: mirror.Parameters, kind: torch.dtype
) -> Callable[[Batch], Any]:
    """The program as a function; ``own`` are its trained weights, ``fixed`` holds the arrays of the rest."""
    program = vae.pair[role]

    def plain(batch: Batch) -> Any:
        read = {name: numpyro.param(name, array) for name, array in own.items()}
        with turn(), ppl.running("numpyro"), in_torch.defaults(kind):
            p = replace(fixed, arrays={**fixed.arrays, **read}, key=numpyro.prng_key)
            return boxed(Mirror(program, p.child(role)))(batch)

    plain.__name__ = type(program).__name__
    return plain


def _flat(batch: Batch) -> tuple[tuple[Any, Any], tuple[Any, ...]]:
    return (batch.arrays, batch.observed), (batch.total, batch.size, batch.ask)


def _whole(rest: tuple[Any, ...], arrays: tuple[Any, Any]) -> Batch:
    """The batch again, unchecked, as JAX puts more than arrays in their places."""
    batch = object.__new__(Batch)
    for name, value in zip(("arrays", "observed", "total", "size", "ask"), (*arrays, *rest), strict=True):
        object.__setattr__(batch, name, value)
    return batch


jax.tree_util.register_pytree_node(Batch, _flat, _whole)  # so that jax.jit(svi.update)(state, batch) takes one
