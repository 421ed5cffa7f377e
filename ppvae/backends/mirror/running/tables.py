"""The tables of mirrored layers, functions and methods, and the decorators that extend them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import torch
from torch import nn

Key = Callable[[], jax.Array]
Rule = TypeVar("Rule", bound=Callable[..., Any])

LAYERS: dict[type[nn.Module], Callable[..., Any]] = {}
FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {}
RANDOM_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {}
METHODS: dict[str, Callable[..., Any]] = {}
UNLIKE: set[Callable[..., Any]] = set()  # whose rules give other shapes than torch, to which elements are known


class MirrorError(NotImplementedError):
    """A network holds something with no JAX counterpart, or something that cannot be traced."""


def layer(*types: type[nn.Module]) -> Callable[[Rule], Rule]:
    """Register the JAX forward of a leaf layer.

    The decorated rule is called as ``rule(module, p, *inputs, **keywords)``: ``module`` is the torch layer, from
    which only options such as strides are read, ``p`` the
    :class:`~ppvae.backends.mirror.running.parameters.Parameters` of the layer
    (``p["weight"]``, ``p.get("bias")``, ``p.training``, ``p.key()``), and inputs are JAX arrays.
    """

    def register(rule: Rule) -> Rule:
        LAYERS.update(dict.fromkeys(types, rule))
        return rule

    return register


def function(*functions: Callable[..., Any]) -> Callable[[Rule], Rule]:
    """Register the JAX counterpart of torch functions; it takes the arguments that torch's takes."""

    def register(rule: Rule) -> Rule:
        FUNCTIONS.update(dict.fromkeys(functions, rule))
        return rule

    return register


def random_function(*functions: Callable[..., Any]) -> Callable[[Rule], Rule]:
    """Register the JAX counterpart of torch functions that draw at random.

    The decorated rule is called as ``rule(key, *arguments)``: ``key`` returns a fresh PRNG key at every call, and
    the arguments are those that torch's function takes. A rule that does not call ``key`` needs none, so dropout
    with ``training=False`` runs without a seed.
    """

    def register(rule: Rule) -> Rule:
        RANDOM_FUNCTIONS.update(dict.fromkeys(functions, rule))
        return rule

    return register


def method(*names: str) -> Callable[[Rule], Rule]:
    """Register the JAX counterpart of tensor methods whose namesake in ``torch`` is missing or differs."""

    def register(rule: Rule) -> Rule:
        METHODS.update(dict.fromkeys(names, rule))
        return rule

    return register


def layer_rule(module: nn.Module) -> Callable[..., Any] | None:
    """The rule of a layer or of the stock layer whose ``forward`` it inherits."""
    for kind in type(module).__mro__:
        if kind in LAYERS:
            inherits = kind is type(module) or type(module).forward is kind.forward
            return LAYERS[kind] if inherits else None
    return None


def in_place(target: Any) -> bool:
    """Whether a function or method changes its first argument, as an underscore at the end of its name says."""
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    return name.endswith("_") and not name.endswith("__")


def function_rule(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """The rule of a function; one that changes its argument (``F.elu_``) may have that of the one that does not."""
    if function in FUNCTIONS or not in_place(function):
        return FUNCTIONS.get(function)
    return method_rule(function.__name__) or FUNCTIONS.get(_unchanging(function))


def _unchanging(function: Callable[..., Any]) -> Any:
    """``F.elu`` for ``F.elu_``, ``torch.dropout`` for ``torch.dropout_``."""
    name = getattr(function, "__name__", "").removesuffix("_")
    return getattr(nn.functional, name, None) or getattr(torch, name, None)


def method_rule(name: str) -> Callable[..., Any] | None:
    """The rule of a tensor method: its own, or that of the function of the same name in ``torch``.

    A method that changes its tensor, whose name ends with an underscore, may have that of the one that does not.
    """
    same = name.removesuffix("_")
    return METHODS.get(name) or METHODS.get(same) or FUNCTIONS.get(getattr(torch, same, None))  # type: ignore[arg-type]


def random_rule(target: Any) -> Callable[..., Any] | None:
    """The rule of a random function, or of the tensor method (a string) of the same name in ``torch``."""
    if isinstance(target, str):
        method: Any = getattr(torch.Tensor, target, None)
        function: Any = getattr(torch, target.removesuffix("_"), None)
        return RANDOM_FUNCTIONS.get(method) or RANDOM_FUNCTIONS.get(function)
    return RANDOM_FUNCTIONS.get(target) or (RANDOM_FUNCTIONS.get(_unchanging(target)) if in_place(target) else None)


_DRAWS = frozenset(
    """
    alpha_dropout bernoulli bernoulli_ binomial cauchy_ dropout dropout1d dropout2d dropout3d exponential_
    feature_alpha_dropout feature_dropout geometric_ gumbel_softmax kaiming_normal_ kaiming_uniform_ log_normal_
    multinomial normal normal_ poisson rand rand_like randint randint_like randn randn_like random_ randperm rrelu
    rrelu_ uniform_
    """.split()  # noqa: SIM905
)


def draws(function: Any) -> bool:
    """Whether a function of torch draws at random: left to torch it would draw once and for all."""
    return function in RANDOM_FUNCTIONS or getattr(function, "__name__", "") in _DRAWS
