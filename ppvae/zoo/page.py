"""Zoo page: the methods tables of docs/methods.md, from the zoo; ``python -m ppvae.zoo.page FILE`` renews them."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ppvae.zoo import build
from ppvae.zoo.table import METHODS, Row

COMMON = ("latent", "hidden", "sleep")
PLACES = {"arXiv": "https://arxiv.org/abs/", "doi": "https://doi.org/"}


def tables() -> str:
    """Two tables in Markdown: what each method is for, and what it is made of."""
    use = [[f"`{name}`", row.when, cited(row.reference)] for name, row in METHODS.items()]
    made = [[f"`{name}`", *programs(row), options(name), joined(row)] for name, row in METHODS.items()]
    parts = ["method", "model", "guide", "objective", "options", "posterior of an item that has S"]
    return f"{table(['method', 'when to use it', 'reference'], use)}\n\n{table(parts, made)}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: int = 0) -> str:
    """A table in Markdown, the last ``right`` columns flush right."""
    rule = ["---"] * (len(head) - right) + ["---:"] * right
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *cells))


def cited(reference: str) -> str:
    """The reference, linked where it says where the paper is."""
    authors, _, place = reference.rpartition(", ")
    kind, _, key = place.partition(":")
    if kind in PLACES:
        return f"[{authors}]({PLACES[kind]}{key})"
    return f"[{authors}](https://{place})" if place.startswith("openreview.net") else reference


def programs(row: Row) -> list[str]:
    """Model and guide, linked to their files, and the objective."""
    links = []
    for folder, path in (("models", row.model), ("guides", row.guide)):
        file, _, name = path.partition(":")
        links.append(f"[{name}](../{folder}/{file}.py)")
    return [*links, f"`{row.objective}`"]


def options(name: str) -> str:
    """What a method takes beside what all take, with the values that its row sets."""
    row = METHODS[name]
    texts = {key: f"{key}={row.options[key]!r}" if key in row.options else key for key in build.options_of(name)}
    return ", ".join(f"`{text}`" for key, text in texts.items() if key not in COMMON)


def joined(row: Row) -> str:
    """How the guide joins what an item has: the first sentence of its docstring."""
    return first_sentence(build.parts(row)[1])


def first_sentence(program: Any) -> str:
    """The first sentence of a docstring, on one line and in Markdown."""
    text = " ".join((inspect.getdoc(program) or "").split("\n\n")[0].split())
    return text.split(". ")[0].rstrip(".").replace("``", "`")


def replaced(page: str, name: str, block: str) -> str:
    """The page with the text between ``<!-- begin NAME ... -->`` and ``<!-- end NAME -->`` replaced.

    Raises:
        ValueError: the page has no such block.
    """
    pattern = re.compile(rf"(<!-- begin {name}\b[^>]*-->\n).*?(<!-- end {name} -->)", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no block between <!-- begin {name} --> and <!-- end {name} -->")
    return pattern.sub(lambda found: f"{found[1]}\n{block}\n\n{found[2]}", page)


def renew(path: Path) -> None:
    """Write the tables into the block ``methods`` of a page."""
    page = replaced(path.read_text(encoding="utf-8"), "methods", tables())
    path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    renew(Path(sys.argv[1]))
