"""The libraries' own estimators, by the name of the objective that each serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Both libraries use these names.
ESTIMATORS = {
    "elbo": "Trace_ELBO",
    "mean_field_elbo": "TraceMeanField_ELBO",
}


def tempered(shares: Mapping[str, Any], latents: frozenset[str], beta: Any) -> dict[str, Any]:
    """Each site's share of the objective, those of latent sites times ``beta`` (Higgins et al. 2017).

    A latent site's share is ``log p(z) − log q(z | x)``, or minus their KL divergence where that is analytic; an
    observed site's is its log likelihood. The objective is the sum of all shares.
    """
    return {name: share * beta if name in latents else share for name, share in shares.items()}
