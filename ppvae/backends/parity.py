"""Parity: do both backends give the same log-probabilities and gradients at the same parameters and latents?"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ppvae.backends import pyro
from ppvae.backends.declarations import declaring
from ppvae.language.batch import Batch
from ppvae.language.elimination import multiplied
from ppvae.language.plates import found, noting
from ppvae.language.ppl import handlers, items, ops
from ppvae.language.traces import alone, bare, density, is_enumerated, is_local, joint, random_sites, weighed
from ppvae.language.traces import latents as drawn_latents
from ppvae.language.widening import widening
from ppvae.runs.settings import Settings
from ppvae.runs.vae import VAE

# Largest difference that rounding explains, by dtype: of log-probabilities, and of gradients.
TOLERANCE = {"float32": (1e-5, 1e-4), "float64": (1e-9, 1e-9)}
FLOOR = 1e-3  # of the largest, or of one: what is zero but for rounding is compared with this

Arrays = dict[str, np.ndarray]


@torch.inference_mode(False)  # in which a caller may be, and in which nothing has a gradient
def parity(vae: VAE, batch: Batch, dtype: str = "float32", seed: int = 0, device: str = "cpu") -> dict[str, Any]:
    """Site-by-site and parameter-by-parameter differences between Pyro and NumPyro.

    Latents are drawn once from the guide, what it has not from the model, and held fixed. A difference is
    ``max|a − b| / max|b|``: of a site's log-probabilities over the items, of the guide's under the name ``guide z``; of
    the gradient of ``log p(x, z) − log q(z | x)``, summed over the batch, with respect to each parameter. Both run on
    ``device``.

    Returns:
        ``dtype``, ``sites``, ``parameters``, ``max_logprob_difference``, ``max_gradient_difference`` and ``ok``.
    """
    vae = copy.deepcopy(vae)
    settings = Settings.model_validate({"dtype": dtype, "device": device})
    vae.pair.to(pyro.device(device), getattr(torch, dtype)).eval()
    with widening(dtype):
        with whole_in(dtype):
            latents = draw(vae, batch, settings, seed)
            sites, gradients = _on_pyro(vae, batch, latents, settings)
        others, other_gradients = _on_numpyro(vae, batch, latents, settings)
    differences, parameters = _differences(others, sites), _differences(other_gradients, gradients)
    worst = [float(np.max([*found.values()], initial=0.0)) for found in (differences, parameters)]  # NaN among others
    return {
        "dtype": dtype,
        "sites": differences,
        "parameters": parameters,
        "max_logprob_difference": worst[0],
        "max_gradient_difference": worst[1],
        "ok": worst[0] <= TOLERANCE[dtype][0] and worst[1] <= TOLERANCE[dtype][1],
    }


@contextmanager
def whole_in(dtype: str) -> Iterator[None]:
    """Turn torch's complaint about a program into a sentence."""
    try:
        yield
    except NotImplementedError:
        raise
    except RuntimeError as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"a program fails on Pyro, where it is compared with itself on NumPyro in {dtype}: {said}"
        ) from error


def draw(vae: VAE, batch: Batch, settings: Settings, seed: int) -> Arrays:
    """The latents; both programs are run once, and have their declared parameters from then on."""
    with pyro.environment(settings), declaring(vae.pair), torch.no_grad():
        drawn = _drawn(vae, batch, seed)
    return {name: value.numpy(force=True) for name, value in drawn.items()}


def _drawn(vae: VAE, batch: Batch, seed: int) -> dict[str, Any]:
    """The latents; both programs know from then on where their plates are, as they do once they have been trained."""
    pyro.seed(seed)
    with noting() as noted:
        guide = random_sites(vae.guide, batch)
        model = random_sites(vae.model, batch, drawn_latents(guide))
    if (layout := found([*guide.values(), *model.values()], [noted])) == vae.model.plate_layout:
        own = {name: site["value"] for name, site in model.items() if not (site["is_observed"] or is_enumerated(site))}
        return {**own, **drawn_latents(guide)}
    vae.model.plate_layout = vae.guide.plate_layout = layout
    return _drawn(vae, batch, seed)


def _on_pyro(vae: VAE, batch: Batch, latents: Arrays, settings: Settings) -> tuple[Arrays, Arrays]:
    with pyro.environment(settings):
        sites = log_probs(vae.model, vae.guide, batch, given(latents))
        named = {name: p for name, p in vae.pair.named_parameters() if p.requires_grad}
        total = torch.as_tensor(integrand(sites)) + 0.0 * next(iter(named.values()), torch.zeros(())).sum()
        gradients = torch.autograd.grad(total, list(named.values()), materialize_grads=True) if named else ()
    return _numpy(sites), _numpy(dict(zip(named, gradients, strict=True)))


