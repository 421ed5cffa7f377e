"""Objectives: what SVI maximises, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The estimator of each library that serves an objective; both libraries use these names.
OBJECTIVES = {
    "elbo": "Trace_ELBO",
    "mean_field_elbo": "TraceMeanField_ELBO",
}


def check_objective(name: str) -> None:
    """Raise ValueError where no objective has this name."""
    if name not in OBJECTIVES:
        raise ValueError(f"unknown objective {name!r}; choose one of {', '.join(OBJECTIVES)}")


def tempered(shares: Mapping[str, Any], latents: frozenset[str], beta: Any) -> dict[str, Any]:
    """Each site's share of the objective, those of latent sites times ``beta`` (Higgins et al. 2017, equation 4).

    A latent site's share is ``log p(z) − log q(z | x)``, or minus their KL divergence where that is analytic; an
    observed site's is its log likelihood. The objective is the sum of all shares.
    """
    return {name: share * beta if name in latents else share for name, share in shares.items()}
