"""Aggregate prior: one fitted, after training, to the posteriors of all training items together."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
from sklearn.mixture import GaussianMixture

from ppvae.data.dataset import Dataset
from ppvae.inference.fitted import Fitted
from ppvae.language.turns import turn
from ppvae.parts.priors import Mixture
from ppvae.runs.snapshot import Snapshot
from ppvae.runs.vae import VAE


def with_aggregate_prior(fitted: Fitted, data: Dataset, components: int = 50, draws: int = 10, seed: int = 0) -> Fitted:
    """The run with its prior over ``z`` replaced by a mixture of Gaussians fitted to the aggregate posterior.

    Ex-post density estimation (Ghosh et al. 2020): where the aggregate posterior ``(1/N) Σ_n q(z | x_n)`` is not
    the prior that a model was trained with, that prior generates from regions no decoder has seen. Private latents
    keep theirs.

    Args:
        fitted: a run whose model keeps its prior as ``prior``.
        data: the items that it was trained on.
        components: diagonal Gaussians in the mixture.
        draws: draws of z of each item that the mixture is fitted to.
        seed: of those draws and of the fit's start.

    Raises:
        ValueError: the model has no ``prior``.
    """
    if not hasattr(fitted.vae.model, "prior"):
        raise ValueError(f"the model {type(fitted.vae.model).__name__} keeps no prior, so none can be replaced")
    z = fitted.encode(data, draws=draws, seed=seed)["z"]
    found = GaussianMixture(components, covariance_type="diag", random_state=seed, max_iter=300, tol=1e-2)
    vae = copy.deepcopy(fitted.vae)
    vae.model.prior = _prior(found.fit(z.reshape(-1, z.shape[-1]).astype(np.float64)))
    vae = VAE(vae.model, vae.guide, vae.objective)
    vae.pair.to(dtype=getattr(torch, fitted.settings.dtype))
    weights = {name: value.numpy() for name, value in vae.pair.state_dict().items()}
    return replace(fitted, vae=vae, snapshot=Snapshot(weights))


def _prior(found: GaussianMixture) -> Mixture:
    with turn(), torch.random.fork_rng():
        prior = Mixture(found.means_.shape[1], len(found.weights_)).double()
    with torch.no_grad():
        prior.logits.copy_(torch.as_tensor(np.log(found.weights_)))
        prior.loc.copy_(torch.as_tensor(found.means_))
        prior.log_scale.copy_(torch.as_tensor(np.log(found.covariances_) / 2))
    return prior
