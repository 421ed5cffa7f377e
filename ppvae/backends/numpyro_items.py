"""Items on NumPyro: the items plate, and the mask over what was not observed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any
from zlib import crc32

import jax
import jax.numpy as jnp
import numpyro
import torch
from numpyro import primitives
from numpyro.distributions import constraints
from numpyro.primitives import Messenger, apply_stack

from ppvae.backends.declarations import declared as declared
from ppvae.backends.mirror.running.program import Mirror
from ppvae.backends.mirror.running.standin import interpreter
from ppvae.backends.pyro_items import masked, support
from ppvae.backends.spoken import bare, heard
from ppvae.language.batch import Batch
from ppvae.language.pieces import mask_of, owner
from ppvae.language.plates import beside, depth, layout
from ppvae.language.ppl import dist


@contextmanager
def plate(size: int, total: int) -> Iterator[None]:
    """The items plate over ``size`` rows, scaled by ``total / size``: NumPyro's own would draw a permutation."""
    scaled = nullcontext() if total == size else numpyro.handlers.scale(scale=total / size)
    with numpyro.handlers.block():  # a plate's own site would take its name from the program's
        rows = numpyro.plate("items", size, dim=layout().items)
    with scaled, rows:
        yield


def picks_rows(site: Any) -> bool:
    """Is this the site of a plate that speaks for more rows than it has?"""
    return site["type"] == "plate" and site["args"][1] not in (None, site["args"][0])


def float_dtype() -> Any:
    """The floating dtype that programs run in, as the words at hand take it: torch's in a program's text."""
    return jax.dtypes.canonicalize_dtype(jnp.float64) if interpreter.get(None) is None else torch.get_default_dtype()


class Draws(Messenger):
    """The plate of draws, to the left of all plates of programs, which take their dims as if it were not there.

    Unless it is over everything, it is over the sites of the items plate alone: global latents are drawn once for all.
    Over everything there is none where draws are to be taken one at a time.
    """

    def __init__(self, count: int, everything: bool) -> None:
        super().__init__(None)
        self.everything = everything
        with numpyro.handlers.block():
            self.plate = numpyro.plate("draws", count, dim=-1)

    def process_message(self, msg: Any) -> None:
        if msg["type"] == "sample" and (not layout().apart if self.everything else _of_items(msg)):
            self.plate.dim = -layout().inner
            self.plate.process_message(msg)


def _of_items(msg: Any) -> bool:
    return any(frame.name == "items" for frame in msg.get("cond_indep_stack", ()))


def repeated(count: int) -> Any:
    """The plate of ``count`` draws of everything within."""
    return Draws(count, everything=True)


def repeating() -> bool:
    """Does the program run in a plate of draws of everything?"""
    return any(isinstance(handler, Draws) and handler.everything for handler in primitives._PYRO_STACK)


class Jointly(Messenger):
    """Draws what all items share by a key of its own, so that each of several items has the same."""

    def __init__(self, key: jax.Array) -> None:
        super().__init__(None)
        self.key = key

    def process_message(self, msg: Any) -> None:
        if msg["type"] == "sample" and msg["value"] is None and not _of_items(msg) and msg["kwargs"]["rng_key"] is None:
            msg["kwargs"]["rng_key"] = jax.random.fold_in(self.key, crc32(msg["name"].encode()))


