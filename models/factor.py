"""Factor: linear decoders whose loadings are latents that all items share, with priors that make them sparse."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from ppvae import Modality, Program, dist, ops, pyro
from ppvae.language.batch import Batch, over
from ppvae.parts import networks
from ppvae.parts.conditionals import one_hot
from ppvae.parts.likelihoods import Family, categorical

Sparsity = Literal["ard", "horseshoe", "none"]


class View(Family):
    """``x ~ family(intercept + W z)``, ``W_dk ~ Normal(0, s_dk)``, W of shape ``(elements, latent)``.

    By ``sparsity`` s_dk is scale_k (``ard``), scale_k local_dk (``horseshoe``) or 1 (``none``), scales half-Cauchy.
    """

    def __init__(self, modality: Modality, latent: int, sparsity: Sparsity) -> None:
        super().__init__(modality)
        self.size = [math.prod(self.shape), latent]
        scales = {f"scales_{self.name}": [1, latent], f"locals_{self.name}": self.size}
        self.scales = dict(list(scales.items())[: {"none": 0, "ard": 1, "horseshoe": 2}[sparsity]])
        self.intercept = torch.nn.Parameter(torch.zeros(self.shape))

    def loadings(self) -> Any:
        """The sites of the view's loadings and their scales, outside the plate of items."""
        scale = ops.ones(*self.size)
        for site, shape in self.scales.items():
            scale = scale * pyro.sample(site, dist.HalfCauchy(1.0).expand(shape).to_event(2))
        return pyro.sample(f"loadings_{self.name}", dist.Normal(0.0, scale).to_event(2))

    def predictor(self, loadings: Any, z: Any) -> Any:
        """``intercept + W z``: ``(..., elements, latent)`` and ``(..., latent)`` to ``(..., *shape)``."""
        y = ops.einsum("...ek,...k->...e", loadings, z)
        return self.intercept + y.reshape(*y.shape[:-1], *self.shape)

    def explained(self, batch: Batch, z: Any, loadings: Any) -> Any:
        """The share of the view's variance that each factor explains alone, ``(latent,)``."""
        x, mask, indicated = batch.get(self.name), batch.mask(self.name), self.family is categorical
        x, unit = (one_hot(x, self.shape[-1]), 1.0) if indicated else (x, self.spread)
        weight = ops.ones_like(x) / unit**2 if mask is None else ops.where(over(mask, x), 1.0, 0.0) / unit**2

        def error(factors: Any) -> Any:
            family = self.family(self, self.predictor(loadings, factors))
            mean = family.probs if indicated else family.mean
            return (weight * (x - mean) ** 2).reshape(*factors.shape[:-2], -1).sum(-1)

        return 1 - error(ops.eye(z.shape[-1])[:, None, :] * z) / error(0.0 * z)


class Factor(Program):
    """``z ~ Normal(0, I)``;  ``W_m ~ sparse prior``;  ``x_m | z, W_m ~ likelihood_m(intercept_m + W_m z)``.

    After MOFA (Argelaguet et al. 2018, "Multi-Omics Factor Analysis"): a factor may move some views only. Its relevance
    prior is a Gamma on precisions with a spike and slab; here scales are half-Cauchy, of a view's factors (``ard``) and
    of single loadings too (``horseshoe``: Carvalho et al. 2010). Global latents: ``loadings_NAME`` ``(elements,
    latent)``, ``scales_NAME`` ``(1, latent)``, ``locals_NAME`` as the loadings. ``z`` is ``(items, latent)``.

    >>> from ppvae import Batch
    >>> model = Factor([Modality("rna", (50,), "negative_binomial"), Modality("adt", (20,))], latent=2)
    >>> sorted(model(Batch(size=3)))
    ['adt', 'rna']
    """

    def __init__(self, modalities: Sequence[Modality], latent: int = 16, sparsity: Sparsity = "ard") -> None:
        super().__init__()
        self.latent = latent
        self.views: Any = networks.ByName({m.name: View(m, latent, sparsity) for m in modalities})

    def forward(self, batch: Batch) -> dict[str, Any]:
        loadings = {name: view.loadings() for name, view in self.views.items()}
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([self.latent]).to_event(1))
            predictors = {name: self.views[name].predictor(loadings[name], z) for name in batch.asked(self.views)}
            return {name: self.views[name].measured(y, batch.get(name)) for name, y in predictors.items()}

    def variance_explained(self, batch: Batch, z: Any, loadings: Mapping[str, Any]) -> dict[str, Any]:
        """``1 − Σ (x − E[x | factor k])² / Σ (x − E[x | no factor])²`` in units of the spread: name to ``(latent,)``.

        Takes the guide's ``means(batch)``; holes do not count, a categorical counts by its indicators.
        """
        return {name: self.views[name].explained(batch, z, loadings[name]) for name in batch.arrays}
