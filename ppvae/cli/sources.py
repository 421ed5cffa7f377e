"""Sources: what the words of a command line stand for: data, methods, programs in a user's file, settings."""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ppvae import datasets
from ppvae.data import Dataset
from ppvae.data.reader import read_npz
from ppvae.inference.fitted import Fitted
from ppvae.language.modality import Modality
from ppvae.runs import checkpoint
from ppvae.runs.files import replacing
from ppvae.runs.settings import Settings
from ppvae.runs.vae import VAE
from ppvae.training import loading
from ppvae.training.fit import data_key, settings_of
from ppvae.zoo import build


def data_set(name: str) -> Dataset:
    """The shipped data set of this name, or the one in this ``.npz`` file."""
    if name in datasets.NAMES:
        return datasets.load(name)
    if not name.endswith(".npz") and not Path(name).exists():
        raise ValueError(f"unknown data {name!r}: give an .npz file or one of {', '.join(datasets.NAMES)}")
    return read_npz(name)


def is_file(method: str) -> bool:
    """Does this name programs in a user's file, ``file.py:function``, rather than a method?"""
    return method.rpartition(":")[0].endswith(".py") or method.endswith(".py")


def pair(method: str, modalities: Sequence[Modality], options: Mapping[str, Any], seed: int = 0) -> VAE:
    """A method of the zoo, or what the function in ``file.py:function`` makes, freshly initialised.

    Raises:
        ValueError: there is no such method, file or function, or it fails.
    """
    if not is_file(method):
        return build.method(method, modalities, seed=seed, **options)
    make = _function(method)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = _call(method, lambda: make(modalities, **options))
    if not isinstance(made, VAE):
        raise ValueError(f"{method} must return a ppvae.VAE, but returned {_kind(made)}")
    return made


def assignments(pairs: Sequence[str]) -> dict[str, Any]:
    """``key=value`` texts as a dict; a value is JSON where it can be read so, else text."""
    found: dict[str, Any] = {}
    for text in pairs:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ValueError(f"--set takes key=value, not {text!r}")
        if key in found:
            raise ValueError(f"--set {key} is given twice")
        found[key] = _value(value)
    return found


def sorted_out(method: str, flags: Mapping[str, Any], pairs: Sequence[str]) -> tuple[Settings, dict[str, Any]]:
    """What was set on the command line, as settings of the run and as options of the method.

    Args:
        method: the method, or ``file.py:function``.
        flags: settings and options with a flag of their own, None where not given.
        pairs: the ``key=value`` texts of ``--set``.

    Raises:
        ValueError: something is set twice, or neither the settings nor the method know it.
    """
    given, chosen = {key: value for key, value in flags.items() if value is not None}, assignments(pairs)
    for key in chosen:
        if key in given:
            raise ValueError(f"{key} is set twice, by --set and by --{key.replace('_', '-')}")
    both = {**given, **chosen}
    known = _function_options(method) if is_file(method) else build.options_of(method)
    for key in both:
        if key not in Settings.model_fields and known is not None and key not in known:
            raise ValueError(
                f"there is no setting or option {key!r}; settings are {', '.join(Settings.model_fields)}; "
                f"options of {method} are {', '.join(known) or 'none'}"
            )
    settings = {key: value for key, value in both.items() if key in Settings.model_fields}
    return settings_of(**settings), {key: value for key, value in both.items() if key not in settings}


def split(data: Dataset, holdout: float, seed: int) -> tuple[Dataset, Dataset | None]:
    """The rows to train on, and those held out: None where none are."""
    if not holdout:
        return data, None
    return data.split(1 - holdout, seed)


def held_out(fitted: Fitted, data: Dataset) -> Dataset:
    """The rows that the run did not train on; all where it held out none.

    Raises:
        ValueError: these data are not those of the run.
    """
    kept = fitted.notes.get("holdout") or {"fraction": 0, "seed": 0}
    train, test = split(data, kept["fraction"], kept["seed"])
    if data_key(train) != fitted.notes.get("data"):
        raise ValueError("the run was trained on other data, so none of these rows are its held-out ones; add --all")
    return data if test is None else test


