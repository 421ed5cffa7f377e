"""Stand-ins: JAX arrays that a torch network takes for tensors; what it does to them runs the tables' rules."""

# mypy: disable-error-code="override"
# A stand-in answers as a tensor does; its annotations need not be those of torch's stubs.

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import torch

from ppvae.backends.mirror.running.convert import torch_dtype
from ppvae.backends.mirror.running.memory import Memory
from ppvae.backends.mirror.running.refusals import refusal
from ppvae.backends.mirror.running.tables import FUNCTIONS, method_rule


class Interpreter(Protocol):
    """What runs the rules; see :mod:`ppvae.backends.mirror.running.dispatch`."""

    def call(self, function: Any, args: Any, kwargs: Any) -> Any:
        """``function(*args, **kwargs)`` of torch."""

    def method(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """``args[0].name(*args[1:], **kwargs)`` of a tensor."""

    def run(self, function: Any, rule: Callable[..., Any], args: Any, kwargs: Any, changes: bool = False) -> Any:
        """A rule in the place of a function of torch, which may change its first argument in place."""

    def array(self, leaf: Any) -> Any:
        """What stands behind a stand-in; another leaf as JAX sees it."""


interpreter: ContextVar[Interpreter] = ContextVar("interpreter")


class StandIn(torch.Tensor):
    """A JAX array in the place of a tensor.

    Shape and dtype are known, so control flow may depend on them; values are not, so it may not.

    Its twin is a tensor on the meta device, which has everything but elements: torch itself says what it thinks of a
    call, what shape and dtype come of it, and which tensors are views of which; see
    :mod:`ppvae.backends.mirror.running.twin`. What is not ``live`` passes no gradient on, as after ``detach``.
    """

    __hash__ = object.__hash__
    twin: torch.Tensor
    origin: torch.Tensor | None = None  # what this stands for: a buffer, or a constant that was changed in place
    _dtype: torch.dtype

    @staticmethod
    def __new__(cls, value: jax.Array, twin: torch.Tensor | None = None, *_: Any, **__: Any) -> StandIn:
        with torch._C.DisableTorchFunction():
            if twin is None:
                twin = torch.empty(value.shape, dtype=torch_dtype(value.dtype), device="meta")
            made = twin.as_subclass(cls)
            made.twin, made._dtype = twin, twin.dtype
            return made

    def __init__(
        self,
        value: jax.Array,
        twin: torch.Tensor | None = None,
        memory: Memory | None = None,
        live: bool = True,
        fixed: str = "",
    ) -> None:
        value = jnp.asarray(value)
        self.memory = memory or Memory(self.twin, value, fixed)
        self.live = live
        self._value, self._seen = value, self.memory.version

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return interpreter.get().call(func, args, kwargs or {})

    @property
    def value(self) -> jax.Array:
        if self._seen != self.memory.version:
            seen = self.memory.read(self.twin)
            self._value, self._seen = seen if self.live else jax.lax.stop_gradient(seen), self.memory.version
        return self._value

    def assign(self, value: jax.Array) -> StandIn:
        """Change in place what this array, its views and what it is a view of have in common."""
        self.memory.write(self.twin, value, self.live and torch.is_grad_enabled())
        self._value = value  # has the shape at once if the change was one of shape
        return self

    @property
    def shape(self) -> torch.Size:
        return torch.Size(self._value.shape)

    @property
    def ndim(self) -> int:
        return int(self._value.ndim)

    @property
    def dtype(self) -> torch.dtype:
        return self._dtype

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def is_meta(self) -> bool:
        return False

    @property
    def data(self) -> StandIn:
        return interpreter.get().method("detach", self)

    @data.setter
    def data(self, value: Any) -> None:
        raise refusal("an assignment to x.data has no mirror", "compute with a changed copy, such as w * mask, instead")

    def cpu(self, *_: Any, **__: Any) -> StandIn:
        return self

    def get_device(self) -> int:
        return -1

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a 0-d tensor")
        return len(self._value)

    def __iter__(self) -> Iterator[Any]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return iter(interpreter.get().method("unbind", self))

    def __setitem__(self, index: Any, value: Any) -> None:
        if hasattr(type(value), "placed"):  # x[mask] = y[mask]
            index, value = Ellipsis, value.placed(self, index)
        interpreter.get().run(operator.setitem, FUNCTIONS[operator.setitem], (self, index, value), {}, changes=True)

    def __repr__(self, **_: Any) -> str:
        return f"<a tensor of shape {tuple(self.shape)} and {self.dtype}>"

    __str__ = __repr__

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """NumPy's functions of one tensor are torch's; its scalars leave arithmetic to the stand-in."""
        name = ufunc.__name__
        if method == "__call__" and not options and len(inputs) == 1 and hasattr(torch, name):
            return interpreter.get().call(getattr(torch, name), inputs, {})
        reflected = REFLECTED.get(name)
        if method == "__call__" and not options and reflected and inputs[1] is self:
            return getattr(self, reflected)(inputs[0])
        raise refusal(f"NumPy's {name} of an array has no mirror", "write the function of torch instead")

    def _unknown(self, *_: Any, **__: Any) -> Any:
        advice = (
            "use torch.where, drop an assert, keep a number such as int(x.max()) as an attribute of the program, or "
            "give the module a mirror of its own with @mirror.layer"
        )
        raise refusal("control flow on the values of an array has no mirror", advice)

    __complex__ = __contains__ = is_nonzero = _unknown

    def _outside(self, *_: Any, **__: Any) -> Any:
        raise refusal("reading the values of an array has no mirror", "they are unknown while the text runs")

    __format__ = __array__ = __dlpack__ = __reduce_ex__ = _outside
    data_ptr = storage = untyped_storage = _outside

    def _differentiated(self, *_: Any, **__: Any) -> Any:
        raise refusal("asking an array about gradients has no mirror", "whoever runs the program differentiates it")

    requires_grad = grad = grad_fn = is_leaf = retains_grad = property(_differentiated)
    backward = register_hook = retain_grad = requires_grad_ = _differentiated

    def __deepcopy__(self, memo: Any) -> Any:
        if interpreter.get(None) is None:  # left behind in what a transform remembers of its last value
            return self
        raise refusal("a deep copy of a computed tensor is refused, as it is by torch", "use x.clone()")


def _operate(operation: Callable[..., Any], name: str, *args: Any, changes: bool = False) -> Any:
    rule = method_rule(name) or FUNCTIONS[operation]
    return interpreter.get().run(operation, rule, args, {}, changes)


def _read(name: str, otherwise: Callable[..., Any]) -> None:
    """A look at elements, which are known of a buffer that the text has not changed."""

    def read(self: StandIn, *args: Any, **kwargs: Any) -> Any:
        if self.origin is None or self.memory.version:
            return otherwise(self)
        with torch._C.DisableTorchFunction():
            return getattr(self.origin.cpu(), name)(*args, **kwargs)

    setattr(StandIn, name, read)


def _bind(operation: str, name: str) -> None:
    function = getattr(operator, operation)

    def forward(self: StandIn, *other: Any) -> Any:
        return _operate(function, name, self, *other)

    setattr(StandIn, f"__{operation.strip('_')}__", forward)


def _bind_binary(operation: str, name: str) -> None:
    stem, function = operation.strip("_"), getattr(operator, operation)
    augmented = getattr(operator, f"i{stem}")

    def reflected(self: StandIn, other: Any) -> Any:
        return _operate(function, name, other, self)

    def in_place(self: StandIn, other: Any) -> Any:
        return _operate(augmented, name, self, other, changes=True)

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

# What a stand-in answers to NumPy's functions of two arguments, of which it is the second.
REFLECTED = {"subtract": "__rsub__", "multiply": "__rmul__", "add": "__radd__", "divide": "__rtruediv__"}
REFLECTED |= {"power": "__rpow__", "floor_divide": "__rfloordiv__", "remainder": "__rmod__", "matmul": "__rmatmul__"}
REFLECTED |= {"less": "__gt__", "less_equal": "__ge__", "greater": "__lt__", "greater_equal": "__le__"}
REFLECTED |= {"equal": "__eq__", "not_equal": "__ne__"}

for _name in ("__bool__", "__int__", "__index__", "__float__"):
    _read(_name, StandIn._unknown)
for _name in ("item", "tolist", "numpy"):
    _read(_name, StandIn._outside)
for _operation, _name in (_BINARY | _OTHERS).items():
    _bind(_operation, _name)
for _operation, _name in _BINARY.items():
    _bind_binary(_operation, _name)

AUGMENTED = frozenset({"__setitem__", *(f"__i{name.strip('_')}__" for name in _BINARY)})
