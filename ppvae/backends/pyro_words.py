"""The words on Pyro: Pyro itself, and torch's functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, ClassVar

import pyro as library
import pyro.distributions as dist
import pyro.poutine as handlers
import torch
import torch.nn.functional as F
from pyro.poutine import runtime
from torch.distributions import constraints

from ppvae.backends import declarations, stacks
from ppvae.language import plates

__all__ = ["derivatives", "dist", "distribution", "handlers", "iterated", "ops", "pyro"]

STACKS = [stacks.own(runtime, name) for name in ("_PYRO_STACK", "_DIM_ALLOCATOR")]

Shape = tuple[int, ...]
Sampler = Callable[[Callable[[Any], Any]], Any]
Density = Callable[[Any], Any]


def param(
    name: str, init_tensor: Any = None, constraint: Any = constraints.real, event_dim: int | None = None
) -> torch.Tensor:
    """Pyro's ``param``: in a program that ppvae runs, a parameter of its own."""
    known = declarations.current()
    if known is None:
        return library.param(name, init_tensor, constraint, event_dim)
    given = () if init_tensor is None else (init_tensor,)
    return runtime.effectful(known.value, type="param")(
        name, *given, constraint=constraint, event_dim=event_dim, name=name
    )


def module(name: str, nn_module: Any, update_module_params: bool = False) -> Any:
    """Pyro's ``module``: in a program that ppvae runs, nothing."""
    known = declarations.current()
    return (library.module if known is None else known.module)(name, nn_module, update_module_params)


def plate(
    name: str,
    size: int | None = None,
    subsample_size: int | None = None,
    subsample: Any = None,
    dim: int | None = None,
    use_cuda: bool | None = None,
    device: Any = None,
) -> Any:
    """Pyro's ``plate``; in a program that ppvae runs, one over the items of the batch is ``batch.plate()``."""
    own = partial(library.plate, name, size, subsample_size, subsample, dim, use_cuda, device)
    whole = subsample_size in (None, size) or subsample is not None
    batch = plates.over_items(name, size, subsample, dim) if whole else None
    return own() if batch is None else plates.Over(batch, subsample, own, free)


def free(dim: int) -> bool:
    """Does no plate around take this dimension?"""
    taken = runtime._DIM_ALLOCATOR._stack
    return len(taken) < -dim or taken[-1 - dim] is None


def get_param_store() -> Any:
    """Pyro's ``get_param_store``, outside programs that ppvae runs."""
    declarations.refuse_store("pyro.get_param_store")
    return library.get_param_store()


def clear_param_store() -> None:
    """Pyro's ``clear_param_store``, outside programs that ppvae runs."""
    declarations.refuse_store("pyro.clear_param_store")
    library.clear_param_store()


class _Pyro(ModuleType):
    """Pyro, but for the words that would speak of its global store."""

    def __getattr__(self, name: str) -> Any:
        return getattr(library, name)

    def __dir__(self) -> list[str]:
        return dir(library)


pyro = _Pyro("pyro")
vars(pyro).update({word.__name__: word for word in (clear_param_store, get_param_store, module, param, plate)})


class _Ops:
    """``torch.NAME``, or ``torch.nn.functional.NAME`` where torch itself has none."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(torch if hasattr(torch, name) else F, name)
        vars(self)[name] = found  # texts ask several hundred times a step
        return found

    def __dir__(self) -> list[str]:
        return sorted({*dir(torch), *dir(F)})


ops = _Ops()


class Written(dist.TorchDistribution):
    """A distribution written as two functions; see :func:`ppvae.language.ppl.distribution`."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = True

    def __init__(
        self, sample: Sampler, log_prob: Density, batch_shape: Shape, event_shape: Shape, mean: Any, variance: Any
    ) -> None:
        self._sampler, self._density, self._moments = sample, log_prob, (mean, variance)
        super().__init__(torch.Size(batch_shape), torch.Size(event_shape), validate_args=False)

    @property
    def support(self) -> Any:
        return dist.constraints.independent(dist.constraints.real, self.event_dim)

    @property
    def mean(self) -> torch.Tensor:
        return known(self._moments[0], "mean")

    @property
    def variance(self) -> torch.Tensor:
        return known(self._moments[1], "variance")

    def rsample(self, sample_shape: Any = ()) -> torch.Tensor:
        return self._sampler(lambda d: d(torch.Size(sample_shape)))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        return self._density(value)


def known(moment: Any, name: str) -> Any:
    """A moment of a written distribution.

    Raises:
        NotImplementedError: it was not given.
    """
    if moment is None:
        raise NotImplementedError(f"this distribution was written without its {name}")
    return moment


def iterated(step: Callable[[Any], tuple[Any, Any]], state: Any, times: int) -> Any:
    """See :func:`ppvae.language.ppl.iterated`."""
    found = []
    for _ in range(times):
        state, each = step(state)
        found.append(each)
    return torch.stack(found)


def derivatives(
    function: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """See :func:`ppvae.language.ppl.derivatives`."""
    with torch.enable_grad():
        at = at.detach().requires_grad_()
        (slope,) = torch.autograd.grad(function(at).sum(), at, create_graph=True)
        each = [torch.autograd.grad(part, at, retain_graph=True)[0] for part in slope.sum(0)]
    return slope.detach(), torch.stack(each, -2)


def distribution(
    sample: Sampler, log_prob: Density, batch_shape: Shape, event_shape: Shape, mean: Any = None, variance: Any = None
) -> Written:
    """See :func:`ppvae.language.ppl.distribution`."""
    return Written(sample, log_prob, batch_shape, event_shape, mean, variance)
