"""Answers: the questions a pair can be asked, as programs over the words; backends run them item by item.

Every function takes the model, the guide and a batch, and returns arrays of shape ``(draws, items, ...)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ppvae.batch import Batch
from ppvae.ppl import handlers, ops, pyro


@dataclass(frozen=True)
class Question:
    """One of the functions below with its options: hashable, so that a backend compiles it once.

    ``reduce`` is what is kept of each array ``(draws, items, ...)`` of a chunk.
    """

    function: Callable[..., dict[str, Any]]
    draws: int = 1
    ask: tuple[str, ...] | None = None
    reduce: Callable[[Any], Any] | None = None

    def __call__(self, model: Any, guide: Any, batch: Batch) -> dict[str, Any]:
        options = {} if self.ask is None else {"ask": self.ask}
        return self.function(model, guide, batch, self.draws, **options)

    def reduced(self, answer: dict[str, Any]) -> dict[str, Any]:
        """What is kept of a chunk's answer."""
        return {name: self.reduce(values) if self.reduce else values for name, values in answer.items()}


def encode(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """Draws of the latents from q(z | what the batch gives)."""
    with pyro.plate("draws", draws, dim=-2):
        return _latents(random_sites(guide, batch))


def predict(model: Any, guide: Any, batch: Batch, draws: int, ask: tuple[str, ...]) -> dict[str, Any]:
    """Draws of the asked modalities from p(x_ask | z), z from q(z | what the batch gives)."""
    with pyro.plate("draws", draws, dim=-2):
        latents = _latents(random_sites(guide, batch))
        sites = random_sites(model, Batch(size=batch.size), latents)
    return {name: sites[name]["value"] for name in ask}


def generate(model: Any, guide: Any, batch: Batch, draws: int, ask: tuple[str, ...]) -> dict[str, Any]:
    """Draws of the asked modalities from the model alone; all draws of an item share its latents."""
    latents = {name: value for name, value in _latents(random_sites(model, batch)).items() if name not in ask}
    with pyro.plate("draws", draws, dim=-2):
        sites = random_sites(model, batch, latents)
    return {name: sites[name]["value"] for name in ask}


def log_weights(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """``log p(x, z) − log q(z | x)`` of every draw and item, for what the batch gives, in nats."""
    with pyro.plate("draws", draws, dim=-2):
        proposal = random_sites(guide, batch)
        latents = _latents(proposal)
        target = random_sites(model, batch, latents)
    kept = [site for site in target.values() if site["is_observed"]]
    return {"log_weights": sum(_log_prob(s) for s in kept) - sum(_log_prob(proposal[name]) for name in latents)}


def random_sites(program: Any, batch: Batch, latents: Any = None) -> dict[str, Any]:
    """The random sites of a program that is run once, at the given values of its latents if there are any."""
    known: Any = handlers
    trace = known.trace(known.condition(program, data=latents or {})).get_trace(batch)
    return {name: site for name, site in trace.nodes.items() if is_random(site)}


def is_random(site: Any) -> bool:
    """Is this site of a trace a random variable? Pyro's plates leave sample sites of their own."""
    return site["type"] == "sample" and type(site["fn"]).__name__ != "_Subsample"


def _latents(sites: dict[str, Any]) -> dict[str, Any]:
    return {name: site["value"] for name, site in sites.items() if not site["is_observed"]}


def _log_prob(site: Any) -> Any:
    """The site's log density; Pyro keeps the mask of a ``mask`` handler beside the distribution."""
    log_prob, mask = site["fn"].log_prob(site["value"]), site.get("mask")
    return log_prob if mask is None else ops.where(ops.as_tensor(mask), log_prob, ops.zeros_like(log_prob))
