"""Effects: Pyro's statements under Pyro's names, carried out by NumPyro."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from itertools import count
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pyro
from numpyro import handlers as nh
from numpyro import primitives
from numpyro.distributions import Distribution
from numpyro.primitives import CondIndepStackFrame
from torch.distributions.constraints import real as REAL

from ppvae.backends import declarations
from ppvae.backends.mirror.running.standin import interpreter
from ppvae.backends.numpyro_handlers import HANDLERS, INFER, handed
from ppvae.backends.spoken import Vocabulary, bare, heard
from ppvae.language.plates import Over, over_items


def sample(name: str, fn: Any, *, obs: Any = None, obs_mask: Any = None, infer: dict | None = None) -> Any:
    """Pyro's ``sample``."""
    if not isinstance(fn, Distribution):
        raise TypeError(f"site {name!r} is given {fn!r}, which is no distribution")
    with handed(name):
        return numpyro.sample(name, fn, obs=obs, obs_mask=obs_mask, infer=None if infer is None else dict(infer))


class plate(numpyro.plate):
    """Pyro's ``plate``, as a context or a loop.

    ``subsample`` picks the rows, otherwise NumPyro draws ``subsample_size``. Without a size it declares the items of
    its sites independent, however many they are. Its dimension is the rightmost free one where it is entered.
    """

    def __init__(
        self,
        name: str,
        size: int | None = None,
        subsample_size: int | None = None,
        subsample: Any = None,
        dim: int | None = None,
        use_cuda: bool | None = None,
        device: Any = None,
    ) -> None:
        if subsample is not None and subsample_size not in (None, len(subsample)):
            raise ValueError(f"pyro.plate({name!r}) has subsample_size {subsample_size} and {len(subsample)} rows")
        self.rows, self.sized, self.wanted = subsample, size is not None, dim
        with nullcontext() if self.sized else nh.block():
            super().__init__(name, int(size or 1), subsample_size if subsample is None else None)
        if subsample is not None:
            self._indices, self.subsample_size = jnp.asarray(subsample), len(subsample)

    def __enter__(self) -> Any:
        taken = {frame.dim: frame.name for frame in frames()}
        self.dim = self.wanted if self.wanted is not None else next(d for d in count(-1, -1) if d not in taken)
        self.wanted = self.dim
        if self.dim in taken:
            raise ValueError(f"the plates {taken[self.dim]!r} and {self.name!r} both take dim {self.dim}")
        indices = super().__enter__()
        return heard(indices) if self.sized else None

    def __iter__(self) -> Iterator[int]:
        rows = range(self.size) if self.rows is None else self.rows
        if self.subsample_size != len(rows) or isinstance(rows, jax.core.Tracer):
            raise NotImplementedError(
                f"pyro.plate({self.name!r}) is a loop over rows that are drawn or an array, whose numbers NumPyro, "
                "compiled, does not know; give subsample= as a list, or write `with pyro.plate(...)`"
            )
        for row in np.asarray(rows).tolist():
            with Picking(self.size / len(rows)):
                yield row

    def process_message(self, msg: Any) -> None:
        if self.sized:
            super().process_message(msg)
            noted(msg, self.size / self.subsample_size)
        elif "cond_indep_stack" in msg:
            shape = tuple(getattr(msg.get("fn"), "batch_shape", ()))
            size = shape[self.dim] if len(shape) >= -self.dim else 1
            msg["cond_indep_stack"].append(CondIndepStackFrame(self.name, self.dim, size))


class Picking(primitives.Messenger):
    """The scale of a loop over some rows of a plate."""

    def __init__(self, scale: float) -> None:
        super().__init__(None)
        self.scale = scale

    def process_message(self, msg: Any) -> None:
        if msg["type"] == "sample":
            msg["scale"] = self.scale if msg.get("scale") is None else self.scale * msg["scale"]
            noted(msg, self.scale)


def noted(msg: Any, scale: float) -> None:
    """Tell a site what a plate weighs it by."""
    msg["picked"] = scale * msg.get("picked", 1.0)


