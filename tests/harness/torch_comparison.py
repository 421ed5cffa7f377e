"""Comparison of one text of torch on both sides: torch itself, and the mirror on JAX, values and gradients."""

from __future__ import annotations

import ast
import copy
import math
import operator
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._pytree import tree_leaves

from ppvae.backends import mirror
from ppvae.backends.mirror import MirrorError

RTOL, ATOL = 1e-9, 1e-11
NO_GRADIENT = torch.full((), torch.nan)
WORDS = {"torch": torch, "F": F, "nn": nn, "np": np, "math": math, "copy": copy, "operator": operator}


class Text(nn.Module):
    """A network whose forward is a text; its value is what stands after the last semicolon."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        *before, last = ast.parse(text).body
        assert isinstance(last, ast.Expr)
        self.statements = compile(ast.Module(before, []), "text", "exec")
        self.value = compile(ast.Expression(last.value), "text", "eval")
        self.used = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}

    def forward(self, tensors: dict[str, Any]) -> Any:
        names = WORDS | tensors
        exec(self.statements, names)
        return eval(self.value, names)


@dataclass
class Verdict:
    """What came of a text: "same", "refused" (by the mirror alone), "different", or "torch refuses"."""

    text: str
    kind: str
    why: str = ""


@dataclass
class Case:
    """A text with torch's answer, and with the mirror's as a traced program that is still to run."""

    text: str
    theirs: list[Any]
    traced: Any = None
    plain: list[Any] = field(default_factory=list)


def plain(leaf: Any) -> Any:
    """An answer that is no array, in a form that both sides share."""
    if isinstance(leaf, torch.dtype | np.dtype):
        return str(leaf).removeprefix("torch.")
    return tuple(leaf) if isinstance(leaf, torch.Size) else leaf


def is_array(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor | jax.Array | np.ndarray | jax.ShapeDtypeStruct)


def weights_of(shape: Any) -> np.ndarray:
    return np.random.default_rng(7).normal(size=tuple(shape))


def on_torch(module: Text, tensors: dict[str, torch.Tensor], differentiated: bool = True) -> list[Any]:
    """The leaves of the answer, then the gradient of every floating-point input that is used."""
    given = {n: t.clone().requires_grad_(differentiated and t.is_floating_point()) for n, t in tensors.items()}
    try:
        leaves = tree_leaves(module(dict(given)))
    except Exception:
        if not differentiated:
            raise
        return on_torch(module, tensors, differentiated=False)
    outputs = [y for y in leaves if is_array(y) and y.is_floating_point() and y.requires_grad]
    total = sum(((y.double() * torch.from_numpy(weights_of(y.shape))).sum() for y in outputs), torch.zeros(()))
    inputs = [given[n] for n in sorted(module.used & given.keys()) if given[n].is_floating_point()]
    grads = pulled(total, inputs) if differentiated else [NO_GRADIENT] * len(inputs)
    filled = [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, grads, strict=True)]
    return [y if y is NO_GRADIENT else numpy(y) if is_array(y) else plain(y) for y in [*leaves, *filled]]


def numpy(value: torch.Tensor) -> np.ndarray:
    return value.detach().numpy(force=True).copy()


def pulled(total: torch.Tensor, inputs: list[torch.Tensor]) -> Any:
    """The gradients, or None for each where torch computes a value and has no gradient for it."""
    try:
        return torch.autograd.grad(total, inputs, allow_unused=True) if total.requires_grad else [None] * len(inputs)
    except RuntimeError:
        return [NO_GRADIENT] * len(inputs)


def traced(module: Text, tensors: dict[str, torch.Tensor]) -> tuple[Any, list[Any]]:
    """The mirror's answer and gradients as a jaxpr of the named arrays, and the answers that are no arrays."""
    names = sorted(module.used & tensors.keys())
    floats = [n for n in names if tensors[n].is_floating_point()]
    others: list[Any] = []

    def both(arrays: dict[str, jax.Array]) -> Any:
        def forward(chosen: list[jax.Array]) -> Any:
            given = arrays | dict(zip(floats, chosen, strict=True))
            leaves = tree_leaves(
                mirror.forward(module, mirror.Parameters({}, {}, key=lambda: jax.random.key(0)), given)
            )
            others[:] = [None if is_array(y) else plain(y) for y in leaves]
            return [y for y in leaves if is_array(y)]

        outputs, pull = jax.vjp(forward, [arrays[n] for n in floats])
        weights = [
            jnp.asarray(weights_of(y.shape), y.dtype)
            if jnp.issubdtype(y.dtype, jnp.floating)
            else np.zeros(y.shape, jax.dtypes.float0)
            if not jnp.issubdtype(y.dtype, jnp.complexfloating)
            else jnp.zeros_like(y)
            for y in outputs
        ]
        return outputs, pull(weights)[0]

    return jax.make_jaxpr(both)({n: jnp.asarray(tensors[n].numpy()) for n in names}), others


