"""The libraries' own estimators: by the name of the objective that each serves, by their class, or made by the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Both libraries use these names.
ESTIMATORS = {
    "elbo": "Trace_ELBO",
    "mean_field_elbo": "TraceMeanField_ELBO",
}
# The plain ELBO, each site's share of it told apart; latents to be enumerated are summed out by ppvae's own, exactly.
BY_SITE = {"Trace_ELBO", "TraceMeanField_ELBO", "TraceEnum_ELBO"}
KNOWN = (*sorted(BY_SITE), "RenyiELBO", "TraceGraph_ELBO")

CARRIED = {"num_particles", "alpha"}  # the options of an estimator that say what is estimated, not how


@dataclass(frozen=True)
class Estimator:
    """An estimator of the libraries.

    Attributes:
        name: of its class.
        home: the backend whose library it comes from; None where it was asked for by the objective's name.
        given: its class, or the estimator itself where somebody made one; None where it was asked for by name.
    """

    name: str
    home: str | None = None
    given: Any = None

    @property
    def made(self) -> bool:
        """Did somebody make it, with options of its own?"""
        return self.home is not None and not isinstance(self.given, type)

    @property
    def by_site(self) -> bool:
        """Is it the plain ELBO, of which each site has a share?"""
        return self.name in BY_SITE

    def particles(self, asked: int) -> int:
        """The number of its particles: its own where it was made, otherwise as many as were asked for."""
        return self.given.num_particles if self.made else asked

    def build(self, backend: str, infer: Any, asked: int) -> Any:
        """The estimator of a backend's ``infer``: itself at home, elsewhere its namesake with the options both have.

        Raises:
            ValueError: the library has none of this name.
        """
        name = "Trace_ELBO" if self.name == "TraceEnum_ELBO" else self.name  # where it has nothing to sum out
        if self.home == backend and name == self.name:
            kind = self.given
        elif (kind := getattr(infer, name, None)) is None:
            raise ValueError(f"the objective {name} is one of {self.home}'s alone; use backend={self.home!r}")
        if not isinstance(kind, type):
            return kind
        if self.made:
            return kind(**{option: value for option, value in vars(self.given).items() if option in CARRIED})
        return kind(**({} if asked == 1 else {"num_particles": asked}))  # as many as its class has by itself


def estimator(objective: Any) -> Estimator | None:
    """What stands for a class of ELBO of either library, or for one that was made of it; None for anything else.

    Raises:
        ValueError: the class is one that cannot be run here.
    """
    kind = objective if isinstance(objective, type) else type(objective)
    homes = {base.__module__.partition(".")[0] for base in kind.__mro__ if base.__name__ == "ELBO"}
    if not homes & {"pyro", "numpyro"}:
        return None
    home = homes.pop()
    if kind.__module__.startswith(f"{home}.") and kind.__name__ not in KNOWN:
        raise ValueError(f"the objective {home}.infer.{kind.__name__} cannot be run here; choose {', '.join(KNOWN)}")
    return Estimator(kind.__name__, home, objective)


def tempered(shares: Mapping[str, Any], latents: frozenset[str], beta: Any) -> dict[str, Any]:
    """Each site's share of the objective, those of latent sites times ``beta`` (Higgins et al. 2017).

    A latent site's share is ``log p(z) − log q(z | x)``, or minus their KL divergence where that is analytic; an
    observed site's is its log likelihood. The objective is the sum of all shares.
    """
    return {name: share * beta if name in latents else share for name, share in shares.items()}
