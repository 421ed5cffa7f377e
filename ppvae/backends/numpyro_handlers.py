"""Handlers: Pyro's poutine under its names, carried out by NumPyro."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import jax.numpy as jnp
from numpyro import handlers as nh
from numpyro.infer import reparam as nr
from numpyro.primitives import get_mask
from pyro.poutine import runtime

from ppvae.backends.mirror.running.convert import nested
from ppvae.backends.spoken import Vocabulary, bare, heard

Function = Callable[..., Any] | None


class Trace(OrderedDict):
    """Sites by name; like Pyro's trace it also calls them ``nodes``."""

    @property
    def nodes(self) -> Trace:
        return self


class trace(nh.trace):
    """Pyro's ``trace``."""

    def __init__(self, fn: Function = None, graph_type: str | None = None) -> None:
        super().__init__(fn)

    def __enter__(self) -> trace:
        super().__enter__()
        self.trace = Trace()
        return self

    def get_trace(self, *args: Any, **kwargs: Any) -> Trace:
        """The sites of a run, or of the block before, as the text that asks for them sees them."""
        if self.fn is not None:
            self(*args, **kwargs)
        return Trace({name: {key: heard(held) for key, held in site.items()} for name, site in self.trace.items()})


def values(data: Any) -> Mapping[str, Any]:
    """Values by site, of a dict of them or of a trace; numbers as arrays, which other words of the text expect."""
    if isinstance(data, Trace):
        data = {name: site["value"] for name, site in data.items()}
    return {name: value if value is None else jnp.asarray(value) for name, value in data.items()}


class condition(nh.condition):
    """Pyro's ``condition``, which also takes a trace, and picks the rows of a plate by its name."""

    def __init__(self, fn: Function = None, data: Any = None) -> None:
        super().__init__(fn, data=values(data))

    def process_message(self, msg: Any) -> None:
        if msg["type"] == "plate" and msg["name"] in self.data:
            msg["value"] = self.data[msg["name"]]
        super().process_message(msg)


def do(fn: Function = None, data: Any = None) -> Any:
    """Pyro's ``do``."""
    return nh.do(fn, data=values(data))


def substitute(fn: Function = None, data: Any = None) -> Any:
    """Pyro's ``substitute``, which gives values to parameters alone."""
    found = values(data)
    return nh.substitute(fn, substitute_fn=lambda msg: found.get(msg["name"]) if msg["type"] == "param" else None)


