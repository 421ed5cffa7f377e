"""Factor: linear decoders whose loadings are latents that all items share, with priors that make them sparse."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from ppvae import Modality, Program, dist, ops, pyro
from ppvae.batch import Batch
from ppvae.conditionals import one_hot
from ppvae.likelihoods import Family

Sparsity = Literal["ard", "horseshoe", "none"]


class View(Family):
    """``x ~ family(intercept + W z)``, with loadings ``W`` of shape ``(elements, latent)`` and their priors.

    ``sparsity`` chooses ``W_dk ~ Normal(0, s_dk)``: ``"ard"`` s_dk = scale_k, ``"horseshoe"`` s_dk = scale_k local_dk,
    ``"none"`` s_dk = 1; all scales are half-Cauchy.
    """

    def __init__(self, modality: Modality, latent: int, sparsity: Sparsity) -> None:
        super().__init__(modality)
        self.latent, self.elements, self.sparsity = latent, math.prod(self.shape), sparsity
        self.intercept = nn.Parameter(torch.zeros(self.elements))

    def loadings(self) -> Any:
        """The sites of the view's loadings and their scales, outside the plate of items."""
        scale = ops.ones(self.elements, self.latent)
        if self.sparsity != "none":
            factor = dist.HalfCauchy(1.0).expand([self.latent]).to_event(1)
            scale = scale * pyro.sample(f"scales_{self.name}", factor)[..., None, :]
        if self.sparsity == "horseshoe":
            local = dist.HalfCauchy(1.0).expand([self.elements, self.latent]).to_event(2)
            scale = scale * pyro.sample(f"locals_{self.name}", local)
        return pyro.sample(f"loadings_{self.name}", dist.Normal(0.0, scale).to_event(2))

    def predictor(self, loadings: Any, z: Any) -> Any:
        """``(..., elements, latent)`` and ``(..., latent)`` to ``(..., *shape)``."""
        y = self.intercept + ops.einsum("...ek,...k->...e", loadings, z)
        return y.reshape(*y.shape[:-1], *self.shape)

    def mean(self, y: Any) -> Any:
        """The mean of what is measured, of its indicators for a categorical."""
        family = self.family(self, y)
        return family.probs if len(self.shape) > self.event_dim else family.mean


class Factor(Program):
    """``z ~ Normal(0, I)``;  ``W_m ~ sparse prior``;  ``x_m | z, W_m ~ likelihood_m(intercept_m + W_m z)``.

    Group factor analysis after MOFA (Argelaguet et al. 2018, "Multi-Omics Factor Analysis"): a factor may be active in
    some views only. The paper's relevance prior is a Gamma on precisions, with a spike and slab over single loadings;
    here scales are half-Cauchy, per view and factor (``sparsity="ard"``), and per loading too (``"horseshoe"``:
    Carvalho et al. 2010). Loadings are global latents: sites ``loadings_NAME`` ``(elements, latent)``,
    ``scales_NAME`` ``(latent,)`` and ``locals_NAME`` ``(elements, latent)``. Shape of ``z``: ``(items, latent)``.

    >>> from ppvae import Batch
    >>> model = Factor([Modality("rna", (50,), "negative_binomial"), Modality("adt", (20,))], latent=2)
    >>> sorted(model(Batch(size=3)))
    ['adt', 'rna']
    """

    def __init__(self, modalities: Sequence[Modality], latent: int = 16, sparsity: Sparsity = "ard") -> None:
        super().__init__()
        self.latent = latent
        self.views = nn.ModuleDict({m.name: View(m, latent, sparsity) for m in modalities})

    def forward(self, batch: Batch) -> dict[str, Any]:
        loadings = {name: view.loadings() for name, view in self.views.items()}
        with batch.plate():
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([self.latent]).to_event(1))
            predictors = {name: self.views[name].predictor(loadings[name], z) for name in batch.asked(self.views)}
            return {name: self.views[name].measured(y, batch.get(name)) for name, y in predictors.items()}

    def variance_explained(self, batch: Batch, z: Any, loadings: Mapping[str, Any]) -> dict[str, Any]:
        """The share of each view's variance that each factor explains alone, R²: name to ``(latent,)``.

        ``1 − Σ (x − mean given factor k)² / Σ (x − mean given no factor)²`` over what was measured, in units of the
        view's spread; the arguments are those of the guide's ``means(batch)``.
        """
        return {name: _explained(self.views[name], batch, z, loadings[name]) for name in batch.arrays}


def _explained(view: Any, batch: Batch, z: Any, loadings: Any) -> Any:
    x, there = batch.get(view.name), batch.mask(view.name)
    categorical = len(view.shape) > view.event_dim
    x, unit = (one_hot(x, view.shape[-1]), 1.0) if categorical else (x, view.spread)
    seen = ops.ones_like(x) if there is None else there.reshape(*there.shape, *(1,) * (x.ndim - there.ndim)) * 1.0
    each = ops.eye(z.shape[-1])[:, None, :] * z
    error = lambda mean: seen * ((x - mean) / unit) ** 2  # noqa: E731
    whole = error(view.mean(view.predictor(loadings, 0.0 * z))).sum()
    alone = error(view.mean(view.predictor(loadings, each)))
    return 1 - alone.reshape(len(each), -1).sum(-1) / whole
