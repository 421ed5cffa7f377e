"""Effects: Pyro's statements and handlers under Pyro's names, carried out by NumPyro."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpyro
import pyro
from numpyro import handlers as nh
from numpyro.primitives import get_mask
from torch.distributions.constraints import Constraint
from torch.distributions.constraints import real as REAL

from ppvae.backends import declarations
from ppvae.backends.spoken import Vocabulary, bare, heard


def sample(name: str, fn: Any, *, obs: Any = None, obs_mask: Any = None, infer: dict | None = None) -> Any:
    """Pyro's ``sample``."""
    return numpyro.sample(name, fn, obs=obs, obs_mask=obs_mask, infer=infer)


class plate(numpyro.plate):
    """Pyro's ``plate``, as a context; ``subsample`` picks the rows, otherwise NumPyro draws ``subsample_size``."""

    def __init__(
        self,
        name: str,
        size: int | None = None,
        subsample_size: int | None = None,
        subsample: Any = None,
        dim: int | None = None,
    ) -> None:
        if size is None:
            raise ValueError(f"pyro.plate({name!r}) needs its size on NumPyro")
        super().__init__(name, size, subsample_size if subsample is None else None, dim)
        if subsample is not None:
            self._indices, self.subsample_size = subsample, len(subsample)

    def __enter__(self) -> Any:
        return heard(super().__enter__())

    def __iter__(self) -> Iterator[int]:
        raise NotImplementedError(f"pyro.plate({self.name!r}) is not a loop on NumPyro: write `with pyro.plate(...)`")


def deterministic(name: str, value: Any, event_dim: int | None = None) -> Any:
    """Pyro's ``deterministic``; the event dimensions matter to Pyro alone."""
    return numpyro.deterministic(name, value)


def factor(name: str, log_factor: Any, *, has_rsample: bool | None = None) -> None:
    """Pyro's ``factor``; NumPyro has no score-function estimator for ``has_rsample`` to choose."""
    numpyro.factor(name, log_factor)


def param(name: str, init_tensor: Any = None, constraint: Any = REAL, event_dim: int | None = None) -> Any:
    """Pyro's ``param``: in a program, a parameter of its own."""
    known, constraint = declarations.current(), torchs(constraint)
    if known is None:
        raise NotImplementedError(f"pyro.param({name!r}) is for a Program's text; outside use numpyro.param")
    value = partial(known.value, name, init_tensor, constraint)
    return numpyro.param(name, lambda key: bare(value()), event_dim=event_dim)


def module(name: str, nn_module: Any, update_module_params: bool = False) -> Any:
    """Pyro's ``module``: in a program, nothing."""
    known = declarations.current()
    return nn_module if known is None else known.module(name, nn_module)


def torchs(constraint: Any) -> Any:
    """Torch's constraint for NumPyro's, by whose transform both backends hold a parameter."""
    if isinstance(constraint, Constraint):
        return constraint
    kind = type(constraint).__name__.removeprefix("_").removesuffix("Constraint")
    found = getattr(pyro.distributions.constraints, re.sub("(?<!^)(?=[A-Z])", "_", kind).lower(), None)
    if found is None:
        raise NotImplementedError(f"pyro.param does not take the constraint {constraint} on NumPyro")
    if not isinstance(found, type):
        return found
    return found(*(torchs(held) if hasattr(held, "check") else heard(held) for held in vars(constraint).values()))


def no_store(word: str) -> Any:
    """Stands for a word that speaks of Pyro's global store."""
    return partial(declarations.refuse_store, word)


class Trace(OrderedDict):
    """Sites by name; like Pyro's trace it also calls them ``nodes``."""

    @property
    def nodes(self) -> Trace:
        return self


class trace(nh.trace):
    """Pyro's ``trace``."""

    def __init__(self, fn: Callable[..., Any] | None = None, graph_type: str | None = None) -> None:
        super().__init__(fn)

    def __enter__(self) -> Trace:
        super().__enter__()
        self.trace = Trace()
        return self.trace

    def get_trace(self, *args: Any, **kwargs: Any) -> Trace:
        """The sites of a run, as the text that asks for them sees their values and distributions."""
        sites = super().get_trace(*args, **kwargs)
        return Trace({name: {key: heard(held) for key, held in site.items()} for name, site in sites.items()})


def block(
    fn: Callable[..., Any] | None = None,
    hide_fn: Callable[[Any], bool] | None = None,
    expose_fn: Callable[[Any], bool] | None = None,
    hide_all: bool = True,
    expose_all: bool = False,
    hide: Sequence[str] | None = None,
    expose: Sequence[str] | None = None,
    hide_types: Sequence[str] | None = None,
    expose_types: Sequence[str] | None = None,
) -> Any:
    """Pyro's ``block``: named sites and types are hidden or exposed, and the rest is hidden unless some were hidden.

    Messages without a name, such as the request for a random key, are not shown to ``hide_fn`` and ``expose_fn``.
    """
    if expose_fn is not None:
        return nh.block(fn, lambda site: "name" in site and not expose_fn(site))
    if hide_fn is not None:
        return nh.block(fn, lambda site: "name" in site and hide_fn(site))
    rest = hide_all and not expose_all
    if expose is not None or expose_types is not None:
        rest = True
    elif hide is not None or hide_types is not None:
        rest = False

    def hidden(site: Any) -> bool:
        return _named(site, hide, hide_types) or (rest and not _named(site, expose, expose_types))

    return nh.block(fn, hidden)


def _named(site: Any, names: Sequence[str] | None, types: Sequence[str] | None) -> bool:
    """Is the site listed by name or by type? Pyro calls the type of an observed sample ``observe``."""
    kind = "observe" if site.get("is_observed") else site["type"]
    return site.get("name") in (names or ()) or kind in (types or ())


HANDLERS = Vocabulary(
    block=block,
    condition=nh.condition,
    do=nh.do,
    get_mask=get_mask,
    infer_config=nh.infer_config,
    lift=nh.lift,
    mask=nh.mask,
    reparam=nh.reparam,
    replay=nh.replay,
    scale=nh.scale,
    seed=nh.seed,
    substitute=nh.substitute,
    trace=trace,
    uncondition=nh.uncondition,
)

STATEMENTS = Vocabulary(
    condition=nh.condition,
    deterministic=deterministic,
    do=nh.do,
    enable_validation=numpyro.enable_validation,
    factor=factor,
    clear_param_store=no_store("pyro.clear_param_store"),
    get_param_store=no_store("pyro.get_param_store"),
    module=module,
    param=param,
    plate=plate,
    plate_stack=numpyro.plate_stack,
    poutine=HANDLERS,
    sample=sample,
    subsample=numpyro.subsample,
    validation_enabled=numpyro.validation_enabled,
)
