"""Traces: programs run once on a batch, and what their sites are worth, item by item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ppvae.language.batch import Batch
from ppvae.language.elimination import Hidden, axes, conditionals, eliminated, multiplied
from ppvae.language.plates import Layout, draws_first, items_first, one_draw, picked, tempering, weight
from ppvae.language.ppl import dist, handlers, items, ops

Sites = dict[str, Any]

WRAPPERS = ("MaskedDistribution", "ExpandedDistribution")  # that handlers and plates put around a distribution
PLAIN = (ValueError, RuntimeError, NotImplementedError, TypeError)  # errors that are their message alone


class Traced(Sites):
    """The random sites of a run, and the rows that its plates picked, where they picked some of many.

    Each site knows the ``layout`` of the plates around it, and whether it is a ``single`` one of several draws, whose
    text takes no dims for them.
    """

    rows: dict[str, Any]


def random_sites(program: Any, batch: Batch, latents: Mapping[str, Any] | None = None) -> Sites:
    """The random sites of a program that is run once, at the given values of its latents if there are any.

    Raises:
        ValueError: the program needs the data of a modality that is not given, or a site does not fit its plates.
    """
    words: Any = handlers
    try:
        trace = words.trace(words.condition(program, data=latents) if latents else program).get_trace(batch)
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        if _of_none(error):
            raise ValueError(f"{program.__class__.__name__} fails where {_lacking(program, batch, error)}") from error
        said, *table = str(error).splitlines() or [""]  # below its sentence Pyro draws a table of all sites
        raise (type(error)(said) if table and type(error) in PLAIN else error) from error
    layout = getattr(program, "plate_layout", Layout())
    known = {"layout": layout, "single": layout.apart and items().repeating()}
    sites = {name: site for name, site in trace.nodes.items() if is_random(site)}
    for name, site in sites.items():
        if not hasattr(site["fn"], "event_dim"):
            own = type(site["fn"]).__name__
            raise ValueError(f"site {name!r} is given torch's own {own}, which no handler knows: write dist.{own}")
    found = Traced({name: {**site, **known, "scale": weight(site)} for name, site in sites.items()})
    found.rows = {name: site["value"] for name, site in trace.nodes.items() if items().picks_rows(site)}
    return found


def _of_none(error: Exception) -> bool:
    """Did a text fail since it took None for data? Distributions say so of a parameter in words of their own."""
    if isinstance(error, ValueError):
        return str(error).startswith("Input arguments must all be instances of Number")
    return "NoneType" in str(error)


def _lacking(program: Any, batch: Batch, error: Exception) -> str:
    """What a program lacks that took None for data, and what to do."""
    for name in getattr(program, "conditions", ()):
        if name not in batch.arrays:
            return (
                f"the modality {name!r}, which it takes as given, is not there: ask about items that have it, by query"
            )
    said = str(error).strip().splitlines()[0].split(" - got")[0]
    return (
        f"a modality is not given, and batch.get(NAME) is None ({said}): take the number of items from batch.size and "
        "other sizes from the program, and let a model use the data as obs= alone, and a guide zeros in their place"
    )


def model_sites(model: Any, batch: Batch, latents: Mapping[str, Any] | None = None) -> Sites:
    """The random sites of a model that draws the modalities that are not given."""
    absent = {name: shape for name, shape in model.stand_ins.items() if name not in batch.arrays}
    with items().Unobserved(absent):
        return random_sites(model, filled(batch, absent), latents)


def shared(guide: Any, batch: Batch) -> dict[str, Any]:
    """What all items share, drawn from the guide, whatever is given of the items."""
    sites = random_sites(guide, filled(batch, getattr(guide, "stand_ins", {})))
    return {name: site["value"] for name, site in sites.items() if not is_local(site)}


def filled(batch: Batch, shapes: Mapping[str, Sequence[int]]) -> Batch:
    """The batch with zeros of such shapes for the modalities that it has not."""
    zeros = {name: ops.zeros((batch.size, *shape)) for name, shape in shapes.items() if name not in batch.arrays}
    return replace(batch, arrays={**batch.arrays, **zeros}) if zeros else batch


def is_random(site: Any) -> bool:
    """Is this site of a trace a random variable?

    On Pyro plates are sample sites too, and so are values without a density: deterministic and reparametrised ones.
    """
    if site["type"] != "sample" or type(site["fn"]).__name__ == "_Subsample":
        return False
    silent = site["is_observed"] and getattr(site["fn"], "_mask", None) is False
    return not (silent and type(site["fn"].base_dist).__name__ in ("Delta", "DeltaDistribution"))


def is_local(site: Any) -> bool:
    """Does each item have this site of its own, in the plate of items, or do all share it?"""
    return any(frame.name == "items" for frame in site["cond_indep_stack"])


def is_enumerated(site: Any) -> bool:
    """Is this a discrete latent that its program marks ``infer={"enumerate": "parallel"}``, to be summed out?"""
    return not site["is_observed"] and bool((site["infer"] or {}).get("enumerate"))


def is_auxiliary(site: Any) -> bool:
    """Does a guide draw this for itself, marked ``infer={"is_auxiliary": True}``, so that others follow from it?"""
    return not site["is_observed"] and bool((site["infer"] or {}).get("is_auxiliary"))


def is_factor(site: Any) -> bool:
    """Is this what a program adds to its log density by ``pyro.factor``?"""
    return type(bare(site["fn"])).__name__ == "Unit"


def bare(fn: Any) -> Any:
    """A distribution of either library without what is wrapped around it."""
    return bare(fn.base_dist) if type(fn).__name__ in (*WRAPPERS, "Independent") else fn


def latents(sites: Sites) -> dict[str, Any]:
    """The values of the sites that were drawn, by name; of a whole run also the rows that its plates picked.

    Another program at these values speaks of the same rows, as Pyro's and NumPyro's own estimators have it.
    """
    drawn = {name: site["value"] for name, site in sites.items() if not site["is_observed"]}
    return {**getattr(sites, "rows", {}), **drawn}


def local_latents(sites: Sites) -> dict[str, Any]:
    """The values of items' own latents by name, ``(..., items, *plates of the program's own, *event)``."""
    own = {name: s for name, s in sites.items() if is_local(s) and not (s["is_observed"] or is_auxiliary(s))}
    return {name: items_first(site, site["value"]) for name, site in own.items()}


def shared_latents(sites: Sites) -> dict[str, Any]:
    """The values of what all items share by name, ``(draws, 1, *plates, *event)``."""
    own = {name: s for name, s in sites.items() if not (is_local(s) or s["is_observed"] or is_auxiliary(s))}
    return {name: draws_first(site, site["value"])[:, None] for name, site in own.items()}


def density(site: Any) -> Any:
    """The site's log density at its value, ``(..., items)`` for a local one; zero where it is masked.

    What is in plates of the program's own counts together.
    """
    found = multiplied(_elements(site), site["layout"].own)
    return one_draw(site, found, 1) if is_local(site) else found


def _elements(site: Any) -> Any:
    """The log density of each entry of all plates, as handlers weigh it."""
    return weighed(log_prob(site), site)


def log_prob(site: Any) -> Any:
    """What a site's distribution gives its value, for each entry of all plates.

    Raises:
        NotImplementedError: the site is given a value whose density its flow does not know.
    """
    try:
        return site["fn"].log_prob(site["value"])
    except (KeyError, NotImplementedError) as error:
        if str(error) and "cache" not in str(error):  # Pyro's and torch's transforms speak so, or not at all
            raise
        raise NotImplementedError(
            f"the flow of the site {site['name']!r} has no inverse, so that it knows the density of its own draws "
            "alone, and is asked for that of another value: choose a flow with one, such as spline_coupling or "
            "affine_autoregressive"
        ) from error


def weighed(value: Any, site: Any) -> Any:
    """A density or divergence of a site, by entries of its plates, under the mask and the scale of its handlers."""
    mask = site.get("mask")
    if mask is not None:  # Pyro keeps the mask of a handler beside the distribution
        value = ops.where(ops.as_tensor(mask), value, ops.zeros_like(value))
    return _scaled(value, site.get("scale"))


def _scaled(value: Any, scale: Any) -> Any:
    return value if scale is None or (isinstance(scale, float) and scale == 1.0) else value * scale


def paired(model: Any, guide: Any, batch: Batch, draws: int = 1, scored: Batch | None = None) -> tuple[Sites, Sites]:
    """The guide's sites, drawn given ``batch``, and the model's at those latents, measured by ``scored``.

    Local sites have densities ``(items,)``, or ``(draws, items)`` for more than one draw; enumerated ones have a
    dimension to the left of these for each enumerated site. Scales are relative to one item.
    """
    with items().draws(draws), items().enumerating():
        proposal = random_sites(guide, alone(batch))
        return proposal, random_sites(model, alone(scored or batch), latents(proposal))


def alone(batch: Batch) -> Batch:
    """The batch as if it were all of the data: local sites are not scaled up, and no model draws what is not there."""
    ask = tuple(batch.arrays)
    return batch if (batch.total, batch.ask) == (batch.size, ask) else replace(batch, total=batch.size, ask=ask)


def measured(target: Sites, proposal: Sites) -> list[str]:
    """The model's local sites that hold data, and not what the guide drew."""
    return [name for name, site in target.items() if is_local(site) and site["is_observed"] and name not in proposal]


