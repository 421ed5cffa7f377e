"""Tracing: a torch module, recorded once by ``torch.fx`` as a graph whose every node has a mirror."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from torch import fx, nn

from ppvae.backends.mirror.tables import FUNCTIONS, MirrorError, layer_rule, method_rule, random_rule

_graphs: WeakKeyDictionary[nn.Module, dict[Any, fx.Graph]] = WeakKeyDictionary()


class _Tracer(fx.Tracer):
    """Stops at layers of the table, looks inside every other module, and remembers source lines."""

    record_stack_traces = True

    def __init__(self, path: str) -> None:
        super().__init__(autowrap_modules=())
        self.path = path

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if layer_rule(m) is not None:
            return True
        if type(m).__module__.startswith("torch.nn") and not isinstance(m, nn.Sequential):
            raise MirrorError(_no_layer(m, f"{self.path}{module_qualified_name}"))
        return False


def graph(module: nn.Module, static: Mapping[str, Any], path: str = "") -> fx.Graph:
    """The graph of ``module.forward`` with the plain Python arguments ``static`` fixed, traced once.

    ``path`` is where the module sits in its program (with a trailing dot) and serves the messages.

    Raises:
        MirrorError: a layer, function or method has no mirror, or control flow depends on an array.
    """
    kept = _graphs.setdefault(module, {})
    key = tuple(sorted((name, repr(value)) for name, value in static.items()))
    if key not in kept:
        kept[key] = _trace(module, static, path)
    return kept[key]


def _trace(module: nn.Module, static: Mapping[str, Any], path: str) -> fx.Graph:
    try:
        traced = _Tracer(path).trace(module, concrete_args=dict(static))
    except (fx.proxy.TraceError, TypeError) as error:
        raise MirrorError(
            f"{_where(module, path)} cannot be traced ({error}); avoid control flow on arrays in its forward, or give "
            f"it a mirror of its own with @mirror.layer({type(module).__name__})"
        ) from error
    for node in traced.nodes:
        _check(node, module, path)
    return traced


def _check(node: fx.Node, module: nn.Module, path: str) -> None:
    if random_rule(node.target) is not None:
        return
    if node.op == "call_function" and node.target not in FUNCTIONS:
        name = _name(node.target)
        raise MirrorError(_no_rule(f"function {name}", f"@mirror.function({name})", node, module, path))
    if node.op == "call_method" and method_rule(str(node.target)) is None:
        advice = f'@mirror.method("{node.target}")'
        raise MirrorError(_no_rule(f"tensor method {node.target}", advice, node, module, path))


def _no_rule(what: str, advice: str, node: fx.Node, module: nn.Module, path: str) -> str:
    return f"the {what} has no mirror in {_where(module, path)} at {_source(node)}; register one with {advice}"


def _source(node: fx.Node) -> str:
    """The innermost line of the network's own code: torch.fx records its own frames too."""
    lines = [line.strip() for line in (node.stack_trace or "").splitlines()]
    own = [i for i, line in enumerate(lines) if line.startswith("File") and "/torch/" not in line]
    return " ".join(lines[own[-1] : own[-1] + 2]) if own else "an unknown line"


def _no_layer(module: nn.Module, path: str) -> str:
    name = f"nn.{type(module).__name__}"
    if hasattr(module, "running_mean"):
        advice = "it keeps running statistics, which SVI cannot own: use nn.GroupNorm or nn.LayerNorm"
    else:
        advice = f"register one with @mirror.layer({name})"
    return f"the layer {name} at {path!r} has no mirror; {advice}"


def _where(module: nn.Module, path: str) -> str:
    file = inspect.getsourcefile(type(module)) or "?"
    return f"{type(module).__name__} at {path.rstrip('.')!r} ({file})"


def _name(target: Any) -> str:
    owner = getattr(target, "__module__", None) or "torch"
    return f"{owner.removeprefix('_')}.{getattr(target, '__name__', target)}"


def leaf_error(module: nn.Module, path: str) -> MirrorError:
    """The error for a stock layer that has no rule."""
    return MirrorError(_no_layer(module, path))


