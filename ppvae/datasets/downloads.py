"""Downloads: MNIST, SVHN and PolyMNIST from where their makers keep them, into a folder, once and whole."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

FOLDER = "PPVAE_DATA"  # of the environment: where downloads are kept
PIECE = 2**20  # bytes that are read at once
SECONDS = 30  # without an answer


class File(NamedTuple):
    """A file to download: where it lies, and the MD5 sum by which it is known to be whole and the right one."""

    url: str
    md5: str


MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
SVHN = "http://ufldl.stanford.edu/housenumbers"
POLYMNIST = "https://zenodo.org/api/records/4899160"  # what the record says of its files, with their sums
FILES = {
    "mnist": (
        File(f"{MNIST}/train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        File(f"{MNIST}/train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        File(f"{MNIST}/t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        File(f"{MNIST}/t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    "svhn": (
        File(f"{SVHN}/train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
        File(f"{SVHN}/test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
    ),
}


def download(name: str, folder: str | Path | None = None) -> dict[str, Path]:
    """The files of a data set by their names, downloaded where they are not there yet.

    Args:
        name: ``mnist``, ``svhn`` or ``polymnist``.
        folder: where they are kept; by default what the environment variable ``PPVAE_DATA`` names, else
            ``~/.cache/ppvae``. An interrupted download goes on where it stopped.

    Raises:
        ValueError: there is no such set, no connection, or what came is not the file that was asked for.
    """
    if name not in (*FILES, "polymnist"):
        raise ValueError(f"unknown data set {name!r}; choose one of {', '.join(FILES)}, polymnist")
    place = Path(folder or os.environ.get(FOLDER) or Path.home() / ".cache" / "ppvae") / name
    place.mkdir(parents=True, exist_ok=True)
    files = {file.url.rpartition("/")[2]: file for file in FILES.get(name, ())} or _recorded(POLYMNIST, place)
    return {file: fetched(source, place / file) for file, source in files.items()}


def fetched(source: File, path: Path) -> Path:
    """The file at this path: what is there, if it is whole, else downloaded, from where an earlier try stopped.

    Raises:
        ValueError: there is no connection, or what came is not the file that was asked for.
    """
    with FileLock(f"{path}.lock"):  # another process may be fetching it
        if path.exists() and _md5(path) == source.md5:
            return path
        part = path.with_name(f"{path.name}.part")
        _continue(source.url, part)
        if (found := _md5(part)) != source.md5:
            part.unlink()
            raise ValueError(
                f"{source.url} is not the file that was asked for: its MD5 sum is {found}, not {source.md5}; try "
                f"again, or put the right one at {str(path)!r}"
            )
        os.replace(part, path)
    return path


def _continue(url: str, part: Path) -> None:
    """Fetch what a partial file lacks; a server that cannot begin in the middle sends all of it again."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            with part.open("ab" if answer.status == 206 else "wb") as file:
                while piece := answer.read(PIECE):
                    file.write(piece)
            whole = answer.headers.get("Content-Range", "").rpartition("/")[2] or answer.headers.get("Content-Length")
    except urllib.error.HTTPError as error:
        if error.code == 416:  # there is nothing left to send
            return
        raise _offline(url, part, f"the server answers {error.code} {error.reason}") from None
    except (OSError, ValueError) as error:
        raise _offline(url, part, str(getattr(error, "reason", error))) from None
    if whole is not None and whole.isdecimal() and part.stat().st_size < int(whole):
        raise _offline(url, part, f"the connection ended after {part.stat().st_size:,} of {int(whole):,} bytes")


def _offline(url: str, part: Path, reason: str) -> ValueError:
    path = part.with_suffix("")
    return ValueError(
        f"cannot download {url}: {reason}; try again, which goes on from here, or put it at {str(path)!r}"
    )


def _recorded(url: str, place: Path) -> Mapping[str, File]:
    """The files of a record on Zenodo, as it said when it was first asked."""
    kept = place / "record.json"
    if not kept.exists():
        _continue(url, part := kept.with_name("record.json.part"))
        os.replace(part, kept)
    try:
        files = json.loads(kept.read_text(encoding="utf-8"))["files"]
        return {each["key"]: File(each["links"]["self"], each["checksum"].removeprefix("md5:")) for each in files}
    except (ValueError, KeyError, TypeError):
        kept.unlink()
        raise ValueError(f"{url} does not say what its files are; try again later") from None


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