def guided(target: Sites, proposal: Sites) -> list[str]:
    """The local sites that the guide drew and the model has."""
    return [name for name, site in proposal.items() if is_local(site) and name in target]


def joint(target: Sites, proposal: Sites, names: Iterable[str] | None = None) -> dict[str, Any]:
    """``log p`` of the model's local sites that the guide drew or that hold data, or of the named ones.

    Each is ``(..., items)``. What only the model enumerates is summed out exactly: sites that depend on it count given
    those before them, the guide's first, so that the sum of all is still the log joint density. As in Pyro, its
    probabilities know no mask, and ``poutine.scale`` weighs what is left once it is summed out.
    """
    known = [*guided(target, proposal), *measured(target, proposal)]
    chosen = known if names is None else list(names)
    mixed = mixtures(target, proposal)
    found = {name: density(target[name]) for name in chosen if name not in mixed}
    if len(found) < len(chosen):
        latents = [site for site in target.values() if is_enumerated(site) and is_local(site)]
        hidden = [Hidden(_axis(site), log_prob(_unweighed(site))) for site in latents]
        order = [name for name in known if name in mixed]
        sites = [target[name] for name in order]
        factors, layout = [_elements({**site, "scale": picked(site)}) for site in sites], sites[0]["layout"]
        inner = layout.inner + len(enumerated(proposal))
        given = conditionals(hidden, factors, inner, layout.own)
        found |= {name: _scaled(log_p, tempering(target[name])) for name, log_p in zip(order, given, strict=True)}
    return {name: found[name] for name in chosen}


