"""Sequence VAE: words of unequal length through transformers (Bowman et al. 2016; Vaswani et al. 2017).

``z ~ Normal(0, I)``, ``sign_t | z ~ Categorical(transformer(z + position_t))``: the decoder writes all places at once.
The encoder reads signs and places, and does not look at what comes after the end. The words are the numbers up to 999
as one writes them, with an end sign; what comes after it is NaN, a hole.

    python examples/sequence_transformer.py --backend pyro
"""

import numpy as np
import torch
import typer
from torch import nn

from ppvae import VAE, Batch, Dataset, Program, dist, fit, pyro

SIGNS = ". abcdefghijklmnopqrstuvwxyz"
STEPS, WIDTH, LATENT = 28, 32, 8
ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def transformer() -> nn.Module:
    """One layer of attention over ``(items, steps, width)``."""
    return nn.TransformerEncoderLayer(WIDTH, nhead=4, dim_feedforward=64, dropout=0.0, batch_first=True)


class Writer(Program):
    """The generative model."""

    def __init__(self):
        super().__init__()
        self.lift, self.positions = nn.Linear(LATENT, WIDTH), nn.Parameter(torch.randn(STEPS, WIDTH))
        self.transformer, self.signs = transformer(), nn.Linear(WIDTH, len(SIGNS))

    def forward(self, batch: Batch) -> None:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(torch.zeros(LATENT), torch.ones(LATENT)).to_event(1))
            places = self.lift(z).unsqueeze(-2) + self.positions
            hidden = self.transformer(places.view(-1, STEPS, WIDTH)).view(places.shape)
            logits = self.signs(hidden)
            pyro.sample("word", dist.Categorical(logits=logits).to_event(1), obs=batch.get("word"))


class Reader(Program):
    """``q(z | word)``."""

    def __init__(self):
        super().__init__()
        self.signs, self.positions = nn.Embedding(len(SIGNS), WIDTH), nn.Parameter(torch.randn(STEPS, WIDTH))
        self.transformer, self.head = transformer(), nn.Linear(WIDTH, 2 * LATENT)

    def forward(self, batch: Batch) -> None:
        places = self.signs(batch.get("word").long()) + self.positions
        hidden = self.transformer(places, src_key_padding_mask=~batch.mask("word"))
        loc, log_scale = self.head(hidden[:, 0]).chunk(2, -1)
        with batch.plate():
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


def spelled(number: int) -> str:
    """A number from 0 to 999 in English."""
    if number >= 100:
        return f"{ONES[number // 100]} hundred" + (f" {spelled(number % 100)}" if number % 100 else "")
    return ONES[number] if number < 20 else TENS[number // 10 - 2] + (f" {ONES[number % 10]}" if number % 10 else "")


def data(seed: int = 0) -> tuple[Dataset, Dataset]:
    """800 numbers, and the other 200."""
    words = np.full((1000, STEPS), np.nan)
    for number, row in enumerate(words):
        code = [SIGNS.index(sign) for sign in spelled(number) + "."]
        row[: len(code)] = code
    return Dataset({"word": words}, likelihood={"word": "categorical"}).split(0.8, seed=seed)


def vae() -> VAE:
    """The pair."""
    torch.manual_seed(0)
    return VAE(model=Writer(), guide=Reader())


def main(backend: str = "numpyro", epochs: int = 200) -> dict[str, float]:
    """Nats a sign of numbers that were not in training: by the bound, and if each place had frequencies of its own."""
    train, test = data()
    fitted = fit(vae(), train, backend=backend, epochs=epochs, batch_size=100, lr=5e-3)
    seen, words = test.observed["word"], test.arrays["word"].astype(int)
    bound = fitted.elbo_and_evidence(test, particles=20)[0].sum() / seen.sum()
    counts = np.stack([(train.holed("word") == sign).sum(0) for sign in range(len(SIGNS))], -1) + 0.1
    frequencies = np.log(counts / counts.sum(-1, keepdims=True))
    alone = frequencies[np.arange(STEPS), words][seen].sum() / seen.sum()
    print(f"held-out nats a sign: at least {bound:.2f}; with a frequency for each place {alone:.2f}")
    return {"elbo": float(bound), "baseline": float(alone)}


if __name__ == "__main__":
    typer.run(main)
