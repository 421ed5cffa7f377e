"""Judging: the commands that say what a run, or a backend, is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ppvae.cli.command import answered
from ppvae.cli.options import (
    MOST,
    Also,
    Backend,
    Chosen,
    Corrected,
    Data,
    Device,
    Every,
    Given,
    Items,
    Latent,
    Likelihoods,
    MaxBytes,
    Method,
    Particles,
    Posterior,
    Programs,
    Run,
    RunData,
    Seed,
    place,
)


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
