"""Folders: files by id, and ids that name files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ppvae.data.description import data_set, described
from ppvae.data.ids.folders import files

DESCRIPTION = """
[modalities.picture]
kind = "image"
folder = "pictures"

[modalities.size]
kind = "vector"
table = "sizes.csv"
columns = ["size"]
"""


def put(root: Path, *names: str) -> Path:
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 2), 100 + i, np.uint8)).save(root / name)
    return root


@pytest.mark.parametrize(
    ("names", "cells"),
    [
        (["0.png", "1.png"], ["0.png", "1.png"]),
        (["0.png", "1.png"], ["train/pictures/0.png", "C:\\pictures\\1.png"]),
        (["cats/0.png", "dogs/0.png"], ["cats/0.png", "pictures/dogs/0.png"]),
        (["e\u0301.png", "\u00e9 1.png"], ["\u00e9", "e\u0301 1"]),
        (["0.png", "1.png"], ["0 ", " 1"]),
        (["0.png", "1.png"], ["0.0", "1.0"]),
    ],
)
def test_a_table_names_items_by_file_or_by_id_however_it_is_written(tmp_path: Path, names, cells) -> None:
    put(tmp_path / "pictures", *names)
    (tmp_path / "sizes.csv").write_text("id,size\n" + "".join(f"{cell},{i}.5\n" for i, cell in enumerate(cells)))
    (tmp_path / "mine.toml").write_text(DESCRIPTION)
    data = data_set(described(tmp_path / "mine.toml"))
    assert len(data) == 2
    np.testing.assert_allclose(data.arrays["picture"][:, 0, 0, 0] * 255, 100 + np.arange(2), atol=1e-4)
    assert data.arrays["size"].ravel().tolist() == [0.5, 1.5]


def test_two_rows_of_one_file_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "pictures", "0.png", "1.png")
    (tmp_path / "mine.toml").write_text(DESCRIPTION)
    (tmp_path / "sizes.csv").write_text("id,size\n0.png,1.5\na/0.png,2.5\n1,2.5")
    with pytest.raises(ValueError, match=r"modalities\.size: the file of the id '0' is named twice; keep one row"):
        described(tmp_path / "mine.toml")


def test_links_are_followed_once_and_those_that_lead_nowhere_are_files_that_cannot_be_read(tmp_path: Path) -> None:
    put(tmp_path / "there", "cats/0.png", "dogs/0.png")
    (tmp_path / "pictures").mkdir()
    for name in ("cats", "dogs"):
        (tmp_path / "pictures" / name).symlink_to(tmp_path / "there" / name)
    (tmp_path / "there" / "cats" / "all").symlink_to(tmp_path / "there")
    assert list(files(tmp_path / "pictures", [".png"])) == ["cats/0", "dogs/0"]
    (tmp_path / "pictures" / "dogs" / "1.png").symlink_to(tmp_path / "gone.png")
    assert "dogs/1" in files(tmp_path / "pictures", [".png"])


def test_a_folder_of_other_files_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "0.HEIC").touch()
    with pytest.raises(ValueError, match=r"holds no file that ends in \.png; it holds '0\.HEIC'"):
        files(tmp_path, [".png"])
