"""Agreement: does a program mean the same on NumPyro as on Pyro, or drawn twice at once?"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from pyro import validation_enabled

from ppvae.backends import pyro
from ppvae.backends.parity import check_stated, draw, given, log_probs, whole_in
from ppvae.language.batch import Batch
from ppvae.language.plates import untempered
from ppvae.language.ppl import handlers, items
from ppvae.language.program import Program
from ppvae.language.traces import Sites, filled, is_local, latents, random_sites
from ppvae.language.widening import widening
from ppvae.runs.settings import Settings
from ppvae.runs.vae import VAE
from ppvae.training.checks.shapes import FAILURES

ROUNDING = 1e-5  # of the largest: what is left of it where a program itself turns to single precision
# An answer of a few rows is wanted once and at once, so XLA need not look for the fastest way to it.
HASTY: dict[str, str | bool] = {"xla_backend_optimization_level": "0", "xla_llvm_disable_expensive_passes": True}

KNOWN = ("ppvae.", "torch.nn.")  # whose modules the tests have compared

Arrays = dict[str, np.ndarray]


def is_written_by_user(vae: VAE) -> bool:
    """Is a program or a network of the pair neither ppvae's nor torch's?"""
    return any(not type(module).__module__.startswith(KNOWN) for module in vae.pair.modules())


def check_agreement(vae: VAE, batch: Batch) -> None:
    """Compare a pair's log-probabilities on both backends, site by site, in double precision.

    A site that differs from run to run on Pyro alone, because its program draws without ``pyro.sample``, is not asked.

    Raises:
        ValueError: a site of the model or the guide is worth another number on NumPyro, is not there, or is not
            known in double precision.
    """
    vae = copy.deepcopy(vae)
    vae.pair.to(device="cpu", dtype=torch.float64).eval()
    settings = Settings.model_validate({"dtype": "float64", "device": "cpu"})
    with widening("float64"):
        with whole_in("float64"):
            latents = draw(vae, batch, settings, 0)
            expected, again = (_on_pyro(vae, batch, latents, settings, seed) for seed in (0, 1))
        found = _on_numpyro(vae, batch, latents, settings)
    check_stated(found, expected)
    for name, values in expected.items():
        if _same(values, again[name]) and not _same(found[name], values):
            raise ValueError(_difference(name, found[name], values))


def _on_pyro(vae: VAE, batch: Batch, latents: Arrays, settings: Settings, seed: int) -> Arrays:
    with pyro.environment(settings), torch.no_grad():
        pyro.seed(seed)
        sites = log_probs(vae.model, vae.guide, batch, given(latents))
    return {name: values.numpy(force=True) for name, values in sites.items()}


def _on_numpyro(vae: VAE, batch: Batch, latents: Arrays, settings: Settings) -> Arrays:
    import jax  # a run on Pyro does without it

    from ppvae.backends import mirror, numpyro

    names = mirror.aliases(vae.pair)

    def sites(weights: Mapping[str, jax.Array], fixed: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        with handlers.seed(rng_seed=0):
            return log_probs(*numpyro.programs(vae.pair, dict(weights), names), batch, fixed)

    with numpyro.environment(settings):
        asked = mirror.arrays(vae.pair), given(latents)
        values = jax.jit(sites).lower(*asked).compile(compiler_options=HASTY)(*asked)
    return {name: np.asarray(value) for name, value in values.items()}


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        return False
    known = other[np.isfinite(other)]
    return np.allclose(one, other, rtol=0.0, atol=ROUNDING * np.abs(known).max(initial=1.0), equal_nan=True)


def _difference(name: str, found: np.ndarray, expected: np.ndarray) -> str:
    far = "" if found.shape != expected.shape else _worst(found, expected)
    return (
        f"{_named(name)} is not the same on NumPyro as on Pyro{far}: an operation of its program has "
        "another meaning there, or changes in place (mask |= seen) what a site or a handler was given, which Pyro "
        "reads when the text has ended; look for it with ppvae.parity(vae, data.batch(slice(4)), dtype='float64'), "
        "or train with backend='pyro'"
    )


def _named(name: str) -> str:
    role, site = ("guide", name.removeprefix("guide ")) if name.startswith("guide ") else ("model", name)
    return f"the {role}'s site {site!r}"


def _worst(found: np.ndarray, expected: np.ndarray) -> str:
    worst = np.unravel_index(np.abs(np.nan_to_num(found) - np.nan_to_num(expected)).argmax(), found.shape)
    return f", with a log-density of {found[worst]:.6g} instead of {expected[worst]:.6g}"


def drawn_apart(vae: VAE, batch: Batch, guide: Mapping[str, Any]) -> bool:
    """Does a text not take two draws at once, to the left of its own dims, or give a site another density then?

    So it is where it indexes what all items share, or joins latents with data. ``guide`` has its sites as they are
    drawn once.
    """
    if not is_written_by_user(vae) and all(is_local(site) or site["is_observed"] for site in guide.values()):
        return False
    try:
        with items().repeated(2):
            drawn = latents(random_sites(vae.guide, batch))
            both = log_probs(vae.model, vae.guide, batch, drawn)
        for number in range(2):
            one = {
                name: value[number].reshape(guide[name]["value"].shape)
                for name, value in drawn.items()
                if name in guide
            }
            single = log_probs(vae.model, vae.guide, batch, {**drawn, **one})
            if not all(_is_draw(number, both[name], values) for name, values in single.items()):
                return True
    except FAILURES:
        return True
    return False


def _is_draw(number: int, both: torch.Tensor, single: torch.Tensor) -> bool:
    found = both[number] if both.ndim > single.ndim else both
    return _near(found.reshape(single.shape), single)


def check_one_by_one(vae: VAE, batch: Batch, guide: Sites) -> None:
    """Raise ValueError where an item has another density alone, as answers take it, than beside others.

    A site that differs from run to run is not asked, and nor is a text that does not take an item alone.
    """
    values, row = latents(guide), batch.size // 2  # what runs on from item to item begins at an end
    own = {
        name: _of_item(guide[name], values[name], row) for name in values.keys() & guide.keys() if is_local(guide[name])
    }
    try:
        with untempered(), validation_enabled(False), warnings.catch_warnings():  # as answers run, which may be NaN
            warnings.simplefilter("ignore")  # torch's of a deviation of one item
            beside, again = (log_probs(vae.model, vae.guide, batch, values) for _ in range(2))
            apart = log_probs(vae.model, vae.guide, _item(batch, row), {**values, **own})
    except FAILURES:
        return
    for name, value in apart.items():
        if (value.shape, getattr(beside.get(name), "shape", ())) != ((1,), (batch.size,)):
            continue
        if _near(beside[name], again[name]) and not _near(beside[name][row], value[0]):
            raise ValueError(
                f"{_named(name)} has a log-density of {beside[name][row].item():.6g} for an item beside others and of "
                f"{value[0].item():.6g} for the same alone, as answers take it: let the text look at one item at a "
                "time, with what it needs of all, such as a mean, in the data set or in a buffer"
            )


def _item(batch: Batch, row: int) -> Batch:
    """An item of a batch, alone."""
    rows = slice(row, row + 1)
    arrays, masks = ({name: x[rows] for name, x in group.items()} for group in (batch.arrays, batch.observed or {}))
    return Batch(arrays, masks, index=None if batch.index is None else batch.index[rows])


def _of_item(site: Any, value: torch.Tensor, row: int) -> torch.Tensor:
    """What an item has of a local site's value."""
    return value.narrow(value.ndim - site["fn"].event_dim + site["layout"].items, row, 1)


