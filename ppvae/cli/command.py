"""Command: what all commands of the command line do with their figures, and with mistakes."""

from __future__ import annotations

import inspect
import io
import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout, suppress
from functools import partial, wraps
from pathlib import Path
from types import TracebackType
from typing import Any

import typer
from pydantic import ByteSize, TypeAdapter, ValidationError

from ppvae.cli import readable
from ppvae.runs import launch

# Typer wraps or vendors click, depending on its version; this is the class of every mistake in how a command is typed.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]
ALIKE = (UsageError, ValueError, NotImplementedError, FloatingPointError)  # in all processes of a run
ROOM = Path(__file__).parents[1]  # where ppvae lies
BAD_INPUT, NOBODY_READS = 2, 141  # 141 is what a shell shows of a program whose reader has gone, as in `... | head -1`
JSON = (
    "End with one line of JSON on stdout; all else goes to stderr. NaN and infinities are null there, and `nulls` "
    "says by path which: {'elbo.mean': 'NaN'}. After an error stdout stays empty."
)


def answered(table: str) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Gives a command ``--json`` and shows the figures it returns: as one line of JSON, or as a table for people."""

    def decorate(command: Callable[..., Any]) -> Callable[..., None]:
        @wraps(command)
        def run(*args: Any, as_json: bool = False, **kwargs: Any) -> None:
            with redirect_stdout(sys.stderr) if as_json else nullcontext():
                result = command(*args, **kwargs)
            if launch.rank() == 0:
                _put(readable.as_json(result) if as_json else _table(result, table))
            if result.get("ok") is False:
                raise typer.Exit(1)

        flag = typer.Option(False, "--json", help=JSON)
        known = inspect.signature(command, eval_str=True)
        extra = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=flag, annotation=bool)
        run.__signature__ = known.replace(parameters=[*known.parameters.values(), extra])  # type: ignore[attr-defined]
        run.__annotations__ = {**inspect.get_annotations(command, eval_str=True), "as_json": bool}
        return run

    return decorate


def whole_or_auto(text: str) -> int | str:
    """A number of epochs, or ``auto``."""
    if text != "auto" and not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is neither a number of 0 or more nor auto")
    return text if text == "auto" else int(text)


def bytes_of(text: str) -> int:
    """A size such as ``1GB`` or ``800MB`` in bytes."""
    try:
        return int(TypeAdapter(ByteSize).validate_python(str(text)))
    except ValidationError:
        raise typer.BadParameter(f"{text!r} is no size such as 1GB or 800MB") from None


def _table(result: dict[str, Any], table: str) -> str:
    from ppvae.cli import tables

    seen = readable.each(result, lambda value, _: readable.visible(value) if isinstance(value, str) else value)
    return tables.text(getattr(tables, table)(seen))


def _put(text: str) -> None:
    """Print on stdout; where that fails, what is left goes nowhere: Python would try again when it ends."""
    try:
        print(text, flush=True)
    except OSError as error:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        error.filename = "stdout"
        raise


def run(app: typer.Typer, arguments: Sequence[str] | None) -> int:
    """Run a command and return its exit code: 2, and one sentence on stderr, for a mistake of the user's."""
    _open_streams()
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        command = typer.main.get_command(app)
        with warnings.catch_warnings(), command.make_context("ppvae", words) as context:
            warnings.showwarning = partial(_warned, warnings.showwarning)
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except BrokenPipeError:
        return NOBODY_READS
    except Exception as error:
        reason = mistake(error)
        if reason is None:
            raise
        if reason:
            say(f"Error: {reason}", speakers(error))
        return BAD_INPUT
    return 0


def _warned(others: Callable[..., None], message: Warning, category: type[Warning], filename: str, *where: Any) -> None:
    """Say what ppvae warns of, without the line of its text that it stands in."""
    if category is UserWarning and ROOM in Path(filename).parents:
        say(f"Warning: {message}")
    else:
        others(message, category, filename, *where)


def _open_streams() -> None:
    """Streams that were closed (`>&-`) lead nowhere, and what a terminal cannot show it shows as an escape."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - as long as the process
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def mistake(error: Exception) -> str | None:
    """What to say of a mistake of the user's, or of the machine's limits; None where it is a bug."""
    if isinstance(error, UsageError):
        return error.format_message()  # type: ignore[attr-defined]
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    if isinstance(error, MemoryError) or _out_of_memory(error):
        return f"there is not enough memory for what was asked: {error}"
    known = isinstance(error, ValueError | NotImplementedError | FloatingPointError | ConnectionError)
    return str(error) if known and _ours(error.__traceback__) else None


def _out_of_memory(error: Exception) -> bool:
    """Torch and JAX have no class of their own for it."""
    told = ("can't allocate memory", "not enough memory", "out of memory", "RESOURCE_EXHAUSTED")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in told)


def _ours(trace: TracebackType | None) -> bool:
    """Was it ppvae that found the mistake? What other libraries raise is a bug and keeps its traceback."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("ppvae.")


def speakers(error: Exception) -> float:
    """How many of several processes tell of an error: one where all have it, two where one of them may be dead."""
    if isinstance(error, ALIKE):
        return 1
    return 2 if isinstance(error, ConnectionError) else math.inf


def say(sentence: str, speakers: float = 1) -> None:
    """One line on stderr, if anybody reads there; of several processes so many say it."""
    if launch.rank() >= speakers:
        return
    with suppress(OSError):
        print(readable.sentence(sentence), file=sys.stderr, flush=True)
