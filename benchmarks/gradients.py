"""Gradients: bias and variance of the estimators of a bound's gradient, as a Markdown table on stdout.

``python benchmarks/gradients.py`` takes a few seconds. The model is ``z ~ N(0, I)``, ``x ~ N(W z, noise)`` and the
guide a normal that is off; each of many rows has parameters of its own, so that one pass gives as many estimates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ppvae import Program, dist, ops, pyro
from ppvae.backends import pyro as engine
from ppvae.language.batch import Batch
from ppvae.objectives.elbo import elbo
from ppvae.objectives.multisample import dreg, iwae, stl
from ppvae.runs.settings import Settings

ROWS, LATENT, NOISE = 20_000, 4, 0.5
WEIGHT = torch.linspace(0.2, 1.4, LATENT, dtype=torch.float64)
X = torch.tensor([0.8, -1.0, 0.3, 1.5], dtype=torch.float64)

# Estimator, its draws, and the plain one of the same bound.
ESTIMATORS: list[tuple[str, Any, int, str]] = [
    ("`elbo`, sampled", elbo(analytic=False), 1, "`elbo`, sampled"),
    ("`elbo`", elbo(), 1, "`elbo`, sampled"),
    ("`stl`", stl(), 1, "`elbo`, sampled"),
    *((f"`{f.__name__}`", f(k), k, f"`iwae` {k}") for k in (5, 50) for f in (iwae, dreg)),
]


class Model(Program):
    """``z ~ N(0, I)``, ``x ~ N(W z, noise)`` element by element."""

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([LATENT]).to_event(1))
            return pyro.sample("x", dist.Normal(WEIGHT * z, NOISE).to_event(1), obs=batch.get("x"))


class Guide(Program):
    """The exact posterior, its locations off by 0.2 and its scales 1.2 times too wide; for each row."""

    def __init__(self) -> None:
        super().__init__()
        precision = 1 + (WEIGHT / NOISE) ** 2
        loc, scale = WEIGHT * X / NOISE**2 / precision + 0.2, 1.2 * precision**-0.5
        self.loc = nn.Parameter(loc.repeat(ROWS, 1))
        self.log_scale = nn.Parameter(scale.log().repeat(ROWS, 1))

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            return pyro.sample("z", dist.Normal(self.loc, ops.exp(self.log_scale)).to_event(1))


def gradients(objective: Any, seed: int) -> np.ndarray:
    """Independent estimates of the gradient with respect to the guide's parameters, ``(rows, parameters)``."""
    guide, batch = Guide(), Batch({"x": X.repeat(ROWS, 1)})
    engine.seed(seed)
    found = objective(Model(), guide, batch, 1.0)
    slopes = torch.autograd.grad(sum(share.sum() for share in found.values()), list(guide.parameters()))
    return torch.cat(slopes, 1).numpy()


def elbo_gradient() -> np.ndarray:
    """The exact gradient of the ELBO, ``(parameters,)``."""
    guide = Guide()
    loc, log_scale = guide.loc[0].detach().requires_grad_(), guide.log_scale[0].detach().requires_grad_()
    variance = (2 * log_scale).exp()
    fit = -0.5 * ((X - WEIGHT * loc) ** 2 + WEIGHT**2 * variance) / NOISE**2
    price = 0.5 * (variance + loc**2 - 1 - 2 * log_scale)
    return torch.cat(torch.autograd.grad((fit - price).sum(), [loc, log_scale])).numpy()


def row(name: str, draws: int, found: np.ndarray, plain: np.ndarray, exact: np.ndarray | None) -> str:
    """One estimator's line: how far off its mean is, in standard errors, and its variance over the plain one's."""
    variance = found.var(0) + (plain.var(0) if exact is None else 0.0)
    off = found.mean(0) - (plain.mean(0) if exact is None else exact)
    bias = "" if exact is None and found is plain else f"{np.sqrt((off**2 / (variance / ROWS)).mean()):.2f}"
    return f"| {name} | {draws} | {bias} | {found.var(0).sum() / plain.var(0).sum():.2g} |"


def main() -> None:
    """Print the table."""
    print("| estimator | draws | bias / standard error | variance / plain |\n|---|---:|---:|---:|")
    plain: dict[str, np.ndarray] = {}
    with engine.environment(Settings(dtype="float64", device="cpu")):
        for seed, (name, objective, draws, reference) in enumerate(ESTIMATORS):
            found = gradients(objective, seed)
            plain.setdefault(reference, found)
            print(row(name, draws, found, plain[reference], elbo_gradient() if draws == 1 else None))


if __name__ == "__main__":
    main()
