"""Surroundings: what the texts of a pair read beside weights and data, which a compiled program holds as it was.

Torch reads a global variable, an attribute or a function anew at every run. What JAX has compiled does not, so that
whoever keeps such a program asks here whether it still is that of the text.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import lru_cache, partial
from hashlib import blake2b
from types import CellType, CodeType, FunctionType, MethodType, SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn

TORCHS = frozenset(vars(nn.Module()))  # attributes that torch itself keeps
LIBRARIES = ("ppvae", "torch", "pyro", "builtins", "abc", "typing")  # whose texts nobody writes anew
PLAIN = (int, float, complex, str, bytes, type(None), np.generic, torch.dtype)
LARGE = 2**20  # bytes, of which a digest would take longer than many an answer
METHODS = (staticmethod, classmethod, MethodType)


_known: WeakKeyDictionary[nn.Module, tuple[int, Hashable]] = WeakKeyDictionary()


def times_changed(pair: nn.Module) -> int:
    """How often the surroundings of a pair were found to be others than at the last look."""
    now = surroundings(pair)
    count, then = _known.get(pair, (0, now))
    _known[pair] = count + (now != then), now
    return _known[pair][0]


def look_again(pair: nn.Module) -> None:
    """After a text has run: what it changed by itself, such as a count of its runs, is no change."""
    _known[pair] = _known.get(pair, (0, None))[0], surroundings(pair)


def surroundings(pair: nn.Module) -> Hashable:
    """What the texts of a pair read; two that are equal compile to one program.

    These are attributes of modules, the texts of their classes, and what those call, close over or take from the files
    that they stand in: numbers, words, arrays of up to a megabyte, functions, and lists, dicts and records of such.
    """
    modules = list(pair.modules())
    reader = _Reader({kind.__module__ for module in modules for kind in _own(type(module).__mro__)})
    return tuple(map(reader.module, modules))


@lru_cache(maxsize=512)
def _own(kinds: tuple[type, ...]) -> tuple[type, ...]:
    """Those of the classes that a user wrote."""
    return tuple(kind for kind in kinds if kind.__module__.split(".")[0] not in LIBRARIES)


class _Reader:
    """One look around; what is met again is not read again."""

    def __init__(self, files: set[str]) -> None:
        self.files, self.seen = files, set[int]()

    def module(self, module: nn.Module) -> Hashable:
        own = tuple([(name, self.read(value)) for name, value in vars(module).items() if name not in TORCHS])
        texts = tuple(map(self.read, _own(type(module).__mro__)))
        return type(module), *module._parameters, None, *module._buffers, own, texts

    def read(self, value: Any) -> Hashable:
        """What a value is just now; nothing of what is no concern of a text."""
        if isinstance(value, PLAIN):
            return type(value), repr(value)
        if isinstance(value, CodeType):
            return value
        if isinstance(value, torch.Tensor | np.ndarray):
            return _digest(value)
        if id(value) in self.seen or isinstance(value, nn.Module):
            return None
        self.seen.add(id(value))
        return tuple(map(self.read, self._parts(value)))

    def _parts(self, value: Any) -> Iterator[Any]:
        """What a function, a container, a class or a record holds."""
        if isinstance(value, FunctionType):
            yield from self._text(value)
        elif isinstance(value, METHODS):
            yield value.__func__
        elif isinstance(value, property):
            yield value.fget
        elif isinstance(value, CellType):
            yield from [value.cell_contents] if _is_bound(value) else []
        elif isinstance(value, partial):
            yield from (value.func, value.args, value.keywords)
        elif isinstance(value, dict):
            yield from (each for pair in value.items() for each in pair)
        elif isinstance(value, list | tuple):
            yield from value
        elif isinstance(value, SimpleNamespace) or getattr(value, "__module__", None) in self.files:
            held = getattr(value, "__dict__", {})
            yield from (each for name, each in held.items() if not name.startswith("__"))

    def _text(self, function: FunctionType) -> Iterator[Any]:
        """The code of a function, its defaults, what it closes over, and what it takes from the file of a text."""
        yield from (function.__code__, function.__defaults__, function.__kwdefaults__, function.__closure__)
        if function.__module__ in self.files:
            named = (function.__globals__.get(name) for name in sorted(_names(function.__code__)))
            yield from (None if isinstance(value, list) else value for value in named)  # a list notes what has run


def _digest(array: Any) -> Hashable:
    if type(array) not in (torch.Tensor, nn.Parameter, np.ndarray) or array.nbytes > LARGE:
        return id(array), getattr(array, "_version", None)
    if isinstance(array, np.ndarray):
        return array.shape, array.dtype.str, blake2b(array.tobytes()).digest()
    if array.device.type != "cpu" or array.layout != torch.strided:
        return id(array), array._version
    raw = array.detach().reshape(-1).contiguous().view(torch.uint8)
    return array.shape, array.dtype, blake2b(raw.numpy().tobytes()).digest()


def _is_bound(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _names(code: CodeType) -> set[str]:
    """The names of a file that a code and what is written within it may mean."""
    inner = [_names(const) for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*inner)
