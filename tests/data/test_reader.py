"""Data files from anybody: what they hold is read as it is, and everything else is one sentence, in bounded memory."""

from __future__ import annotations

import io
import os
import re
import signal
import struct
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from ppvae import cli
from ppvae.data.reader import arrays_in, read_npz

LINUX = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured as Linux tells it")
X = np.arange(12.0).reshape(4, 3)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def header(descr: str, shape: str, follow: bytes = b"", version: int = 1, pad: int = 0) -> bytes:
    """A .npy file whose header promises what it is told to."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode() + b" " * pad + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + follow


def archive(path: Path, *members: tuple[str, bytes], how: int = zipfile.ZIP_STORED) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", how) as file:
        warnings.simplefilter("ignore", UserWarning)  # of names that are there already
        for name, content in members:
            file.writestr(name, content)
    return path


def patched(path: Path, old: bytes, new: bytes) -> Path:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    return path


def flagged(path: Path, offset: int, value: int) -> Path:
    """The archive with a 16-bit field of every header set: 6 is the flags, 8 how it is compressed."""
    content = bytearray(archive(path, ("a.npy", npy(X))).read_bytes())
    for mark, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        struct.pack_into("<H", content, content.index(mark) + offset + shift, value)
    path.write_bytes(content)
    return path


def one(descr: str, shape: str, follow: bytes = b"", **options: Any) -> Callable[[Path], Path]:
    return lambda path: archive(path, ("a.npy", header(descr, shape, follow, **options)))


def saved(**arrays: np.ndarray) -> Callable[[Path], Path]:
    return lambda path: archive(path, *((f"{name}.npy", npy(array)) for name, array in arrays.items()))


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no file": (lambda path: path, "there is no data file"),
    "pipe": (pipe, "not a regular file"),
    "device": (lambda path: Path("/dev/zero"), "not a regular file"),
    "folder": (lambda path: path.parent, "not a regular file"),
    "long name": (lambda path: path.with_name("x" * 300), "File name too long"),
    "no zip": (lambda path: (path.write_text("a,b"), path)[1], "not a zip archive; write one with numpy.savez"),
    "text inside": (lambda path: archive(path, ("a.csv", b"1")), "'a.csv' in it is no .npy file"),
    "twice": (lambda path: archive(path, ("a.npy", npy(X)), ("a.npy", npy(X))), "it holds 'a' twice"),
    "a NUL": (
        lambda path: patched(archive(path, ("a?b.npy", npy(X))), b"a?b", b"a\0b"),
        r"must be an identifier, 'a\\x00b' is not",
    ),
    "a path": (lambda path: archive(path, ("../a.npy", npy(X))), "must be an identifier, '../a' is not"),
    "encrypted": (lambda path: flagged(path, 6, 1), "'a.npy': it is encrypted"),
    "unknown compression": (lambda path: flagged(path, 8, 77), "'a.npy': That compression method is not supported"),
    "flipped bits": (
        lambda path: patched(archive(path, ("a.npy", npy(X))), X.tobytes(), X[::-1].tobytes()),
        "'a.npy': Bad CRC-32",
    ),
    "objects": (saved(a=np.array(["x", None])), "'a.npy': it holds Python objects, which are never unpickled"),
    "structured": (saved(a=X, **{"a.observed": np.zeros(4, "f4,?")}), "'a.observed.npy': it is structured"),
    "bomb": (
        lambda path: archive(path, ("a.npy", npy(np.zeros(10**7))), how=zipfile.ZIP_DEFLATED),
        r"unpack to 80,000,128, more than the 16,777,216 that are read; .* --max-bytes \(max_bytes=\) to 80000128",
    ),
    "promises too much": (one("'<f8'", "(1000000000000,)", b"12345678"), "promises shape .* but 8 bytes follow"),
    "promises too little": (one("'<f8'", "(1,)", bytes(16)), "promises shape .* but 16 bytes follow"),
    "sparse": (
        lambda path: sparse.save_npz(path, sparse.csr_matrix(X)) or path,
        r"it is a sparse matrix of SciPy; write .*, of scipy.sparse.load_npz\(path\).toarray\(\)",
    ),
    "ids of a row and more": (saved(a=X, ids=np.ones((4, 2))), r"ids must be an array \(items,\)"),
    "ids twice": (saved(a=X, ids=np.array([1, 2, 2, 3])), "ids must be unique"),
    "negative": (one("'<f8'", "(-1, -1)", bytes(8)), "cannot read"),
    "deep": (one("'<f8'", "(" * 2000), "'a.npy': "),
    "huge item": (one("'<U999999999999'", "(1,)"), "'a.npy': descr is not a valid dtype"),
    "huge header": (one("'<f8'", "(1,)", bytes(8), version=2, pad=2**20), "'a.npy': Header info length"),
    "header to come": (
        lambda path: archive(path, ("a.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\x7f")),
        "'a.npy': EOF: reading array header",
    ),
    "version": (one("'<f8'", "(1,)", bytes(8), version=3), r"'a.npy': version \(3, 0\) of the .npy format is not read"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_cannot_be_read_is_one_sentence(kind: str, tmp_path: Path) -> None:
    make, said = BAD[kind]
    with pytest.raises(ValueError, match=said) as caught:
        read_npz(make(tmp_path / "bad.npz"))
    assert "\n" not in str(caught.value)
    assert "allow_pickle" not in str(caught.value)


def test_the_bound_is_lifted_by_a_number_and_lowered_by_one(tmp_path: Path) -> None:
    zeros = archive(tmp_path / "zeros.npz", ("a.npy", npy(np.zeros((10**7, 1), bool))), how=zipfile.ZIP_DEFLATED)
    size = 10**7 + 128
    assert arrays_in(zeros)["a"].nbytes == 10**7  # below what is read in any case
    assert arrays_in(zeros, max_bytes=size)["a"].nbytes == 10**7
    with pytest.raises(ValueError, match=rf"set --max-bytes \(max_bytes=\) to {size} or more"):
        arrays_in(zeros, max_bytes=size - 1)


@LINUX
def test_a_directory_that_lies_about_sizes_gets_no_more_than_it_says(tmp_path: Path) -> None:
    """The member unpacks to 80 MB, and the directory says 80 kB."""
    path = archive(tmp_path / "lie.npz", ("a.npy", npy(np.zeros(10**7))), how=zipfile.ZIP_DEFLATED)
    patched(path, struct.pack("<I", 8 * 10**7 + 128), struct.pack("<I", 80_000))
    Path("/proc/self/clear_refs").write_text("5")  # peak() starts anew
    before = peak()
    with pytest.raises(ValueError, match=r"'a.npy': its header promises"):
        arrays_in(path)
    assert peak() - before < 10**7


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_numpy_can_write_is_read_to_the_bit(how: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.normal(size=(5, 2, 3)),
        "fortran": np.asfortranarray(rng.normal(size=(5, 4))),
        "big_endian": rng.normal(size=(5, 1)).astype(">f4"),
        "whole": rng.integers(0, 9, (5, 2)).astype(np.uint8),
        "a.observed": rng.random(5) < 0.5,
        "labels.kind": np.array(["x", "yy", "", "é", "z"]),
        "labels.empty": np.zeros((5, 0)),
    }
    found = arrays_in(archive(tmp_path / "ok.npz", *((f"{n}.npy", npy(a)) for n, a in arrays.items()), how=how))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_ids_are_no_modality_and_come_out_with_the_answers(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=X + 0.5, ids=np.array(["u", "v", "w", "x"]))
    data = read_npz(tmp_path / "a.npz")
    assert (list(data.arrays), data.frame("a").index.tolist()) == (["a"], ["u", "v", "w", "x"])


def peak() -> int:
    """The most memory that this process held since it was reset, in bytes."""
    return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0])


def mutated(rng: np.random.Generator, sources: list[bytes], path: Path) -> None:
    """A data file that is wrong in one of many ways, or in none."""
    content = bytearray(sources[rng.integers(len(sources))])
    kind = rng.integers(7)
    if kind == 0:
        for place in rng.integers(len(content), size=rng.integers(1, 20)):
            content[place] = rng.integers(256)
    elif kind == 1:
        del content[rng.integers(len(content)) :]
    elif kind == 2:
        start, stop = sorted(rng.integers(len(content), size=2))
        content[start:start] = content[start:stop]
    elif kind == 3:  # a field of the directory, with whatever size, flag or offset
        mark = (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06")[rng.integers(3)]
        field = min(content.index(mark) + int(rng.integers(4, 20)), len(content) - 4)
        struct.pack_into("<I", content, field, int(rng.choice([0, 1, 77, 2**16, 2**31 - 1, 2**32 - 1])))
    else:
        names = ["a", "b", "a.observed", "labels.a", "labels.", ".observed", "c" * 60_000, "[bold]", "\x1b[2J", "../x"]
        members = [(f"{rng.choice(names)}.npy", member(rng)) for _ in range(rng.integers(1, 5))]
        archive(path, *members, how=(zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)[rng.integers(2)])
        return
    path.write_bytes(content)


def member(rng: np.random.Generator) -> bytes:
    """An array, or what looks like one."""
    rows = int(rng.choice([0, 1, 3, 40]))
    arrays = [
        rng.normal(size=(rows, 3)),
        rng.integers(-2, 3, (rows, 2)),
        rng.random(rows) < 0.5,
        np.array("text"),
        np.full((rows, 2), np.nan),
        np.zeros(rows, "f4,i2"),
        np.array([None, "x"]),
        np.full(rows, 1e300),
        np.zeros(rows, "M8[s]"),
        np.zeros((rows, 2), complex),
    ]
    descr = rng.choice(["'<f8'", "'|O'", "'<U9'", "[('x', '<f8')]", "'V0'", "'<U999999999'", "('<f4', (3,))", "7"])
    shape = rng.choice(["(40, 3)", "(10**9,)", "(-1,)", "(1000000000000, 3)", "()", "(40, 0)", "3", "(" * 500])
    kind = rng.integers(4)
    if kind == 0:
        return header(descr, shape, bytes(int(rng.choice([0, 960, 10**5]))), int(rng.integers(1, 4)))
    if kind == 1:  # zeros that a few bytes unpack to, with a header that is right
        count = int(rng.choice([10**6, 10**8]))
        return header("'|i1'", f"(40, {count // 40})", bytes(count))
    return npy(arrays[rng.integers(len(arrays))])


@LINUX
@pytest.mark.slow
def test_of_300_wrong_files_none_ends_in_a_traceback_a_hang_or_much_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng, counts = np.random.default_rng(0), Counter(tracebacks=0, hangs=0, memory=0)
    whole = {"a": rng.normal(size=(40, 3)), "b": rng.poisson(3.0, (40, 2)), "labels.t": rng.integers(3, size=40)}
    sources = []
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "whole.npz", **whole, **{"a.observed": rng.random(40) < 0.5})
        sources.append((tmp_path / "whole.npz").read_bytes())
    small = ["--latent", "2", "--set", "hidden=[4]", "--backend", "pyro", "--epochs", "0", "--holdout", "0"]
    path, before = tmp_path / "wrong.npz", signal.signal(signal.SIGALRM, expired)
    for number in range(300):
        mutated(rng, sources, path)
        Path("/proc/self/clear_refs").write_text("5")  # peak() starts anew
        held = peak()  # by tests before this one
        signal.alarm(60)
        try:
            code = cli.main(["fit", "vae", "--data", str(path), *small, "--out", str(tmp_path / f"run-{number}")])
            err = capsys.readouterr().err
            counts["read" if code == 0 else "refused"] += 1
            sentence = re.fullmatch(r"(Warning: [^\n]+\n)*Error: [^\n]+\n", err)
            assert code == 0 or (code == 2 and sentence and len(err) < 2500), err
        except TimeoutError:
            counts["hangs"] += 1
        except Exception as error:
            counts["tracebacks"] += 1
            (tmp_path / f"traceback-{number}").write_text(repr(error))
        finally:
            signal.alarm(0)
        counts["memory"] += peak() - held > 2**30
    signal.signal(signal.SIGALRM, before)
    with capsys.disabled():
        print(dict(counts))
    assert (counts["tracebacks"], counts["hangs"], counts["memory"]) == (0, 0, 0), [
        file.read_text() for file in tmp_path.glob("traceback-*")
    ]
    assert counts["read"] > 10
    assert counts["refused"] > 200


def expired(number: int, frame: Any) -> None:
    raise TimeoutError
