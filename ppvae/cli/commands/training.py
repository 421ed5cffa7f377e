"""Training: the commands that train, a demonstration among them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ppvae.cli.command import answered
from ppvae.cli.options import (
    MOST,
    Backend,
    Chosen,
    Data,
    Device,
    Epochs,
    Force,
    Latent,
    Likelihoods,
    MaxBytes,
    Memory,
    Method,
    Weights,
    place,
    told,
)
from ppvae.runs import launch


@answered("demonstrated")
def demo(
    out: Annotated[Path, typer.Option(parser=place, metavar="FOLDER", help="The folder for figures and runs.")] = Path(
        "out/demo"
    ),
    data: Annotated[
        Literal["mfeat", "spoken_digits"], typer.Option(help="mfeat, or spoken_digits to look at and listen to.")
    ] = "mfeat",
    force: Force = False,
) -> dict[str, Any]:
    """Train, query and check methods on embedded data; on both backends where the data are mfeat."""
    from ppvae.cli import places

    folder = places.writable_folder(out)
    from dataclasses import asdict

    if data == "spoken_digits":
        from ppvae.cli.demo_spoken_digits import demo_spoken_digits

        return {"out": str(out), "recognised": [asdict(row) for row in demo_spoken_digits(folder, force=force)]}
    from ppvae.cli.demo import demo as run

    return {"out": str(out), "runs": [asdict(row) for row in run(folder, force=force)]}


@answered("facts")
def fit(
    method: Method,
    data: Data = "mfeat",
    backend: Backend = None,
    epochs: Epochs = None,
    latent: Latent = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help=told("seed", "The one integer that reproduces the run"))
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, max=MOST, help=told("batch_size", "Items per step"))] = None,
    lr: Annotated[float | None, typer.Option(help=told("lr", "Learning rate"))] = None,
    device: Device = None,
    dtype: Annotated[str | None, typer.Option(help=told("dtype", "float32 or float64"))] = None,
    precision: Annotated[
        str | None, typer.Option(help=told("precision", "full, or bfloat16 for faster products of networks on a GPU"))
    ] = None,
    holdout: Annotated[float, typer.Option(min=0, max=1, help="Share of the rows to keep for evaluate.")] = 0.25,
    out: Annotated[
        Path | None, typer.Option(parser=place, metavar="FOLDER", help="The run folder; runs/METHOD where left out.")
    ] = None,
    max_bytes: MaxBytes = None,
    memory: Memory = None,
    weights: Weights = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run folder's last checkpoint.")] = False,
    force: Force = False,
    likelihood: Likelihoods = [],  # noqa: B006 - typer reads it, nobody writes it
    chosen: Chosen = [],  # noqa: B006 - typer reads it, nobody writes it
) -> dict[str, Any]:
    """Train a method or your own programs, kept in a folder; by several processes where torchrun starts them."""
    from ppvae.cli import fitting, places, programs, sources

    launch.check()
    flags = {"backend": backend, "epochs": epochs, "latent": latent, "seed": seed, "batch_size": batch_size}
    numbers = {"lr": lr, "device": device, "dtype": dtype, "precision": precision}
    settings, options = sources.sorted_out(method, {**flags, **numbers}, chosen)
    folder = places.writable_folder(out or Path("runs", programs.label(method)))
    with sources.room(data, memory, folder) as room:
        wanted = sources.Wanted(holdout=holdout, seed=settings.seed, room=room)
        rows, held_out = sources.split(sources.data_set(data, max_bytes, likelihood, wanted), holdout, settings.seed)
        vae = programs.pair(method, rows.modalities or (), options, settings.seed)
        kept = {"fraction": holdout, "seed": settings.seed}
        notes = {"method": method, "options": options, "data_set": data, "holdout": kept, "weights": weights}
        return fitting.trained(vae, rows, held_out, settings, folder, resume, force, notes)


@answered("swept")
def sweep(
    file: Annotated[Path, typer.Argument(parser=place, metavar="SWEEP.toml", help="What to search: docs/sweeps.md.")],
    out: Annotated[
        Path | None,
        typer.Option(parser=place, metavar="FOLDER", help="The trials' folder; SWEEP beside the file where left out."),
    ] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Run trials side by side on a Ray cluster: docs/sweeps.md.")
    ] = False,
) -> dict[str, Any]:
    """Search hyperparameters with Optuna; typed again it goes on, and so do several at once."""
    from ppvae.cli import places
    from ppvae.cli.sweeps import entries

    if launch.count() > 1:
        raise ValueError(
            "a sweep is not for a launcher such as torchrun, whose processes share one run: type the command several "
            "times, and each takes trials of its own (docs/sweeps.md)"
        )
    said = entries.parsed(file)
    asked = entries.distributions(file, said)
    folder = places.writable_folder(out or file.with_suffix(""))
    if ray:
        from ppvae.cli.sweeps.on_ray import swept
    else:
        from ppvae.cli.sweeps.running import swept

    return swept(file, said, asked, folder)
