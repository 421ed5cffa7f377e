"""Dispatch: every torch function that a network calls while it runs, led to its rule."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import numpy as np
import torch
from torch.overrides import TorchFunctionMode, is_tensor_method_or_property

from ppvae.backends.mirror.running.convert import leaf_to_jax, nested
from ppvae.backends.mirror.running.refusals import function_error, located, method_name, refusal
from ppvae.backends.mirror.running.standin import AUGMENTED, StandIn, interpreter
from ppvae.backends.mirror.running.tables import (
    FUNCTIONS,
    Key,
    MirrorError,
    draws,
    function_rule,
    in_place,
    method_rule,
    random_rule,
)
from ppvae.backends.mirror.running.twin import UNASKED, asked, fitted, leaves, replaced, standing, tensors, viewed
from ppvae.language.widening import widened, widest

COMPARISONS = frozenset({operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge})
_OPTIONAL = frozenset({"out", "generator"})  # None is their absence
_DETACHED = frozenset({"detach", "data"})


class Dispatch(TorchFunctionMode):
    """The interpreter of one call of a network; ``known`` maps the ids of tensors to what stands for them.

    Tensors that torch made of constants alone stay tensors, until a change in place brings in an array.
    """

    def __init__(self, key: Key, known: dict[int, StandIn]) -> None:
        super().__init__()
        self.key = key
        self.known = known
        self.compared: dict[Any, tuple[Any, Any]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.call(func, args, kwargs or {})

    def call(self, function: Any, args: Any, kwargs: Any) -> Any:
        """``function(*args, **kwargs)``: by its rule, or by torch itself if no array of the network is involved."""
        if not draws(function) and not any(map(self._stands, leaves([args, kwargs]))):
            return function(*args, **kwargs)
        if _is_method(function):
            return self.method(method_name(function), *args, **kwargs)
        random = random_rule(function)
        rule = function_rule(function) if random is None else partial(random, self.key)
        takes_first = bool(args) and isinstance(args[0], torch.Tensor)
        if in_place(function) and not takes_first:
            raise function_error(function)
        changes = takes_first and (kwargs.get("inplace") is True or in_place(function))
        args = (self._stand_in(args[0], True), *args[1:]) if changes else args
        return self.run(function, rule, args, kwargs, changes)

    def method(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """``args[0].name(*args[1:])``; one whose name ends with an underscore changes ``args[0]``."""
        changes = name in AUGMENTED or in_place(name)
        tensor = self._stand_in(args[0], changes)
        if name in vars(StandIn):
            value = getattr(tensor, name)
            return value(*args[1:], **kwargs) if callable(value) else value
        member = getattr(torch.Tensor, name)
        if not callable(member):
            return self.run(_property(name), FUNCTIONS.get(getattr), (tensor, name), {})
        random = random_rule(name)
        rule = method_rule(name) if random is None else partial(random, self.key)
        return self.run(member, rule, (tensor, *args[1:]), kwargs, changes)

    def run(self, function: Any, rule: Any, args: Any, kwargs: Any, changes: bool = False) -> Any:
        """A rule in the place of a function of torch, which may change its first argument in place."""
        return widest(lambda *args, **kwargs: self._run(function, rule, args, kwargs, changes), args, kwargs)

    def _run(self, function: Any, rule: Any, args: Any, kwargs: Any, changes: bool) -> Any:
        _refuse_own_gradients()
        kwargs = {name: value for name, value in kwargs.items() if value is not None or name not in _OPTIONAL}
        args, kwargs = nested((args, kwargs), self._resolved)
        arrays = nested((args, kwargs), self.array)
        asks = any(isinstance(leaf, torch.Tensor) or is_array(leaf) for leaf in leaves([args, kwargs]))
        answer = asked(function, args, kwargs) if asks else UNASKED
        if not changes and answer is not UNASKED and next(tensors(answer), None) is None:
            return answer
        if rule is None and (changes or answer is UNASKED):
            raise function_error(function)
        try:
            result = (
                self._computed(function, rule, *arrays) if rule else _seen(function, answer, leaves([args, kwargs]))
            )
            return _changed(args[0], result) if changes else _answered(function, answer, result, (args, kwargs))
        except Exception as error:
            raise located(function, error) from error

    def _computed(self, function: Any, rule: Any, args: Any, kwargs: Any) -> Any:
        """What a rule gives; of a comparison made twice the same array, by which two masks are known to be one."""
        if function in COMPARISONS:
            key = function, *(id(leaf) if is_array(leaf) else (type(leaf), leaf) for leaf in args)
            return self.compared.setdefault(key, (args, rule(*args)))[1]  # arguments kept, so that ids stay theirs
        kwargs = kwargs | {"inplace": False} if kwargs.get("inplace") else kwargs
        result = rule(*args, **kwargs)
        return result if torch.is_grad_enabled() else jax.lax.stop_gradient(result)

    def array(self, leaf: Any) -> Any:
        """What a rule sees of a leaf: the array of a stand-in or of one of the network's own parameters."""
        leaf = self._resolved(leaf)
        return leaf.value if isinstance(leaf, StandIn) else leaf_to_jax(leaf)

    def _stands(self, leaf: Any) -> bool:
        return isinstance(leaf, jax.Array) or self._known(leaf) is not None

    def _stand_in(self, leaf: Any, changes: bool = False) -> StandIn:
        if (known := self._known(leaf)) is not None:
            return known
        if not changes:
            return StandIn(leaf_to_jax(leaf))
        with torch._C.DisableTorchFunction():
            root = leaf if leaf._base is None else leaf._base
            twin = torch.empty_strided(root.size(), root.stride(), dtype=root.dtype, device="meta")
            self._keep(root, StandIn(leaf_to_jax(root), twin))
        return self._known(leaf)

    def _resolved(self, leaf: Any) -> Any:
        known = self._known(leaf)
        return leaf if known is None else known

    def _known(self, leaf: Any) -> Any:
        """What stands for a leaf, or for the tensor of which it is a view; None for what is a constant."""
        if not isinstance(leaf, torch.Tensor) or isinstance(leaf, StandIn) or id(leaf) in self.known:
            return leaf if isinstance(leaf, StandIn) else self.known.get(id(leaf))
        with torch._C.DisableTorchFunction():
            root = self.known.get(id(leaf._base))
            if root is None:
                return None
            twin = root.twin.as_strided(leaf.size(), leaf.stride(), leaf.storage_offset())
        return self._keep(leaf, StandIn(root.memory.read(twin), twin, root.memory))

    def _keep(self, leaf: torch.Tensor, stand_in: StandIn) -> StandIn:
        stand_in.origin = leaf  # lives as long as its id is known, to distributions too
        self.known[id(leaf)] = stand_in
        return stand_in


