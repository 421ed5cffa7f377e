"""The command line: ``ppvae demo | list | fit | sweep | evaluate | query | generate | ...``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ppvae import __version__
from ppvae.cli.command import answered
from ppvae.cli.commands import answering, judging, training
from ppvae.cli.options import What

HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(no_args_is_help=True, add_completion=False, context_settings=HELP)


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"ppvae {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Multimodal VAEs, written once as Pyro programs, trained on PyTorch or on JAX."""


@answered("catalogue")
def list_(what: What = None) -> dict[str, Any]:
    """Show the methods, the shipped data sets and the likelihoods, or one of these alone."""
    lists = ("methods", "datasets", "likelihoods")
    if what not in (None, *lists):
        raise ValueError(f"there is no list of {what!r}; choose one of {', '.join(lists)}")
    from ppvae import datasets
    from ppvae.language import modality
    from ppvae.zoo import table

    methods = {name: {"when": row.when, "reference": row.reference} for name, row in table.METHODS.items()}
    found = {"methods": methods, "datasets": list(datasets.NAMES), "likelihoods": list(modality.LIKELIHOODS)}
    return found if what is None else {what: found[what]}


COMMANDS = {
    "demo": training.demo,
    "list": list_,
    "fit": training.fit,
    "sweep": training.sweep,
    "evaluate": judging.evaluate,
    "query": answering.query,
    "generate": answering.generate,
    "diagnose": judging.diagnose,
    "report": judging.report,
    "parity": judging.parity,
}  # in the order of --help
for name, command in COMMANDS.items():
    app.command(name)(command)
