"""Attend, infer, repeat: how many things are in a picture, where and what (Eslami et al. 2016); on Pyro alone, because
only its plain ELBO has a gradient for the choice, a discrete draw, whether there is another thing.

``here_t ~ Bernoulli(1/2)`` as long as there was one before, ``where_t ~ Normal(0, 0.4)``, ``what_t ~ Normal(0, I)``,
``image ~ Normal(sum_t here_t paint(what_t, where_t), 0.3)``. The guide looks at what the things before do not explain.

    python examples/attend_infer_repeat.py
"""

import numpy as np
import torch
import torch.nn.functional as F
import typer
from sklearn.datasets import load_digits
from torch import nn

from ppvae import VAE, Batch, Dataset, Program, dist, fit, pyro

THINGS, CANVAS, SIDE, WHAT, HIDDEN = 2, 20, 8, 8, 128


def window(where: torch.Tensor, zoom: float, image: torch.Tensor, side: int) -> torch.Tensor:
    """A spatial transformer: ``image`` in a window of ``side`` points around ``where``, ``(..., 2)`` in -1 to 1."""
    image = image.expand(*where.shape[:-1], *image.shape[-2:])
    turn = zoom * torch.eye(2).expand(*where.shape[:-1], 2, 2)
    theta = torch.cat([turn, where.unsqueeze(-1)], -1).reshape(-1, 2, 3)
    grid = F.affine_grid(theta, [len(theta), 1, side, side], align_corners=False)
    seen = F.grid_sample(image.reshape(-1, 1, *image.shape[-2:]), grid, align_corners=False)
    return seen.view(*where.shape[:-1], side, side)


class Scene(Program):
    """The generative model."""

    def __init__(self):
        super().__init__()
        self.decoder = nn.Sequential(nn.Linear(WHAT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, SIDE * SIDE))

    def paint(self, what: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        thing = (self.decoder(what) - 2).sigmoid().unflatten(-1, (SIDE, SIDE))
        return window(-where * CANVAS / SIDE, CANVAS / SIDE, thing, CANVAS)

    def forward(self, batch: Batch) -> None:
        canvas, here = torch.zeros(batch.size, CANVAS, CANVAS), torch.ones(batch.size)
        with batch.plate():
            for t in range(THINGS):
                here = pyro.sample(f"here_{t}", dist.Bernoulli(0.5 * here))
                with pyro.poutine.mask(mask=here > 0):
                    where = pyro.sample(f"where_{t}", dist.Normal(torch.zeros(2), 0.4).to_event(1))
                    what = pyro.sample(f"what_{t}", dist.Normal(torch.zeros(WHAT), 1.0).to_event(1))
                canvas = canvas + here[..., None, None] * self.paint(what, where)
            pyro.sample("image", dist.Normal(canvas, 0.3).to_event(2), obs=batch.get("image"))


class Looker(Program):
    """``q(here_t, where_t, what_t | image, things before t)``, through what those leave unexplained."""

    def __init__(self, model: Scene):
        super().__init__()
        self.model = model
        self.glance = nn.Sequential(nn.Linear(CANVAS * CANVAS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 5))
        self.look = nn.Sequential(nn.Linear(SIDE * SIDE, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * WHAT))

    def forward(self, batch: Batch) -> None:
        rest, before = batch.get("image"), torch.ones(batch.size)
        with batch.plate():
            for t in range(THINGS):
                logit, loc, log_scale = self.glance(rest.flatten(-2)).split([1, 2, 2], -1)
                here = pyro.sample(f"here_{t}", dist.Bernoulli(before * logit.squeeze(-1).sigmoid()))
                with pyro.poutine.mask(mask=here > 0):
                    where = pyro.sample(f"where_{t}", dist.Normal(loc, (log_scale - 2).exp()).to_event(1))
                    seen = window(where, SIDE / CANVAS, rest, SIDE).flatten(-2)
                    loc, log_scale = self.look(seen).chunk(2, -1)
                    what = pyro.sample(f"what_{t}", dist.Normal(loc, (log_scale - 1).exp()).to_event(1))
                rest, before = rest - here[..., None, None] * self.model.paint(what, where).detach(), here


def data(pictures: int = 2000, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Canvases with none, one or two digits of 8 x 8 points."""
    rng = np.random.default_rng(seed)
    digits = load_digits().images / 16
    count = rng.integers(THINGS + 1, size=pictures)
    images = np.zeros((pictures, CANVAS, CANVAS))
    for image, things in zip(images, count, strict=True):
        for corner in rng.permutation([(0, 0), (0, 10), (10, 0), (10, 10)])[:things]:
            row, column = corner + rng.integers(3, size=2)
            image[row : row + SIDE, column : column + SIDE] += rng.choice(digits)
    return Dataset({"image": images}, labels={"count": count}).split(0.9, seed=seed)


def vae() -> VAE:
    """The pair."""
    torch.manual_seed(0)
    model = Scene()
    return VAE(model=model, guide=Looker(model))


def main(epochs: int = 100) -> dict[str, float]:
    """How often the number of things is right, in pictures that training never saw."""
    train, test = data()
    fitted = fit(vae(), train, backend="pyro", epochs=epochs)
    drawn = fitted.encode(test, draws=1)
    found = sum(drawn[f"here_{t}"][0] for t in range(THINGS))
    right = float((found == test.labels["count"]).mean())
    print(f"counted rightly: {right:.0%}; by chance 33%")
    return {"accuracy": right}


if __name__ == "__main__":
    typer.run(main)
