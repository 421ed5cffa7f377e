"""Answering: the commands that draw from a run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ppvae.cli.command import answered
from ppvae.cli.options import (
    MOST,
    Answers,
    Backend,
    Device,
    Force,
    Given,
    MaxBytes,
    Mean,
    Posterior,
    Programs,
    Run,
    RunData,
    Seed,
)

MANY = 100  # draws, of which a mean is taken
Draws = Annotated[
    int | None, typer.Option(min=1, max=MOST, help=f"Draws for each item: 1 where left out, {MANY} for --mean.")
]


@answered("facts")
def query(
    run: Run,
    out: Answers,
    data: RunData = None,
    max_bytes: MaxBytes = None,
    given: Given = None,
    ask: Annotated[str | None, typer.Option(help="Modalities to predict, as a,b; all where left out.")] = None,
    draws: Draws = None,
    mean: Mean = False,
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

    count = draws or (MANY if mean else 1)
    sources.check_memory(fitted, asked, count, len(rows))
    drawn = fitted.query(rows, shown, asked, count, seed, posterior)
    told = answers.points(drawn, fitted.modalities) if mean else drawn
    written = answers.write(place, told, fitted.modalities, rows.ids)
    facts = {"out": written, "items": len(rows), "draws": count, "modalities": list(drawn)}
    return facts | summaries.of_served(drawn)


@answered("facts")
def generate(
    run: Run,
    out: Answers,
    items: Annotated[int, typer.Option(min=1, max=MOST, help="How many.")] = 64,
    mean: Mean = False,
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
    sources.check_memory(fitted, None, MANY if mean else 1, items)
    drawn = fitted.generate(items, seed, MANY if mean else None)
    drawn = answers.points(drawn, fitted.modalities) if mean else drawn
    return {"out": answers.write(place, drawn, fitted.modalities), "items": items, "modalities": list(drawn)}
