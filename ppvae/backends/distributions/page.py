"""Page: the table of Pyro's distributions, and what is known of each on NumPyro.

``python -m ppvae.backends.distributions > docs/distributions.md`` writes it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import pyro.distributions as pd
import torch

from ppvae.backends.distributions.words import ABSENT

REFUSES = "refused on NumPyro: "
NOTES = {
    "BetaBinomial": REFUSES + "`enumerate_support`",
    "Binomial": REFUSES + "`entropy`, `enumerate_support` of counts that are computed",
    "DirichletMultinomial": "`is_sparse` only speeds Pyro up",
    "ExtendedBetaBinomial": REFUSES + "`enumerate_support`",
    "ExtendedBinomial": REFUSES + "`entropy`, `enumerate_support` of counts that are computed",
    "MaskedMixture": REFUSES + "`mean`, `variance`",
    "Multinomial": REFUSES + "`entropy`",
    "OneOneMatching": REFUSES + "`mode`, `enumerate_support`",
    "OneTwoMatching": REFUSES + "`mode`, `enumerate_support`",
    "Poisson": "on NumPyro draws are normal where the rate is a million or more",
    "SineBivariateVonMises": "on NumPyro NaN where concentrations sum to more than 501",
    "SpanningTree": REFUSES + "`mode`, `enumerate_support`",
    "Wishart": "on NumPyro singular draws are not drawn again",
}


def names() -> list[str]:
    """Every distribution in ``pyro.distributions``."""
    kind = torch.distributions.Distribution, pd.Distribution
    return sorted(name for name, held in vars(pd).items() if inspect.isclass(held) and issubclass(held, kind))


def page() -> str:
    """The text of docs/distributions.md."""
    transforms = [name for name in pd.transforms.__all__ if name not in ABSENT]
    return PAGE.format(
        rows="\n".join(_row(name) for name in names() if name not in ABSENT),
        absent=_listed(name for name in names() if name in ABSENT),
        transforms=_listed(sorted(transforms)),
        missing_transforms=_listed(name for name in pd.transforms.__all__ if name in ABSENT),
        constraints=_listed(pd.constraints.__all__),
    )


def _row(name: str) -> str:
    parameters = inspect.signature(getattr(pd, name).__init__).parameters.values()
    taken = [
        p.replace(annotation=p.empty) for p in parameters if p.name not in ("self", "args", "kwargs", "validate_args")
    ]
    return f"| {name} | `{name}{inspect.Signature(taken)}` | {NOTES.get(name, '')} |"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


PAGE = """\
# Distributions

Programs use Pyro's own distributions on both backends. On NumPyro their text, which is torch's, runs on JAX as the
program's does: densities, gradients, moments, methods, attributes and `isinstance` mean what they mean in Pyro, at the
edge of a support and outside of it too. What looks at values (a loop until all are accepted, a check) is written anew
or refused by name. Nothing checks values on NumPyro; `fit` does on Pyro, before it trains.
This page is written by `python -m ppvae.backends.distributions > docs/distributions.md`; a test compares the two.

Values may be floats everywhere: observed arrays reach programs so on both backends. Draws come from NumPyro's keys and
stay off the edges where torch's do. Outside a program `dist.Normal(...)` is a distribution of NumPyro's over arrays,
which asks the same text.

| distribution | spelling | note |
|---|---|---|
{rows}

A density and a sampler written by hand: `ppvae.language.ppl.distribution(sample, log_prob, batch_shape, event_shape)`.

On Pyro alone: {absent}.

## Transforms

`dist.transforms` on both backends, networks among them: {transforms}.

On Pyro alone: {missing_transforms}.

## Constraints

`dist.constraints`, `dist.biject_to` and `dist.transform_to` are Pyro's on both backends: {constraints}.
"""