def prepared(text: str, tensors: dict[str, torch.Tensor]) -> Case | Verdict:
    """A case that both sides take, or the verdict on one that a side refuses."""
    module = Text(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = on_torch(module, tensors)
    except Exception as error:
        theirs = error
    try:
        program, others = traced(module, tensors)
    except MirrorError as error:
        kind = "both refuse" if isinstance(theirs, Exception) else "refused"
        return Verdict(text, kind, str(error))
    except Exception as error:
        kind = "both refuse" if type(error) is type(theirs) else "raw"
        return Verdict(text, kind, f"{type(error).__name__}: {error}")
    if isinstance(theirs, Exception):
        return uncompiled(module, tensors, theirs)
    return Case(text, theirs, program, others)


def uncompiled(module: Text, tensors: dict[str, torch.Tensor], theirs: Exception) -> Verdict:
    """Whether what torch refuses is refused where values are known, as they are where nothing is compiled."""
    try:
        mirror.forward(module, mirror.Parameters({}, {}), {n: jnp.asarray(t.numpy()) for n, t in tensors.items()})
    except MirrorError as error:
        return Verdict(module.text, "both refuse", str(error))
    return Verdict(module.text, "accepted", f"torch: {theirs}")


def run(cases: list[Case], tensors: dict[str, torch.Tensor]) -> list[Verdict]:
    """All cases compiled as one program, and each compared with torch."""
    arrays = {n: jnp.asarray(t.numpy()) for n, t in tensors.items()}

    def everything(arrays: dict[str, jax.Array]) -> list[Any]:
        return [
            jax.core.eval_jaxpr(
                c.traced.jaxpr, c.traced.consts, *(arrays[n] for n in sorted(Text(c.text).used & arrays.keys()))
            )
            for c in cases
        ]

    options: Any = {"xla_backend_optimization_level": 0}
    answers = jax.jit(everything, compiler_options=options)(arrays)
    return [judged(case, answer) for case, answer in zip(cases, answers, strict=True)]


def judged(case: Case, arrays: list[Any]) -> Verdict:
    """Whether arrays, plain answers and gradients are torch's."""
    queue = [np.asarray(y) for y in arrays]
    places = case.plain + [None] * (len(queue) - sum(p is None for p in case.plain))
    ours = [queue.pop(0) if place is None and queue else place for place in places]
    if len(ours) != len(case.theirs):
        return Verdict(
            case.text, "different", f"{len(ours)} answers, torch has {len(case.theirs)}: {ours} {case.theirs}"
        )
    for mine, his in zip(ours, case.theirs, strict=True):
        if his is NO_GRADIENT:
            continue
        if why := difference(mine, his):
            return Verdict(case.text, "different", why)
    return Verdict(case.text, "same")


def difference(mine: Any, his: Any) -> str:
    """How an answer differs from torch's, or nothing."""
    if not isinstance(his, np.ndarray):
        return "" if type(mine) is type(his) and mine == his else f"{mine!r} is not {his!r}"
    mine = np.asarray(mine)
    if mine.shape != his.shape or mine.dtype != his.dtype:
        return f"{mine.dtype}{mine.shape} is not {his.dtype}{his.shape}"
    coarse = {"float32": 1e-5, "float16": 1e-2, "complex64": 1e-5}.get(str(his.dtype))
    close = np.allclose(mine, his, coarse or RTOL, coarse or ATOL, equal_nan=True)
    return "" if close else f"{mine.tolist()} is not {his.tolist()}"


def compared(texts: list[str], tensors: dict[str, torch.Tensor], at_once: int = 100) -> list[Verdict]:
    """A verdict on every text."""
    ready = [prepared(text, tensors) for text in texts]
    verdicts = [each for each in ready if isinstance(each, Verdict)]
    cases = [each for each in ready if isinstance(each, Case)]
    for start in range(0, len(cases), at_once):
        verdicts += run(cases[start : start + at_once], tensors)
    return verdicts


def counted(verdicts: list[Verdict]) -> Counter[str]:
    return Counter(verdict.kind for verdict in verdicts)
