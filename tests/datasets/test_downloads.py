"""Downloads: from a server on this machine, whole, once, and going on where they stopped."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from ppvae.datasets import downloaded, downloads
from ppvae.datasets.downloads import File, download, fetched

RNG = np.random.default_rng(0)
CONTENT = RNG.bytes(3_000_000)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@dataclass
class Shop:
    """What a server has, and how: whether it can begin in the middle, and after how many bytes it hangs up."""

    url: str = ""
    goods: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    hangs_up: int | None = None
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def shop() -> Iterator[Shop]:
    held = Shop()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content, begin = held.goods.get(self.path), self.headers.get("Range")
            held.asked.append(begin)
            if content is None:
                return self.send_error(404)
            start = int(begin.removeprefix("bytes=").rstrip("-")) if begin and held.ranges else 0
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            self.wfile.write(content[start:][: held.hangs_up])

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield held
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_is_downloaded_once(shop: Shop, tmp_path: Path) -> None:
    shop.goods["/a.bin"] = CONTENT
    source = File(f"{shop.url}/a.bin", md5(CONTENT))
    for _ in range(2):
        assert fetched(source, tmp_path / "a.bin").read_bytes() == CONTENT
    assert shop.asked == [None]
    (tmp_path / "a.bin").write_bytes(CONTENT[:-1])
    assert fetched(source, tmp_path / "a.bin").read_bytes() == CONTENT
    assert shop.asked == [None, None]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_goes_on_where_it_stopped(shop: Shop, tmp_path: Path, ranges: bool) -> None:
    shop.goods["/a.bin"], shop.ranges, shop.hangs_up = CONTENT, ranges, 1_000_000
    source = File(f"{shop.url}/a.bin", md5(CONTENT))
    with pytest.raises(ValueError, match="the connection ended after 1,000,000 of 3,000,000 bytes; try again"):
        fetched(source, tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()
    shop.hangs_up = None
    assert fetched(source, tmp_path / "a.bin").read_bytes() == CONTENT
    assert shop.asked == [None, "bytes=1000000-"]


def test_what_is_whole_but_not_yet_in_its_place_is_not_fetched_again(shop: Shop, tmp_path: Path) -> None:
    shop.goods["/a.bin"] = CONTENT
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    assert fetched(File(f"{shop.url}/a.bin", md5(CONTENT)), tmp_path / "a.bin").read_bytes() == CONTENT
    assert shop.asked == ["bytes=3000000-"]


def test_another_file_is_refused_and_not_kept(shop: Shop, tmp_path: Path) -> None:
    shop.goods["/a.bin"] = b"not what was asked for"
    with pytest.raises(ValueError, match=r"is not the file that was asked for: its MD5 sum is \w+, not \w+; try again"):
        fetched(File(f"{shop.url}/a.bin", md5(CONTENT)), tmp_path / "a.bin")
    assert {path.name for path in tmp_path.iterdir()} <= {"a.bin.lock"}


def test_offline_is_one_sentence_that_says_where_to_put_the_file(shop: Shop, tmp_path: Path) -> None:
    for url, told in (
        (f"{shop.url}/b.bin", "the server answers 404 Not Found"),
        ("http://127.0.0.1:9/b.bin", "refused"),
    ):
        with pytest.raises(
            ValueError, match=rf"^cannot download {url}: .*{told}; try again, .* put it at '\S+b\.bin'$"
        ):
            fetched(File(url, md5(CONTENT)), tmp_path / "b.bin")
    with pytest.raises(ValueError, match="unknown data set 'cifar'; choose one of mnist, svhn, polymnist"):
        download("cifar", tmp_path)


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(struct.pack(f">HBB{array.ndim}i", 0, 8, array.ndim, *array.shape) + array.tobytes())


def test_mnist_and_svhn_are_read(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, digits = RNG.integers(0, 256, (5, 28, 28), np.uint8), np.array([3, 0, 9, 1, 1], np.uint8)
    held = io.BytesIO()
    colours = RNG.integers(0, 256, (32, 32, 3, 5), np.uint8)
    scipy.io.savemat(held, {"X": colours, "y": np.array([[3], [10], [9], [1], [1]], np.uint8)})
    parts = {"/train-images-idx3-ubyte.gz": idx(pixels), "/train-labels-idx1-ubyte.gz": idx(digits)}
    shop.goods = {**parts, "/train_32x32.mat": held.getvalue()}
    files = {name: File(f"{shop.url}{name}", md5(content)) for name, content in shop.goods.items()}
    monkeypatch.setattr(
        downloads, "FILES", {"mnist": [files[name] for name in parts], "svhn": [files["/train_32x32.mat"]]}
    )
    data = downloaded.mnist(folder=tmp_path)
    np.testing.assert_array_equal(data.arrays["image"], pixels[:, None])
    np.testing.assert_array_equal(data.labels["digit"], digits)
    data = downloaded.svhn(folder=tmp_path)
    np.testing.assert_array_equal(data.arrays["image"][2], colours[..., 2].transpose(2, 0, 1))
    np.testing.assert_array_equal(data.labels["digit"], digits)
    with pytest.raises(ValueError, match="unknown part 'validation'"):
        downloaded.svhn("validation", tmp_path)


def test_polymnist_is_read_as_its_record_says(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = RNG.integers(0, 256, (2, 3, 28, 28, 3), np.uint8)
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for view in range(2):
            for item, digit in ((10, 4), (2, 7), (0, 1)):
                png = io.BytesIO()
                Image.fromarray(pictures[view, item % 5 % 3]).save(png, "PNG")
                archive.writestr(f"PolyMNIST/train/m{view}/{item}.{digit}.png", png.getvalue())
    zipped = held.getvalue()
    links = {"self": f"{shop.url}/files/PolyMNIST.zip/content"}
    record = {"files": [{"key": "PolyMNIST.zip", "checksum": f"md5:{md5(zipped)}", "links": links}]}
    shop.goods = {"/record": json.dumps(record).encode(), "/files/PolyMNIST.zip/content": zipped}
    monkeypatch.setattr(downloads, "POLYMNIST", f"{shop.url}/record")
    for _ in range(2):
        data = downloaded.polymnist(folder=tmp_path)
        assert data.labels["digit"].tolist() == [1, 7, 4]
        np.testing.assert_array_equal(data.arrays["m1"][1], pictures[1, 2].transpose(2, 0, 1))
    assert len(shop.asked) == 2
