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
    Posterior,
    Programs,
    Run,
    RunData,
    Seed,
)


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