def block(
    fn: Function = None,
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


@contextmanager
def free() -> Iterator[None]:
    """A handler, and a decorator, that does nothing."""
    yield


def broadcast(fn: Function = None) -> Any:
    """Pyro's ``broadcast``: NumPyro's plates broadcast anyway."""
    return free() if fn is None else fn


def markov(
    fn: Any = None, history: int = 1, keep: bool = False, dim: int | None = None, name: str | None = None
) -> Any:
    """Pyro's ``markov`` as a loop, a decorator or a context.

    It tells an enumeration which dimensions it may use again; here every enumerated site has its own.
    """
    if dim is not None or name is not None:
        raise NotImplementedError("pyro.markov takes no dim and no name, on neither backend")
    if fn is None:
        return free()
    return fn if callable(fn) else (nested(each, heard) for each in fn)


class LocScaleReparam(nr.LocScaleReparam):
    """Pyro's: what is neither location nor scale stays as it is, unless ``shape_params`` says what does."""

    def __init__(self, centered: Any = None, shape_params: Sequence[str] | None = None) -> None:
        super().__init__(centered, shape_params or ())
        self.named = shape_params is not None

    def __call__(self, name: str, fn: Any, obs: Any) -> Any:
        if not self.named:
            own = self._unwrap(fn)[0].arg_constraints
            self.shape_params = tuple(key for key in own if key not in ("loc", "scale"))
        return super().__call__(name, fn, obs)


def reparam(fn: Function = None, config: Any = None) -> Any:
    """Pyro's ``reparam``; ``config`` may hold Pyro's own reparametrisations of a name that NumPyro has."""
    if isinstance(config, Mapping):
        return nh.reparam(fn, config={name: _reparametrisation(held) for name, held in config.items()})
    if not callable(config) or hasattr(config, "configure"):
        raise NotImplementedError(f"poutine.reparam takes a dict or a function of the site, not {config!r}, on NumPyro")
    return nh.reparam(fn, config=lambda site: _reparametrisation(config(site)))


def _reparametrisation(held: Any) -> Any:
    if held is None or isinstance(held, nr.Reparam):
        return held
    name = type(held).__name__
    if name == "LocScaleReparam":
        return LocScaleReparam(bare(held.centered), held.shape_params)
    if name in ("TransformReparam", "ProjectedNormalReparam"):
        return getattr(nr, name)()
    raise NotImplementedError(
        f"Pyro's own {name} does not run on NumPyro; make it in forward: pyro.infer.reparam.{name}"
    )


def config_enumerate(
    guide: Function = None,
    default: str | None = "parallel",
    expand: bool = False,
    num_samples: int | None = None,
    tmc: str = "diagonal",
) -> Any:
    """Pyro's ``config_enumerate``, by a call or as a decorator."""
    if num_samples is not None or default not in ("parallel", "sequential", None):
        raise NotImplementedError(
            "pyro.infer.config_enumerate sums out exactly: give no num_samples, nor default='flat'"
        )

    def marked(site: Any) -> dict[str, Any]:
        finite = default is not None and not site["is_observed"] and site["fn"].has_enumerate_support
        return {"enumerate": default, "expand": expand} if finite else {}

    return nh.infer_config(guide, config_fn=marked)


# Pyro's own handlers that a text may have around it since it was defined; each acts on one site at a time.
HANDED: dict[str, Callable[[Any], Any]] = {
    "BroadcastMessenger": lambda held: free(),
    "ConditionMessenger": lambda held: condition(data=nested(held.data, bare)),
    "InferConfigMessenger": lambda held: nh.infer_config(config_fn=held.config_fn),
    "MarkovMessenger": lambda held: free(),
    "MaskMessenger": lambda held: nh.mask(mask=bare(held.mask)),
    "ScaleMessenger": lambda held: nh.scale(scale=bare(held.scale)),
}


def handed(name: str) -> Any:
    """What Pyro's own handlers around a site are to NumPyro; a decorator in a class is one of Pyro's.

    Raises:
        NotImplementedError: it has none of that kind.
    """
    if not runtime._PYRO_STACK:
        return nullcontext()
    around = ExitStack()
    for held in runtime._PYRO_STACK:
        kind = type(held).__name__
        if kind not in HANDED:
            word = kind.removesuffix("Messenger").lower()
            raise NotImplementedError(
                f"site {name!r} is within Pyro's own {word}, made outside of forward, which NumPyro cannot follow; "
                f"take pyro.{'plate' if word == 'plate' else f'poutine.{word}'} within forward, from ppvae's words"
            )
        around.enter_context(HANDED[kind](held))
    return around


HANDLERS = Vocabulary(
    block=block,
    broadcast=broadcast,
    condition=condition,
    do=do,
    get_mask=get_mask,
    infer_config=nh.infer_config,
    lift=nh.lift,
    markov=markov,
    mask=nh.mask,
    reparam=reparam,
    replay=nh.replay,
    scale=nh.scale,
    seed=nh.seed,
    substitute=substitute,
    trace=trace,
    uncondition=nh.uncondition,
)

INFER = Vocabulary(
    config_enumerate=config_enumerate,
    reparam=Vocabulary(
        DiscreteCosineReparam=nr.DiscreteCosineReparam,
        HaarReparam=nr.HaarReparam,
        LocScaleReparam=LocScaleReparam,
        ProjectedNormalReparam=nr.ProjectedNormalReparam,
        TransformReparam=nr.TransformReparam,
        UnitJacobianReparam=nr.UnitJacobianReparam,
    ),
)
