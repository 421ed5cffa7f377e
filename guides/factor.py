"""Factor: a product of experts for the factors, and independent normals for the loadings that all items share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ppvae import Modality, Program, dist, ops, pyro
from ppvae.language.batch import Batch
from ppvae.parts import experts, networks
from ppvae.parts.encoders import Encoders


class MeanField(Program):
    """``q(site)``: independent normals of the given shape, or log-normals where the site is positive."""

    def __init__(self, site: str, shape: Sequence[int], positive: bool = False) -> None:
        super().__init__()
        self.site, self.event_dim, self.positive = site, len(shape), positive
        self.loc = nn.Parameter(torch.zeros(*shape) if positive else 0.1 * torch.randn(*shape))
        self.log_scale = nn.Parameter(torch.full(tuple(shape), -2.0))

    def forward(self) -> Any:
        family = dist.LogNormal if self.positive else dist.Normal
        return pyro.sample(self.site, family(self.loc, ops.exp(self.log_scale)).to_event(self.event_dim))


class Factor(Program):
    """``q(z | x_S) ∝ p(z) ∏_{m∈S} q(z | x_m)``, and a normal for each loading, a log-normal for each of their scales.

    The factorised posterior of MOFA (Argelaguet et al. 2018, "Multi-Omics Factor Analysis"), amortised over items.
    Sites: ``z`` ``(items, latent)`` and the model's ``loadings_NAME``, ``scales_NAME``, ``locals_NAME``.

    >>> from ppvae import Batch, method
    >>> guide = method("mofa", [Modality("rna", (50,)), Modality("adt", (20,))], latent=2).guide
    >>> tuple(guide(Batch(size=3)).shape)
    (3, 2)
    """

    def __init__(
        self, modalities: Sequence[Modality], latent: int = 16, hidden: Sequence[int] = (256, 256), *, model: Any
    ) -> None:
        super().__init__()
        self.encoders = Encoders(modalities, latent, hidden)
        views = model.views.items()
        self.loadings = networks.ByName({name: MeanField(f"loadings_{name}", view.size) for name, view in views})
        scales = [scale for _, view in views for scale in view.scales.items()]
        self.scales = nn.ModuleList(MeanField(site, shape, positive=True) for site, shape in scales)

    def forward(self, batch: Batch) -> Any:
        for scale in self.scales:
            scale()
        for loadings in self.loadings.values():
            loadings()
        with batch.plate():
            return pyro.sample("z", dist.Normal(*self.product(batch)).to_event(1))

    def product(self, batch: Batch) -> tuple[Any, Any]:
        """Location and scale of the factors, ``(items, latent)``."""
        loc, scale, present = self.encoders(batch)
        return experts.product(loc, scale, present, prior=True)

    def means(self, batch: Batch) -> tuple[Any, dict[str, Any]]:
        """Posterior means of the factors, ``(items, latent)``, and of each view's loadings, ``(elements, latent)``."""
        return self.product(batch)[0], {name: loadings.loc for name, loadings in self.loadings.items()}
