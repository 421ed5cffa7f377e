"""Answers in a folder: pictures, sounds, series and words that anybody can open, and numbers beside them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from full_disk import full_disk
from PIL import Image

import ppvae
from ppvae import Dataset, Modality, cli
from ppvae.cli.answers import write
from ppvae.data.preprocessing import series, sounds
from ppvae.data.preprocessing.categories import Categories
from ppvae.data.preprocessing.images import Images

MADE = {
    "look": Images(1, 2, 3),
    "hear": sounds.Sounds(8000, 8, 9, 256, 100),
    "walk": series.Series(("x", "y"), 0.0, 0.5, 4),
    "name": Categories(("left", "right")),
}
KINDS = {"look": "image", "hear": "sound", "walk": "series", "name": "vector"}
MODALITIES = [
    Modality(name, made.shape, levels=made.levels, kind=KINDS[name], preprocessing=made.plain())
    for name, made in MADE.items()
] + [Modality("size", (2,))]
RNG = np.random.default_rng(0)
DRAWN = {
    "look": RNG.uniform(size=(2, 3, 1, 2, 3)).astype(np.float32),
    "hear": RNG.uniform(-60, 0, size=(2, 3, 8, 9)).astype(np.float32),
    "walk": RNG.normal(size=(2, 3, 2, 4)).astype(np.float32),
    "name": RNG.integers(0, 2, size=(2, 3, 1)),
    "size": RNG.normal(size=(2, 3, 2)),
}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_every_item_and_draw_has_its_file_or_line(tmp_path: Path) -> None:
    out = tmp_path / "new" / "answers"
    assert write(out, DRAWN, MODALITIES, np.array(["a", "b", "c"])) == str(out)
    each = {f"{item}-{draw}" for item in "abc" for draw in (1, 2)}
    things = {
        f"{name}/{one}{end}" for one in each for name, end in [("look", ".png"), ("hear", ".wav"), ("walk", ".csv")]
    }
    assert files(out) == things | {"name.csv", "numbers.npz"}
    pixels = np.asarray(Image.open(out / "look" / "b-2.png"))
    np.testing.assert_array_equal(pixels, np.rint(DRAWN["look"][1, 1, 0] * 255))
    assert sounds.read(out / "hear" / "a-1.wav").samples.shape == (800,)
    np.testing.assert_allclose(series.read(out / "walk" / "c-1.csv").values, DRAWN["walk"][0, 2].T, rtol=1e-6)
    with (out / "name.csv").open() as file:
        lines = list(csv.DictReader(file))
    told = {(line["id"], line["draw"]): line["name"] for line in lines}
    assert told["b", "2"] == ["left", "right"][DRAWN["name"][1, 1, 0]]
    assert len(lines) == len(told) == 6
    np.testing.assert_array_equal(np.load(out / "numbers.npz")["size"], DRAWN["size"])


def test_columns_that_have_names_are_a_table_of_ids(tmp_path: Path) -> None:
    ids, modality = np.array(["p", "q", "r"]), Modality("size", (2,), features=("height", "width, cm"))
    write(tmp_path / "out", {"size": DRAWN["size"].astype(np.float32)}, [modality], ids)
    assert files(tmp_path / "out") == {"size.csv"}
    found = pd.read_csv(tmp_path / "out" / "size.csv").pivot(index="draw", columns="id")
    np.testing.assert_array_equal(found["width, cm"].astype(np.float32), DRAWN["size"][..., 1].astype(np.float32))
    np.testing.assert_array_equal(found["height"].columns, ids)


@pytest.mark.parametrize("ids", [None, np.array(["a/b", "..", "c"]), np.array(["a", "A", "b"])], ids=str)
def test_items_without_fitting_names_are_named_by_their_row(ids: np.ndarray | None, tmp_path: Path) -> None:
    write(tmp_path, {"look": DRAWN["look"][:1]}, MODALITIES, ids)
    assert files(tmp_path) == {"look/0.png", "look/1.png", "look/2.png"}


@pytest.mark.parametrize("name", DRAWN)
def test_a_full_disk_leaves_no_half_of_an_answer(name: str, tmp_path: Path) -> None:
    ends = {"look": "look/0-1.png", "hear": "hear/0-1.wav", "walk": "walk/0-1.csv", "size": "numbers.npz"}
    full, drawn = tmp_path / "full", {name: DRAWN[name]}
    file = full / ends.get(name, f"{name}.csv")
    write(tmp_path, drawn, MODALITIES)  # so that libraries have written what they keep of themselves
    with full_disk(), pytest.raises(OSError, match="File too large; what was there stays") as refused:
        write(full, drawn, MODALITIES)
    assert (refused.value.filename, files(full)) == (str(file), set())


def test_a_damaged_preprocessing_is_one_sentence(tmp_path: Path) -> None:
    for name, shape in (("look", (2, 1, 3)), ("name", (1,))):
        wrong = Modality(name, shape, levels=3, preprocessing=MADE[name].plain())
        with pytest.raises(ValueError, match=f"the preprocessing of modality '{name}' is damaged"):
            write(tmp_path, {name: DRAWN[name]}, [wrong])


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (["cats/0", "dogs/0", "a b"], ["cats/0", "dogs/0", "a b"]),
        (["\u65e5\u672c", "a:b", "c."], ["\u65e5\u672c", "a%3Ab", "c%2E"]),
        (["a", "/etc/x", "b"], ["0", "1", "2"]),
        (["a", "b/../../x", "b"], ["0", "1", "2"]),
    ],
)
def test_files_are_called_by_their_ids_with_folders_and_codes(ids: list[str], names: list[str], tmp_path: Path) -> None:
    write(tmp_path, {"look": DRAWN["look"][:1]}, MODALITIES, np.array(ids))
    assert files(tmp_path) == {f"look/{name}.png" for name in names}


def test_commands_write_into_a_folder_and_never_over_what_is_there(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    look = Modality("look", (1, 2, 3), kind="image", preprocessing=Images(1, 2, 3).plain())
    data = Dataset({"look": RNG.uniform(size=(6, 1, 2, 3)), "size": RNG.normal(size=(6, 2))}, modalities=[look])
    vae = ppvae.method("mvae", data.modalities, latent=1, hidden=(4,))
    np.savez("data.npz", **data.arrays)
    ppvae.fit(vae, data, backend="pyro", epochs=0, out="run", progress=False, notes={"data_set": "data.npz"})
    query = ["query", "run", "--given", "size", "--out", "drawn"]
    assert cli.main(query) == 0
    assert files(Path("drawn")) == {*(f"look/{i}.png" for i in range(6)), "numbers.npz"}
    assert cli.main(["generate", "run", "--items", "2", "--out", "new"]) == 0
    assert files(Path("new")) == {"look/0.png", "look/1.png", "numbers.npz"}
    capsys.readouterr()
    assert cli.main(query) == 2
    assert (
        "the directory 'drawn' is not empty: choose another name, or write into it with --force"
        in capsys.readouterr().err
    )
    assert cli.main([*query, "--force"]) == 0
