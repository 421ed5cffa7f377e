"""Dispatch: every torch function that a network calls while it runs, led to its rule."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import numpy as np
import torch
from torch.overrides import TorchFunctionMode, is_tensor_method_or_property

from ppvae.backends.mirror.running.convert import leaf_to_jax, nested
from ppvae.backends.mirror.running.refusals import function_error, located, method_name, refusal
from ppvae.backends.mirror.running.standin import Spoken, StandIn, interpreter
from ppvae.backends.mirror.running.tables import FUNCTIONS, Key, MirrorError, method_rule, random_rule

# With no array among their arguments torch runs functions by itself; these would draw once and for all.
_DRAWS = {torch.rand, torch.randn, torch.randint, torch.randperm, torch.normal}

_VIEWS = frozenset(
    """
    __getitem__ adjoint atleast_1d atleast_2d atleast_3d broadcast_tensors broadcast_to chunk contiguous data detach
    diagonal double dropout dsplit expand expand_as flatten float H hsplit imag mH movedim moveaxis mT narrow permute
    ravel real reshape reshape_as select split split_with_sizes squeeze swapaxes swapdims t T tensor_split to
    transpose type type_as unbind unflatten unfold unsqueeze view view_as vsplit
    """.split()  # noqa: SIM905
)


class Dispatch(TorchFunctionMode):
    """The interpreter of one call of a network; ``known`` maps the ids of its parameters to stand-ins."""

    def __init__(self, key: Key, known: dict[int, StandIn]) -> None:
        super().__init__()
        self.key = key
        self.known = known

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.call(func, args, kwargs or {})

    def call(self, function: Any, args: Any, kwargs: Any) -> Any:
        """``function(*args, **kwargs)``: by its rule, or by torch itself if no array of the network is involved."""
        random = random_rule(function)
        if random is None and function not in _DRAWS and not any(map(self._stands, leaves([args, kwargs]))):
            return function(*args, **kwargs)
        if _is_method(function):
            return self.method(method_name(function), *args, **kwargs)
        rule = FUNCTIONS.get(function) if random is None else partial(random, self.key)
        if rule is None:
            raise function_error(function)
        changes = kwargs.get("inplace") is True and isinstance(args[0], StandIn)
        kwargs = kwargs | {"inplace": False} if changes else kwargs
        result = self.run(rule, getattr(function, "__name__", ""), args, kwargs)
        return args[0].assign(result) if changes else result

    def method(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """``args[0].name(*args[1:])``; one whose name ends with an underscore changes ``args[0]``."""
        tensor = self._stand_in(args[0])
        if name in vars(StandIn):
            value = getattr(tensor, name)
            return value(*args[1:], **kwargs) if callable(value) else value
        if not callable(getattr(torch.Tensor, name)):
            return self.run(FUNCTIONS.get(getattr, getattr), name, (tensor, name), {})
        changes = name.endswith("_")
        random = random_rule(name)
        rule = method_rule(name.removesuffix("_")) if random is None else partial(random, self.key)
        if rule is None:
            raise function_error(name)
        result = self.run(rule, name, (tensor, *args[1:]), kwargs)
        return tensor.assign(result) if changes else result

    def run(self, rule: Callable[..., Any], name: str, args: Any, kwargs: Any) -> Any:
        """A rule on the arrays of stand-ins; what it returns stands in again."""
        _refuse_own_gradients()
        try:
            result = rule(*nested(args, self.array), **nested(kwargs, self.array))
        except MirrorError as error:
            raise located(error) from error
        if not torch.is_grad_enabled():
            result = jax.lax.stop_gradient(result)
        viewed = next((leaf for leaf in leaves(args) if isinstance(leaf, StandIn)), None)
        memory = viewed.memory if viewed is not None and name in _VIEWS else None
        return nested(result, lambda leaf: StandIn(leaf, memory) if is_array(leaf) else leaf)

    def array(self, leaf: Any) -> Any:
        """What a rule sees of a leaf: the array of a stand-in or of one of the network's own parameters."""
        leaf = self.known.get(id(leaf), leaf)
        return leaf.value if isinstance(leaf, StandIn | Spoken) else leaf_to_jax(leaf)

    def _stand_in(self, leaf: Any) -> StandIn:
        return leaf if isinstance(leaf, StandIn) else self.known.get(id(leaf)) or StandIn(leaf_to_jax(leaf))

    def _stands(self, leaf: Any) -> bool:
        return isinstance(leaf, StandIn | jax.Array) or id(leaf) in self.known


def _is_method(function: Any) -> bool:
    """Whether a method or property of tensors was called; torch does not count ``x.new_zeros`` and its like."""
    return is_tensor_method_or_property(function) or getattr(torch.Tensor, function.__name__, None) is function


def is_array(leaf: Any) -> bool:
    """Whether a leaf comes from JAX or numpy and is to stand in for a tensor."""
    return isinstance(leaf, (jax.Array, np.ndarray))


def leaves(value: Any) -> Iterator[Any]:
    """The leaves of a nest of lists, tuples and dicts."""
    if isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value


@contextmanager
def dispatching(dispatch: Any) -> Iterator[None]:
    """Torch functions go through ``dispatch`` in this thread, whatever torch does about gradients outside."""
    token = interpreter.set(dispatch)
    try:
        with torch.enable_grad(), dispatch:
            yield
    finally:
        interpreter.reset(token)


def _refuse_own_gradients() -> None:
    """A ``torch.autograd.Function`` runs without gradients, and its own ``backward`` has no mirror."""
    if torch.is_grad_enabled():
        return
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_globals.get("__name__") == "torch.autograd.function":
            raise refusal("a torch.autograd.Function has no mirror", "register its apply with @mirror.function")
