"""Hidden Markov model: a state that jumps, summed out exactly, behind a noisy reading (Rabiner 1989).

``z_0 ~ start``, ``z_t | z_{t-1} ~ transition[z_{t-1}]``, ``x_t | z_t ~ Normal(loc[z_t], scale)``. Nothing is left to
guess, so the guide is empty, and training climbs the likelihood itself. Each step is a modality of its own, so that
sequences may end early or have gaps: what is NaN is a hole.

    python examples/hidden_markov.py --backend pyro
"""

from itertools import permutations

import numpy as np
import torch
import typer
from torch import nn

from ppvae import VAE, Batch, Dataset, Modality, Program, dist, fit, pyro

STATES, STEPS = 3, 6
START, LOC, SCALE = np.array([0.6, 0.3, 0.1]), np.array([-2.0, 0.0, 2.0]), 0.7
TRANSITION = np.array([[0.8, 0.2, 0.0], [0.1, 0.6, 0.3], [0.3, 0.0, 0.7]])


class Jumps(Program):
    """The generative model."""

    def __init__(self):
        super().__init__()
        self.start, self.transition = nn.Parameter(torch.zeros(STATES)), nn.Parameter(torch.zeros(STATES, STATES))
        self.loc, self.log_scale = nn.Parameter(torch.linspace(-1, 1, STATES)), nn.Parameter(torch.zeros(()))

    def forward(self, batch: Batch) -> None:
        probs = self.start.softmax(-1)
        with batch.plate():
            for t in pyro.markov(range(STEPS)):
                z = pyro.sample(f"z_{t}", dist.Categorical(probs), infer={"enumerate": "parallel"})
                pyro.sample(f"x_{t}", dist.Normal(self.loc[z], self.log_scale.exp()), obs=batch.get(f"x_{t}"))
                probs = self.transition.softmax(-1)[z]


class Nothing(Program):
    """The guide of a model all of whose latents are summed out."""

    def forward(self, batch: Batch) -> None:
        pass


def data(sequences: int = 1000, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Sequences of 3 to 6 readings."""
    rng = np.random.default_rng(seed)
    states = [rng.choice(STATES, size=sequences, p=START)]
    for _ in range(STEPS - 1):
        states.append((rng.random((sequences, 1)) > TRANSITION[states[-1]].cumsum(-1)).sum(-1))
    readings = rng.normal(LOC[np.array(states).T], SCALE)
    readings[np.arange(STEPS) >= rng.integers(3, STEPS + 1, size=(sequences, 1))] = np.nan
    steps = {f"x_{t}": readings[:, t] for t in range(STEPS)}
    return Dataset(steps, modalities=[Modality(name, ()) for name in steps]).split(0.8, seed=seed)


def vae() -> VAE:
    """The pair."""
    torch.manual_seed(0)
    return VAE(model=Jumps(), guide=Nothing())


def main(backend: str = "numpyro", epochs: int = 100) -> dict[str, float]:
    """How far learned transitions are from the true ones, whatever the states are called; and the likelihood."""
    train, test = data()
    fitted = fit(vae(), train, backend=backend, epochs=epochs, lr=3e-2)
    learned = fitted.vae.model.transition.softmax(-1).detach().numpy()
    error = min(np.abs(learned[np.ix_(order, order)] - TRANSITION).max() for order in permutations(range(STATES)))
    found = {"error": float(error), "evidence": float(fitted.log_evidence(test, particles=1).mean())}
    print(
        "transitions are right to {error:.2f}; held-out log likelihood {evidence:.2f} nats a sequence".format(**found)
    )
    return found


if __name__ == "__main__":
    typer.run(main)
