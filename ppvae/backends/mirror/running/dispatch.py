"""Dispatch: every torch function that a network calls while it runs, led to its rule."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.overrides import TorchFunctionMode, is_tensor_method_or_property

from ppvae.backends.mirror.running.convert import leaf_to_jax, nested
from ppvae.backends.mirror.running.refusals import function_error, located, method_name, refusal
from ppvae.backends.mirror.running.standin import Put, StandIn, interpreter
from ppvae.backends.mirror.running.tables import FUNCTIONS, Key, MirrorError, method_rule, random_rule

_VIEWS = frozenset(
    """
    __getitem__ adjoint atleast_1d atleast_2d atleast_3d broadcast_tensors broadcast_to chunk contiguous data detach
    diagonal double dropout dsplit expand expand_as flatten float H hsplit imag mH movedim moveaxis mT narrow permute
    ravel real reshape reshape_as select split split_with_sizes squeeze swapaxes swapdims t T tensor_split to
    transpose type type_as unbind unflatten unfold unsqueeze view view_as vsplit
    """.split()  # noqa: SIM905
)

# Views that torch never makes a copy of: a change of one is a change of the whole.
_WRITABLE = frozenset(
    "__getitem__ diagonal narrow permute select squeeze t T mT transpose unsqueeze view view_as".split()  # noqa: SIM905
)


class Dispatch(TorchFunctionMode):
    """The interpreter of one call of a network; ``known`` maps the ids of its parameters to stand-ins."""

    def __init__(self, key: Key, known: dict[int, StandIn]) -> None:
        super().__init__()
        self.key = key
        self.known = known
        self.kept: list[torch.Tensor] = []  # so that no other tensor gets the id of one that is known

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.call(func, args, kwargs or {})

    def call(self, function: Any, args: Any, kwargs: Any) -> Any:
        """``function(*args, **kwargs)``: by its rule, or by torch itself if no array of the network is involved."""
        random = random_rule(function)
        if random is None and not any(map(self._stands, leaves([args, kwargs]))):
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
        """``args[0].name(*args[1:])``; one whose name ends with one underscore changes ``args[0]``."""
        changes = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
        tensor = self._changed(args[0]) if changes else self._stand_in(args[0])
        if name in vars(StandIn):
            value = getattr(tensor, name)
            return value(*args[1:], **kwargs) if callable(value) else value
        if not callable(getattr(torch.Tensor, name)):
            return self.run(FUNCTIONS.get(getattr, getattr), name, (tensor, name), {})
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
        if viewed is None or name not in _VIEWS:
            return nested(result, lambda leaf: StandIn(leaf) if is_array(leaf) else leaf)
        put = _put(rule, name, nested(args, self.array), nested(kwargs, self.array))
        source = None if put is None else (viewed, put)
        return nested(result, lambda leaf: StandIn(leaf, viewed.memory, source) if is_array(leaf) else leaf)

    def array(self, leaf: Any) -> Any:
        """What a rule sees of a leaf: the array of a stand-in or of one of the network's own parameters."""
        leaf = self.known.get(id(leaf), leaf)
        return leaf.value if isinstance(leaf, StandIn) else leaf_to_jax(leaf)

    def _stand_in(self, leaf: Any) -> StandIn:
        leaf = self.known.get(id(leaf), leaf)
        return leaf if isinstance(leaf, StandIn) else StandIn(leaf_to_jax(leaf))

    def _changed(self, leaf: Any) -> StandIn:
        """The stand-in of a tensor that is changed in place; torch's own, once changed, is known by it."""
        tensor = self._stand_in(leaf)
        if tensor is not leaf and id(leaf) not in self.known:
            if leaf._is_view():
                raise refusal(
                    "a change of a part of a tensor of torch's own has no mirror", "build it with torch.stack"
                )
            self.known[id(leaf)] = tensor
            self.kept.append(leaf)
        return tensor

    def _stands(self, leaf: Any) -> bool:
        return isinstance(leaf, StandIn | jax.Array) or id(leaf) in self.known


def _put(rule: Callable[..., Any], name: str, args: Any, kwargs: Any) -> Put | None:
    """How a change of a view is written into the array that it shows; None where torch may have made a copy."""
    if name in ("detach", "data"):
        return through
    if name not in _WRITABLE or (name == "__getitem__" and any(map(is_array, leaves(args[1])))):
        return None

    def put(whole: jax.Array, part: jax.Array) -> jax.Array:
        with jax.ensure_compile_time_eval():
            places = rule(jnp.arange(whole.size).reshape(whole.shape), *args[1:], **kwargs)
        return whole.ravel().at[places.ravel()].set(part.ravel()).reshape(whole.shape)

    return put


@jax.custom_jvp
def through(whole: jax.Array, part: jax.Array) -> jax.Array:
    """``part``, with the gradient of ``whole``: what a change of ``x.detach()`` or ``x.data`` makes of ``x``."""
    return part


@through.defjvp
def _through_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    return primals[1], tangents[0]


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
