"""The command line: ``ppvae demo | list | fit | evaluate | query | generate | diagnose | report | parity``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ppvae.cli import command
from ppvae.cli.command import answered

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)

Method = Annotated[str, typer.Argument(help="A method of `ppvae list`, or your own: file.py:function.")]
What = Annotated[str | None, typer.Argument(help="methods, datasets or likelihoods; all where left out.")]
Run = Annotated[Path, typer.Argument(help="The folder of a run.")]
Data = Annotated[
    str, typer.Option(help="A shipped data set, or an .npz file: NAME, NAME.observed (a mask), labels.NAME.")
]
RunData = Annotated[str | None, typer.Option(help="A shipped data set, or an .npz file; the run's own if left out.")]
Backend = Annotated[str | None, typer.Option(help="pyro or numpyro.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or gpu.")]
Epochs = Annotated[
    str | None,
    typer.Option(parser=command.whole_or_auto, metavar="N|auto", help="Passes over the data; auto where left out."),
]
Latent = Annotated[int | None, typer.Option(min=1, help="Dimensions of the latent.")]
Chosen = Annotated[
    list[str], typer.Option("--set", help="key=value: any setting, or option of the method; repeatable.")
]
Programs = Annotated[str | None, typer.Option(help="file.py:function that rebuilds a run of your own programs.")]
Given = Annotated[str | None, typer.Option(help="Modalities to look at, as a,b; all where left out.")]
Also = Annotated[list[str], typer.Option("--given", help="Look at these modalities together too, as a,b; repeatable.")]
Every = Annotated[bool, typer.Option("--all", help="All rows, not only those held out of training.")]
Items = Annotated[int, typer.Option(min=2, help="At most so many rows, and so many simulated items.")]
Particles = Annotated[int, typer.Option(min=25, help="Importance-weighted draws for k-hat and evidence.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the random draws.")]
File = Annotated[Path, typer.Option(help="The .npz file to write.")]


@app.callback()
def about() -> None:
    """Multimodal VAEs, written once as Pyro programs, trained on PyTorch or on JAX."""


@app.command()
@answered("demonstrated")
def demo(out: Annotated[Path, typer.Option(help="The folder for figures.")] = Path("out/demo")) -> dict[str, Any]:
    """Train, query and check methods on the embedded data, on both backends."""
    from dataclasses import asdict

    from ppvae.cli.demo import demo as run

    return {"out": str(out), "runs": [asdict(row) for row in run(out)]}


@app.command("list")
@answered("catalogue")
def list_(what: What = None) -> dict[str, Any]:
    """Show the methods, the shipped data sets and the likelihoods, or one of these alone."""
    from ppvae import datasets
    from ppvae.language import modality
    from ppvae.zoo import table

    methods = {name: {"when": row.when, "reference": row.reference} for name, row in table.METHODS.items()}
    found = {"methods": methods, "datasets": list(datasets.NAMES), "likelihoods": list(modality.LIKELIHOODS)}
    if what is not None and what not in found:
        raise ValueError(f"there is no list of {what!r}; choose one of {', '.join(found)}")
    return found if what is None else {what: found[what]}


@app.command()
@answered("facts")
def fit(
    method: Method,
    data: Data = "mfeat",
    backend: Backend = None,
    epochs: Epochs = None,
    latent: Latent = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The one integer that reproduces the run.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Items per step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    device: Device = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64.")] = None,
    holdout: Annotated[float, typer.Option(min=0, max=1, help="Share of the rows to keep for evaluate.")] = 0.25,
    out: Annotated[Path | None, typer.Option(help="The run folder; runs/METHOD where left out.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run folder's last checkpoint.")] = False,
    chosen: Chosen = [],  # noqa: B006 - typer reads it, nobody writes it
) -> dict[str, Any]:
    """Train a method, or your own programs, and keep the run in a folder."""
    from ppvae.cli import sources, summaries
    from ppvae.training.early_stopping import why_not_auto
    from ppvae.training.fit import fit as train

    flags = {"backend": backend, "epochs": epochs, "latent": latent, "seed": seed, "batch_size": batch_size}
    settings, options = sources.sorted_out(method, {**flags, "lr": lr, "device": device, "dtype": dtype}, chosen)
    rows, held_out = sources.split(sources.data_set(data), holdout, settings.seed)
    vae = sources.pair(method, rows.modalities or (), options, settings.seed)
    kept = {"fraction": holdout, "seed": settings.seed}
    notes = {"method": method, "options": options, "data_set": data, "holdout": kept}
    if "epochs" not in settings.model_fields_set and not why_not_auto(vae, settings):
        settings = settings.model_copy(update={"epochs": "auto"})
    # What tells when to stop is a part of the other rows: those held out are for evaluate.
    watched = None if settings.watches else held_out
    folder = sources.writable_folder(out or Path("runs", sources.label(method)))
    with _interruptible(folder):
        fitted = train(vae, rows, validation=watched, out=folder, resume=resume, notes=notes, **settings.model_dump())
    return {"run": str(folder), "method": method, **summaries.of_training(fitted)}


@contextmanager
def _interruptible(folder: Path) -> Iterator[None]:
    """Ctrl-C ends with exit code 130 and says what is kept."""
    try:
        yield
    except KeyboardInterrupt:
        from ppvae.runs import checkpoint

        kept = f"the checkpoint in {folder} is kept: the same command with --resume goes on from it"
        command.say(f"Interrupted; {kept if checkpoint.exists(folder) else 'there was no checkpoint yet'}.")
        raise typer.Exit(130) from None


@app.command()
@answered("facts")
def evaluate(
    run: Run,
    data: RunData = None,
    every: Every = False,
    particles: Annotated[int, typer.Option(min=1, help="Importance-weighted draws per item.")] = 1000,
    given: Given = None,
    backend: Backend = None,
    device: Device = None,
    programs: Programs = None,
    seed: Seed = 0,
) -> dict[str, Any]:
    """ELBO and log evidence of the rows that the run held out, in nats per item."""
    from ppvae.cli import sources, summaries

    fitted, rows, _ = sources.looked_at(run, data, every, programs, backend, device)
    return summaries.of_evidence(fitted.log_weights(rows, sources.names(given), particles, seed))


@app.command()
@answered("facts")
def query(
    run: Run,
    out: File,
    data: RunData = None,
    given: Given = None,
    ask: Annotated[str | None, typer.Option(help="Modalities to predict, as a,b; all where left out.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="Draws for each item.")] = 1,
    backend: Backend = None,
    device: Device = None,
    programs: Programs = None,
    seed: Seed = 0,
) -> dict[str, Any]:
    """Draw some modalities of every row given others: arrays (draws, items, ...) by name."""
    from ppvae.cli import sources

    fitted = sources.run(run, programs, backend, device)
    rows = sources.data_of(run, fitted, data)
    drawn = fitted.query(rows, sources.names(given), sources.names(ask), draws, seed)
    return {"out": sources.write(out, drawn), "items": len(rows), "draws": draws, "modalities": list(drawn)}


@app.command()
@answered("facts")
def generate(
    run: Run,
    out: File,
    items: Annotated[int, typer.Option(min=1, help="How many.")] = 64,
    backend: Backend = None,
    device: Device = None,
    programs: Programs = None,
    seed: Seed = 0,
) -> dict[str, Any]:
    """Draw new items from the model: arrays (items, ...) by modality."""
    from ppvae.cli import sources

    drawn = sources.run(run, programs, backend, device).generate(items, seed)
    return {"out": sources.write(out, drawn), "items": items, "modalities": list(drawn)}


@app.command()
@answered("diagnosed")
def diagnose(
    run: Run,
    data: RunData = None,
    every: Every = False,
    also: Also = [],  # noqa: B006 - typer reads it, nobody writes it
    items: Items = 300,
    particles: Particles = 1000,
    backend: Backend = None,
    device: Device = None,
    programs: Programs = None,
    seed: Seed = 0,
) -> dict[str, Any]:
    """Which posteriors and predictions of a run to trust, which not, and why."""
    from dataclasses import asdict

    from ppvae.cli import sources
    from ppvae.report.diagnosis import diagnose as look
    from ppvae.report.measures import Effort
    from ppvae.report.verdict import verdict

    fitted, rows, seen = sources.looked_at(run, data, every, programs, backend, device)
    effort = Effort(items=items, particles=particles, seed=seed)
    found = look(fitted, rows, [sources.names(text) or [] for text in also], effort, seen)
    said = verdict(found)
    return {"run": str(run), **asdict(found), "verdict": {"headline": said.headline, "why": said.why, **asdict(said)}}


@app.command()
@answered("facts")
def report(
    run: Run,
    out: Annotated[Path, typer.Option(help="The HTML file; its figures go into a folder beside it.")] = Path(
        "report.html"
    ),
    data: RunData = None,
    every: Every = False,
    also: Also = [],  # noqa: B006 - typer reads it, nobody writes it
    items: Items = 300,
    particles: Particles = 1000,
    backend: Backend = None,
    device: Device = None,
    programs: Programs = None,
    seed: Seed = 0,
) -> dict[str, Any]:
    """Write one page, for everybody, about what of a run can be believed."""
    from ppvae.cli import sources
    from ppvae.report.measures import Effort
    from ppvae.report.page import report as write
    from ppvae.report.verdict import verdict

    fitted, rows, seen = sources.looked_at(run, data, every, programs, backend, device)
    effort = Effort(items=items, particles=particles, seed=seed)
    found = write(fitted, rows, out, [sources.names(text) or [] for text in also], effort, seen)
    return {"out": str(out), "verdict": " ".join(verdict(found).headline)}


@app.command()
@answered("differences")
def parity(
    method: Method,
    data: Data = "mfeat",
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    latent: Latent = None,
    items: Annotated[int, typer.Option(min=1, help="Rows of the data to compare on.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the weights and the latents.")] = 0,
    chosen: Chosen = [],  # noqa: B006 - typer reads it, nobody writes it
) -> dict[str, Any]:
    """Compare log-probabilities and gradients of both backends; exit code 1 where they differ."""
    from ppvae.backends.parity import parity as compare
    from ppvae.cli import sources

    _, options = sources.sorted_out(method, {"latent": latent, "dtype": dtype}, chosen)
    rows = sources.data_set(data)
    vae = sources.pair(method, rows.modalities or (), options, seed)
    return {"method": method, **compare(vae, rows.batch(slice(items)), dtype=dtype, seed=seed)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    return command.run(app, arguments)
