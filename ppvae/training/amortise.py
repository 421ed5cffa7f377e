"""Amortise: a guide that is nearly right for a model that is trained, by items whose latents are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from ppvae.data.dataset import Dataset
from ppvae.inference import subset_questions
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question
from ppvae.inference.unconstrained import unconstrained
from ppvae.language.batch import Batch
from ppvae.objectives import Stage
from ppvae.objectives.known_latents import known_latents
from ppvae.runs.snapshot import Snapshot
from ppvae.training.fit import fit
from ppvae.training.savable import plain
from ppvae.zoo import build

EPOCH = 10  # steps, at least
WIDTH = {"epochs": 10, "lr": 0.05, "schedule": "cosine"}  # of the one number that is trained after the network


def amortise(
    fitted: Fitted,
    data: Dataset,
    *,
    family: Literal["newton", "full", "flow", "diagonal"] = "newton",
    steps: int = 2400,
    seed: int = 0,
    progress: bool | None = None,
    **options: Any,
) -> Fitted:
    """The same model with a new guide, which is trained to its posteriors, not to a bound.

    A set encoder learns from new items of the model, whose latents are known, others every step. Each shows a subset of
    its modalities, so that every number of them is equally likely. From the mean that it finds, the family ``newton``
    climbs the model's own density, and takes its covariance there, widened or narrowed by one number that is learned
    alike. What training costs is paid once; answers then cost some passes through the decoders for each latent, so that
    they are slower than those of a network alone, and much faster than a correction: see ``docs/calibration.md``.

    Args:
        fitted: the pair; its model stays as it is.
        data: the rows that it was trained on, with all its modalities: new items have their holes, and what the model
            takes as given.
        family: of the guide's posteriors: :class:`ppvae.guides.newton.Newton`, or a set encoder's own, see
            :class:`ppvae.guides.set_encoder.SetEncoder`.
        steps: of training, about, rounded to whole epochs of the data.
        seed: of everything.
        progress: show a progress bar; by default where the output is a terminal.
        **options: of training, as ``lr``, ``batch_size`` and ``backend``, in place of the defaults here.

    Returns:
        the pair, with ``notes["amortised"]`` on how its guide was trained, and no history of its own.

    Raises:
        ValueError: the model has other latents than one real vector ``z`` an item, or the data lack a modality.
    """
    latent = _latent(fitted, data)
    own = {name: getattr(fitted.settings, name) for name in ("backend", "dtype", "device")}
    settings = {
        **own,
        "lr": 2e-3,
        "schedule": "cosine",
        "batch_size": 128,
        "seed": seed,
        "progress": progress,
        **options,
    }
    data = _rows(data.only(fitted.names), steps, settings["batch_size"], seed)
    epochs = max(1, round(steps / (len(data) // settings["batch_size"])))
    family_of_start = "full" if family == "newton" else family
    pair = build.with_guide(fitted.vae, data.modalities or (), seed, latent=latent, family=family_of_start)
    trained = fit(_learning(pair), data, epochs=epochs, **settings)
    loss = [entry["loss"] for entry in trained.history]
    if family == "newton":
        few = data.take(slice(EPOCH * settings["batch_size"]))
        trained = fit(_learning(build.climbing(trained.vae), "guide.start."), few, **{**settings, **WIDTH})
        loss += [entry["loss"] for entry in trained.history]
    return replace(
        fitted,
        vae=replace(trained.vae, objective=fitted.vae.objective),
        history=[],
        snapshot=Snapshot(trained.snapshot.weights),
        notes={**fitted.notes, "amortised": plain({"family": family, "steps": steps, "seed": seed, "loss": loss})},
    )


def _learning(vae: Any, *resting: str) -> Any:
    """The pair whose guide learns from new items, while the model rests, and what else does."""
    return replace(vae, objective=(Stage(known_latents, frozen=("model.", *resting)),))


def _rows(data: Dataset, steps: int, batch_size: int, seed: int) -> Dataset:
    """The rows in random order, so many that no epoch is too short or longer than all of training."""
    random = np.random.default_rng(seed).permutation(len(data))
    return data.take(np.resize(random, np.clip(len(data), min(EPOCH, steps) * batch_size, steps * batch_size)))


def _latent(fitted: Fitted, data: Dataset) -> int:
    """The size of the latent.

    Raises:
        ValueError: it is not the only one, or not a real vector, or the data lack a modality.
    """
    if missing := [name for name in fitted.names if name not in data.arrays]:
        raise ValueError(f"amortise needs every modality of the run, and the data lack {missing[0]!r}")
    found = subset_questions.ask(fitted.to("numpyro"), Question(_at_ones), data.take([0]))
    (name, value), *others = found.items()
    if others or name != "z" or value.ndim != 3 or (value != 1).any():
        raise ValueError(
            "amortise makes a guide for models whose only latent is a real vector z an item, and this one has "
            f"{', '.join(found)}: use posterior='corrected'"
        )
    return value.shape[-1]


def _at_ones(model: Any, guide: Any, batch: Batch, draws: int) -> dict[str, Any]:
    """The question of all latents where the unconstrained vector is one everywhere: ``(1, items, *event)``."""
    view = unconstrained(model, guide, batch)
    size = len(view.vector({name: site["value"] for name, site in view.sites.items()}))
    values = {name: value.reshape(1, 1, *value.shape[1:]) for name, value in view.values(jnp.ones(size))[0].items()}
    return {**values, **{name: jnp.reshape(value, (1, 1, -1)) for name, value in view.shared.items()}}