def _unweighed(site: Any) -> Any:
    """A site as no handler weighs it; NumPyro's have their mask within the distribution."""
    return {**site, "fn": _unmasked(site["fn"]), "mask": None, "scale": None}


def _unmasked(fn: Any) -> Any:
    return _unmasked(fn.base_dist).expand(fn.batch_shape) if type(fn).__name__ in WRAPPERS else fn


def _axis(site: Any) -> int:
    """The dim along which an enumerated site takes all of its values."""
    return site["fn"].event_dim - site["value"].ndim


def mixtures(target: Sites, proposal: Sites) -> set[str]:
    """The local sites whose distribution depends on what the model alone enumerates."""
    most = len(enumerated(proposal))
    return {name for name, s in target.items() if is_local(s) and levels(s) > s["layout"].inner + most}


def levels(site: Any) -> int:
    """The number of dimensions of a site's density."""
    fn = site["fn"]
    return max(len(fn.batch_shape), site["value"].ndim - fn.event_dim)


def enumerated(proposal: Sites) -> list[str]:
    """The sites that a guide enumerates."""
    return [name for name, site in proposal.items() if is_enumerated(site)]


def expected(values: Any, proposal: Sites) -> Any:
    """The mean over what the guide enumerates, and over draws: ``(items,)``.

    Only latents count that the values depend on, directly or through others: the chances of the rest sum to one.
    """
    labels = [proposal[name] for name in enumerated(proposal)]
    hidden = [Hidden(_axis(site) + len(site["layout"].own), density(_unweighed(site))) for site in labels]
    if needed := axes([values], 2):
        for latent in reversed(hidden):
            needed |= axes([latent.log_prob], 2) if latent.axis in needed else set()
        chances = ops.exp(sum(latent.log_prob for latent in hidden if latent.axis in needed))
        values = chances * ops.where(chances > 0, values, 0.0)  # what cannot be counts nothing, 0 log 0 too
    if hidden and values.ndim > 2:
        values = values.reshape(-1, *values.shape[-2:]).sum(0)
    return values.mean(0) if values.ndim > 1 else values


def log_weights(target: Sites, proposal: Sites, beta: Any = 1.0) -> Any:
    """``log p(x | z) + beta (log p(z) − log q(z | x))`` over local sites, what is enumerated summed out.

    Shape ``(draws, items)``, or ``(items,)`` for a single draw.
    """
    names, data = enumerated(proposal), measured(target, proposal)
    factors = [value if name in data else beta * value for name, value in joint(target, proposal).items()]
    factors += [-beta * density(s) for name, s in proposal.items() if is_local(s) and name not in names]
    if not factors:
        raise ValueError("no site is in the plate of items, so that no item has a weight: draw it in batch.plate()")
    total = sum(eliminated(factors, axes(factors, 2), 2))
    return total.reshape(total.shape[-2:]) if names else total


def divergence(q: Any, p: Any, analytic: bool = True) -> Any:
    """``log q − log p`` at the draw of a site, or ``KL(q ‖ p)`` where that is wanted and there is a formula."""
    if analytic and _same_scale(q, p):
        try:
            return multiplied(weighed(dist.kl.kl_divergence(q["fn"], p["fn"]), q), q["layout"].own)
        except NotImplementedError:
            pass  # there is no formula for this pair of distributions: its draw counts
    return density(q) - density({**p, "value": q["value"]})


def _same_scale(q: Any, p: Any) -> bool:
    """Do handlers scale both sites alike, so that their divergence is defined?"""
    one, other = q.get("scale"), p.get("scale")
    return one is other or (isinstance(one, float) and isinstance(other, float) and one == other)
