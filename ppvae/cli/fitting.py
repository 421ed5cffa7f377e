"""Fitting: the training that a command line asked for, and what an interruption of it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppvae.data import Dataset
    from ppvae.runs.settings import Settings
    from ppvae.runs.vae import VAE


def trained(
    vae: VAE,
    rows: Dataset,
    held_out: Dataset | None,
    settings: Settings,
    folder: Path,
    resume: bool,
    force: bool,
    notes: dict[str, Any],
) -> dict[str, Any]:
    """Train a pair into its folder; returns the figures."""
    from ppvae.cli import sources, summaries
    from ppvae.training.fit import fit

    settings = timed(vae, settings)
    # What tells when to stop is a part of the other rows: those held out are for evaluate.
    options = settings.model_dump(exclude_unset=True) | {"validation": None if settings.watches else held_out}
    options["weights"] = sources.weights(rows, notes["weights"])
    with _interruptible(folder):
        fitted = fit(vae, rows, out=folder, resume=resume, force=force, notes=notes, **options)
    facts = {"method": notes["method"], "likelihoods": summaries.of_likelihoods(rows)}
    return {"run": str(folder), **facts, **summaries.of_training(fitted)}


def timed(vae: VAE, settings: Settings) -> Settings:
    """The settings, with as many epochs as it takes where nobody said how many and that can be told."""
    from ppvae.training.early_stopping import why_not_auto

    free = "epochs" not in settings.model_fields_set and not why_not_auto(vae, settings)
    return settings.model_copy(update={"epochs": "auto"}) if free else settings


@contextmanager
def _interruptible(folder: Path) -> Iterator[None]:
    """Ctrl-C, and the end of another process of the run, say what is kept."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Interrupted; {_kept(folder)}.") from None
    except ConnectionError as error:
        error.args = (f"{error}; {_kept(folder)}",)
        raise


def _kept(folder: Path) -> str:
    from ppvae.runs import checkpoint

    kept = f"the checkpoint in {folder} is kept: the same command with --resume goes on from it"
    return kept if checkpoint.exists(folder) else "there was no checkpoint yet"
