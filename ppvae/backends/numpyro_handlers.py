"""Handlers: Pyro's poutine under its names, carried out by NumPyro."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from types import FunctionType, MethodType
from typing import Any

import jax.numpy as jnp
from numpyro import handlers as nh
from numpyro.primitives import Messenger, get_mask
from pyro.infer import reparam as pyros
from pyro.poutine import runtime

from ppvae.backends.distributions.text import interpreting
from ppvae.backends.mirror.running.convert import nested
from ppvae.backends.spoken import Vocabulary, bare, heard
from ppvae.language import ppl

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


class reparam(Messenger):
    """Pyro's ``reparam``, by Pyro's own reparametrisations, whose text runs on arrays."""

    def __init__(self, fn: Function = None, config: Any = None) -> None:
        super().__init__(fn)
        self.config = config

    def process_message(self, msg: Any) -> None:
        if msg["type"] != "sample":
            return
        with interpreting():
            site = {key: heard(msg[key]) for key in ("name", "fn", "value", "is_observed", "infer")}
            held = self.config.get(site["name"]) if isinstance(self.config, Mapping) else self.config(site)
            found = site if held is None else _said(held.apply)(site)
            if found["fn"] is site["fn"]:
                return
            msg.update({key: bare(found[key]) for key in ("fn", "value", "is_observed")})
        if getattr(found["fn"], "_mask", None) is False:  # a value without a density
            kept = {key: msg[key] for key in ("name", "value", "cond_indep_stack")}
            msg.clear()
            msg.update(kept, type="deterministic")


def _said(method: Any) -> Any:
    """A method of Pyro's that says its words to the running backend."""
    function = method.__func__
    words = {**function.__globals__, "pyro": ppl.pyro}
    spoken = FunctionType(function.__code__, words, function.__name__, function.__defaults__, function.__closure__)
    return MethodType(spoken, method.__self__)


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


class named(Messenger):
    """Pyro's ``scope`` or ``name_count`` of ``pyro.contrib.autoname``, which change the names of sites."""

    def __init__(self, held: Any) -> None:
        super().__init__(None)
        self.held = held

    def process_message(self, msg: Any) -> None:
        if msg["type"] in ("sample", "deterministic"):
            self.held._pyro_sample(msg)

    def postprocess_message(self, msg: Any) -> None:
        if msg["type"] in ("sample", "deterministic") and hasattr(self.held, "_pyro_post_sample"):
            self.held._pyro_post_sample(msg)


# Pyro's own handlers that a text may have around it since it was defined; each acts on one site at a time.
HANDED: dict[str, Callable[[Any], Any]] = {
    "BroadcastMessenger": lambda held: free(),
    "ConditionMessenger": lambda held: condition(data=nested(held.data, bare)),
    "DoMessenger": lambda held: do(data=nested(held.data, bare)),
    "InferConfigMessenger": lambda held: nh.infer_config(config_fn=held.config_fn),
    "MarkovMessenger": lambda held: free(),
    "MaskMessenger": lambda held: nh.mask(mask=bare(held.mask)),
    "NameCountMessenger": named,
    "ReparamMessenger": lambda held: reparam(config=held.config),
    "ScaleMessenger": lambda held: nh.scale(scale=bare(held.scale)),
    "ScopeMessenger": named,
    "UnconditionMessenger": lambda held: nh.uncondition(),
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
                f"site {name!r} is within Pyro's own {word}, which NumPyro cannot follow; {_instead(word)}"
            )
        around.enter_context(HANDED[kind](held))
    return around


def _instead(word: str) -> str:
    """What to write in place of one of Pyro's own handlers."""
    if word != "plate" and not hasattr(HANDLERS, word):
        return "leave it out, or train with backend='pyro'"
    said = "plate" if word == "plate" else f"poutine.{word}"
    return f"it was made outside of forward: take pyro.{said} within forward, from ppvae's words"


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
    reparam=pyros,
)