def _changed(target: StandIn, result: Any) -> StandIn:
    return target.assign(fitted(result, target.twin))


def _seen(function: Any, answer: Any, inputs: Iterable[Any]) -> Any:
    """What a view shows, where torch says that an answer is one; so views need no rule."""
    owner = viewed(answer, inputs) if isinstance(answer, torch.Tensor) else None
    if owner is None:
        raise function_error(function)
    return owner.memory.read(answer)


def _answered(function: Any, answer: Any, result: Any, given: Any) -> Any:
    """A result in the structure, shapes and dtypes of torch's answer."""
    if answer is UNASKED:
        return nested(result, lambda leaf: StandIn(leaf) if is_array(leaf) else leaf)
    arrays = [leaf for leaf in leaves(result) if is_array(leaf) or isinstance(leaf, int | float)]
    twins, inputs = list(tensors(answer)), list(leaves(given))
    if len(arrays) != len(twins):
        raise MirrorError(f"its rule gives {len(arrays)} arrays, and torch {len(twins)}")
    live = torch.is_grad_enabled() and getattr(function, "__name__", "") not in _DETACHED
    return replaced(answer, (standing(fitted(a, t), t, inputs, live) for a, t in zip(arrays, twins, strict=True)))


def _property(name: str) -> Callable[..., Any]:
    def read(tensor: Any, _: str) -> Any:
        return getattr(tensor, name)

    read.__name__, read.__module__ = name, "Tensor"
    return read


def _is_method(function: Any) -> bool:
    """Whether a method or property of tensors was called; torch does not count ``x.new_zeros`` and its like."""
    return is_tensor_method_or_property(function) or getattr(torch.Tensor, function.__name__, None) is function


def is_array(leaf: Any) -> bool:
    """Whether a leaf comes from JAX or numpy and is to stand in for a tensor."""
    return isinstance(leaf, (jax.Array, np.ndarray))


@contextmanager
def dispatching(dispatch: Any) -> Iterator[None]:
    """Torch functions go through ``dispatch`` in this thread, whatever torch does about gradients outside."""
    token = interpreter.set(dispatch)
    try:
        with torch.enable_grad(), dispatch, widened():
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
