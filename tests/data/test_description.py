"""Descriptions: folders and tables in TOML become one data set, joined by id; every mistake is one sentence."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import ppvae
from ppvae import cli
from ppvae.data.description import data_set, described
from ppvae.data.preprocessing import preprocessing, series, sounds

ITEMS = [f"{i:03}" for i in range(24)]  # leading zeros, which a number would lose
DESCRIPTION = """
[modalities.picture]
kind = "image"
folder = "pictures"

[modalities.sound]
kind = "sound"
folder = "sounds"
bands = 8

[modalities.walk]
kind = "series"
folder = "walks"

[modalities.colour]
kind = "category"
table = "facts.csv"
column = "colour"

[modalities.caption]
kind = "text"
table = "facts.csv"
column = "caption"

[modalities.size]
kind = "vector"
table = "sizes.parquet"
id = "name"
columns = ["height", "width"]

[labels.shape]
table = "facts.csv"
column = "shape"
"""


def made(root: Path) -> Path:
    """A folder of files: every fifth item has no picture, every seventh no sound, the fourth no height."""
    rng = np.random.default_rng(0)
    for folder in ("pictures", "sounds", "walks"):
        (root / folder).mkdir()
    for i, name in enumerate(ITEMS):
        if i % 5:
            Image.fromarray(rng.integers(0, 255, (4, 6), np.uint8)).save(root / "pictures" / f"{name}.png")
        if i % 7:
            tone = np.sin(np.arange(400) * rng.uniform(0.1, 1.0))
            sounds.write(root / "sounds" / f"{name}.wav", sounds.Recording(tone, 8000))
        steps = np.arange(3.0 + i % 2)
        series.write(root / "walks" / f"{name}.csv", series.Trace(("x",), steps, rng.normal(size=(len(steps), 1))))
    colours, shapes = rng.choice(["red", "green"], 24), rng.choice(["round", "flat"], 24)
    captions = [f"no. {i}" if i % 3 else "" for i in range(24)]
    facts = pd.DataFrame({"id": ITEMS, "colour": colours, "shape": shapes, "caption": captions})
    facts.to_csv(root / "facts.csv", index=False)
    sizes = pd.DataFrame(rng.normal(size=(24, 2)), columns=["height", "width"])
    sizes.loc[3, "height"] = np.nan
    sizes.assign(name=ITEMS).iloc[::-1].to_parquet(root / "sizes.parquet")
    (root / "mine.toml").write_text(DESCRIPTION)
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("described"))


def test_what_each_id_has_stands_in_one_row_and_what_it_lacks_is_a_hole(folder: Path) -> None:
    data = data_set(described(folder / "mine.toml"))
    assert sorted(data.ids) == ITEMS
    rows = {name: row for row, name in enumerate(data.ids)}
    sizes, facts = (
        pd.read_parquet(folder / "sizes.parquet").set_index("name"),
        pd.read_csv(folder / "facts.csv", dtype=str),
    )
    shapes = {m.name: m.shape for m in data.modalities}
    assert shapes == {
        "picture": (1, 4, 6),
        "sound": (8, 6),
        "walk": (1, 4),
        "colour": (1,),
        "caption": (7,),
        "size": (2,),
    }
    captions = next(m for m in data.modalities if m.name == "caption")
    read = preprocessing("caption", captions.preprocessing).decode(data.arrays["caption"])
    for i, name in enumerate(ITEMS):
        row = rows[name]
        assert read[row] == (f"no. {i}" if i % 3 else "")
        assert data.present("caption")[row] == bool(i % 3)
        assert data.present("picture")[row] == bool(i % 5)
        assert data.present("sound")[row] == bool(i % 7)
        np.testing.assert_allclose(data.holed("size")[row], sizes.loc[name], rtol=1e-6)
        assert ["green", "red"][int(data.arrays["colour"][row, 0])] == facts["colour"][i]
        assert data.labels["shape"][row] == facts["shape"][i]
        assert data.observed["walk"][row].sum() == 3 + i % 2
        if i % 5:
            pixels = np.asarray(Image.open(folder / "pictures" / f"{name}.png"))
            np.testing.assert_allclose(data.arrays["picture"][row, 0] * 255, pixels, atol=1e-4)


def test_only_the_rows_that_are_trained_on_say_how_files_become_numbers(folder: Path) -> None:
    items = described(folder / "mine.toml")
    short = [row for row, name in enumerate(items.ids) if int(name) % 2 == 0]
    part = {m.name: m for m in data_set(items, short).modalities}
    assert (part["walk"].shape, data_set(items).modalities[2].shape) == ((1, 3), (1, 4))
    one = next(row for row in short if items.found["colour"][items.ids[row]] == "red")
    with pytest.warns(UserWarning, match="names, such as 'green', are none of the categories red"):
        alone = data_set(items, [one, *[row for row in short if items.found["colour"][items.ids[row]] == "red"]])
    assert preprocessing("colour", alone.modalities[3].preprocessing).names == ("red",)
    assert np.mean(alone.present("colour")) < 1
    again = data_set(items, known=tuple(part.values()))
    assert [m.shape for m in again.modalities] == [m.shape for m in part.values()]


def test_a_run_refuses_what_it_knows_as_something_else(folder: Path, tmp_path: Path) -> None:
    known = data_set(described(folder / "mine.toml")).modalities
    words = {"kind": "image", "folder": "pictures"}, {"kind": "sound", "folder": "sounds"}
    for other, told in (("sound", words[0]), ("picture", words[1])):
        lines = [f'{key} = "{folder / value if key == "folder" else value}"' for key, value in told.items()]
        (tmp_path / "other.toml").write_text("\n".join([f"[modalities.{other}]", *lines]))
        with pytest.raises(
            ValueError, match=rf"modalities.{other}: the run knows it as {other.replace('picture', 'image')}"
        ):
            data_set(described(tmp_path / "other.toml"), known=[m for m in known if m.name == other])


def test_a_run_finds_its_description_again_from_elsewhere(folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    run = str(tmp_path / "run")
    words = ["--latent", "2", "--set", "hidden=[8]", "--backend", "pyro", "--epochs", "1", "--out", run]
    assert cli.main(["fit", "mvae", "--data", str(folder / "mine.toml"), *words]) == 0
    monkeypatch.chdir(tmp_path)
    assert cli.main(["evaluate", "run", "--particles", "2"]) == 0
    assert cli.main(["query", "run", "--given", "size", "--ask", "picture", "--out", "drawn.npz"]) == 0
    assert np.load("drawn.npz")["picture"].shape == (1, 24, 1, 4, 6)
    kinds = {m.name: m.kind for m in ppvae.load("run").modalities}
    assert kinds == {
        "picture": "image",
        "sound": "sound",
        "walk": "series",
        "colour": "vector",
        "size": "vector",
        "caption": "text",
    }


def say(old: str, new: str) -> Callable[[Path], Any]:
    return lambda root: (root / "mine.toml").write_text(DESCRIPTION.replace(old, new, 1))


def put(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda root: (root / name).write_bytes(content)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (say("[modalities.picture]", "[modalities.picture"), "as TOML: Expected ']'"),
        (put("mine.toml", b"\xff"), "as TOML: 'utf-8' codec"),
        (put("mine.toml", b""), "the key modalities is missing"),
        (put("mine.toml", b"[modalities]"), "modalities is {}: "),
        (say("[labels.shape]", "[label.shape]"), "there is no key label; is it misspelled?"),
        (say("bands = 8", "band = 8"), "there is no key modalities.sound.band; is it misspelled?"),
        (say("bands = 8", "bands = 0"), "modalities.sound.bands is 0: input should be greater than 0"),
        (say("bands = 8", "bands = 800"), "modalities.sound: 800 mel bands are too many"),
        (say('kind = "image"\n', ""), "the key modalities.picture.kind is missing"),
        (say('"image"', '"picture"'), "modalities.picture.kind is 'picture'; choose one of 'image', 'sound'"),
        (say('folder = "pictures"\n', ""), "the key modalities.picture.folder is missing"),
        (say('column = "shape"\n', ""), "the key labels.shape.column is missing"),
        (say("modalities.sound", 'modalities."a b"'), "modalities.a b: a modality's name must be an identifier"),
        (say('"height", "width"', ""), "modalities.size.columns is []: "),
        (
            say('"height"', '"depth"'),
            "modalities.size: '{root}/sizes.parquet' has no column 'depth'; it has height, width",
        ),
        (say('id = "name"\n', ""), "has no column 'id'; it has height, width, name"),
        (say('"shape"', '"form"'), "labels.shape: '{root}/facts.csv' has no column 'form'"),
        (say('"pictures"', '"images"'), "modalities.picture: there is no folder '{root}/images'"),
        (
            lambda root: (put("pictures.zip", b"")(root), say('"pictures"', '"pictures.zip"')(root)),
            "there is no folder '{root}/pictures.zip', but a file: unpack it into 'pictures'",
        ),
        (say('"facts.csv"', '"fact.csv"'), "modalities.colour: there is no file '{root}/fact.csv'"),
        (say('folder = "sounds"', 'folder = "pictures"'), "holds no file that ends in .wav, "),
        (say('folder = "pictures"', 'folder = "pictures"\nlikelihood = "gauss"'), "unknown likelihood 'gauss'"),
        (
            put("pictures/001.png", b"no picture"),
            "modalities.picture: cannot read '{root}/pictures/001.png' as a picture",
        ),
        (put("pictures/001.jpg", b""), "the id '001' is there twice, as 001.jpg and as 001.png"),
        (put("sounds/001.wav", b"no sound"), "modalities.sound: cannot read '{root}/sounds/001.wav' as a sound"),
        (put("walks/001.csv", b"time,y\n0,1\n"), "modalities.walk: of the id '0"),
        (put("sizes.parquet", b"no table"), "cannot read '{root}/sizes.parquet' as a table"),
        (put("facts.csv", b"id,colour,shape,caption\n1,a,b,c\n1,c,d,e\n"), "has the id '1' twice in its column 'id'"),
        (put("facts.csv", b"id,colour,shape\n,a,b\n"), "has a row without an id in its column 'id'"),
        (
            say('id = "name"\ncolumns = ["height", "width"]', 'id = "width"\ncolumns = ["height"]'),
            "size has no id in common with another: one of its own is '",
        ),
        (put("facts.csv", b'id,colour,shape\n1,"a,b\n'), "cannot read '{root}/facts.csv' as a table"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_every_mistake_is_one_sentence_that_names_the_key(wrong, told: str, tmp_path: Path, capsys) -> None:
    wrong(made(tmp_path))
    words = ["fit", "mvae", "--data", str(tmp_path / "mine.toml"), "--out", str(tmp_path / "never"), "--epochs", "0"]
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"Error: \S.*\n", err)
    assert told.replace("{root}", str(tmp_path)) in err
    assert not (tmp_path / "never").exists()


def test_cells_that_are_no_numbers_and_holes_in_a_csv_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[modalities.a]\nkind = "vector"\ntable = "a.csv"\ncolumns = ["x", "y"]\n')
    (tmp_path / "a.csv").write_text("id,x,y\np,1.5, NA\nq,,2\n")
    data = data_set(described(tmp_path / "a.toml"))
    np.testing.assert_array_equal(data.holed("a"), [[1.5, np.nan], [np.nan, 2]])
    (tmp_path / "a.csv").write_text("id,x,y\np,1.5,much\n")
    with pytest.raises(ValueError, match="holds 'much', no number, in column 'y' of id 'p'"):
        described(tmp_path / "a.toml")


def test_no_table_loses_or_changes_what_its_cells_say(tmp_path: Path) -> None:
    text = '[modalities.a]\nkind = "vector"\ntable = "FILE"\ncolumns = ["x", "y"]\n'

    def read(file: str) -> Any:
        (tmp_path / "a.toml").write_text(text.replace("FILE", file))
        return data_set(described(tmp_path / "a.toml"))

    (tmp_path / "a.csv").write_text("id,x,y\np,1,2,3\nq,3,4\n")
    with pytest.raises(ValueError, match="a row has more cells than the header"):
        read("a.csv")
    (tmp_path / "a.csv").write_text("id,x,y\np,9007199254740993,2\nq,1,3\n")
    with pytest.raises(ValueError, match="column 'x' holds whole numbers above 2"):
        read("a.csv")
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(b"id\tx\ty\np\t1.5\t2\n"))
    np.testing.assert_array_equal(read("a.tsv.gz").arrays["a"], [[1.5, 2.0]])
    frame = pd.DataFrame({"x": [1.5, 2.0], "y": pd.array([None, 1], "Int64")}, index=pd.Index([7, 8], name="id"))
    frame.to_parquet(tmp_path / "a.parquet")
    data = read("a.parquet")
    np.testing.assert_array_equal(data.holed("a"), [[1.5, np.nan], [2.0, 1.0]])
    assert data.ids.tolist() == ["7", "8"]
    frame.assign(x=pd.date_range("2020", periods=2)).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="holds datetime64 values, no numbers, in column 'x'"):
        read("a.parquet")


VALUES = pd.DataFrame({"x": [1.5, -0.25], "y": [2.0, np.nan]}, index=["p", "q"])
SAVED: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "feather": ("a.feather", VALUES.rename_axis("id").reset_index().to_feather),
    "an index without a name": ("a.parquet", VALUES.to_parquet),
    "an index of another name": ("a.parquet", VALUES.rename_axis("car").to_parquet),
    "the index in a CSV file": ("a.csv", VALUES.to_csv),
    "semicolons": ("a.csv", lambda path: path.write_text('"id";"x";"y, mm";"y"\np;1,5;7;2\nq;-0,25;8;\n')),
    "marked as UTF-8": ("a.csv", lambda path: path.write_bytes(b"\xef\xbb\xbfid, x,y\r\np,1.5,2\r\nq,-.25,NA\r\n")),
    "names without a header, as R writes": (
        "a.txt",
        lambda path: path.write_text('x\ty\n"p"\t1.5\t2\n"q"\t-0.25\tNA\n'),
    ),
    "empty cells around, as Excel writes": (
        "a.csv",
        lambda path: path.write_text("ID,x,y,,\np,1.5,2,,\nq,-.25,,,\n,,,,\n"),
    ),
    "tabs": ("a.txt", lambda path: path.write_text("id\tx\ty\np\t1.5\t2\nq\t-0.25\t\n")),
}


@pytest.mark.parametrize("columns", ['columns = ["x", "y"]\n', ""])
@pytest.mark.parametrize("how", SAVED)
def test_a_table_is_read_as_it_was_saved(how: str, columns: str, tmp_path: Path) -> None:
    name, save = SAVED[how]
    save(tmp_path / name)
    also = (
        '[modalities.b]\nkind = "vector"\ntable = "a.csv"\ncolumns = ["y, mm"]\nlikelihood = "normal"\n'
        if how == "semicolons"
        else ""
    )
    (tmp_path / "a.toml").write_text(f'[modalities.a]\nkind = "vector"\ntable = "{name}"\n{columns}{also}')
    data = data_set(described(tmp_path / "a.toml"))
    assert data.features["a"] == ("x", "y")
    np.testing.assert_array_equal(data.holed("a"), VALUES)
    assert data.ids.tolist() == ["p", "q"]


def test_columns_that_nobody_names_are_those_that_no_other_entry_does(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sex,g1,who,kind,g-2\nf,1,p,u,2\nm,3,q,v,\n")
    text = '[modalities.a]\nkind = "vector"\ntable = "a.csv"\nid = "who"\nlikelihood = "normal"\n'
    kind = '[modalities.kind]\nkind = "category"\ntable = "a.csv"\nid = "who"\ncolumn = "kind"\n'
    sex = '[labels.sex]\ntable = "a.csv"\nid = "who"\ncolumn = "sex"\n'
    (tmp_path / "a.toml").write_text(text + kind + sex)
    data = data_set(described(tmp_path / "a.toml"))
    assert data.features["a"] == ("g1", "g-2")
    np.testing.assert_array_equal(data.holed("a"), [[1, 2], [3, np.nan]])
    (tmp_path / "a.toml").write_text(text + sex)
    with pytest.raises(ValueError, match="holds 'u', no number, in column 'kind' of id 'p'"):
        described(tmp_path / "a.toml")
    (tmp_path / "a.csv").write_text("who,sex\np,f\n")
    with pytest.raises(ValueError, match="has no column of numbers beside who, sex"):
        described(tmp_path / "a.toml")


def test_rows_of_one_table_without_ids_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,kind,sex\n1.5,red,f\n,green,\n2.5,,m\n")
    numbers = '[modalities.a]\nkind = "vector"\ntable = "a.csv"\ncolumns = ["x"]\n'
    names = '[modalities.kind]\nkind = "category"\ntable = "a.csv"\ncolumn = "kind"\n'
    (tmp_path / "a.toml").write_text(f'{numbers}{names}[labels.sex]\ntable = "a.csv"\ncolumn = "sex"\n')
    data = data_set(described(tmp_path / "a.toml"))
    np.testing.assert_array_equal(data.holed("a")[:, 0], [1.5, np.nan, 2.5])
    np.testing.assert_array_equal(data.holed("kind")[:, 0], [1, 0, np.nan])
    assert (data.ids.tolist(), data.labels["sex"].tolist()[::2]) == (["0", "1", "2"], ["f", "m"])
    (tmp_path / "b.csv").write_text("kind\nred\n")
    (tmp_path / "a.toml").write_text(numbers + names.replace("a.csv", "b.csv"))
    with pytest.raises(ValueError, match="has no column 'id'; it has x, kind, sex; name the one that tells the items"):
        described(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id,x,y\np,é,2\n".encode("latin-1"), "it is no text in UTF-8; save it as CSV in UTF-8, or as .parquet"),
        (b"id;x;y\np;1,5;2\nq;1.234;2\n", "column 'x' holds '1,5' beside '1.234', so that the decimal mark may be"),
        (b'id,x,y\np,"1,5",2\n', "holds '1,5', no number, in column 'x' of id 'p'"),
        (b"id,x,y,x\np,1,2,3\n", "has the column 'x' twice"),
        (b"x\ty\np\t1\t2\nq\t3\n", "a row has more cells than the header"),
        (b"name,y\np,1,5\nq,2,5\n", "a row has more cells than the header"),
    ],
)
def test_a_table_that_can_be_read_in_two_ways_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[modalities.a]\nkind = "vector"\ntable = "a.csv"\ncolumns = ["x", "y"]\n')
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        described(tmp_path / "a.toml")


def test_a_table_in_place_of_its_description_is_told(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.csv").write_text("id,x\np,1\n")
    assert cli.main(["fit", "mvae", "--data", str(tmp_path / "a.csv")]) == 2
    assert 'kind = "vector" table = "a.csv" columns = ["COLUMN"]' in capsys.readouterr().err


def test_a_name_that_may_be_a_hole_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[modalities.a]\nkind = "category"\ntable = "a.csv"\ncolumn = "sex"\n')
    (tmp_path / "a.csv").write_text("id,sex\np,male\nq,NA\n")
    with pytest.warns(UserWarning, match="column 'sex': 'NA' is taken as a text; leave empty what is missing"):
        described(tmp_path / "a.toml")


def test_likelihoods_are_said_in_the_file_alone(folder: Path, capsys) -> None:
    words = ["fit", "mvae", "--data", str(folder / "mine.toml"), "--likelihood", "size=laplace"]
    assert cli.main(words) == 2
    assert "says its likelihoods itself" in capsys.readouterr().err


def test_files_in_folders_of_classes_are_items_by_folder_and_name(tmp_path: Path) -> None:
    for i, where in enumerate(("cat/a", "cat/b", "dog/a", ".hidden/a")):
        (tmp_path / "pictures" / where).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), i, np.uint8)).save(tmp_path / "pictures" / f"{where}.png")
    file = tmp_path / "mine.toml"
    file.write_text('[modalities.picture]\nkind = "image"\nfolder = "pictures"\nlevels = 256\n')
    data = data_set(described(file))
    assert {id_: int(x.max()) for id_, x in zip(data.ids, data.arrays["picture"], strict=True)} == {
        "cat/a": 0,
        "cat/b": 1,
        "dog/a": 2,
    }
    (tmp_path / "pictures" / "cat" / "a.txt").write_text("a caption of a.png")
    (tmp_path / "pictures" / "cat" / "c.heic").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"of other endings than \.png, .*, and so left out: cat/c\.heic$"):
        described(file)
    (tmp_path / "pictures" / "cat" / "c.heic").unlink()
    Image.fromarray(np.full((4, 4), 9, np.uint8)).save(tmp_path / "pictures" / "alone.png")
    with pytest.warns(UserWarning, match=r"what its folders hold, such as cat/a\.png, is left out"):
        assert list(data_set(described(file)).ids) == ["alone"]
