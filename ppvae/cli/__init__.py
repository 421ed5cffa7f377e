"""Command line: the commands, what their words stand for, and what they show. Calls every room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ppvae.backends.devices import compilation_cache
from ppvae.cli import interruption
from ppvae.face import show
from ppvae.runs import launch

show(__name__, {"app": "app"})  # late: Ctrl-C may come while it is loaded

if TYPE_CHECKING:
    from ppvae.cli.app import app as app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; the words are those of this process by default."""
    if arguments is None:
        launch.agreeing()
    return interruption.guarded(lambda: _run(arguments), last=arguments is None)


def _run(arguments: Sequence[str] | None) -> int:
    if arguments is None:
        compilation_cache.keep()
    from ppvae.cli import command
    from ppvae.cli.app import app

    return command.run(app, arguments)
