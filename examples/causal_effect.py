"""Causal effect VAE: what a treatment does, though a hidden cause decides who gets it (Louizos et al. 2017, CEVAE).

``z`` is hidden health, seen only through proxies ``x``; it decides who is treated, ``t``, and how it ends, ``y``:
``p(z) p(x | z) p(t | z) p(y | t, z)``. The effect of the treatment, ``E[y | do(t=1)] - E[y | do(t=0)]``, is not the
difference between those who were treated and those who were not, since the treated were worse off to begin with.

    python examples/causal_effect.py --backend pyro
"""

from dataclasses import replace

import numpy as np
import torch
import typer
from torch import nn

from ppvae import VAE, Batch, Dataset, Modality, Program, dist, fit, pyro

PROXIES, LATENT, HIDDEN = 10, 2, 32


def network(inputs: int, outputs: int) -> nn.Module:
    """One hidden layer."""
    return nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ELU(), nn.Linear(HIDDEN, outputs))


class Patients(Program):
    """The generative model; the outcome has a network for each arm of the study."""

    def __init__(self):
        super().__init__()
        self.proxies, self.treated = network(LATENT, PROXIES), network(LATENT, 1)
        self.without, self.under = network(LATENT, 1), network(LATENT, 1)

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(torch.zeros(LATENT), torch.ones(LATENT)).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.proxies(z)).to_event(1), obs=batch.get("x"))
            t = pyro.sample("t", dist.Bernoulli(logits=self.treated(z).squeeze(-1)), obs=batch.get("t"))
            logits = torch.where(t > 0, self.under(z).squeeze(-1), self.without(z).squeeze(-1))
            pyro.sample("y", dist.Bernoulli(logits=logits), obs=batch.get("y"))


class Doctor(Program):
    """``q(z | x, t, y)``."""

    def __init__(self):
        super().__init__()
        self.network = network(PROXIES + 2, 2 * LATENT)

    def forward(self, batch: Batch) -> None:
        seen = torch.cat([batch.get("x"), batch.get("t").unsqueeze(-1), batch.get("y").unsqueeze(-1)], -1)
        loc, log_scale = self.network(seen).chunk(2, -1)
        with batch.plate():
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


class Intervention(Program):
    """The same patients, every one of whom is treated (1) or none (0), whatever their doctors would have done."""

    def __init__(self, model: Program, treatment: float):
        super().__init__()
        self.model, self.treatment = model, treatment

    def forward(self, batch: Batch) -> None:
        pyro.do(self.model, data={"t": torch.full((batch.size,), self.treatment)})(batch)


def data(patients: int = 4000, seed: int = 0) -> tuple[Dataset, float]:
    """A study without a lottery, and the true effect."""
    rng = np.random.default_rng(seed)
    ill = rng.random(patients) < 0.5
    x = rng.random((patients, PROXIES)) < np.where(ill, 0.75, 0.25)[:, None]
    t = rng.random(patients) < np.where(ill, 0.8, 0.2)
    recovers = np.where(ill, 0.2, 0.7) + 0.2 * t
    arrays = {"x": x, "t": t, "y": rng.random(patients) < recovers}
    return Dataset(arrays, modalities=[Modality(name, (), "bernoulli") for name in "ty"]), 0.2


def vae() -> VAE:
    """The pair."""
    torch.manual_seed(0)
    return VAE(model=Patients(), guide=Doctor())


def main(backend: str = "numpyro", epochs: int = 100) -> dict[str, float]:
    """The effect by the model, by the difference between those who were treated and the others, and the truth."""
    study, truth = data()
    fitted = fit(vae(), study, backend=backend, epochs=epochs, lr=3e-3)
    asked, ends = study.take(range(500)), []
    for treatment in (0.0, 1.0):
        pair = VAE(model=Intervention(fitted.vae.model, treatment), guide=fitted.vae.guide)
        ends.append(replace(fitted, vae=pair).query(asked, ask=["y"], draws=50)["y"].mean())
    t, y = study.arrays["t"], study.arrays["y"]
    found = {"effect": float(ends[1] - ends[0]), "naive": float(y[t].mean() - y[~t].mean()), "truth": truth}
    print("effect {effect:+.2f}, by plain difference {naive:+.2f}, in truth {truth:+.2f}".format(**found))
    return found


if __name__ == "__main__":
    typer.run(main)
