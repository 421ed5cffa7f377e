"""The zoo: each published method as a row (model, guide, objective)."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError

from ppvae.modality import Modality
from ppvae.vae import VAE


@dataclass(frozen=True)
class Row:
    """One method: where its programs are (``file:Class``), with which options, and what it is for."""

    model: str
    guide: str
    objective: str
    reference: str
    when: str
    guide_options: Mapping[str, Any] = field(default_factory=dict)


METHODS = {
    "vae": Row(
        "joint:Joint",
        "product:Product",
        "elbo",
        "Kingma & Welling 2014, arXiv:1312.6114",
        "one modality, or several seen as one: the baseline",
        {"prior": False},
    ),
    "mvae": Row(
        "joint:Joint",
        "product:Product",
        "elbo",
        "Wu & Goodman 2018, arXiv:1802.05335",
        "sharp joint posteriors; any subset may be missing",
        {"prior": True},
    ),
    "mmvae": Row(
        "joint:Joint",
        "mixture:Mixture",
        "elbo",
        "Shi et al. 2019, arXiv:1911.03393",
        "translation from one modality to another",
    ),
    "mopoe": Row(
        "joint:Joint",
        "mixture_of_products:MixtureOfProducts",
        "elbo",
        "Sutter et al. 2021, arXiv:2105.02470",
        "translation from any subset, at the price of a broader posterior",
    ),
}


def method(name: str, modalities: Sequence[Modality], *, seed: int = 0, **options: Any) -> VAE:
    """A published method for these modalities, freshly initialised.

    Args:
        name: a row of the zoo: ``vae``, ``mvae``, ``mmvae`` or ``mopoe``.
        modalities: what is measured; ``dataset.modalities``.
        seed: of the initial weights.
        **options: what the row's programs take: ``latent=16``, ``hidden=(256, 256)``, ...

    Raises:
        ValueError: no method has this name, or no program of it takes an option.
    """
    row, programs = find(name), _programs(name)
    options = _checked(name, options, [*programs.values()])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = programs["model"](modalities, **_accepted(programs["model"], options))
        guide = programs["guide"](modalities, **{**row.guide_options, **_accepted(programs["guide"], options)})
    stock = all(m.encoder is None and m.decoder is None for m in modalities)
    return VAE(model, guide, row.objective, {"method": name, "options": options} if stock else {})


def find(name: str) -> Row:
    """The row of a method."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; choose one of {', '.join(METHODS)}")
    return METHODS[name]


def options_of(name: str) -> list[str]:
    """The options that a method takes."""
    return sorted({option for program in _programs(name).values() for option in option_names(program)})


def _programs(name: str) -> dict[str, Any]:
    row = find(name)
    return {"model": _program("models", row.model), "guide": _program("guides", row.guide)}


def _program(package: str, path: str) -> Any:
    file, _, name = path.partition(":")
    return getattr(importlib.import_module(f"ppvae.{package}.{file}"), name)


def _accepted(program: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key in option_names(program)}


def option_names(program: Any) -> list[str]:
    """The keyword options of a program's constructor."""
    return [name for name in inspect.signature(program).parameters if name != "modalities"]


def _checked(name: str, options: Mapping[str, Any], programs: Sequence[Any]) -> dict[str, Any]:
    """The options, each as the type that the programs declare for it."""
    hints = {key: hint for program in programs for key, hint in get_type_hints(program.__init__).items()}
    known = options_of(name)
    for key in options:
        if key not in known:
            raise ValueError(f"method {name!r} has no option {key!r}; it takes {', '.join(known)}")
    return {key: _value(key, value, hints.get(key, Any)) for key, value in options.items()}


def _value(key: str, value: Any, hint: Any) -> Any:
    try:
        value = TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        raise ValueError(f"option {key!r} is {value!r}: {error.errors()[0]['msg'].lower()}") from None
    sizes = value if isinstance(value, list | tuple) else [value]
    if any(type(size) is int and size < 1 for size in sizes):
        raise ValueError(f"option {key!r} is {value!r}: sizes are 1 or more")
    return value
