"""Items on Pyro: the items plate, and the mask over what was not observed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from contextlib import nullcontext
from functools import lru_cache, partial
from itertools import chain, count
from typing import Any
from zlib import crc32

import numpy as np
import pyro
import torch
from pyro.params.param_store import ParamStoreDict
from pyro.poutine import runtime
from pyro.poutine.broadcast_messenger import BroadcastMessenger
from pyro.poutine.indep_messenger import CondIndepStackFrame
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_messenger import TraceMessenger
from torch.distributions import constraints, transform_to

from ppvae.backends import declarations
from ppvae.backends.distributions.normal import Normal as Normal
from ppvae.language.batch import over
from ppvae.language.pieces import mask_of, owner
from ppvae.language.plates import beside, depth, layout


@lru_cache(maxsize=64)
def _rows(size: int) -> torch.Tensor:
    return torch.arange(size)


def plate(size: int, total: int) -> Any:
    """``pyro.plate("items", total)``, subsampled to ``size`` rows; no permutation is drawn."""
    with pyro.poutine.block():  # a plate's own site would take its name from the program's
        return pyro.plate("items", total, subsample=_rows(size), dim=layout().items)


def picks_rows(site: Any) -> bool:
    """Is this the site of a plate that speaks for more rows than it has?"""
    size, given = getattr(site.get("fn"), "size", None), getattr(site.get("value"), "shape", (None,))
    return type(site.get("fn")).__name__ == "_Subsample" and given[0] != size


def float_dtype() -> torch.dtype:
    """The floating dtype that programs run in."""
    return torch.get_default_dtype()


class Draws(Messenger):
    """The plate of draws, to the left of all plates of programs, which take their dims as if it were not there.

    Unless it is over everything, it is over the sites of the items plate alone: global latents are drawn once for all.
    Over everything there is none where draws are to be taken one at a time.
    """

    def __init__(self, count: int, everything: bool) -> None:
        super().__init__()
        self.count, self.everything = count, everything

    def _pyro_sample(self, msg: Any) -> None:
        local = any(frame.name == "items" for frame in msg["cond_indep_stack"])
        if not layout().apart if self.everything else local:
            frame = CondIndepStackFrame("draws", -layout().inner, self.count, 0, self.count)
            msg["cond_indep_stack"] = (frame, *msg["cond_indep_stack"])
            BroadcastMessenger._pyro_sample(msg)


def repeated(count: int) -> Any:
    """The plate of ``count`` draws of everything within."""
    return Draws(count, everything=True)


def repeating() -> bool:
    """Does the program run in a plate of draws of everything?"""
    return any(isinstance(handler, Draws) and handler.everything for handler in runtime._PYRO_STACK)


class Jointly(Messenger):
    """Draws what all items share by a seed of its own, so that each of several items has the same."""

    def __init__(self, *entropy: int) -> None:
        super().__init__()
        self.entropy = entropy

    def _pyro_sample(self, msg: Any) -> None:
        local = any(frame.name == "items" for frame in msg["cond_indep_stack"])
        if msg["value"] is None and not local and type(msg["fn"]).__name__ != "_Subsample":
            seed = np.random.SeedSequence([*self.entropy, crc32(msg["name"].encode())]).generate_state(1)
            with torch.random.fork_rng():
                torch.manual_seed(int(seed[0]))
                msg["value"] = msg["fn"](*msg["args"], **msg["kwargs"])


def one_by_one(answer: Callable[[], dict[str, torch.Tensor]], count: int) -> dict[str, torch.Tensor]:
    """So many answers to a question, each of one draw, along its first axis."""
    joint = next((handler for handler in runtime._PYRO_STACK if isinstance(handler, Jointly)), None)
    answers = []
    for number in range(count):
        with nullcontext() if joint is None else Jointly(*joint.entropy, number):
            answers.append(answer())
    return {name: torch.cat([each[name] for each in answers]) for name in answers[0]}


def draws(count: int) -> Any:
    """The plate of ``count`` draws of every item's own latents; none for a single draw."""
    return nullcontext() if count == 1 else Draws(count, everything=False)


class Enumerating(Messenger):
    """Gives each latent marked ``infer={"enumerate": "parallel"}`` all of its values, one new dimension for each.

    The first takes the dim to the left of draws, items and other plates, the next the one to its left, and so on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def _pyro_sample(self, msg: Any) -> None:
        if msg["infer"].get("enumerate") and not msg["is_observed"] and msg["value"] is None:
            msg["value"], msg["done"] = support(msg["fn"], layout().inner + self.found), True
            self.found += 1


def enumerating() -> Enumerating:
    """The handler under which discrete latents are enumerated."""
    return Enumerating()


def support(fn: Any, right: int) -> Any:
    """All values of a discrete distribution, ``(values, 1, ..., 1)``, with ``right`` dims to their right."""
    values = fn.enumerate_support(expand=False)
    return values.reshape(-1, *(1,) * right, *values.shape[values.ndim - fn.event_dim :])


def frozen(program: Any) -> Callable[..., Any]:
    """The program with its parameters held fixed: gradients pass through its values, not into it."""
    trained = [parameter for parameter in program.parameters() if parameter.requires_grad]

    def still(batch: Any) -> Any:
        for parameter in trained:
            parameter.requires_grad_(False)
        try:
            return program(batch)
        finally:
            for parameter in trained:
                parameter.requires_grad_(True)

    still.plate_layout = program.plate_layout  # type: ignore[attr-defined]
    return still


class Declared(Messenger):
    """Answers what would come from Pyro's global store by what the program declares."""

    def __init__(self, known: declarations.Declarations) -> None:
        super().__init__()
        self.known = known

    def _pyro_param(self, msg: Any) -> None:
        if isinstance(getattr(msg["fn"], "__self__", None), ParamStoreDict):
            msg["fn"] = _module_parameter if MODULE in msg["name"] else self.known.value