def _near(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-3, atol=1e-3, equal_nan=True)


def stand_ins(
    program: Program, batch: Batch, conditions: Collection[str], values: Mapping[str, Any], shared: bool = False
) -> dict[str, tuple[int, ...]]:
    """The shapes of the modalities without which a text does not run, though it takes nothing from them but shapes.

    Nothing where the text runs without them, or takes more. It runs at ``values`` of its latents; of a guide what is
    ``shared`` by all items counts alone.
    """
    shapes = {name: tuple(array.shape[1:]) for name, array in batch.arrays.items() if name not in conditions}
    without, program.stand_ins = batch.given([name for name in batch.arrays if name in conditions]), {}
    with suppress(*FAILURES, AttributeError):
        random_sites(program, without, values)
        return {}
    with suppress(*FAILURES, AttributeError):
        expected, found = (_unobserved(program, each, shapes, values) for each in (batch, filled(without, shapes)))
        counted = [name for name, site in expected.items() if not (shared and is_local(site))]
        if all(torch.equal(expected[name]["value"], found[name]["value"]) for name in counted):
            return shapes
    return {}


def _unobserved(program: Program, batch: Batch, names: Collection[str], values: Mapping[str, Any]) -> Sites:
    with items().Unobserved(names), torch.random.fork_rng():
        return random_sites(program, batch, values)
