"""Settings: how a pair is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializationInfo,
    ValidationError,
    field_serializer,
    model_validator,
)

from ppvae.runs.foreign import BACKENDS, holds_rate, library, recorded

# Within these bounds a number and its square are numbers in single precision too.
Rate = Annotated[float, Field(ge=1e-18, le=1e18)]
Weight = Annotated[float, Field(ge=0, le=1e18)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Schedule = Rate | Annotated[str, Field(pattern="^function ")] | Callable[[float], Any]  # the name of one that was saved
OPTIMIZERS, LR, EPOCHS = ("adam", "adamw", "rmsprop", "momentum", "sgd"), 1e-3, 50


def _optimizer(value: Any) -> Any:
    named = isinstance(value, str) and (value in OPTIMIZERS or "." in value)  # the latter is the name of a saved one
    if not named and library(value) is None:
        raise ValueError(
            f"choose {', '.join(OPTIMIZERS)}, an optax transformation, or a class of torch.optim or a partial of one"
        )
    return value


class Settings(BaseModel):
    """How a pair is trained; the defaults work.

    Attributes:
        backend: ``numpyro`` or ``pyro``.
        epochs: passes over the data, or ``auto``: as many as lower the loss of held-out items; where nobody chooses,
            50, or so many more that 1,000 steps are taken.
        patience: train no longer once that loss has not fallen for so many epochs, and keep the weights of the epoch
            where it was lowest; None trains all ``epochs``. ``auto`` chooses where it is None.
        batch_size: items per step, of all processes together, at most all; the rows left over after the last full
            batch sit out that epoch.
        seed: the one integer that reproduces a run bit for bit on the same backend and machine.
        optimizer: ``adam``, ``adamw``, ``rmsprop``, ``momentum`` or ``sgd``; on NumPyro also an optax transformation,
            which holds its own learning rate, and on Pyro a class of ``torch.optim`` or a ``functools.partial`` of one.
        lr: learning rate: a number, a function of the fractional epoch (0.0 at the start), or a mapping from names of
            parameters, or of modules that hold them, such as ``"guide.encoders"``, to either; the longest name counts,
            and ``""`` stands for all.
        guide_lr: learning rate of the guide's parameters, where it differs.
        schedule: how learning rates change over the run: ``constant``, ``linear`` or ``cosine`` to zero.
        clip: largest global norm of the gradient; None leaves it.
        beta: weight of the latent sites (Higgins et al. 2017).
        kl_warmup: epochs over which that weight grows linearly from zero; where nobody chooses, 500 steps of ``mvae``,
            half of the epochs at most, and none of other methods.
        particles: Monte Carlo samples of the objective per item and step.
        device: ``auto``, ``cpu``, ``cuda`` or ``gpu``.
        devices: how many of these, in each process, share the items of each batch, on NumPyro; losses are those of one
            device but for rounding.
        dtype: ``float32`` or ``float64``.
        precision: ``full``, that of ``dtype``, or ``bfloat16``: in training, linear layers, convolutions and attention
            multiply numbers of eight digits in base two, and add up in float32; all else stays float32, as answers do.
            It is for GPUs, and need not be faster on a CPU.
        checkpoint_every: epochs between checkpoints, where a run folder is given; several processes write one after
            each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    backend: Literal["numpyro", "pyro"] = "numpyro"
    epochs: Annotated[int, Field(ge=0, lt=2**31)] | Literal["auto"] = EPOCHS
    patience: Count | None = None
    batch_size: Count = 128
    seed: int = Field(0, ge=0, lt=2**31)
    optimizer: Annotated[Any, AfterValidator(_optimizer)] = OPTIMIZERS[0]
    lr: Schedule | dict[str, Schedule] = LR
    guide_lr: Schedule | None = None
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    clip: Rate | None = None
    beta: Weight = 1.0
    kl_warmup: Weight = 0
    particles: Count = 1
    device: Literal["auto", "cpu", "cuda", "gpu"] = "auto"
    devices: Count = 1
    dtype: Literal["float32", "float64"] = "float32"
    precision: Literal["full", "bfloat16"] = "full"
    checkpoint_every: Count = 10

    @property
    def watches(self) -> bool:
        """Does the loss of held-out items decide when training ends?"""
        return self.patience is not None or self.epochs == "auto"

    @property
    def foreign(self) -> bool:
        """Is the optimiser one of optax or torch, which no name stands for?"""
        return not isinstance(self.optimizer, str) or self.optimizer not in OPTIMIZERS

    @property
    def functions(self) -> list[Callable[[float], Any]]:
        """The learning rates that are functions of the epoch."""
        given = [*(self.lr.values() if isinstance(self.lr, dict) else [self.lr]), self.guide_lr]
        return list(dict.fromkeys(rate for rate in given if callable(rate)))

    def rate(self, name: str) -> Any:
        """The learning rate of the parameter of this name before its schedule, a number or a function of the epoch.

        Raises:
            ValueError: no name in ``lr`` is that of the parameter or of a module that holds it.
        """
        if self.guide_lr is not None and name.partition(".")[0] == "guide":
            return self.guide_lr
        if not isinstance(self.lr, dict):
            return self.lr
        fitting = [key for key in self.lr if _holds(key, name)]
        if not fitting:
            raise ValueError(f"lr names no learning rate for the parameter {name!r}; add one for it, or for '', all")
        return self.lr[max(fitting, key=len)]

    def rate_factor(self, epoch: float) -> float:
        """What multiplies learning rates at a fractional epoch."""
        if self.epochs == "auto" or self.schedule == "constant":
            return 1.0
        done = min(epoch / max(self.epochs, 1), 1.0)
        return {"linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}[self.schedule]

    def beta_at(self, epoch: float) -> float:
        """The weight of the latent sites at a fractional epoch."""
        return self.beta * min(epoch / self.kl_warmup, 1.0) if self.kl_warmup else self.beta

    @field_serializer("optimizer", "lr", "guide_lr")
    def _recorded(self, value: Any, info: SerializationInfo) -> Any:
        return recorded(value) if info.mode == "json" else value

    @model_validator(mode="after")
    def _runnable(self) -> Settings:
        if self.devices > 1 and self.backend != "numpyro":
            raise ValueError(f"devices={self.devices} share a batch on backend='numpyro' alone")
        if self.precision != "full" and self.dtype != "float32":
            raise ValueError(f"precision={self.precision!r} is of dtype='float32' alone, not of {self.dtype!r}")
        kind = library(self.optimizer)
        if kind and BACKENDS[kind] != self.backend:
            raise ValueError(f"the optimizer {recorded(self.optimizer)} runs on backend={BACKENDS[kind]!r} alone")
        if kind and holds_rate(self.optimizer) and (self.lr != LR or self.guide_lr is not None):
            raise ValueError(
                f"the optimizer {recorded(self.optimizer)} holds its own learning rate: drop lr and guide_lr"
            )
        if isinstance(self.lr, dict) and self.guide_lr is not None:
            raise ValueError("lr has learning rates by name, and guide_lr is another: write it as lr['guide']")
        return self


def _holds(key: str, name: str) -> bool:
    """Is this the name of a parameter, or of a module that holds it?"""
    return key in ("", name) or name.startswith(f"{key}.")


def settings_of(**options: Any) -> Settings:
    """Settings from keyword options; a wrong one is a ValueError of one sentence."""
    try:
        return Settings(**options)
    except ValidationError as error:
        first = max(error.errors(), key=lambda one: len(one["loc"]))  # the deepest, of several kinds that it may be
        own = first["type"] == "value_error"
        said = str(first["ctx"]["error"]) if own else first["msg"].lower()
        if not first["loc"]:
            raise ValueError(said) from None
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            known = ", ".join(Settings.model_fields)
            raise ValueError(f"there is no setting {name!r}; choose among {known}") from None
        raise ValueError(f"setting {name!r} is {' '.join(repr(first['input']).split())}: {said}") from None


def check_trainable(settings: Settings, parameters: Collection[str]) -> None:
    """Raise ValueError where the parameters of these names cannot be trained with an optimiser and learning rates.

    One may be known by its name only, or a function give no rate: it is asked for every epoch whose number is known.
    """
    rates = [*(settings.lr.values() if isinstance(settings.lr, dict) else [settings.lr]), settings.guide_lr]
    saved = [settings.optimizer] if settings.foreign and isinstance(settings.optimizer, str) else []
    if saved := [*saved, *(rate for rate in rates if isinstance(rate, str))]:
        raise ValueError(f"of {saved[0]} the name alone is known: pass the optimizer or the function itself")
    for name in parameters:
        settings.rate(name)
    for key in settings.lr if isinstance(settings.lr, dict) else ():
        if not any(_holds(key, name) for name in parameters):
            raise ValueError(
                f"lr has a learning rate for {key!r}, which no parameter is called; there are {', '.join(parameters)}"
            )
    epochs = 1 if settings.epochs == "auto" else settings.epochs
    for function in settings.functions:
        for epoch in range(epochs):
            learning_rate(function, epoch)


def learning_rate(function: Callable[[float], Any], epoch: float) -> float:
    """The learning rate that a function gives a fractional epoch.

    Raises:
        ValueError: it fails, or gives no number from 0 to 1e18.
    """
    where = f"lr, {recorded(function)}, called with the fractional epoch {float(epoch)},"
    try:
        rate = float(function(float(epoch)))
    except Exception as error:
        raise ValueError(f"{where} fails: {(str(error).splitlines() or [type(error).__name__])[0]}") from error
    if not 0 <= rate <= 1e18:
        raise ValueError(f"{where} gives {rate}; give a number from 0 to 1e18")
    return rate
