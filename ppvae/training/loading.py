"""Loading: a fitted pair from its run folder."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ppvae.backends.declarations import expect
from ppvae.inference.fitted import Fitted
from ppvae.language.batch import Batch
from ppvae.language.modality import Modality
from ppvae.runs import checkpoint
from ppvae.runs.automatic import automatic
from ppvae.runs.checkpoint import FOREIGN, WHOLE, Kind, Stored
from ppvae.runs.description import Recipe
from ppvae.runs.snapshot import Snapshot
from ppvae.runs.vae import VAE
from ppvae.training.checks.trials import trying
from ppvae.zoo import build


def load(path: str | Path, vae: VAE | None = None) -> Fitted:
    """Read a run folder; nothing in it is run.

    Args:
        path: the folder.
        vae: the pair whose weights these are; needed only where it was not a method of the zoo.

    Raises:
        ValueError: the folder is missing, damaged, needs ``vae``, or is of another method than ``vae``.
    """
    stored = checkpoint.opened(path)
    described = stored.description
    modalities = described.measured()
    pair = _rebuilt(stored, modalities) if vae is None else vae
    expect(pair.pair, ((name, kind.shape) for name, kind in stored.kinds().get("weights", {}).items()))
    _find_latents(pair, modalities, getattr(torch, described.settings.dtype))
    _check_recipe(path, described.recipe, pair)
    _check_fits(stored, pair)
    snapshot = stored.snapshot()
    _check_numbers(stored.path, snapshot, pair)
    pair.pair.to(dtype=getattr(torch, described.settings.dtype))
    pair.pair.load_state_dict({name: torch.as_tensor(weight) for name, weight in snapshot.weights.items()})
    plain = described.plain()
    pair.tell(plain["notes"])
    return Fitted(pair, modalities, described.settings, plain["history"], snapshot, plain["notes"])


def before(vae: VAE | Fitted, out: str | Path | None, resume: bool) -> Fitted | None:
    """The run that training goes on from: the one in a folder, or a Fitted that was given; None where it begins anew.

    Raises:
        ValueError: there is no folder to go on from, or what is in it is no run of this pair.
    """
    if resume and out is None:
        raise ValueError("resume=True needs out=, the run folder to go on from")
    if resume and out is not None and checkpoint.exists(out):
        return load(out, vae=copy.deepcopy(vae.vae if isinstance(vae, Fitted) else vae))
    return vae if isinstance(vae, Fitted) else None


def _rebuilt(stored: Stored, modalities: Sequence[Modality]) -> VAE:
    """The pair of a method, built only after its sizes were found to be those of the weights."""
    path, recipe = stored.path, stored.description.recipe
    if recipe is None:
        raise ValueError(
            f"the run folder {str(path)!r} holds the weights of your own programs: pass the pair, load(path, vae=...)"
        )
    with checkpoint.reading(path), torch.device("meta"):  # shapes without memory
        sketch = build.rebuilt(recipe.plain(), modalities)
    _check_fits(stored, sketch)
    return build.rebuilt(recipe.plain(), modalities)


def _find_latents(vae: VAE, modalities: Sequence[Modality], kind: torch.dtype) -> None:
    """Have automatic guides run the model, as before training: they have parameters for each latent that they find."""
    if any(guide.prototype_trace is None for guide in automatic(vae.guide)):
        with trying(vae, kind):
            vae.guide(Batch({modality.name: np.zeros((1, *modality.shape)) for modality in modalities}))


def _check_recipe(path: str | Path, recipe: Recipe | None, vae: VAE) -> None:
    own = json.loads(json.dumps(dict(vae.recipe)))
    if recipe and own and recipe.plain() != own:
        one, other = map(_told, (recipe.plain(), own))
        raise ValueError(f"the run folder {str(path)!r} is of {one}, not of {other}")


def _told(recipe: Mapping[str, Any]) -> str:
    guide = f" and a guide with options {recipe['guide']}" if "guide" in recipe else ""
    return f"{recipe['method']} with options {recipe['options'] or 'none'}{guide}"


def _check_fits(stored: Stored, vae: VAE) -> None:
    """Raise ValueError where names, types and shapes of the tensors are not the pair's; none of them is read yet."""
    dtype = stored.description.settings.dtype
    own = {name: _kind(tensor, dtype) for name, tensor in vae.pair.state_dict().items()}
    trained = {name: own[name] for name, p in vae.pair.named_parameters() if p.requires_grad}
    for group, kinds in {"weights": {}, **stored.kinds()}.items():
        if group == FOREIGN:  # known to its optimiser alone, which compares them when the run goes on
            continue
        wanted = own if group in ("weights", "last") else trained
        if differ := sorted(name for name in {*kinds, *wanted} if kinds.get(name) != wanted.get(name)):
            said = " and not ".join(" ".join(map(str, k.get(differ[0], ["missing"]))) for k in (kinds, wanted))
            place = f"in the run folder {str(stored.path)!r} the {group}"
            raise ValueError(f"{place} do not fit these programs: {differ[0]} is {said}")


def _kind(tensor: torch.Tensor, dtype: str) -> Kind:
    """Type and shape of a tensor in a run of this dtype; integers and booleans are of one type to both backends."""
    return Kind(dtype if tensor.is_floating_point() else WHOLE, tuple(tensor.shape))


def _check_numbers(path: Path, snapshot: Snapshot, vae: VAE) -> None:
    """Raise ValueError where a parameter or moment is no number, or a mean of squares is negative; buffers are free."""
    parameters = {name: snapshot.weights[name] for name, _ in vae.pair.named_parameters()}
    last = {name: snapshot.latest.weights[name] for name in parameters}
    for group, named in {"weights": parameters, "last": last, **snapshot.moments}.items():
        for name, array in named.items():
            if not np.isfinite(array).all() or (group == "nu" and (array < 0).any()):
                raise ValueError(
                    f"the run folder {str(path)!r} is damaged: {group} of {name} are no numbers to go on from"
                )