def any_plate(
    name: str,
    size: int | None = None,
    subsample_size: int | None = None,
    subsample: Any = None,
    dim: int | None = None,
    use_cuda: bool | None = None,
    device: Any = None,
) -> Any:
    """Pyro's ``plate``; one over the items of the batch is ``batch.plate()``."""
    own = partial(plate, name, size, subsample_size, subsample, dim)
    whole = subsample_size in (None, size) or subsample is not None
    batch = over_items(name, size, subsample, dim) if whole else None
    return own() if batch is None else Over(batch, subsample, own, free)


def free(dim: int) -> bool:
    """Does no plate around take this dimension?"""
    return all(frame.dim != dim for frame in frames())


def frames() -> list[Any]:
    """The plates around a statement."""
    message: Any = {"type": "deterministic", "value": True, "cond_indep_stack": []}
    for handler in reversed(primitives._PYRO_STACK):
        if isinstance(handler, numpyro.plate):
            handler.process_message(message)
    return message["cond_indep_stack"]


@contextmanager
def plate_stack(prefix: str, sizes: Sequence[int], rightmost_dim: int = -1) -> Iterator[None]:
    """Pyro's ``plate_stack``."""
    with ExitStack() as stack:
        for number, size in enumerate(reversed(tuple(sizes))):
            stack.enter_context(plate(f"{prefix}_{number}", size, dim=rightmost_dim - number))
        yield


def deterministic(name: str, value: Any, event_dim: int | None = None) -> Any:
    """Pyro's ``deterministic``; the event dimensions matter to Pyro alone."""
    with handed(name):
        return numpyro.deterministic(name, value)


def factor(name: str, log_factor: Any, *, has_rsample: bool | None = None) -> None:
    """Pyro's ``factor``; NumPyro has no score-function estimator for ``has_rsample`` to choose."""
    with handed(name):
        numpyro.factor(name, log_factor)


def param(name: str, init_tensor: Any = None, constraint: Any = REAL, event_dim: int | None = None) -> Any:
    """Pyro's ``param``: in a program, a parameter of its own."""
    known = declarations.current()
    if known is None:
        raise NotImplementedError(f"pyro.param({name!r}) is for a Program's text; outside use numpyro.param")
    value = partial(known.value, name, init_tensor, constraint, event_dim)
    return numpyro.param(name, lambda key: bare(value()), event_dim=event_dim)


def module(name: str, nn_module: Any, update_module_params: bool = False) -> Any:
    """Pyro's ``module``: in a program, nothing. Its text may reach a module by an object that holds it, too."""
    known, reached = declarations.current(), getattr(interpreter.get(None), "known", {})
    if known is None or all(id(parameter) in reached for parameter in nn_module.parameters()):
        return nn_module
    return known.module(name, nn_module)


def absent(word: str, advice: str) -> Any:
    """Stands for a word that programs on NumPyro have not."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"{word} has no counterpart on NumPyro: {advice}")

    return refuse


def no_store(word: str) -> Any:
    """Stands for a word that speaks of Pyro's global store."""
    return partial(declarations.refuse_store, word)


STATEMENTS = Vocabulary(
    barrier=absent("pyro.barrier", "leave it out"),
    clear_param_store=no_store("pyro.clear_param_store"),
    condition=HANDLERS.condition,
    deterministic=deterministic,
    do=HANDLERS.do,
    enable_validation=numpyro.enable_validation,
    factor=factor,
    get_param_store=no_store("pyro.get_param_store"),
    iarange=absent("pyro.iarange", "write pyro.plate"),
    infer=INFER,
    irange=absent("pyro.irange", "write pyro.plate"),
    log=pyro.log,
    logger=pyro.logger,
    markov=HANDLERS.markov,
    module=module,
    nn=pyro.nn,
    ops=pyro.ops,
    param=param,
    plate=any_plate,
    plate_stack=plate_stack,
    poutine=HANDLERS,
    random_module=absent("pyro.random_module", "draw the weights by pyro.sample and use torch.nn.functional"),
    sample=sample,
    set_rng_seed=absent("pyro.set_rng_seed", "set the seed outside programs, by fit(seed=...)"),
    subsample=numpyro.subsample,
    validation_enabled=numpyro.validation_enabled,
)
