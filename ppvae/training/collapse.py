"""Collapse: a guide that fell back on the prior, so that latents tell nothing and every item gets the same answers."""

from __future__ import annotations

import math

from ppvae.inference.fitted import Fitted

NATS = 0.01  # an item, that all latents cost together where none of them tells anything; our choice
LONG = 20  # epochs of a warm-up to try, where there was none


def collapsed(fitted: Fitted) -> str | None:
    """A sentence where after the last epoch the latents cost next to nothing; else None.

    What cost exactly nothing, as where latents are summed out, was not measured.
    """
    if not fitted.history:
        return None
    last, seen = fitted.history[-1], {modality.name for modality in fitted.modalities}
    costs = {name: cost for name, cost in last.get("sites", {}).items() if name.isidentifier() and name not in seen}
    weight, total = fitted.settings.beta_at(last["epoch"]), sum(map(abs, costs.values()))
    if not total or total >= NATS * weight:
        return None
    longer = max(LONG, math.ceil(2 * fitted.settings.kl_warmup))
    return (
        f"The latents {', '.join(costs)} tell items apart by no more than {total / weight:.1g} nats, so that every "
        f"item gets nearly the same answers: train with kl_warmup={longer}, a smaller lr, or longer."
    )
