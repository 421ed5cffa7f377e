"""Build: a row of the zoo, made for the modalities at hand."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, get_type_hints

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ppvae import objectives
from ppvae.language.modality import Modality
from ppvae.language.turns import turn
from ppvae.runs.vae import VAE
from ppvae.zoo.table import Row, find


def method(name: str, modalities: Sequence[Modality], *, seed: int = 0, **options: Any) -> VAE:
    """A published method for these modalities, freshly initialised.

    Args:
        name: a row of the zoo, one of ``ppvae.zoo.table.METHODS``.
        modalities: what is measured; ``dataset.modalities``.
        seed: of the initial weights.
        **options: what the row's programs and its objective take: ``latent=16``, ``hidden=(256, 256)``, ...; and
            ``sleep=1.0``, which adds :func:`ppvae.objectives.asleep` with that weight, so that posteriors are wider.

    Raises:
        TypeError: these are no modalities.
        ValueError: no method has this name, or no program of it takes an option.
    """
    if not isinstance(modalities, Sequence):
        raise TypeError(
            f"method takes modalities, those of a data set by data.modalities, not {type(modalities).__name__}"
        )
    row = find(name)
    options = _checked(name, options)
    model, guide = parts(row)
    chosen = {**row.options, **options}
    with turn(), torch.random.fork_rng():
        torch.manual_seed(seed)
        generative = model(modalities, **_accepted(model, chosen))
        shared = {"model": generative} if "model" in inspect.signature(guide).parameters else {}
        inference = guide(modalities, **_accepted(guide, chosen), **shared)
        if hasattr(generative, "prior") and hasattr(generative.prior, "attach"):
            generative.prior.attach(inference)
    build = objectives.maker(row.objective)
    objective = row.objective if build is None else build(**_accepted(build, chosen))
    if weight := options.get("sleep"):
        objective = _asleep(objective, weight)
    stock = all(m.encoder is None and m.decoder is None for m in modalities)
    return VAE(generative, inference, objective, {"method": name, "options": options} if stock else {})


def _asleep(objective: Any, weight: float) -> tuple[objectives.Stage, ...]:
    """Each stage with new items of the model; a library's plain ELBO, which has none, is ppvae's own."""

    def sleeping(stage: objectives.Stage) -> objectives.Stage:
        plain: Any = objectives.exact(stage.objective, enumerates=True)
        return replace(stage, objective=objectives.asleep(plain, weight))

    return tuple(map(sleeping, objectives.stages(objective)))


def with_guide(vae: VAE, modalities: Sequence[Modality], seed: int = 0, *, newton: bool = False, **options: Any) -> VAE:
    """The same model with a fresh set encoder for its guide, of stock networks: its features have a size of their own.

    Args:
        vae: whose model it is; it stays as it was, and shares its weights.
        modalities: what is measured.
        seed: of the initial weights.
        newton: climb the model's density from where the set encoder starts, see :class:`ppvae.guides.newton.Newton`.
        **options: of :class:`ppvae.guides.set_encoder.SetEncoder`.

    Raises:
        ValueError: an option is wrong.
    """
    options = _checked("set_encoder", options)
    stock = [replace(modality, encoder=None) for modality in modalities]
    guide = method("set_encoder", stock, seed=seed, **options).guide
    pair = VAE(vae.model, guide, vae.objective, {**vae.recipe, "guide": options} if vae.recipe else {})
    return climbing(pair) if newton else pair


def climbing(vae: VAE) -> VAE:
    """The pair whose guide climbs the model's density from where its own, a set encoder, starts; weights are shared."""
    options = {**vae.recipe["guide"], "newton": True} if vae.recipe else {}
    guide = _program("guides", "newton:Newton")(vae.guide, vae.model)
    return replace(vae, guide=guide, recipe={**vae.recipe, "guide": options} if options else {})


def rebuilt(recipe: Mapping[str, Any], modalities: Sequence[Modality]) -> VAE:
    """The pair of a recipe, freshly initialised: a method, or its model with another guide.

    Raises:
        ValueError: nothing is made so.
    """
    vae = method(recipe["method"], modalities, **recipe["options"])
    return with_guide(vae, modalities, **recipe["guide"]) if "guide" in recipe else vae


def options_of(name: str) -> list[str]:
    """The options that a method takes."""
    return sorted({"sleep", *(option for part in parts(find(name), objective=True) for option in option_names(part))})


def parts(row: Row, objective: bool = False) -> list[Any]:
    """What a row is built of: the classes of model and guide, and the maker of its objective if that is asked for."""
    made = objectives.maker(row.objective) if objective else None
    return [_program("models", row.model), _program("guides", row.guide), *([made] if made else [])]


def _program(package: str, path: str) -> Any:
    file, _, name = path.partition(":")
    return getattr(importlib.import_module(f"ppvae.{package}.{file}"), name)


def _accepted(program: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key in option_names(program)}


def option_names(program: Any) -> list[str]:
    """The keyword options of a program's constructor, or of an objective's maker."""
    return [name for name in inspect.signature(program).parameters if name not in ("modalities", "model")]


def _checked(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, each as the type that the method's parts declare for it."""
    hints: dict[str, Any] = {"sleep": Annotated[float, Field(ge=0)]}
    for part in parts(find(name), objective=True):
        hints |= get_type_hints(part.__init__ if inspect.isclass(part) else part)
    known = options_of(name)
    for key in options:
        if key not in known:
            raise ValueError(f"method {name!r} has no option {key!r}; it takes {', '.join(known)}")
    return {key: _value(key, value, hints.get(key, Any)) for key, value in options.items()}


def _value(key: str, value: Any, hint: Any) -> Any:
    try:
        value = TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
    except ValidationError as error:
        raise ValueError(f"option {key!r} is {value!r}: {error.errors()[0]['msg'].lower()}") from None
    sizes = value if isinstance(value, list | tuple) else [value]
    if any(type(size) is int and size < 1 for size in sizes):
        raise ValueError(f"option {key!r} is {value!r}: sizes are 1 or more")
    return value
