"""Meeting: processes that share a run see, first of all, that they are about to train the same programs alike."""

from __future__ import annotations

import json
from typing import Any

from ppvae.backends.devices import processes
from ppvae.data import Dataset
from ppvae.runs.description import versions
from ppvae.runs.foreign import recorded
from ppvae.runs.settings import Settings
from ppvae.runs.vae import VAE


def meet(vae: VAE, data: Dataset, settings: Settings) -> None:
    """Meet the other processes.

    Raises:
        ValueError: the launcher told this process something that cannot be; or, in all of them, one has something else.
        ConnectionError: they did not come.
    """
    processes.join()
    made_by = [{role: type(program) for role, program in vae.programs.items()}, vae.objective, dict(vae.recipe)]
    facts = {
        "versions of libraries": versions(),
        "method or options": json.dumps(made_by, default=_name),
        "settings": settings.model_dump(mode="json"),
        "modalities": [modality.plain() for modality in data.modalities or ()],
        "networks": [(name, tuple(array.shape)) for name, array in vae.pair.state_dict().items()],
    }
    processes.check_same(facts)


def _name(held: Any) -> str:
    """What stands for a thing of which no text is the same in all processes."""
    return str(recorded(held if callable(held) else type(held)))
