"""Options: the arguments that commands share, each with its words of help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ppvae.cli.command import bytes_of, whole_or_auto
from ppvae.runs.settings import Settings

MOST = 2**31 - 1  # a count or seed that every library takes


def place(text: str | Path) -> Path:
    """A file or folder that somebody named, or a default; nothing would be the current folder."""
    if not str(text).strip():
        raise typer.BadParameter("a file or folder needs a name, and this one is empty")
    if str(text) == "-":
        raise typer.BadParameter(
            "'-' does not stand for a stream here: name a file or folder (./- is one of this name)"
        )
    return Path(text)


OWN = ", and of a run its own"  # where a command has a run to look at


def told(setting: str, text: str, further: str = "") -> str:
    """The help of a setting, with its default."""
    return f"{text}; {Settings.model_fields[setting].default} where left out{further}."


Method = Annotated[str, typer.Argument(help="A method of `ppvae list`, or your own: file.py:function.")]
What = Annotated[str | None, typer.Argument(help="methods, datasets or likelihoods; all where left out.")]
Run = Annotated[Path, typer.Argument(parser=place, metavar="RUN", help="The folder of a run.")]
Data = Annotated[
    str,
    typer.Option(
        help="A shipped data set, an .npz file (NAME, NAME.observed, a mask, labels.NAME) or a description in .toml."
    ),
]
Memory = Annotated[
    int | None,
    typer.Option(
        parser=bytes_of, metavar="BYTES", help="With a .toml: train within about so much, 1GB, from disk if need be."
    ),
]
Likelihoods = Annotated[
    list[str], typer.Option("--likelihood", help="NAME=likelihood of a modality in an .npz file; repeatable.")
]
Weights = Annotated[
    str | None, typer.Option(metavar="LABEL", help="The label of the data that says how much each row counts.")
]
RunData = Annotated[
    str | None, typer.Option(help="A shipped data set, an .npz or .toml file; the run's own if left out.")
]
MaxBytes = Annotated[
    int | None,
    typer.Option(
        min=1, help="Refuse a file that unpacks to more; by default to more than 100 times its size and 16 MiB."
    ),
]
Backend = Annotated[str | None, typer.Option(help=told("backend", "pyro or numpyro", OWN))]
Device = Annotated[str | None, typer.Option(help=told("device", "auto, cpu, cuda or gpu", OWN))]
Epochs = Annotated[
    str | None,
    typer.Option(parser=whole_or_auto, metavar="N|auto", help="Passes over the data; auto where left out."),
]
Latent = Annotated[
    int | None, typer.Option(min=1, max=MOST, help="Dimensions of the latent; the method's own where left out.")
]
Chosen = Annotated[
    list[str], typer.Option("--set", help="key=value: any setting, or option of the method; repeatable.")
]
Programs = Annotated[str | None, typer.Option(help="file.py:function that rebuilds a run of your own programs.")]
Given = Annotated[str | None, typer.Option(help="Modalities to look at, as a,b; all where left out.")]
Also = Annotated[list[str], typer.Option("--given", help="Look at these modalities together too, as a,b; repeatable.")]
Every = Annotated[bool, typer.Option("--all", help="All rows, not only those held out of training.")]
Items = Annotated[int, typer.Option(min=2, max=MOST, help="At most so many rows, and so many simulated items.")]
Posterior = Annotated[
    Literal["guide", "corrected", "auto"],
    typer.Option(help="Latents by the guide, by each row's own posterior, or by that where the guide fails."),
]
Particles = Annotated[int, typer.Option(min=25, max=MOST, help="Importance-weighted draws for k-hat and evidence.")]
Corrected = Annotated[
    int,
    typer.Option(min=0, max=MOST, help="Rows to correct of each subset whose guide is suspect, which costs most."),
]
Mean = Annotated[
    bool,
    typer.Option("--mean", help="One answer for each item, without noise: the mean of its draws, or their mode."),
]
Seed = Annotated[int, typer.Option(min=0, max=MOST, help="Seed of the random draws.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Answers = Annotated[
    Path,
    typer.Option(
        parser=place, metavar="FILE|DIR", help="The .npz file to write, or a folder for pictures, sounds and words."
    ),
]
