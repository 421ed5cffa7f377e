"""Folders: files by the ids that their names say, and those ids where a table names the files."""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any


def files(folder: Path, suffixes: Iterable[str]) -> dict[str, Path]:
    """The files of some endings in a folder, by their names without the ending, in order.

    Where all are in folders within, as those of classes, by ``FOLDER/NAME``. Links are followed.

    Warns:
        UserWarning: some are in the folder itself and others in folders within, which are left out; or files have
            endings of another kind, and no file of this kind is called like them.

    Raises:
        ValueError: there is no such folder or file, or two files have one id.
    """
    if not folder.is_dir():
        packed = f", but a file: unpack it into {folder.with_suffix('').name!r}" if folder.is_file() else ""
        raise ValueError(f"there is no folder {str(folder)!r}{packed}")
    suffixes = tuple(suffixes)
    shown = sorted(_shown(folder))
    seen = [file for file in shown if file.suffix.lower() in suffixes]
    if not seen:
        other = f"; it holds {shown[0].as_posix()!r}" if shown else ""
        raise ValueError(f"the folder {str(folder)!r} holds no file that ends in {', '.join(suffixes)}{other}")
    own = [file for file in seen if len(file.parts) == 1]
    if own and len(own) < len(seen):
        left = min(set(seen) - set(own)).as_posix()
        warnings.warn(f"{str(folder)!r}: what its folders hold, such as {left}, is left out", stacklevel=3)
    found: dict[str, Path] = {}
    for file in own or seen:
        identity = _id(file)
        if identity in found:
            raise ValueError(f"the id {identity!r} is there twice, as {found[identity].name} and as {file.name}")
        found[identity] = folder / file
    if others := [file for file in shown if not (own and len(file.parts) > 1) and _id(file) not in found]:
        warnings.warn(
            f"{str(folder)!r}: of other endings than {', '.join(suffixes)}, and so left out: {others[0].as_posix()}"
            + (f" and {len(others) - 1} more" if len(others) > 1 else ""),
            stacklevel=3,
        )
    return found


def named(folder: Path, found: Mapping[str, Path]) -> dict[str, str]:
    """The ids of files by their names with the ending, as tables may name them."""
    return {_composed(file.relative_to(folder).as_posix()): identity for identity, file in found.items()}


def by_file(held: Any, names: Mapping[str, str]) -> Any:
    """What a table holds, a data frame or a dict by id, with the ids of files where it names these.

    Folders in front of a file's name, which lie elsewhere on another's machine, do not count.

    Raises:
        ValueError: two rows are of one file.
    """
    if not names:
        return held
    frame = hasattr(held, "index")
    ids = [_renamed(identity, names) for identity in (held.index if frame else held)]
    if twice := [identity for identity, times in Counter(ids).items() if times > 1]:
        raise ValueError(f"the file of the id {twice[0]!r} is named twice; keep one row an item")
    return held.set_axis(ids) if frame else dict(zip(ids, held.values(), strict=True))


def _renamed(identity: str, names: Mapping[str, str]) -> str:
    parts = identity.replace("\\", "/").split("/")
    tails = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((names[tail] for tail in tails if tail in names), identity)


def _shown(folder: Path) -> Iterator[PurePosixPath]:
    """What is in a folder and in those within, each but once, without what is hidden."""
    been = {os.path.realpath(folder)}
    for root, inner, names in os.walk(folder, followlinks=True):
        real = {name: os.path.realpath(os.path.join(root, name)) for name in inner if not name.startswith(".")}
        inner[:] = [name for name, path in real.items() if path not in been]
        been |= set(real.values())
        within = PurePosixPath(Path(root).relative_to(folder).as_posix())
        yield from (within / name for name in names if not name.startswith("."))


def _id(file: PurePosixPath) -> str:
    return _composed(file.with_suffix("").as_posix())


def _composed(text: str) -> str:
    """Letters with their accents in one character, which some systems write as two."""
    return unicodedata.normalize("NFC", text)
