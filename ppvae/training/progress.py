"""Progress: bars for training and for anything else that takes time; silent where nobody looks at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track

from ppvae.runs.settings import Settings

Thing = TypeVar("Thing")


@contextmanager
def progress_bar(settings: Settings, items: int, shown: bool | None) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function to call with each epoch's entry of the history, while a bar with loss and speed stands on stderr."""
    console = Console(stderr=True)
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}  {task.fields[speed]} items/s"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console, disable=not (console.is_terminal if shown is None else shown)) as bar:
        task = bar.add_task(
            f"{settings.backend} epoch",
            total=None if settings.epochs == "auto" else settings.epochs,
            loss="-",
            speed="-",
        )

        def show(entry: Mapping[str, Any]) -> None:
            speed = f"{items / entry['seconds']:,.0f}"
            bar.update(task, completed=entry["epoch"], loss=f"{entry['loss']:.2f}", speed=speed)

        yield show


def tracked(things: Sequence[Thing], description: str, shown: bool | None = None) -> Iterable[Thing]:
    """The things one after the other, while a bar on stderr counts them."""
    console = Console(stderr=True)
    hidden = not (console.is_terminal if shown is None else shown)
    return track(things, description, console=console, disable=hidden)


def say(sentence: str, shown: bool | None = None) -> None:
    """A remark on stderr, unless nothing is to be shown."""
    if shown is not False:
        Console(stderr=True, soft_wrap=True).print(sentence, markup=False, highlight=False)
