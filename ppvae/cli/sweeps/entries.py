"""Entries: what the TOML file of a sweep may say, and what Optuna makes of it."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, PlainValidator, Tag, field_validator

from ppvae.data import toml
from ppvae.data.preprocessing.extra import extra

# These change what the held-out loss is of, or its scale, so that trials would not be comparable.
FIXED = {
    "seed": "draws the rows that trials are compared on",
    "beta": "is a weight in the loss that they are compared by",
    "sleep": "is a weight in the loss that they are compared by",
}


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("give a number")
    return value


Number = Annotated[int | float, PlainValidator(_number)]


class Strict(BaseModel):
    """What takes no key that it does not know, and no text for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Range(Strict):
    """Numbers from ``low`` to ``high``, both included: whole ones where all that is said is whole."""

    low: Number
    high: Number
    log: bool = False
    step: Number | None = None


def _kind(value: Any) -> str | None:
    return "choices" if isinstance(value, list) else "range" if isinstance(value, dict | Range) else None


Choices = Annotated[list[JsonValue], Field(min_length=1)]
Searched = Annotated[
    Annotated[Choices, Tag("choices")] | Annotated[Range, Tag("range")],
    Discriminator(
        _kind,
        custom_error_type="neither",
        custom_error_message="give a list of choices, or {low = ..., high = ...}",
    ),
]


class Sweep(Strict):
    """The whole file.

    Attributes:
        method: a method, or ``file.py:function``.
        data: as ``--data`` of ``ppvae fit``; likewise ``likelihood`` by modality, ``weights`` and ``holdout``.
        trials: how many to finish.
        seed: of the suggestions, of the rows held out, and of each training.
        options: settings and options of the method that all trials share.
        search: those that trials differ in.
    """

    method: str
    data: str = "mfeat"
    likelihood: dict[str, str] = {}
    weights: str | None = None
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.25
    trials: Annotated[int, Field(ge=1, lt=2**31)]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    options: dict[str, JsonValue] = {}
    search: Annotated[dict[str, Searched], Field(min_length=1)]

    @field_validator("search")
    @classmethod
    def _comparable(cls, search: dict[str, Any], info: Any) -> dict[str, Any]:
        for name in search:
            if name in FIXED:
                raise ValueError(f"{name} {FIXED[name]}, so it cannot be searched")
            if name in info.data.get("options", {}):
                raise ValueError(f"{name} is in [options] too: leave it in one of them")
        return search


def parsed(path: Path) -> Sweep:
    """A sweep from its TOML file.

    Raises:
        ValueError: it is missing, no TOML, or says what it may not.
    """
    return toml.parsed(path, Sweep, "search", "file")


def distributions(path: Path, sweep: Sweep) -> dict[str, Any]:
    """Optuna's distribution of each searched name.

    Raises:
        ValueError: Optuna is not installed, or a range is none.
    """
    optuna, found = extra("optuna", "sweep"), {}
    for name, entry in sweep.search.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # such as of a step that does not lead to high
                found[name] = _distribution(optuna.distributions, entry)
        except (ValueError, UserWarning) as error:
            raise ValueError(f"{str(path)!r}: search.{name}: {error}") from None
    return found


def _distribution(kinds: Any, entry: Any) -> Any:
    if isinstance(entry, list):
        return kinds.CategoricalDistribution(list(dict.fromkeys(map(json.dumps, entry))))  # lists are no choices there
    stated = entry.model_dump(exclude_none=True)
    whole = all(isinstance(number, int) for number in stated.values())
    return (kinds.IntDistribution if whole else kinds.FloatDistribution)(**stated)


def values(sweep: Sweep, suggested: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial's suggestions stand for."""
    return {name: json.loads(it) if isinstance(sweep.search[name], list) else it for name, it in suggested.items()}


def extremes(entry: Any) -> list[Any]:
    """All choices, or the ends of a range: where these are right, so is what lies between them."""
    return entry if isinstance(entry, list) else [entry.low, entry.high]
