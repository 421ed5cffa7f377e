"""Declarations: what ``pyro.param`` and ``pyro.module`` mean in a program's text, whose parameters are its own.

The runs before training give a program an ``nn.Parameter`` for each name that its text declares; from then on both
backends answer the word by its constrained value. Pyro's global store is neither read nor written.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import pyro
import torch
from pyro.nn import PyroModule
from torch import nn
from torch.distributions import constraints, transform_to

from ppvae.language import ppl
from ppvae.language.plates import check_picks
from ppvae.language.program import PARAMETERS, declare, parameters, spelled


class Declarations:
    """What a program's text says of its parameters in one run."""

    def __init__(self, program: nn.Module) -> None:
        self.program, self.held = program, parameters(program)
        self.constraints: dict[str, Any] = {}

    def value(
        self, name: str, init: Any = None, constraint: Any = constraints.real, event_dim: int | None = None, **_: Any
    ) -> Any:
        """The constrained value of a parameter; a name without ``init`` has the constraint of its declaration.

        Raises:
            ValueError: it was not declared, starts outside its constraint, or has rows that a plate cannot tell apart.
        """
        if init is None and name not in self.constraints:
            raise ValueError(
                f"pyro.param({name!r}) has no initial value, and {type(self.program).__name__} declares it nowhere "
                "before; write pyro.param(name, init, constraint=...) in the same program"
            )
        if name not in self.held:
            self._declare(name, init, constraint)
        transform = transform_to(self.constraints.setdefault(name, constraint))
        if hasattr(init, "shape") and (shape := transform.inverse_shape(init.shape)) != self.held[name].shape:
            raise ValueError(
                f"pyro.param({name!r}) starts with shape {tuple(shape)}, but in another run with shape "
                f"{tuple(self.held[name].shape)}: it may not depend on the batch"
            )
        found = transform(self.held[name])
        if event_dim is not None:
            check_picks(name, found.shape, event_dim)
        found.unconstrained = weakref.ref(self.held[name])  # as Pyro's own have it
        return found

    def _declare(self, name: str, init: Any, constraint: Any) -> None:
        pair = _pair.get()
        if pair is None:
            raise ValueError(
                f"pyro.param({name!r}) was not there when {type(self.program).__name__} was run before training, so "
                "that it would not train; declare it in every run"
            )
        shared = [known[name] for known in map(parameters, pair.values()) if name in known]
        declare(self.program, name, shared[0] if shared else initial(name, init, constraint))
        self.held = parameters(self.program)

    def module(self, name: str, module: nn.Module, update_module_params: bool = False) -> nn.Module:
        """The module as it is: its parameters are the program's.

        Raises:
            ValueError: they are not.
        """
        if not any(module is held for held in self.program.modules()):
            raise ValueError(
                f"pyro.module({name!r}, ...) is given a module that {type(self.program).__name__} does not hold, so "
                "that its weights would not train; make it an attribute of the Program"
            )
        return module


_running: ContextVar[Declarations | None] = ContextVar("declarations", default=None)
_pair: ContextVar[nn.ModuleDict | None] = ContextVar("declaring pair", default=None)


def current() -> Declarations | None:
    """Those of the program that runs, the outermost one; None where Pyro's own words hold."""
    return _running.get()


def refuse_store(word: str) -> None:
    """Raise NotImplementedError where a program that ppvae runs speaks of Pyro's global store."""
    if (known := current()) is not None:
        raise NotImplementedError(
            f"{word} is for code outside programs: the parameters of {type(known.program).__name__} are its own, "
            "and pyro.param(name, init) or self.NAME reads them"
        )


@contextmanager
def declared(program: nn.Module, answering: Callable[[Declarations], Any] = nullcontext) -> Iterator[None]:
    """Within the block parameters are the program's own; outside ppvae only if it has some from training.

    ``answering`` makes the handler that answers what a library declares by itself, such as a learned reparametrisation.
    """
    if _running.get() is not None or not (ppl.engaged() or parameters(program)):
        yield
        return
    known = Declarations(program)
    token = _running.set(known)
    try:
        with answering(known), pyro.settings.context(module_local_params=True) if _local(program) else nullcontext():
            yield
    finally:
        _running.reset(token)


def _local(program: nn.Module) -> bool:
    """Does it hold a ``PyroModule``? Each then has a store of its own for what would go to the global one."""
    if program not in _seen:
        _seen[program] = False
        for module in program.modules():
            if isinstance(module, PyroModule):
                _seen[program] = True
                vars(module._pyro_context).setdefault("param_state", {"params": {}, "constraints": {}})
    return _seen[program]


_seen: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


_usage = PyroModule._check_module_local_param_usage


def _checked(self: PyroModule) -> None:
    """Pyro's check that a module holds what is declared in it, which in a program that ppvae runs the program does."""
    if current() is None:
        _usage(self)


PyroModule._check_module_local_param_usage = _checked  # type: ignore[method-assign]


@contextmanager
def declaring(pair: nn.ModuleDict) -> Iterator[None]:
    """Runs within the block give programs their parameters; both programs of a pair share those of one name."""
    for program in pair.values():
        _local(program)  # an automatic guide runs the model
    token = _pair.set(pair)
    try:
        yield
    finally:
        _pair.reset(token)


def initial(name: str, init: Any, constraint: Any) -> nn.Parameter:
    """The unconstrained parameter of an initial value, in the dtype of the run.

    Raises:
        ValueError: the constraint does not allow the value.
    """
    with torch.no_grad():
        given = torch.as_tensor(init() if callable(init) else init).detach()
        value = given.to(torch.get_default_dtype())
        if not bool(constraint.check(given if given.is_floating_point() else value).all()):  # as near as its own digits
            raise ValueError(f"pyro.param({name!r}) starts at a value that its constraint {constraint} does not allow")
        return nn.Parameter(transform_to(constraint).inv(value).clone())


def expect(pair: nn.ModuleDict, shapes: Iterable[tuple[str, tuple[int, ...]]]) -> None:
    """Give programs the parameters that their text has declared in another run, by name and shape in its weights."""
    found: dict[str, nn.Parameter] = {}
    for full, shape in shapes:
        role, _, rest = full.partition(".")
        own, _, name = rest.partition(".")
        if own == PARAMETERS and role in pair and spelled(name) not in parameters(pair[role]):
            shared = found.setdefault(name, nn.Parameter(torch.zeros(shape)))
            declare(pair[role], spelled(name), shared)
