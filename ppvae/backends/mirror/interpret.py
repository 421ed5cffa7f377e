"""Interpretation: a traced torch module, run on JAX arrays."""

from __future__ import annotations

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import fx, nn

from ppvae.backends.mirror.parameters import Parameters
from ppvae.backends.mirror.tables import FUNCTIONS, layer_rule, method_rule, random_rule
from ppvae.backends.mirror.trace import graph, leaf_error


def forward(module: nn.Module, p: Parameters, *args: Any, **kwargs: Any) -> Any:
    """``module(*args, **kwargs)`` on JAX arrays, with the arrays of ``p`` as its parameters.

    Raises:
        MirrorError: see :func:`~ppvae.backends.mirror.trace.graph`.
    """
    rule = layer_rule(module)
    if rule is not None:
        return rule(module, p, *args, **kwargs)
    if type(module).__module__.startswith("torch.nn") and not isinstance(module, nn.Sequential):
        raise leaf_error(module, p.prefix.rstrip("."))
    bound = inspect.signature(module.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    static = {name: value for name, value in bound.arguments.items() if _is_static(value)}
    return _run(graph(module, static, p.prefix), module, p, list(bound.arguments.values()))


def _is_static(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, torch.dtype))


def _run(traced: fx.Graph, module: nn.Module, p: Parameters, inputs: list[Any]) -> Any:
    values: dict[fx.Node, Any] = {}
    feed = iter(inputs)
    for node in traced.nodes:
        if node.op == "placeholder":
            values[node] = next(feed)
            continue
        args = fx.map_arg(node.args, values.__getitem__)
        kwargs = fx.map_arg(node.kwargs, values.__getitem__)
        if node.op == "output":
            return args[0]
        values[node] = _value(node, module, p, to_jax(args), to_jax(kwargs))
    raise AssertionError("torch.fx graphs end with an output")


def _value(node: fx.Node, module: nn.Module, p: Parameters, args: Any, kwargs: Any) -> Any:
    target: Any = node.target
    if node.op == "get_attr":
        array = p.get(target)
        return array if array is not None else to_jax(_attribute(module, target))
    if node.op == "call_module":
        return forward(module.get_submodule(target), p.child(target), *args, **kwargs)
    random = random_rule(target)
    if random is not None:
        return random(p.key, *args, **kwargs)
    rule = FUNCTIONS[target] if node.op == "call_function" else method_rule(target)
    assert rule is not None, "the graph was checked when it was traced"
    return rule(*args, **kwargs)


def _attribute(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name)
    return module


def to_jax(value: Any) -> Any:
    """Torch tensors, sizes and dtypes inside ``value``, as JAX's; everything else as it is."""
    if isinstance(value, torch.Tensor):
        return jnp.asarray(value.detach().cpu().numpy())
    if isinstance(value, torch.dtype):
        return dtype(value)
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        kind = list if isinstance(value, list) else tuple
        return kind(to_jax(item) for item in value)
    if isinstance(value, dict):
        return {key: to_jax(item) for key, item in value.items()}
    return value


def dtype(value: torch.dtype) -> np.dtype[Any]:
    """The dtype of the same name, narrowed to 32 bits where JAX runs without x64."""
    return jax.dtypes.canonicalize_dtype(str(value).removeprefix("torch."))
