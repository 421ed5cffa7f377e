"""Amortise: a guide that is nearly right for a model that is trained, by items whose latents are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import jax.numpy as jnp

from ppvae.data.dataset import Dataset
from ppvae.inference import subset_questions
from ppvae.inference.fitted import Fitted
from ppvae.inference.questions import Question
from ppvae.inference.unconstrained import unconstrained
from ppvae.language.batch import Batch
from ppvae.objectives import Stage
from ppvae.objectives.known_latents import known_latents
from ppvae.runs.snapshot import Snapshot
from ppvae.training.amortisation import lessons
from ppvae.training.fit import fit
from ppvae.training.savable import plain
from ppvae.zoo import build

DRAWS = 16  # of each corrected posterior


def amortise(
    fitted: Fitted,
    data: Dataset,
    *,
    family: Literal["full", "flow", "diagonal"] = "full",
    items: int = 1000,
    epochs: int = 600,
    seed: int = 0,
    progress: bool | None = None,
    **options: Any,
) -> Fitted:
    """The same model with a new guide: a set encoder that is trained to its posteriors, not to a bound.

    Half of what it learns from are new items of the model, whose latents are known, others every step; half are rows of
    the data with draws of their corrected posteriors. Each looks at a subset of its modalities, drawn so that every
    number of them is equally likely. What all that costs is paid once; the answers of the new pair are as fast as those
    of any guide, and its intervals are no narrower than the posterior's where an ELBO's are. That is not enough to be a
    proposal for importance sampling where posteriors are sharp: see ``docs/calibration.md``.

    Args:
        fitted: the pair; its model stays as it is.
        data: the rows that it was trained on, with all its modalities.
        family: of the guide's posteriors, see :class:`ppvae.guides.set_encoder.SetEncoder`.
        items: how many rows with a subset are corrected, and trained on; rows come again where they are fewer.
        epochs: passes over these.
        seed: of everything.
        progress: show a progress bar; by default where the output is a terminal.
        **options: of training, as ``lr``, ``batch_size`` and ``backend``, in place of the defaults here.

    Returns:
        the pair, with ``notes["amortised"]`` on how its guide was trained, and no history of its own.

    Raises:
        ValueError: the model has other latents than one real vector ``z`` an item, or the data lack a modality.
    """
    latent = _latent(fitted, data)
    data = lessons.repeated(data.only(fitted.names), items, seed)
    hidden = lessons.hidden(fitted, data, seed)
    found = fitted.encode(lessons.without(data, hidden), draws=DRAWS, seed=seed, posterior="corrected")
    objective = known_latents(hidden, found["z"], found.served.passes)  # type: ignore[attr-defined]
    pair = build.with_guide(fitted.vae, data.modalities or (), seed, latent=latent, family=family)
    settings = {
        "backend": fitted.settings.backend,
        "dtype": fitted.settings.dtype,
        "device": fitted.settings.device,
        "lr": 2e-3,
        "schedule": "cosine",
        **options,
    }
    staged = replace(pair, objective=(Stage(objective, frozen=("model.",)),))
    trained = fit(staged, data, epochs=epochs, seed=seed, progress=progress, **settings)
    told = {"family": family, "items": items, "seed": seed, "loss": [entry["loss"] for entry in trained.history]}
    return replace(
        fitted,
        vae=replace(trained.vae, objective=fitted.vae.objective),
        history=[],
        snapshot=Snapshot(trained.snapshot.weights),
        notes={**fitted.notes, "amortised": plain(told)},
    )


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
