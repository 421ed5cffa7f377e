"""Programs: what a method's name, or a function in a user's file, makes."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppvae.runs.settings import Settings
from ppvae.zoo import table

if TYPE_CHECKING:
    from ppvae.language.modality import Modality
    from ppvae.runs.vae import VAE


def is_file(method: str) -> bool:
    """Does this name programs in a user's file, ``file.py:function``, rather than a method?"""
    return method.rpartition(":")[0].endswith(".py") or method.endswith(".py")


def pair(method: str, modalities: Sequence[Modality], options: Mapping[str, Any], seed: int = 0) -> VAE:
    """A method of the zoo, or what the function in ``file.py:function`` makes, freshly initialised.

    Raises:
        ValueError: there is no such method, file or function, or it fails.
    """
    if not is_file(method):
        from ppvae.zoo import build

        _check_options(method, build.options_of(method), options)
        return build.method(method, modalities, seed=seed, **options)
    make = _function(method)
    _check_options(method, _options(make), options)
    return _made(method, lambda: make(modalities, **options), seed)


def _made(method: str, make: Callable[[], Any], seed: int) -> VAE:
    import torch

    from ppvae.runs.vae import VAE

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = _call(method, make)
    if not isinstance(made, VAE):
        raise ValueError(f"{method} must return a ppvae.VAE, but returned {_kind(made)}")
    return made


def find(method: str) -> None:
    """Raise ValueError where there is no such method or file; a file is not run for it."""
    _place_of(method) if is_file(method) else table.find(method)


def label(method: str) -> str:
    """A name for the run folder of a method, or of a user's programs."""
    return Path(method.rpartition(":")[0] or method).stem if is_file(method) else method


def _place_of(programs: str) -> tuple[Path, str]:
    """The file and the function that ``file.py:function`` names."""
    file, _, name = programs.rpartition(":") if ":" in programs else (programs, "", "make")
    if not Path(file).is_file():
        raise ValueError(f"there is no file {file!r} to take {name} from")
    return Path(file).resolve(), name


def _function(programs: str) -> Callable[..., Any]:
    """The function that ``file.py:function`` names, of that file as a module of its own."""
    path, name = _place_of(programs)
    module = sys.modules.get(str(path)) or _call(programs, lambda: _imported(path))
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"{path.name} has no function {name!r}: write `def {name}(modalities, **options)` there")
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


def _options(function: Callable[..., Any]) -> list[str] | None:
    """The options that a user's function names; None where it takes any."""
    parameters = list(inspect.signature(function).parameters.values())
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [parameter.name for parameter in parameters[1:]]


def _check_options(method: str, known: Sequence[str] | None, options: Mapping[str, Any]) -> None:
    for key in options:
        if known is not None and key not in known:
            raise ValueError(
                f"there is no setting or option {key!r}; settings are {', '.join(Settings.model_fields)}; "
                f"options of {method} are {', '.join(known) or 'none'}"
            )


def _call(programs: str, function: Callable[[], Any]) -> Any:
    """Run a user's code; whatever it raises becomes one sentence that says where."""
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise ValueError(f"{programs} fails{_place(error, programs)}: {_kind(error)}: {_line(error)}") from None


def _place(error: BaseException, programs: str) -> str:
    file = Path(programs.rpartition(":")[0] or programs).name
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == file]
    line = error.lineno if isinstance(error, SyntaxError) else next(iter(reversed(lines)), None)
    return "" if line is None else f" at line {line}"


def _kind(value: Any) -> str:
    return type(value).__name__


def _line(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return (text.strip().splitlines() or ["no message"])[0]
