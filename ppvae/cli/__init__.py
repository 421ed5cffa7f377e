"""Command line: the commands, what their words stand for, and what they show. Calls every room."""

from __future__ import annotations

from collections.abc import Sequence

from ppvae.cli import interruption


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; the words are those of this process by default."""
    return interruption.guarded(lambda: _run(arguments), last=arguments is None)


def _run(arguments: Sequence[str] | None) -> int:
    from ppvae.cli import command  # late: Ctrl-C may come while it is loaded
    from ppvae.cli.app import app

    return command.run(app, arguments)
