"""Early stopping: when a run has been trained enough, and which epoch's weights it keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np

from ppvae.objectives import stages
from ppvae.runs.plan import Plan
from ppvae.runs.settings import Settings
from ppvae.runs.vae import VAE

History = Sequence[Mapping[str, Any]]

SHARE = 0.1  # of the items, held out where nobody gives others
EPOCHS, STEPS = 10, 200  # that auto looks back at least
STREAM = 2**31  # tells the draw of those items from the orders of epochs, which are drawn from the same seed


def why_not_auto(vae: VAE, settings: Settings) -> str | None:
    """Why the number of epochs must be given; None where it may be ``auto``."""
    if settings.schedule != "constant":
        return f"schedule {settings.schedule!r} spreads over a number of epochs"
    if len(stages(vae.objective)) > 1:
        return "the objective has stages, which share a number of epochs"
    return None


def held_out(weights: np.ndarray, seed: int) -> np.ndarray:
    """Which items are watched and not trained on, ``(items,)``: a tenth of those that count, drawn from the seed.

    Raises:
        ValueError: there is but one item that counts.
    """
    counting = np.flatnonzero(weights)
    if len(counting) < 2:
        raise ValueError("one item cannot be split into some to train on and some to watch: give validation=")
    chosen = np.random.default_rng([seed, STREAM]).permutation(counting)[: math.ceil(SHARE * len(counting))]
    return np.isin(np.arange(len(weights)), chosen)


def best_epoch(history: History, newest: Mapping[str, Any], plan: Plan) -> int:
    """The epoch whose weights are kept, now that the newest is over: where the loss of held-out items was lowest.

    Losses during a warm-up, and before an objective's last stage, tell nothing: there the newest is kept.
    """
    before = history[-1].get("best_epoch") if history else None
    if before is None or before <= _settled(plan):
        return int(newest["epoch"])
    lower = newest["validation_loss"] < history[before - 1]["validation_loss"]
    return int(newest["epoch"] if lower else before)


def why_stop(history: History, plan: Plan) -> str | None:
    """Why training ends after these epochs; None where it goes on.

    With ``patience`` it ends once so many epochs have not lowered the loss of held-out items. ``auto`` compares the
    last quarter of the epochs, at least ten of them and 200 steps, with those before: it ends once they lowered that
    loss by no more than a thousandth, of the loss or of all that it has fallen, whichever is less.
    """
    settings, reason = plan.settings, _no_longer_falls(history, plan) if plan.settings.watches else None
    if settings.epochs != "auto" and len(history) >= settings.epochs:
        reason = f"all {settings.epochs} epochs are done"
    best = history[-1].get("best_epoch") if history else None
    if reason and best:
        reason += f"; kept are the weights of epoch {best}, with the lowest held-out loss"
    return reason


def _no_longer_falls(history: History, plan: Plan) -> str | None:
    patience = plan.settings.patience
    watched = takewhile(lambda entry: "best_epoch" in entry, reversed(history[_settled(plan) :]))
    losses = [entry["validation_loss"] for entry in watched][::-1]
    window = patience or max(EPOCHS, math.ceil(STEPS / plan.steps), len(losses) // 4)
    if len(losses) <= window:
        return None
    best, before = min(losses), min(losses[:-window])
    enough = 0.0 if patience else min(abs(best), losses[0] - best) / 1000
    fell = f"by only {before - best:.2g} nats" if before > best else "no further"
    return f"the held-out loss fell {fell} in the last {window} epochs" if before - best <= enough else None


def _settled(plan: Plan) -> int:
    """The number of epochs after which losses can be compared."""
    return max(math.ceil(plan.settings.kl_warmup), plan.begins(plan.stages - 1))


def stop_at(history: History) -> int | None:
    """The epoch to stop at where the weights that a run kept are worse on held-out items than earlier ones; else None.

    That is so where the loss of the last epochs, the median of five, exceeds the lowest of those before by more than a
    hundredth of what it had fallen, and by more than five times what it changes from epoch to epoch; never where the
    lowest is among those five.
    """
    watched = _watched(history)
    if len(watched) < 6 or "best_epoch" in watched[-1]:
        return None
    losses = np.array([entry["validation_loss"] for entry in watched])
    best, last = int(losses.argmin()), float(np.median(losses[-5:]))
    typical = np.median(np.abs(np.diff(losses)))
    if best >= len(losses) - 5 or last - losses[best] < max((losses[0] - losses[best]) / 100, 5 * typical):
        return None
    return int(watched[best]["epoch"])


def overtrained(history: History) -> str | None:
    """A sentence where training should have stopped earlier, see :func:`stop_at`; else None."""
    if (epoch := stop_at(history)) is None:
        return None
    losses = {entry["epoch"]: entry["validation_loss"] for entry in _watched(history)}
    last = float(np.median(list(losses.values())[-5:]))
    return (
        f"The loss of held-out items rose from {losses[epoch]:.4g} after epoch {epoch} to {last:.4g} while training "
        f'went on: stop at epoch {epoch}, or train with patience=10 or epochs="auto", which keep the better weights.'
    )


def still_warming(history: History, settings: Settings) -> str | None:
    """A sentence where training ended before the weight of latent sites had grown to ``beta``; else None."""
    if not 0 < (epochs := len(history)) < settings.kl_warmup:
        return None
    return (
        f"Training ended after {epochs} of the {settings.kl_warmup:g} epochs over which kl_warmup raises the weight of "
        f"latents, at {settings.beta_at(epochs):.2g} of {settings.beta:g}: train for longer, or warm up over fewer."
    )


def still_falls(history: History) -> bool:
    """Does the loss, of held-out items where there are any, fall up to the end of training?

    That is so where the mean of the last quarter of the epochs is lower than that of the quarter before, by more than
    a hundredth of all that the loss has fallen.
    """
    losses = [entry["validation_loss"] for entry in _watched(history)] or [entry["loss"] for entry in history]
    quarter = max(1, len(losses) // 4)
    if len(losses) < 2:
        return False
    fell = np.mean(losses[-2 * quarter : -quarter]) - np.mean(losses[-quarter:])
    return bool(fell > (losses[0] - min(losses)) / 100)


def _watched(history: History) -> list[Mapping[str, Any]]:
    """The epochs after which the loss of held-out items was measured."""
    return [entry for entry in history if entry.get("validation_loss") is not None]
