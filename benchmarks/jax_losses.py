"""JAX losses: those of the cases as a practised user of JAX would write them, and ppvae's weights in their layout."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from cases import DRAWS, Case
from jax_bounds import doubly_reparameterised, log_normal
from jax_images import dreg, iwae, vae
from jax_networks import Arrays, View, array, doubled, halved, layers, mlp, named, normal, text

Views = Mapping[str, View]


def seen(batch: Arrays, views: Views) -> dict[str, jax.Array]:
    """What the networks see of each view."""
    return {name: view.seen(batch[name]) for name, view in views.items()}


def experts(params: Any, x: Arrays, views: Views) -> list[jax.Array]:
    """Location and log scale of each expert, ``(views, items, latent)``."""
    return jnp.split(jnp.stack([view.encode(params[name], x[name]) for name, view in views.items()]), 2, -1)


def log_likelihood(params: Any, x: Arrays, z: jax.Array, views: Views) -> jax.Array:
    """Of all views, ``(..., items)``, given latents ``(..., items, latent)``."""
    return sum(view.log_likelihood(params[name], x[name], z) for name, view in views.items())


def product(params: Any, batch: Arrays, key: jax.Array, views: Views) -> jax.Array:
    """The negative ELBO of the product of the experts and the prior, in nats per item, at one draw."""
    x = seen(batch, views)
    loc, log_scale = experts(params, x, views)
    precision = jnp.exp(-2 * log_scale)
    total = 1 + precision.sum(0)
    scale = jax.lax.rsqrt(total)
    noise = jax.random.normal(key, scale.shape)
    z = (precision * loc).sum(0) / total + scale * noise
    price = (0.5 * (z**2 - noise**2) - jnp.log(scale)).sum()
    return (price - log_likelihood(params, x, z, views).sum()) / len(z)


def mixture_of_products(params: Any, batch: Arrays, key: jax.Array, views: Views) -> jax.Array:
    """The negative ELBO of a mixture of the products of all subsets of the experts, at one draw of one of them."""
    x = seen(batch, views)
    loc, log_scale = experts(params, x, views)
    members = jnp.array([row for row in itertools.product([0.0, 1.0], repeat=len(views)) if any(row)])
    precision = jnp.exp(-2 * log_scale)
    total = jnp.einsum("sm,mil->isl", members, precision)
    loc, log_scale = jnp.einsum("sm,mil->isl", members, precision * loc) / total, -0.5 * jnp.log(total)
    key, pick = jax.random.split(key)
    sums = jnp.cumsum(jnp.full(len(members), 1 / len(members)))
    which = (sums <= jax.random.uniform(pick, (len(loc), 1)) * sums[-1]).sum(-1)
    _, draw = jax.random.split(key)
    rows = jnp.arange(len(loc))
    z = loc[rows, which] + jnp.exp(log_scale[rows, which]) * jax.random.normal(draw, loc[:, 0].shape)
    log_q = jax.nn.logsumexp(log_normal(z[:, None], loc, log_scale), 1) - math.log(len(members))
    return (log_q - log_normal(z, 0.0, 0.0) - log_likelihood(params, x, z, views)).mean()


def mixture(params: Any, batch: Arrays, keys: jax.Array, views: Views, draws: int) -> jax.Array:
    """MMVAE's negative bound of several draws from each expert, doubly reparameterised; a key for each view."""
    views = dict(sorted(views.items()))  # the order in which JAX hands dicts over, ppvae's batches too
    x = seen(batch, views)
    loc, log_scale = experts(params, x, views)
    noise = jax.vmap(lambda key: jax.random.normal(key, (draws, *loc.shape[1:])))(keys)
    z = loc[:, None] + jnp.exp(log_scale)[:, None] * noise
    fixed = jax.lax.stop_gradient((x, loc, log_scale))
    return -doubly_reparameterised(partial(weights_of, views), (params, *fixed), z).mean()


def weights_of(views: Views, given: Any, z: jax.Array) -> jax.Array:
    """Log weights ``(views, draws, items)`` of draws ``(views, draws, items, latent)``."""
    params, x, loc, log_scale = given
    log_q = jax.nn.logsumexp(log_normal(z[:, :, None], loc, log_scale), 2) - math.log(len(views))
    return log_likelihood(params, x, z, views) + log_normal(z, *params["prior"]) - log_q


def of_views(loss: Callable[..., jax.Array], **options: Any) -> Callable[[Case], tuple[Callable[..., jax.Array], Any]]:
    """A case's loss over several views, and ppvae's weights."""
    return lambda case: (partial(loss, views=views(case), **options), params(case))


def of_image(loss: Callable[..., jax.Array], **options: Any) -> Callable[[Case], tuple[Callable[..., jax.Array], Any]]:
    """A case's loss of one image, and ppvae's weights."""

    def made(case: Case) -> tuple[Callable[..., jax.Array], Any]:
        networks = case.vae.guide.encoders.networks["image"], case.vae.model.likelihoods["image"].decoder
        return partial(loss, **options), dict(zip(("encoder", "decoder"), map(layers, networks), strict=True))

    return made


def views(case: Case) -> dict[str, View]:
    """The functions of a case's views."""
    return {m.name: view(m) for m in case.data.modalities or ()}


def view(m: Any) -> View:
    """The functions of one view: text, a picture or a vector."""
    if m.kind == "text":
        return text()
    center, spread = (jnp.broadcast_to(jnp.asarray(v, jnp.float32), m.shape) for v in (m.center, m.spread))
    return normal(*((halved, doubled) if m.kind == "image" else (mlp, mlp)), center, spread)


def params(case: Case) -> dict[str, Any]:
    """ppvae's weights by view, and those of the prior."""
    prior = {"prior": [array(p) for p in case.vae.model.prior.parameters()]}
    return prior | {m.name: weights(case, m) for m in case.data.modalities or ()}


def weights(case: Case, m: Any) -> dict[str, Any]:
    """Those of one view."""
    encoder, likelihood = case.vae.guide.encoders.networks[m.name], case.vae.model.likelihoods[m.name]
    if m.kind == "text":
        return {"encoder": named(encoder[1]), "decoder": named(likelihood.decoder)}
    networks = {"encoder": layers(encoder), "decoder": layers(likelihood.decoder)}
    return networks | {"log_scale": array(likelihood.log_scale)}


LOSSES: dict[str, Callable[[Case], tuple[Callable[..., jax.Array], Any]]] = {
    "vae": of_image(vae),
    "tiny": of_image(vae),
    "iwae": of_image(iwae, draws=DRAWS["iwae"]),
    "dreg": of_image(dreg, draws=DRAWS["dreg"]),
    "mvae": of_views(product),
    "polydigits": of_views(product),
    "text": of_views(product),
    "mopoe": of_views(mixture_of_products),
    "mmvae": of_views(mixture, draws=DRAWS["mmvae"]),
}