def _on_numpyro(vae: VAE, batch: Batch, latents: Arrays, settings: Settings) -> tuple[Arrays, Arrays]:
    import jax  # a run on Pyro, which is checked by some of what is here, does without it

    from ppvae.backends import mirror, numpyro

    trained = [name for name, p in vae.pair.named_parameters() if p.requires_grad]
    with numpyro.environment(settings):
        weights = mirror.arrays(vae.pair)
        names, fixed = mirror.aliases(vae.pair), given(latents)

        def total(params: Any) -> Any:
            with handlers.seed(rng_seed=0):
                sites = log_probs(*numpyro.programs(vae.pair, {**weights, **params}, names), batch, fixed)
            return integrand(sites), sites

        gradients, sites = jax.jit(jax.grad(total, has_aux=True))({name: weights[name] for name in trained})
    return _numpy(sites), _numpy(gradients)


def given(latents: Arrays) -> dict[str, Any]:
    """Latents in the types in which they were drawn: categories are whole numbers."""
    return {name: ops.as_tensor(value) for name, value in latents.items()}


def log_probs(model: Any, guide: Any, batch: Batch, latents: Mapping[str, Any]) -> dict[str, Any]:
    """Each site's log-probabilities at the given latents, what the model enumerates summed out.

    Those of local sites are ``(items,)``, and not scaled up to the whole of the data, which what is summed out must not
    be; the guide's are named ``guide SITE``. Where the guide is sure of a value, that value counts, as its density is
    zero one rounding error away; where a flow knows the density of its own draws alone, that of one counts.
    """
    batch = alone(batch)
    with items().enumerating():
        proposal, target = random_sites(guide, batch, latents), random_sites(model, batch, latents)
    shared = {name: density(site) for name, site in target.items() if not is_local(site) and site["is_observed"]}
    return {**joint(target, {}), **shared, **{f"guide {name}": _surely(site) for name, site in proposal.items()}}


def _surely(site: Any) -> Any:
    if type(bare(site["fn"])).__name__ == "Delta":
        return site["fn"].mean
    try:
        return density(site)
    except NotImplementedError:
        from ppvae.backends.distributions.text import asked  # with JAX

        return multiplied(weighed(asked(site["fn"], _carried), site), site["layout"].own)


def _carried(fn: Any) -> Any:
    """Of what a flow makes of its base's mean plus one deviation the log density plus the sum, so that both count."""
    flow = fn
    while not hasattr(flow, "transforms"):
        flow = flow.base_dist
    x = flow.base_dist.mean + flow.base_dist.stddev
    for transform in flow.transforms:
        x = transform(x)
    return fn.log_prob(x) + x.reshape(*x.shape[: x.ndim - fn.event_dim], -1).sum(-1)


def integrand(sites: Mapping[str, Any]) -> Any:
    """``log p(x, z) − log q(z | x)``, summed over items."""
    return sum(-p.sum() if name.startswith("guide ") else p.sum() for name, p in sites.items())


def _differences(found: Arrays, expected: Arrays) -> dict[str, float]:
    """``max|a − b| / max|b|`` by name, where what is nearly zero is compared with a floor."""
    check_stated(found, expected)
    sizes = {name: float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) for name, values in expected.items()}
    least = FLOOR * max([1.0, *sizes.values()])
    return {
        name: float(_distances(found[name], values).max(initial=0.0)) / max(sizes[name], least)
        for name, values in expected.items()
    }


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """``|a − b|``, zero where both are the same infinity, and NaN where either is NaN."""
    with np.errstate(invalid="ignore"):
        return np.where(one == other, 0.0, np.abs(one - other))


def check_stated(found: Iterable[str], expected: Iterable[str]) -> None:
    """Raise ValueError where a site is there on Pyro alone, since its text does not say it by ppvae's words."""
    if lacking := sorted(set(expected) - set(found)):
        raise ValueError(
            f"the site {lacking[0]!r} is there on Pyro alone, as its text takes pyro.sample or pyro.factor from Pyro "
            "itself: take them from ppvae, `from ppvae import dist, pyro`, or train with backend='pyro'"
        )


def _numpy(arrays: Mapping[str, Any]) -> Arrays:
    return {
        name: array.numpy(force=True) if isinstance(array, torch.Tensor) else np.asarray(array)
        for name, array in arrays.items()
    }
