"""Settings: how a pair is trained."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

# Within these bounds a number and its square are numbers in single precision too.
Rate = Annotated[float, Field(ge=1e-18, le=1e18)]
Weight = Annotated[float, Field(ge=0, le=1e18)]
Count = Annotated[int, Field(ge=1, lt=2**31)]


class Settings(BaseModel):
    """How a pair is trained; the defaults work.

    Attributes:
        backend: ``numpyro`` or ``pyro``.
        epochs: passes over the data.
        batch_size: items per step, at most all; the rows left over after the last full batch sit out that epoch.
        seed: the one integer that reproduces a run bit for bit on the same backend and machine.
        optimizer: ``adam``, ``adamw``, ``rmsprop``, ``momentum`` or ``sgd``.
        lr: learning rate of the generative parameters, and of the guide's where ``guide_lr`` is None.
        guide_lr: learning rate of the guide's parameters.
        schedule: how learning rates change over the run: ``constant``, ``linear`` or ``cosine`` to zero.
        clip: largest global norm of the gradient; None leaves it.
        beta: weight of the latent sites (Higgins et al. 2017).
        kl_warmup: epochs over which that weight grows linearly from zero.
        particles: Monte Carlo samples of the objective per item and step.
        device: ``auto``, ``cpu``, ``cuda`` or ``gpu``.
        dtype: ``float32`` or ``float64``.
        checkpoint_every: epochs between checkpoints, where a run folder is given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    backend: Literal["numpyro", "pyro"] = "numpyro"
    epochs: int = Field(50, ge=0, lt=2**31)
    batch_size: Count = 128
    seed: int = Field(0, ge=0, lt=2**31)
    optimizer: Literal["adam", "adamw", "rmsprop", "momentum", "sgd"] = "adam"
    lr: Rate = 1e-3
    guide_lr: Rate | None = None
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    clip: Rate | None = None
    beta: Weight = 1.0
    kl_warmup: Weight = 0
    particles: Count = 1
    device: Literal["auto", "cpu", "cuda", "gpu"] = "auto"
    dtype: Literal["float32", "float64"] = "float32"
    checkpoint_every: Count = 10

    def rate(self, part: str) -> float:
        """The learning rate of ``"model"`` or ``"guide"`` before its schedule."""
        return self.guide_lr if part == "guide" and self.guide_lr is not None else self.lr

    def rate_factor(self, epoch: float) -> float:
        """What multiplies learning rates at a fractional epoch."""
        done = min(epoch / max(self.epochs, 1), 1.0)
        return {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}[self.schedule]

    def beta_at(self, epoch: float) -> float:
        """The weight of the latent sites at a fractional epoch."""
        return self.beta * min(epoch / self.kl_warmup, 1.0) if self.kl_warmup else self.beta


def settings_of(**options: Any) -> Settings:
    """Settings from keyword options; a wrong one is a ValueError of one sentence."""
    try:
        return Settings(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            known = ", ".join(Settings.model_fields)
            raise ValueError(f"there is no setting {name!r}; choose among {known}") from None
        raise ValueError(f"setting {name!r} is {first['input']!r}: {first['msg'].lower()}") from None
