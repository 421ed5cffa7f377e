"""Deep Markov model: a state that moves by a network, heard through noise (Krishnan et al. 2017).

``z_t | z_{t-1} ~ Normal(gated transition)``, ``notes_t | z_t ~ Bernoulli(emission)``. The guide reads what comes at and
after each step by a recurrent network that runs backwards, and follows the state forwards (the paper's DKS). Melodies
differ in length: what comes after the end is NaN, a hole, and latents there are masked.

    python examples/deep_markov.py --backend pyro
"""

import numpy as np
import torch
import typer
from torch import nn

from ppvae import VAE, Batch, Dataset, Modality, Program, dist, fit, pyro

STEPS, KEYS, LATENT, HIDDEN = 6, 12, 4, 32


class Melody(Program):
    """The generative model."""

    conditions = ("length",)

    def __init__(self):
        super().__init__()
        self.start = nn.Parameter(torch.zeros(LATENT))
        self.gate = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, LATENT), nn.Sigmoid())
        self.proposed = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, LATENT))
        self.kept, self.scale = nn.Linear(LATENT, LATENT), nn.Linear(LATENT, LATENT)
        self.emission = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, KEYS))
        nn.init.eye_(self.kept.weight)

    def transition(self, z: torch.Tensor) -> dist.Distribution:
        gate, proposed = self.gate(z), self.proposed(z)
        loc = (1 - gate) * self.kept(z) + gate * proposed
        return dist.Normal(loc, nn.functional.softplus(self.scale(proposed.relu()))).to_event(1)

    def forward(self, batch: Batch) -> None:
        z, states = self.start.expand(batch.size, LATENT), []
        with batch.plate():
            for t in range(STEPS):
                with pyro.poutine.mask(mask=t < batch.get("length")):
                    z = pyro.sample(f"z_{t}", self.transition(z))
                states.append(z)
            logits = self.emission(torch.stack(states, dim=-2))
            pyro.sample("notes", dist.Bernoulli(logits=logits).to_event(2), obs=batch.get("notes"))


class Listener(Program):
    """``q(z_t | z_{t-1}, notes_t, ..., notes_T)``."""

    def __init__(self):
        super().__init__()
        self.start = nn.Parameter(torch.zeros(LATENT))
        self.backwards = nn.GRU(KEYS, HIDDEN, batch_first=True)
        self.combined = nn.Linear(LATENT, HIDDEN)
        self.loc, self.scale = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)

    def forward(self, batch: Batch) -> None:
        heard, _ = self.backwards(batch.get("notes").flip(1))
        heard, z = heard.flip(1), self.start.expand(batch.size, LATENT)
        with batch.plate():
            for t in range(STEPS):
                hidden = 0.5 * (self.combined(z).tanh() + heard[:, t])
                q = dist.Normal(self.loc(hidden), nn.functional.softplus(self.scale(hidden)))
                with pyro.poutine.mask(mask=t < batch.get("length")):
                    z = pyro.sample(f"z_{t}", q.to_event(1))


def data(melodies: int = 1200, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Melodies that go round the twelve keys, up or down, at one of two speeds."""
    rng = np.random.default_rng(seed)
    speed = rng.choice([-2, -1, 1, 2], size=(melodies, 1))
    place = rng.integers(KEYS, size=(melodies, 1)) + speed * np.arange(STEPS)
    odds = 6 * np.cos(2 * np.pi * (place[..., None] - np.arange(KEYS)) / KEYS) - 5
    notes = (rng.random(odds.shape) < 1 / (1 + np.exp(-odds))).astype(float)
    length = rng.integers(3, STEPS + 1, size=melodies)
    notes[np.arange(STEPS) >= length[:, None]] = np.nan
    arrays = {"notes": notes, "length": length}
    return Dataset(arrays, modalities=[Modality("length", (), "poisson")]).split(0.85, seed=seed)


def vae() -> VAE:
    """The pair."""
    torch.manual_seed(0)
    return VAE(model=Melody(), guide=Listener())


def main(backend: str = "numpyro", epochs: int = 200) -> dict[str, float]:
    """Evidence of melodies that training never heard, in nats a step; by their bound, and with independent notes."""
    train, test = data()
    fitted = fit(vae(), train, backend=backend, epochs=epochs, lr=3e-3)
    steps = test.arrays["length"].sum()
    bound = fitted.elbo_and_evidence(test, particles=20)[0].sum() / steps
    rate = np.nanmean(train.holed("notes"), axis=(0, 1))
    notes = test.holed("notes")
    alone = np.nansum(notes * np.log(rate) + (1 - notes) * np.log1p(-rate)) / steps
    print(f"held-out nats a step: at least {bound:.2f}; with independent notes {alone:.2f}")
    return {"elbo": float(bound), "baseline": float(alone)}


if __name__ == "__main__":
    typer.run(main)
