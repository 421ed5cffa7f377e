"""Command: what all commands of the command line do with their figures, and with mistakes."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from functools import wraps
from types import TracebackType
from typing import Any

import typer

# Typer wraps or vendors click, depending on its version; this is the class of every mistake in how a command is typed.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def answered(table: str) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Gives a command ``--json`` and shows the figures it returns: as one line of JSON, or as a table for people."""

    def decorate(command: Callable[..., Any]) -> Callable[..., None]:
        @wraps(command)
        def run(*args: Any, as_json: bool = False, **kwargs: Any) -> None:
            with redirect_stdout(sys.stderr) if as_json else nullcontext():
                result = command(*args, **kwargs)
            _show(result, table, as_json)
            if result.get("ok") is False:
                raise typer.Exit(1)

        flag = typer.Option(False, "--json", help="End with one line of JSON on stdout; all else goes to stderr.")
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


def _show(result: dict[str, Any], table: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result), flush=True)
        return
    from ppvae.cli import tables

    tables.show(getattr(tables, table)(result))


def run(app: typer.Typer, arguments: Sequence[str] | None) -> int:
    """Run a command and return its exit code: 2, and one sentence on stderr, for a mistake of the user's."""
    try:
        return app(arguments, prog_name="ppvae", standalone_mode=False) or 0
    except UsageError as error:
        say(f"Error: {error.format_message()}")  # type: ignore[attr-defined]
    except typer.Abort:
        return 130
    except OSError as error:
        if error.filename is None:
            raise
        say(f"Error: {error.filename}: {error.strerror}")
    except (ValueError, NotImplementedError, FloatingPointError) as error:
        if not _ours(error.__traceback__):
            raise
        say(f"Error: {error}")
    return 2


def _ours(trace: TracebackType | None) -> bool:
    """Was it ppvae that found the mistake? What other libraries raise is a bug and keeps its traceback."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("ppvae.")


def say(sentence: str) -> None:
    """One line on stderr."""
    print(" ".join(sentence.split()), file=sys.stderr)
