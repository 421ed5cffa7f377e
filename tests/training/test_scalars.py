"""Scalars: programs whose sites are single numbers an item, and the advice to those whose sites have another shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import ppvae
from ppvae import VAE, Dataset, Modality, Program, dist, ops, pyro
from ppvae.diagnostics import khat

BACKENDS = ("pyro", "numpyro")


class Line(Program):
    """``z ~ N(0, 1)``, ``x ~ N(a z + b, 1)``, both single numbers; ``site`` may give x another shape."""

    def __init__(self, site: str = "scalar") -> None:
        super().__init__()
        self.site, self.line, self.three = site, nn.Linear(1, 1), nn.Linear(1, 3)

    def forward(self, batch: Any) -> Any:
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0))[..., None]
            shaped = {
                "scalar": lambda: dist.Normal(self.line(z)[..., 0], 1.0),
                "vector": lambda: dist.Normal(self.line(z), 1.0).to_event(1),
                "no event": lambda: dist.Normal(self.line(z), 1.0),
                "three": lambda: dist.Normal(self.three(z), 1.0).to_event(1),
                "three, no event": lambda: dist.Normal(self.three(z), 1.0),
            }
            return pyro.sample("x", shaped[self.site](), obs=batch.get("x"))


class Amortised(Program):
    """``z ~ N(c x + d, exp(e x + f))``; of the prior where x is not given."""

    def __init__(self, width: int = 1, event: bool = True) -> None:
        super().__init__()
        self.network, self.width, self.event = nn.Linear(width, 2), width, event

    def forward(self, batch: Any) -> Any:
        x = batch.get("x")
        out = ops.zeros((batch.size, 2)) if x is None else self.network(x.reshape(batch.size, self.width))
        with batch.plate():
            loc, log_scale = (out[..., 0], out[..., 1]) if self.event else (out[..., :1], out[..., 1:])
            return pyro.sample("z", dist.Normal(loc, ops.exp(log_scale)))


def numbers(items: int = 40) -> np.ndarray:
    x = 0.5 * np.random.default_rng(0).normal(size=items)
    x[:3] = np.nan
    return x


@pytest.mark.parametrize("backend", BACKENDS)
def test_scalar_sites_work_everywhere(backend: str) -> None:
    train, test = Dataset({"x": numbers()}, modalities=[Modality("x", ())]).split(0.6, seed=1)
    torch.manual_seed(0)
    vae = VAE(Line(), Amortised())
    run = ppvae.fit(vae, train, backend=backend, epochs=2, batch_size=8, lr=0.05, validation=test, progress=False)
    assert ppvae.parity(vae, train.batch())["ok"]
    assert run.encode(test, draws=3)["z"].shape == run.query(test, draws=3)["x"].shape == (3, len(test))
    assert run.generate(4)["x"].shape == (4,)
    x, seen = test.holed("x"), test.present("x")
    assert 0 < seen.sum() < len(test)
    imputed = run.impute(test, draws=3)["x"]
    assert np.array_equal(imputed[seen], test.arrays["x"][seen])
    assert np.isfinite(imputed).all()
    slope, level = (float(p.detach()) for p in run.vae.model.line.parameters())
    exact = np.where(seen, stats.norm.logpdf(np.nan_to_num(x), level, np.hypot(1, slope)), 0.0)
    np.testing.assert_allclose(run.log_evidence(test, particles=2000), exact, atol=0.25)
    groups = run.to_arviz(test, draws=30)
    assert groups.posterior["z"].dims == ("chain", "draw", "item")
    assert groups.observed_data["x"].dims == ("item",)
    assert khat(run, test)


@pytest.mark.parametrize(
    ("shape", "site", "said"),
    [
        (
            (1,),
            "scalar",
            r"declare Modality\('x', \(\)\) in the data set; otherwise .* \(items, 1\) and \.to_event\(1\)",
        ),
        ((1,), "no event", r"end its distribution with \.to_event\(1\)"),
        ((1,), "three", r"parameters of shape \(items, 1\) and \.to_event\(1\)"),
        ((), "vector", r"parameters of shape \(items,\), such as decoder\(z\)\[\.\.\., 0\], and no \.to_event"),
        ((), "no event", r"parameters of shape \(items,\), such as decoder\(z\)\[\.\.\., 0\], and no \.to_event"),
        (
            (),
            "three, no event",
            r"parameters of shape \(items,\), such as decoder\(z\)\[\.\.\., 0\], and no \.to_event",
        ),
        ((3,), "three, no event", r"'x' has other dimensions than the plate .* with \.to_event\(1\)"),
        ((3,), "scalar", r"parameters of shape \(items, 3\) and \.to_event\(1\)"),
    ],
)
def test_a_site_of_another_shape_than_its_data_is_told_what_to_do(shape: tuple, site: str, said: str) -> None:
    x = np.random.default_rng(0).normal(size=(40, *shape))
    data = Dataset({"x": x}, modalities=[Modality("x", shape)])
    with pytest.raises(ValueError, match=said):
        ppvae.fit(VAE(Line(site), Amortised(x[0].size)), data, epochs=1, progress=False)


def test_a_latent_of_more_dimensions_than_its_plates_is_refused() -> None:
    data = Dataset({"x": numbers()}, modalities=[Modality("x", ())])
    with pytest.raises(ValueError, match=r"latent 'z' has batch shape .* end its distribution with \.to_event\(1\)"):
        ppvae.fit(VAE(Line(), Amortised(event=False)), data, epochs=1, progress=False)


class Handled(Program):
    """A model whose latent is under a mask or a scale."""

    def __init__(self, handler: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.handler, self.shape = handler, shape

    def forward(self, batch: Any) -> None:
        given = torch.ones(self.shape, dtype=torch.bool if self.handler == "mask" else None)
        with (
            batch.plate(),
            getattr(pyro.poutine, self.handler)(**{self.handler: given.expand(batch.size, *self.shape)}),
        ):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with batch.plate():
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=batch.get("x"))


@pytest.mark.parametrize("handler", ["mask", "scale"])
def test_a_mask_or_scale_wider_than_its_site_is_refused(handler: str) -> None:
    data = Dataset({"x": np.random.default_rng(0).normal(size=(20, 2))})
    guide = ppvae.method("vae", data.modalities, latent=2, hidden=(4,)).guide
    with pytest.raises(
        ValueError, match=rf"site 'z' has batch shape \(\d,\), but is under a {handler} of shape \(\d, 1\)"
    ):
        ppvae.init(VAE(Handled(handler, (1,)), guide), data)
    ppvae.init(VAE(Handled(handler, ()), guide), data, backend="pyro")
