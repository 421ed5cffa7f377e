"""The command line: ``ppvae demo | list | fit | sweep | evaluate | query | generate | ...``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ppvae import __version__
from ppvae.cli.command import answered
from ppvae.cli.options import (
    MOST,
    Also,
    Answers,
    Backend,
    Chosen,
    Corrected,
    Data,
    Device,
    Epochs,
    Every,
    Force,
    Given,
    Items,
    Latent,
    Likelihoods,
    MaxBytes,
    Memory,
    Method,
    Particles,
    Posterior,
    Programs,
    Run,
    RunData,
    Seed,
    Weights,
    What,
    place,
)

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


@app.command()
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


@app.command("list")
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


@app.command()
@answered("facts")
def fit(
    method: Method,
    data: Data = "mfeat",
    backend: Backend = None,
    epochs: Epochs = None,
    latent: Latent = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The one integer that reproduces the run.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, max=MOST, help="Items per step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    device: Device = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64.")] = None,
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

    flags = {"backend": backend, "epochs": epochs, "latent": latent, "seed": seed, "batch_size": batch_size}
    settings, options = sources.sorted_out(method, {**flags, "lr": lr, "device": device, "dtype": dtype}, chosen)
    folder = places.writable_folder(out or Path("runs", programs.label(method)))
    with sources.room(data, memory, folder) as room:
        wanted = sources.Wanted(holdout=holdout, seed=settings.seed, room=room)
        rows, held_out = sources.split(sources.data_set(data, max_bytes, likelihood, wanted), holdout, settings.seed)
        vae = programs.pair(method, rows.modalities or (), options, settings.seed)
        kept = {"fraction": holdout, "seed": settings.seed}
        notes = {"method": method, "options": options, "data_set": data, "holdout": kept, "weights": weights}
        return fitting.trained(vae, rows, held_out, settings, folder, resume, force, notes)


@app.command()
@answered("swept")
def sweep(
    file: Annotated[Path, typer.Argument(parser=place, metavar="SWEEP.toml", help="What to search: docs/sweeps.md.")],
    out: Annotated[
        Path | None,
        typer.Option(parser=place, metavar="FOLDER", help="The trials' folder; SWEEP beside the file where left out."),
    ] = None,
) -> dict[str, Any]:
    """Search hyperparameters with Optuna; typed again it goes on, and so do several at once."""
    from ppvae.cli import places
    from ppvae.cli.sweeps import entries

    said = entries.parsed(file)
    asked = entries.distributions(file, said)
    folder = places.writable_folder(out or file.with_suffix(""))
    from ppvae.cli.sweeps.running import swept

    return swept(file, said, asked, folder)


@app.command()
@answered("facts")
def evaluate(
    run: Run,
    data: RunData = None,
    every: Every = False,
    max_bytes: MaxBytes = None,
    particles: Annotated[int, typer.Option(min=1, max=MOST, help="Importance-weighted draws per item.")] = 1000,
    given: Given = None,
    posterior: Posterior = "guide",
    backend: Backend = None,
    device: Device = None,
    programs: Programs = None,
    seed: Seed = 0,
) -> dict[str, Any]:
    """ELBO and log evidence of the rows that the run held out, in nats per item; how near predictions come.

    The share of variance that they explain, of categories their accuracy, beside the mean, ridge regression and nearest
    neighbours of the training rows. Of texts, images and sounds their own measures, of data with labels how often a
    classifier reads the right one.
    These are predicted from --given, or each from all other modalities, by the guide; --posterior is of the evidence.
    """
    from ppvae.cli import sources

    shown = sources.names(given)
    fitted, rows, _, train = sources.looked_at(run, data, every, max_bytes, programs, backend, device)
    from ppvae.cli import summaries
    from ppvae.metrics.coherence import label_coherences
    from ppvae.metrics.reconstruction import likenesses
    from ppvae.metrics.skills import skills

    elbo, log_evidence = fitted.elbo_and_evidence(rows, shown, particles, seed)
    if posterior != "guide":
        log_evidence = fitted.log_evidence(rows, shown, particles, seed, posterior)
    evidence = summaries.of_evidence(elbo, log_evidence, particles) | summaries.of_served(log_evidence)
    near = summaries.of_skills(skills(fitted, rows, train, shown, seed=seed))
    near |= summaries.of_likenesses(likenesses(fitted, rows, shown, seed=seed))
    return evidence | near | summaries.of_coherences(label_coherences(fitted, rows, shown, seed))


@app.command()
@answered("facts")
def query(
    run: Run,
    out: Answers,
    data: RunData = None,
    max_bytes: MaxBytes = None,
    given: Given = None,
    ask: Annotated[str | None, typer.Option(help="Modalities to predict, as a,b; all where left out.")] = None,
    draws: Annotated[int, typer.Option(min=1, max=MOST, help="Draws for each item.")] = 1,
    posterior: Posterior = "guide",
    backend: Backend = None,
    device: Device = None,
    programs: Programs = None,
    seed: Seed = 0,
    force: Force = False,
) -> dict[str, Any]:
    """Draw some modalities of every row given others: arrays (draws, items, ...), or pictures, sounds and words."""
    from ppvae.cli import answers, sources

    place, shown, asked = answers.writable(out, force), sources.names(given), sources.names(ask)
    fitted, rows = sources.known(run, data, max_bytes, programs, backend, device)
    from ppvae.cli import summaries

    sources.check_memory(fitted, asked, draws, len(rows))
    drawn = fitted.query(rows, shown, asked, draws, seed, posterior)
    written = answers.write(place, drawn, fitted.modalities, rows.ids)
    facts = {"out": written, "items": len(rows), "draws": draws, "modalities": list(drawn)}
    return facts | summaries.of_served(drawn)


@app.command()
@answered("facts")
def generate(
    run: Run,
    out: Answers,
    items: Annotated[int, typer.Option(min=1, max=MOST, help="How many.")] = 64,
    backend: Backend = None,
    device: Device = None,
    programs: Programs = None,
    seed: Seed = 0,
    force: Force = False,
) -> dict[str, Any]:
    """Draw new items from the model: arrays (items, ...) by modality, or pictures, sounds and words."""
    from ppvae.cli import answers, sources

    place = answers.writable(out, force)
    fitted = sources.run(run, programs, backend, device)
    sources.check_memory(fitted, None, 1, items)
    drawn = fitted.generate(items, seed)
    return {"out": answers.write(place, drawn, fitted.modalities), "items": items, "modalities": list(drawn)}


@app.command()
@answered("diagnosed")
def diagnose(
    run: Run,
    data: RunData = None,
    every: Every = False,
    max_bytes: MaxBytes = None,
    also: Also = [],  # noqa: B006 - typer reads it, nobody writes it
    items: Items = 300,
    particles: Particles = 1000,
    corrected: Corrected = 16,
    backend: Backend = None,
    device: Device = None,
    programs: Programs = None,
    seed: Seed = 0,
) -> dict[str, Any]:
    """Which posteriors and predictions of a run to trust, which not, and why."""
    from ppvae.cli import sources

    further = [sources.names(text) or [] for text in also]
    fitted, rows, seen, train = sources.looked_at(run, data, every, max_bytes, programs, backend, device)
    from dataclasses import asdict

    from ppvae.report.advice import advice
    from ppvae.report.measures import measure
    from ppvae.report.subsets import Effort
    from ppvae.report.summary import summary
    from ppvae.report.verdict import verdict

    effort = Effort(items=items, particles=particles, corrected=corrected, seed=seed)
    found = summary(measure(fitted, rows, further, effort, seen, train=train))
    said = verdict(found)
    todo = [asdict(each) for each in advice(found, said)]
    judged = {"headline": said.headline, "advice": todo, "why": said.why, **asdict(said)}
    return {"run": str(run), **asdict(found), "verdict": judged}


@app.command()
@answered("facts")
def report(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=place, metavar="FILE", help="The HTML file; RUN/report.html where left out. Figures beside it."
        ),
    ] = None,
    data: RunData = None,
    every: Every = False,
    max_bytes: MaxBytes = None,
    also: Also = [],  # noqa: B006 - typer reads it, nobody writes it
    items: Items = 300,
    particles: Particles = 1000,
    corrected: Corrected = 16,
    backend: Backend = None,
    device: Device = None,
    programs: Programs = None,
    seed: Seed = 0,
) -> dict[str, Any]:
    """Write one page, for everybody, about what of a run can be believed."""
    from ppvae.cli import places, sources

    page = run / "report.html" if out is None else out
    if page.is_dir():
        raise ValueError(
            f"cannot write the report to {str(page)!r}, which is a folder: name a file such as report.html"
        )
    file = places.writable_file(page, force=page.suffix == ".html")  # a page is written anew, and nothing else
    further = [sources.names(text) or [] for text in also]
    fitted, rows, seen, train = sources.looked_at(run, data, every, max_bytes, programs, backend, device)
    from ppvae.report.measures import measure
    from ppvae.report.page import report as write
    from ppvae.report.subsets import Effort
    from ppvae.report.verdict import verdict

    effort = Effort(items=items, particles=particles, corrected=corrected, seed=seed)
    found = write(measure(fitted, rows, further, effort, seen, train=train), file)
    return {"out": str(file), "verdict": " ".join(verdict(found).headline)}


@app.command()
@answered("differences")
def parity(
    method: Method,
    data: Data = "mfeat",
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    latent: Latent = None,
    items: Annotated[int, typer.Option(min=1, max=MOST, help="Rows of the data to compare on.")] = 64,
    seed: Annotated[int, typer.Option(min=0, max=MOST, help="Seed of the weights and the latents.")] = 0,
    max_bytes: MaxBytes = None,
    likelihood: Likelihoods = [],  # noqa: B006 - typer reads it, nobody writes it
    chosen: Chosen = [],  # noqa: B006 - typer reads it, nobody writes it
) -> dict[str, Any]:
    """Compare log-probabilities and gradients of both backends; exit code 1 where they differ."""
    from ppvae.cli import programs, sources

    _, options = sources.sorted_out(method, {"latent": latent, "dtype": dtype}, chosen)
    rows = sources.data_set(data, max_bytes, likelihood)
    vae = programs.pair(method, rows.modalities or (), options, seed)
    from ppvae.backends.parity import parity as compare

    return {"method": method, **compare(vae, rows.batch(slice(items)), dtype=dtype, seed=seed)}
