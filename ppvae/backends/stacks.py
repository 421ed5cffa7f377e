"""Stacks: where a library keeps the handlers that are active, for each thread its own."""

from __future__ import annotations

import sys
import threading
from collections import UserList
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class Handlers(UserList[Any]):
    """A list that hands out plain ones, as it is read at every site of a program."""

    def __getitem__(self, index: Any) -> Any:
        return self.data[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.data)

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self.data)


def own(module: ModuleType, name: str) -> Any:
    """A library's list or object of that name, put everywhere in its place by one that each thread has for itself.

    Pyro and NumPyro keep one stack for the whole process, so that a program which one thread runs is traced, masked and
    seeded by the handlers of all others. What is on the stack stays there, for the thread that calls this.
    """
    shared = getattr(module, name)
    kind = Handlers if isinstance(shared, list) else type(shared)
    each: Any = type(name, (threading.local, kind), {})()
    vars(each).update({"data": shared} if kind is Handlers else vars(shared))
    for holder in list(sys.modules.values()):
        if getattr(holder, "__dict__", {}).get(name) is shared:
            setattr(holder, name, each)
    return each


@contextmanager
def emptied(*stacks: Any) -> Iterator[None]:
    """This thread's stacks as they were made within the block, and after it as they were, whatever happens there."""
    before = [vars(stack).copy() for stack in stacks]
    try:
        for stack in stacks:
            vars(stack).clear()
            stack.__init__()
        yield
    finally:
        for stack, kept in zip(stacks, before, strict=True):
            vars(stack).clear()
            vars(stack).update(kept)