def _module_parameter(name: str, parameter: Any, **_: Any) -> Any:
    """What Pyro's own ``module`` declares stays the module's."""
    return parameter


MODULE = "$$$"  # between the names of a module and of its parameter

declared = partial(declarations.declared, answering=Declared)


class Holes(Messenger):
    """Masks each observed site named in ``masks``, booleans ``(items,)`` or ``(items, *event)``, or a piece of one."""

    def __init__(self, masks: Mapping[str, torch.Tensor], names: Collection[str]) -> None:
        super().__init__()
        self.masks, self.names = masks, names

    def _pyro_sample(self, msg: Any) -> None:
        mask = mask_of(msg["name"], self.masks, self.names) if msg["is_observed"] else None
        # torch's own take no mask, and are refused after the run; pyro.deterministic, where obs_mask ends, has no say
        if mask is not None and getattr(msg["fn"], "_mask", None) is not False and hasattr(msg["fn"], "mask"):
            mask = beside(msg, mask, layout())
            msg["value"] = supported(msg["fn"], msg["value"], mask)
            msg["fn"] = masked(msg, mask)


def lit(
    run: Callable[[dict[str, torch.Tensor]], Any],
    values: Mapping[str, torch.Tensor],
    weights: Callable[[Any], Mapping[str, torch.Tensor]],
) -> Any:
    """What a run at some values finds, its gradient at each value times the weight that is told from what it finds.

    Weights are known once the run is over, and before its gradient is.
    """
    known: dict[str, torch.Tensor] = {}

    def weighed(name: str, value: torch.Tensor) -> torch.Tensor:
        seen = value.view_as(value)
        if seen.requires_grad:
            seen.register_hook(lambda slope: slope * known[name])
        return seen

    found = run({name: weighed(name, value) for name, value in values.items()})
    known.update(weights(found))
    return found


def once(known: dict[Hashable, Any], key: Hashable, function: Callable[[], Any]) -> Any:
    """What ``function`` returned when it was first asked for by this key."""
    if key not in known:
        known[key] = function()
    return known[key]


def decoded(name: str, decoder: Callable[[Any], Any], z: Any) -> Any:
    """What a modality's decoder makes of latents at which it is observed."""
    return decoder(z)


class Unobserved(Messenger):
    """Draws the sites of modalities, and their pieces, whatever a program observes there."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__()
        self.names = names

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] and owner(msg["name"], self.names)[0] in self.names:
            msg.update(is_observed=False, value=None, done=False)


def supported(fn: Any, value: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The value with some of the support where it is masked, so that no density is NaN or infinite there.

    A gradient through these is NaN even where it is masked. A distribution that does not know its support keeps its
    value.
    """
    try:
        support = fn.support
        while hasattr(support, "base_constraint"):
            support = support.base_constraint
        return value if support is constraints.real else torch.where(over(mask, value), value, feasible(support, value))
    except NotImplementedError:
        return value


def feasible(support: Any, value: torch.Tensor) -> torch.Tensor:
    """Some value of the support, of a value's shape."""
    if support is constraints.one_hot:
        return torch.eye(value.shape[-1], dtype=value.dtype, device=value.device)[0].expand_as(value)
    if support.is_discrete:
        return torch.zeros_like(value) + getattr(support, "lower_bound", 0)
    transform = transform_to(support)
    return transform(value.new_zeros(transform.inverse_shape(value.shape)))


def masked(site: Any, mask: Any) -> Any:
    """A site's distribution with its density masked per item, or per element of its plates and its event."""
    fn, event = site["fn"], mask.ndim - depth(site)
    if event == 0:
        return fn.mask(mask)
    if hasattr(fn, "_mask"):
        return masked({**site, "fn": fn.base_dist}, mask).mask(fn._mask)
    if getattr(fn, "reinterpreted_batch_ndims", None) != event:
        raise ValueError(
            f"site {site['name']!r} has holes within its items, but its elements are not independent; "
            "use .to_event over an element-wise distribution, or mask whole items"
        )
    return fn.base_dist.mask(mask).to_event(event)


def captured(program: Any) -> None:
    """Name the weights of a program to whoever captures parameters, as Pyro's ``SVI`` does; the engine never does.

    Their names are ``PROGRAM.PARAMETER``, those of a second program of one class ``PROGRAM_2.PARAMETER``. A tensor
    keeps the name it has, so that what programs share, and what a program holds within, is counted once.
    """
    captures = (h for h in runtime._PYRO_STACK if isinstance(h, TraceMessenger) and h.param_only)
    if (capture := next(captures, None)) is None:
        return
    taken = {name.partition(".")[0] for name in capture.trace.nodes}
    kind, store = type(program).__name__, pyro.get_param_store()
    owner = next(name for name in chain([kind], (f"{kind}_{n}" for n in count(2))) if name not in taken)
    for name, parameter in program.named_parameters():
        if parameter.requires_grad and parameter.is_leaf:
            stated(store.param_name(parameter) or f"{owner}.{name}", parameter)


def stated(name: str, parameter: torch.Tensor) -> torch.Tensor:
    """``pyro.param(name)`` whose value is this very parameter, whatever Pyro's global store holds under the name."""
    if not parameter.is_contiguous():  # the store would train a copy
        parameter.data = parameter.data.contiguous()
    store: Any = pyro.get_param_store()
    if name in store and store[name].unconstrained() is not parameter:
        del store[name]
    return pyro.param(name, parameter)