def data_of(folder: Path, fitted: Fitted, data: str | None) -> Dataset:
    """The named data, or the run's own.

    Raises:
        ValueError: the run does not say what its own are.
    """
    if (name := data or fitted.notes.get("data_set")) is None:
        raise ValueError(f"the run {str(folder)!r} does not say what it was trained on: add --data NAME or file.npz")
    return data_set(name)


def looked_at(
    folder: Path, data: str | None, every: bool, programs: str | None, backend: str | None, device: str | None
) -> tuple[Fitted, Dataset, bool | None]:
    """A run, the rows to judge it by, held out or all, and whether training saw them: None of all of other data."""
    fitted = run(folder, programs, backend, device)
    rows = data_of(folder, fitted, data)
    kept = rows if every else held_out(fitted, rows)
    return fitted, kept, None if every and data is not None else kept is rows


def run(folder: Path, programs: str | None, backend: str | None = None, device: str | None = None) -> Fitted:
    """The fitted pair in a run folder, rebuilt from ``file.py:function`` where it is of a user's own programs."""
    described = checkpoint.opened(folder).description
    made = None
    if programs is not None:
        if not is_file(programs):
            raise ValueError(f"--programs takes file.py:function, not {programs!r}")
        made = pair(programs, described.measured(), described.notes.options or {})
    elif described.recipe is None:
        hint = described.notes.method or "file.py:function"
        raise ValueError(f"the run {str(folder)!r} is of your own programs: add --programs {hint}")
    fitted = loading.load(folder, made)
    changes = {key: value for key, value in {"backend": backend, "device": device}.items() if value is not None}
    return replace(fitted, settings=settings_of(**{**fitted.settings.model_dump(), **changes}))


def names(text: str | None) -> list[str] | None:
    """Names from ``a,b``; None stays None."""
    found = None if text is None else [name.strip() for name in text.split(",") if name.strip()]
    if found == []:
        raise ValueError(f"{text!r} names no modality")
    return found


def label(method: str) -> str:
    """A name for the run folder of a method, or of a user's programs."""
    return Path(method.rpartition(":")[0] or method).stem if is_file(method) else method


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Write arrays as an ``.npz`` file; returns its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return str(path)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _function(programs: str) -> Callable[..., Any]:
    """The function that ``file.py:function`` names, of that file as a module of its own."""
    file, _, name = programs.rpartition(":") if ":" in programs else (programs, "", "make")
    path = Path(file).resolve()
    if not path.is_file():
        raise ValueError(f"there is no file {file!r} to take {name} from")
    module = sys.modules.get(str(path)) or _call(programs, lambda: _imported(path))
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"{file} has no function {name!r}: write `def {name}(modalities, **options)` there")
    return function


def _imported(path: Path) -> Any:
    """The file as a module named by its path; as for a script, its folder is where its own imports are found."""
    spec = importlib.util.spec_from_file_location(str(path), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    sys.modules[str(path)] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[str(path)]
        raise
    return module


def _function_options(programs: str) -> list[str] | None:
    """The options that a user's function names; None where it takes any."""
    parameters = list(inspect.signature(_function(programs)).parameters.values())
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [parameter.name for parameter in parameters[1:]]


def _call(programs: str, function: Callable[[], Any]) -> Any:
    """Run a user's code; whatever it raises becomes one sentence that says where."""
    try:
        return function()
    except Exception as error:
        raise ValueError(f"{programs} fails{_place(error, programs)}: {_kind(error)}: {_line(error)}") from None


def _place(error: Exception, programs: str) -> str:
    file = Path(programs.rpartition(":")[0] or programs).name
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == file]
    line = error.lineno if isinstance(error, SyntaxError) else next(iter(reversed(lines)), None)
    return "" if line is None else f" at line {line}"


def _kind(value: Any) -> str:
    return type(value).__name__


def _line(error: Exception) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return (text.strip().splitlines() or ["no message"])[0]
