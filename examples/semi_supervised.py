"""Semi-supervised VAE: a digit's name is summed out where nobody wrote it down (Kingma et al. 2014, model M2).

Of 1,347 pictures 50 have a label. All pictures teach the decoder what digits look like, the labels what they are
called: ``y ~ Categorical(1/10)``, ``z ~ Normal(0, I)``, ``image | y, z ~ Bernoulli(decoder(y, z))``.

    python examples/semi_supervised.py --backend pyro
"""

import numpy as np
import torch
import torch.nn.functional as F
import typer
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn

from ppvae import VAE, Batch, Dataset, Modality, Program, dist, fit, pyro

LATENT, HIDDEN, LABELLED = 8, 128, 50


class Digits(Program):
    """The generative model, and beside it the classifier's own loss, the last term of the paper's equation 9."""

    def __init__(self, classifier: nn.Module, weight: float = 20.0):
        super().__init__()
        self.classifier, self.weight = classifier, weight
        self.style, self.name = nn.Linear(LATENT, HIDDEN), nn.Embedding(10, HIDDEN)
        self.decoder = nn.Sequential(nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 64))

    def forward(self, batch: Batch) -> None:
        image = batch.get("image")
        with batch.plate():
            y = pyro.sample("y", dist.Categorical(logits=torch.zeros(10)), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(torch.zeros(LATENT), torch.ones(LATENT)).to_event(1))
            logits = self.decoder(self.style(z) + self.name(y))
            pyro.sample("image", dist.Bernoulli(logits=logits).to_event(1), obs=image)
            with pyro.poutine.scale(scale=self.weight):
                pyro.sample("digit", dist.Categorical(logits=self.classifier(image)), obs=batch.get("digit"))


class Reader(Program):
    """``q(y | image) q(z | image, y)``; where the label is there, it is y."""

    def __init__(self, classifier: nn.Module):
        super().__init__()
        self.classifier = classifier
        self.image, self.name = nn.Linear(64, HIDDEN), nn.Embedding(10, HIDDEN)
        self.loc, self.log_scale = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)

    def forward(self, batch: Batch) -> None:
        image = batch.get("image")
        probs = self.classifier(image).softmax(-1)
        if "digit" in batch.arrays:
            written = F.one_hot(batch.get("digit").long(), 10).to(probs.dtype)
            probs = torch.where(batch.present("digit").unsqueeze(-1), written, probs)
        with batch.plate():
            y = pyro.sample("y", dist.Categorical(probs=probs), infer={"enumerate": "parallel"})
            hidden = F.relu(self.image(image) + self.name(y))
            pyro.sample("z", dist.Normal(self.loc(hidden), self.log_scale(hidden).exp()).to_event(1))


def data() -> tuple[Dataset, Dataset]:
    """Binary pictures of 8 x 8 points; names of training pictures are holes but for the first 50."""
    images, names = load_digits(return_X_y=True)
    seen = np.where(np.arange(len(names)) < LABELLED, names, np.nan)
    seen[1347:] = names[1347:]
    digit = Modality("digit", (), "categorical", levels=10)
    whole = Dataset({"image": images > 7, "digit": seen}, modalities=[digit])
    return whole.take(range(1347)), whole.take(range(1347, 1797))


def vae() -> VAE:
    """The pair, which shares its classifier."""
    torch.manual_seed(0)
    classifier = nn.Sequential(nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))
    return VAE(model=Digits(classifier), guide=Reader(classifier))


def main(backend: str = "numpyro", epochs: int = 100) -> dict[str, float]:
    """Share of test digits that are named rightly, by the VAE and by a regression on the 50 labels alone."""
    train, test = data()
    fitted = fit(vae(), train, backend=backend, epochs=epochs)
    logits = fitted.vae.guide.classifier(torch.as_tensor(test.arrays["image"], dtype=torch.float32))
    labelled = train.take(range(LABELLED))
    alone = LogisticRegression(max_iter=1000).fit(labelled.arrays["image"], labelled.arrays["digit"])
    right = {
        "accuracy": float((logits.argmax(-1).numpy() == test.arrays["digit"]).mean()),
        "baseline": float(alone.score(test.arrays["image"], test.arrays["digit"])),
    }
    print("named rightly: {accuracy:.1%}; by regression on the labels alone: {baseline:.1%}".format(**right))
    return right


if __name__ == "__main__":
    typer.run(main)
