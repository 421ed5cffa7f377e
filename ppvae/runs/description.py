"""Description: what ``run.json`` says of a run, checked strictly, and what tells the run from any other."""

from __future__ import annotations

import hashlib
import json
import math
from importlib import metadata
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from ppvae.language.modality import Modality
from ppvae.runs.settings import Settings

FORMAT = 2
# What fixes the order of the rows and the numbers: a run goes on with the same bits only where these stay.
FIXED = ("seed", "batch_size", "dtype", "optimizer")
LIBRARIES = ("ppvae", "torch", "pyro-ppl", "jax", "numpyro", "optax", "numpy")


class Recipe(BaseModel):
    """What rebuilds a method of the zoo, and the options of a set encoder where that is the guide of its model."""

    model_config = ConfigDict(extra="forbid")

    method: str
    options: dict[str, Any]
    guide: dict[str, Any] = {}

    def plain(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return self.model_dump(exclude_unset=True)


class Measured(BaseModel):
    """What is kept of a modality; its center and spread are among the weights."""

    model_config = ConfigDict(extra="forbid")

    name: str
    shape: list[PositiveInt]
    likelihood: str
    scale: Annotated[PositiveFloat, Field(allow_inf_nan=False)] | None = None
    levels: PositiveInt | None = None
    components: PositiveInt = 5
    kind: str = "vector"
    preprocessing: dict[str, Any] | None = None
    features: list[str | int] | None = None
    unmeasured: list[NonNegativeInt] = []

    def modality(self) -> Modality:
        """The modality itself."""
        return Modality(**{**dict(self), "shape": tuple(self.shape)})

    @model_validator(mode="after")
    def _within(self) -> Measured:
        if any(element >= math.prod(self.shape) for element in self.unmeasured):
            raise ValueError("an unmeasured element is beyond the shape")
        return self


class Entry(BaseModel):
    """An epoch in a run's history."""

    model_config = ConfigDict(extra="allow")

    epoch: PositiveInt
    loss: FiniteFloat
    sites: dict[str, FiniteFloat]
    seconds: Annotated[FiniteFloat, Field(ge=0)]
    gradient_norm: Annotated[FiniteFloat, Field(ge=0)] | None = None
    validation_loss: FiniteFloat | None = None
    best_epoch: PositiveInt | None = None


class Holdout(BaseModel):
    """Which rows the command line held out."""

    model_config = ConfigDict(extra="forbid")

    fraction: Annotated[float, Field(ge=0, le=1)]
    seed: Annotated[int, Field(ge=0, lt=2**31)]


Place = Annotated[int, Field(ge=0, lt=60)]


class Plates(BaseModel):
    """Where the plates of a pair are: a :class:`~ppvae.language.plates.Layout`."""

    model_config = ConfigDict(extra="forbid")

    left: Place
    right: Place
    apart: bool


class Texts(BaseModel):
    """What the check before training has found of the programs' texts."""

    model_config = ConfigDict(extra="forbid")

    layout: Plates
    other_plates: list[str]
    stand_ins: dict[Literal["model", "guide"], dict[str, list[Annotated[int, Field(ge=0)]]]]


class Notes(BaseModel):
    """Facts kept with a run: any, but these are read again by the command line and by a resumed run."""

    model_config = ConfigDict(extra="allow")

    method: str | None = None
    options: dict[str, Any] | None = None
    data_set: str | None = None
    holdout: Holdout | None = None
    weights: str | None = None
    data: int | None = None
    order: int | None = None
    texts: Texts | None = None


class Description(BaseModel):
    """What is written of a run beside its weights."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[2]
    versions: dict[str, str]
    recipe: Recipe | None
    modalities: list[Measured]
    settings: Settings
    history: list[Entry]
    notes: Notes

    @model_validator(mode="after")
    def _whole(self) -> Description:
        if [entry.epoch for entry in self.history] != list(range(1, len(self.history) + 1)):
            raise ValueError("the epochs of the history are not 1, 2, 3, ...")
        if len({measured.name for measured in self.modalities}) < len(self.modalities):
            raise ValueError("two modalities share a name")
        return self

    @property
    def id(self) -> str:
        """A digest of what a resumed run may not change: method, modalities, rows and their order, fixed settings."""
        notes, settings = self.notes, self.settings
        fixed = [getattr(settings, name) for name in FIXED]
        return _digest([self.plain()["recipe"], self.plain()["modalities"], fixed, notes.data, notes.order])

    def checksum(self, epochs: int) -> str:
        """A digest of the run as it was after so many epochs; it leaves out how long they took."""
        told = [entry.model_dump(exclude={"seconds"}, exclude_unset=True) for entry in self.history[:epochs]]
        return _digest([self.id, told])

    def measured(self) -> list[Modality]:
        """The modalities."""
        return [measured.modality() for measured in self.modalities]

    def plain(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return self.model_dump(mode="json", exclude_unset=True)


class Marks(BaseModel):
    """What the weights say of themselves: of which run, after how many epochs and steps, and two checksums.

    ``history`` is that of the description, ``tensors`` that of the weights and of these marks.
    """

    model_config = ConfigDict(extra="forbid")

    id: str
    epochs: Annotated[int, Field(ge=0)]
    step: Annotated[int, Field(ge=0, lt=2**31)]
    history: str
    tensors: str

    def follow(self, description: Description) -> bool:
        """Are these weights of this run, at its end or at an earlier moment?"""
        epochs = self.epochs
        return epochs <= len(description.history) and self.history == description.checksum(epochs)


def versions() -> dict[str, str]:
    """Those of the libraries that a run's numbers depend on."""
    return {name: metadata.version(name) for name in LIBRARIES}


def describe(**facts: Any) -> Description:
    """The description of a run as it will be read again.

    Raises:
        ValueError: JSON cannot hold a fact, or what is to be read again would be refused.
    """
    try:
        text = json.dumps({"format": FORMAT, **facts}, allow_nan=False)
        return Description.model_validate(json.loads(text), strict=True)
    except ValidationError as error:
        raise ValueError(f"this run cannot be saved: {wrong(error)}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"this run cannot be saved: {error}; give notes, options and modalities Python's own values"
        ) from None


def parsed(text: str) -> Any:
    """JSON as the standard has it: no name twice in one object, every number finite.

    Raises:
        ValueError: it is not.
    """
    return json.loads(text, object_pairs_hook=_once, parse_constant=_finite, parse_float=_finite)


def wrong(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    first = error.errors()[0]
    return ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"].lower()]))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:20]} is no finite number")
    return number


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
