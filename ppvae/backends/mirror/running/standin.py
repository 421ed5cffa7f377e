"""Stand-ins: JAX arrays that a torch network takes for tensors; what it does to them runs the tables' rules."""

# mypy: disable-error-code="override"
# A stand-in answers as a tensor does; its annotations need not be those of torch's stubs.

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Protocol

import jax
import torch

from ppvae.backends.mirror.running.refusals import refusal
from ppvae.backends.mirror.running.tables import FUNCTIONS, method_rule


class Interpreter(Protocol):
    """What runs the rules; see :mod:`ppvae.backends.mirror.running.dispatch`."""

    def call(self, function: Any, args: Any, kwargs: Any) -> Any:
        """``function(*args, **kwargs)`` of torch."""

    def method(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """``args[0].name(*args[1:], **kwargs)`` of a tensor."""

    def run(self, rule: Callable[..., Any], name: str, args: Any, kwargs: Any) -> Any:
        """A rule on the arrays of stand-ins; what it returns stands in again."""

    def array(self, leaf: Any) -> Any:
        """What stands behind a stand-in; another leaf as JAX sees it."""


interpreter: ContextVar[Interpreter] = ContextVar("interpreter")


class Memory:
    """What an array and its views share: how often it was changed in place, and whether it may be."""

    def __init__(self, fixed: str = "") -> None:
        self.version = 0
        self.fixed = fixed


Put = Callable[[jax.Array, jax.Array], jax.Array]


class StandIn(torch.Tensor):
    """A JAX array in the place of a tensor.

    Shape and dtype are known, so control flow may depend on them; values are not, so it may not. JAX's arrays have
    no views: a change of a view is written into its ``source``, the array that it shows and how; what else would show
    a change refuses to be read.

    To torch it is a tensor without storage, so that ``isinstance`` and ``torch.is_tensor`` hold.
    """

    __array_ufunc__ = None  # numpy's scalars leave arithmetic to the stand-in
    __hash__ = object.__hash__

    @staticmethod
    def __new__(cls, value: jax.Array, memory: Memory | None = None, source: Any = None) -> StandIn:
        make: Any = torch.Tensor._make_wrapper_subclass
        return make(cls, value.shape, dtype=getattr(torch, value.dtype.name))

    def __init__(
        self, value: jax.Array, memory: Memory | None = None, source: tuple[StandIn, Put] | None = None
    ) -> None:
        self.memory, self.source = memory or Memory(), source
        self._value, self._version_seen = value, self.memory.version

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return interpreter.get().call(func, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise refusal(f"torch's own {func} has no mirror", "register the function that calls it with @mirror.function")

    @property
    def value(self) -> jax.Array:
        if self._version_seen != self.memory.version:
            raise refusal("reading a view of an array that was changed in place has no mirror", "write x = x + y")
        return self._value

    def assign(self, result: StandIn) -> StandIn:
        """Change in place; shape and dtype stay."""
        if self.memory.fixed:
            raise refusal(f"a change of {self.memory.fixed} in forward has no mirror", "training alone may change it")
        if self.shape != result.shape:
            raise refusal(f"a change in place to shape {tuple(result.shape)} has no mirror", "write x = x + y")
        self._set(result.value.astype(self.value.dtype))
        return self

    def _set(self, value: jax.Array) -> None:
        if self.source is None:
            self.memory.version += 1
        else:
            whole, put = self.source
            whole._set(put(whole.value, value))
        self._value, self._version_seen = value, self.memory.version

    @property
    def shape(self) -> torch.Size:
        return torch.Size(self._value.shape)

    @property
    def ndim(self) -> int:
        return int(self._value.ndim)

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self._value.dtype.name)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def layout(self) -> torch.layout:
        return torch.strided

    @property
    def is_cuda(self) -> bool:
        return False

    @property
    def is_nested(self) -> bool:
        return False

    @property
    def data(self) -> StandIn:
        return interpreter.get().method("detach", self)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self.ndim

    ndimension = dim

    def numel(self) -> int:
        return int(self._value.size)

    nelement = numel

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        return self.dtype.is_complex

    def is_contiguous(self) -> bool:
        return True

    def __len__(self) -> int:
        return len(self._value)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __setitem__(self, index: Any, value: Any) -> None:
        self.assign(_operate(operator.setitem, "__setitem__", self, index, value))

    def __repr__(self) -> str:
        return f"StandIn({self._value!r})"

    def _unknown(self, *_: Any) -> Any:
        advice = "use torch.where, or give the module a mirror of its own with @mirror.layer"
        raise refusal("control flow on the values of an array has no mirror", advice)

    __bool__ = __int__ = __index__ = __float__ = __contains__ = _unknown


def _operate(operation: Callable[..., Any], name: str, *args: Any) -> Any:
    rule = FUNCTIONS.get(operation) or method_rule(name) or operation
    return interpreter.get().run(rule, name, args, {})


def _bind(operation: str, name: str) -> None:
    function = getattr(operator, operation)

    def forward(self: StandIn, *other: Any) -> Any:
        return _operate(function, name, self, *other)

    setattr(StandIn, f"__{operation.strip('_')}__", forward)


def _bind_binary(operation: str, name: str) -> None:
    stem, function = operation.strip("_"), getattr(operator, operation)

    def reflected(self: StandIn, other: Any) -> Any:
        return _operate(function, name, other, self)

    def in_place(self: StandIn, other: Any) -> Any:
        return self.assign(_operate(function, name, self, other))

    setattr(StandIn, f"__r{stem}__", reflected)
    setattr(StandIn, f"__i{stem}__", in_place)


_BINARY = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "pow",
    "matmul": "matmul",
    "and_": "bitwise_and",
    "or_": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
}
_OTHERS = {"neg": "neg", "pos": "positive", "abs": "abs", "invert": "bitwise_not", "getitem": "__getitem__"}
_OTHERS |= {name: name for name in ("lt", "le", "gt", "ge", "eq", "ne")}

for _operation, _name in (_BINARY | _OTHERS).items():
    _bind(_operation, _name)
for _operation, _name in _BINARY.items():
    _bind_binary(_operation, _name)