def one_by_one(answer: Callable[[], dict[str, jax.Array]], count: int) -> dict[str, jax.Array]:
    """So many answers to a question, each of one draw, along its first axis."""
    joint = next((handler for handler in primitives._PYRO_STACK if isinstance(handler, Jointly)), None)

    def one(number: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
        own = nullcontext() if joint is None else Jointly(jax.random.fold_in(joint.key, number))
        with numpyro.handlers.seed(rng_seed=key), own:
            return {name: value[0] for name, value in answer().items()}

    return jax.vmap(one)(jnp.arange(count), jax.random.split(numpyro.prng_key(), count))


def draws(count: int) -> Any:
    """The plate of ``count`` draws of every item's own latents; none for a single draw."""
    return nullcontext() if count == 1 else Draws(count, everything=False)


class Enumerating(Messenger):
    """Gives each latent marked ``infer={"enumerate": "parallel"}`` all of its values, one new dimension for each.

    The first takes the dim to the left of draws, items and other plates, the next the one to its left, and so on.
    """

    def __init__(self) -> None:
        super().__init__(None)
        self.found = 0

    def process_message(self, msg: Any) -> None:
        if msg["type"] != "sample" or msg["is_observed"] or msg["value"] is not None:
            return
        if (msg["infer"] or {}).get("enumerate"):
            msg["value"] = support(msg["fn"], layout().inner + self.found)
            self.found += 1


def enumerating() -> Enumerating:
    """The handler under which discrete latents are enumerated."""
    return Enumerating()


def frozen(program: Any) -> Any:
    """The program with its parameters held fixed: gradients pass through its values, not into it."""
    p = program._p
    fixed = {name: jax.lax.stop_gradient(array) for name, array in p.arrays.items()}
    return Mirror(program._module, replace(p, arrays=fixed))


class Holes(Messenger):
    """Masks each observed site named in ``masks``, booleans ``(items,)`` or ``(items, *event)``, or a piece of one."""

    def __init__(self, masks: Mapping[str, jax.Array], names: Collection[str]) -> None:
        super().__init__(None)
        self.masks, self.names = {name: bare(mask) for name, mask in masks.items()}, names

    def process_message(self, msg: Any) -> None:
        if msg["type"] != "sample" or not msg["is_observed"]:
            return
        mask = mask_of(msg["name"], self.masks, self.names)
        if mask is not None:
            # At its full shape: what NumPyro fills holes with may depend on parameters that differ from draw to draw.
            value = jnp.broadcast_to(msg["value"], jnp.broadcast_shapes(msg["value"].shape, msg["fn"].shape()))
            mask = beside(msg, mask, layout())
            seen = mask.reshape(mask.shape + (1,) * (depth(msg) + msg["fn"].event_dim - mask.ndim))
            msg["value"] = supported(msg["fn"], value, seen)
            msg["fn"] = masked(msg, mask)


class Sparing(Messenger):
    """Within it nothing is decoded that an item, alone in its batch, does not show: its likelihood is masked."""

    def __init__(self) -> None:
        super().__init__(None)


class Drawing(Messenger):
    """Hands out one key, and remembers that it was asked for."""

    def __init__(self) -> None:
        super().__init__(None)
        self.asked = False

    def process_message(self, msg: Any) -> None:
        if msg["type"] == "prng_key":
            self.asked, msg["value"] = True, jax.random.key(0)


def lit(
    run: Callable[[dict[str, jax.Array]], Any],
    values: Mapping[str, jax.Array],
    weights: Callable[[Any], Mapping[str, jax.Array]],
) -> Any:
    """What a run at some values finds, its gradient at each value times the weight that is told from what it finds.

    The run that tells the weights is the same to XLA, which takes both as one.
    """
    known = weights(run(dict(values)))
    return run({name: _weighed(value, known[name]) for name, value in values.items()})


@jax.custom_vjp
def _weighed(value: jax.Array, weight: jax.Array) -> jax.Array:
    """The value, its gradient times ``weight``. Forward it is the value itself, so that XLA computes on it once."""
    return value


def _weighing(value: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    return value, weight


def _slope(weight: jax.Array, slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    return weight * slope, jnp.zeros_like(weight)


_weighed.defvjp(_weighing, _slope)


def once(known: dict[Hashable, Any], key: Hashable, function: Callable[[], Any]) -> Any:
    """What ``function`` returned when it was first asked for by this key."""
    if key not in known:
        known[key] = bare(function())
    return heard(known[key])


def decoded(name: str, decoder: Callable[[Any], Any], z: Any) -> Any:
    """What a modality's decoder makes of latents at which it is observed; zeros where it need not run.

    A decoder that draws always runs, as keys are split outside of branches.
    """
    around = list(primitives._PYRO_STACK)
    masks = [each.masks[name] for each in around if isinstance(each, Holes) and name in each.masks]
    drawn = any(isinstance(each, Unobserved) and name in each.names for each in around)
    if drawn or {len(mask) for mask in masks} != {1} or not any(isinstance(each, Sparing) for each in around):
        return decoder(z)

    def run(array: Any) -> Any:
        return bare(decoder(heard(array)))

    drawing = Drawing()
    with drawing:
        shape = jax.eval_shape(run, bare(z))
        seen = jnp.array([mask.any() for mask in masks]).all()
        found = jax.lax.cond(seen, run, lambda _: jnp.zeros(shape.shape, shape.dtype), bare(z))
    return decoder(z) if drawing.asked else heard(found)


def Normal(loc: Any, scale: Any) -> Any:
    """NumPyro's normal distribution, which broadcasts nothing beforehand."""
    return dist.Normal(loc, scale)


class Unobserved(Messenger):
    """Draws the sites of modalities, and their pieces, whatever a program observes there."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__(None)
        self.names = names

    def process_message(self, msg: Any) -> None:
        if msg["type"] == "sample" and msg["is_observed"] and owner(msg["name"], self.names)[0] in self.names:
            msg.update(is_observed=False, value=None)


def supported(fn: Any, value: jax.Array, mask: jax.Array) -> jax.Array:
    """The value with some of the support where it is masked: what programs on Pyro get there too."""
    support = getattr(fn.support, "base_constraint", fn.support)
    if support is constraints.real:
        return value
    return jnp.where(mask, value, support.feasible_like(value).astype(value.dtype))


class Boxes(Messenger):
    """Adds a site for the items plate, which NumPyro's renderer and some of its estimators look up, after the rest.

    There is none where the program has a site of that name, or no item's own site.
    """

    def __init__(self, batch: Batch) -> None:
        super().__init__(None)
        self.batch, self.needed, self.taken = batch, False, False

    def process_message(self, msg: Any) -> None:
        self.needed |= _of_items(msg)
        self.taken |= msg.get("name") == "items"

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        if self.needed and not self.taken and error[0] is None:
            site: Any = {"type": "plate", "name": "items", "fn": None, "scale": 1.0, "cond_indep_stack": []}
            args = {"args": (self.batch.total, self.batch.size), "kwargs": {"rng_key": None}}
            apply_stack({**site, **args, "value": jnp.arange(self.batch.size)})


def boxed(program: Any) -> Any:
    """The program with a site for its items plate."""

    def within(batch: Batch) -> Any:
        with Boxes(batch):
            return program(batch)

    return within
