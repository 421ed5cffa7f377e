"""Series: measurements at any times, on one clock."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppvae.data.description import data_set, described
from ppvae.data.preprocessing import preprocessing
from ppvae.data.preprocessing.series import Series, Trace, fitted, read, windows, write


@given(st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_a_tick_has_the_mean_of_what_was_measured_near_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    series = Series(("a", "b"), start=1.0, step=0.5, times=7)
    times, values = np.sort(rng.uniform(-1, 6, 20)), rng.normal(size=(20, 2))
    values[rng.random((20, 2)) < 0.3] = np.nan
    array, observed = series.encode([Trace(("a", "b"), times, values), None])
    for channel in range(2):
        for tick, at in enumerate(series.clock):
            near = values[(np.abs(times - at) < 0.25), channel]
            near = near[np.isfinite(near)]
            assert observed[0, channel, tick] == bool(len(near))
            np.testing.assert_allclose(array[0, channel, tick], near.mean() if len(near) else 0, atol=1e-6)
    assert not observed[1].any()
    assert preprocessing("a", series.plain()) == series


def test_series_on_the_clock_come_back_and_shorter_ones_end_in_a_hole() -> None:
    full = Trace(("x", "y"), np.arange(5) * 0.1, np.arange(10.0).reshape(5, 2))
    short = Trace(full.channels, full.times[:3], full.values[:3])
    series = fitted([full, short, None])
    assert (series.start, series.times, series.shape) == (0, 5, (2, 5))
    array, observed = series.encode([full, short])
    assert observed[1].tolist() == [[True] * 3 + [False] * 2] * 2
    again, _ = series.decode(array)
    np.testing.assert_allclose(again.times, full.times)
    np.testing.assert_allclose(again.values, full.values)


def test_windows_cut_a_long_series_into_pieces_with_clocks_of_their_own() -> None:
    long = Trace(("x",), np.arange(10.0), np.arange(10.0)[:, None])
    pieces = list(windows(long, 4.0))
    assert [piece.values[:, 0].tolist() for piece in pieces] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert all(piece.times[0] == 0 for piece in pieces)
    assert [len(piece.times) for piece in windows(long, 4.0, every=2.0)] == [4, 4, 4, 4, 2]
    assert [len(piece.times) for piece in windows(long._replace(times=np.arange(10.0) * 7 / 9), 4.0)] == [6, 4]


def test_channels_are_known_by_their_names_and_others_are_refused() -> None:
    series = Series(("x", "y"), 0.0, 1.0, 2)
    turned = Trace(("y", "x"), np.arange(2.0), np.array([[3.0, 1.0], [np.nan, 2.0]]))
    np.testing.assert_array_equal(series.one(turned), [[1, 2], [3, np.nan]])
    for channels in (("x",), ("x", "z"), ("x", "y", "z")):
        with pytest.raises(ValueError, match=f"has the channels {', '.join(channels)}, not x, y"):
            series.one(Trace(channels, np.zeros(1), np.zeros((1, len(channels)))))


def test_a_clock_that_nothing_tells_is_asked_for() -> None:
    with pytest.raises(ValueError, match="there is no series"):
        fitted([None])
    with pytest.raises(ValueError, match="no series has two times"):
        fitted([Trace(("x",), np.zeros(1), np.zeros((1, 1)))])
    with pytest.raises(ValueError, match="preprocessing of modality 'a' is damaged: step"):
        preprocessing("a", {"kind": "series", "channels": ["x"], "start": 0.0, "step": 0.0, "times": 3})
    with pytest.raises(ValueError, match="preprocessing of kind 'smell'; known are image, "):
        preprocessing("a", {"kind": "smell"})


def test_a_file_comes_back_and_a_damaged_one_is_one_sentence(tmp_path: Path) -> None:
    trace = Trace(("x", "y"), np.array([0.0, 1.5]), np.array([[1.0, np.nan], [2.0, 3.0]]))
    write(tmp_path / "a.csv", trace)
    again = read(tmp_path / "a.csv")
    assert again.channels == ("x", "y")
    np.testing.assert_array_equal(again.values, trace.values)
    (tmp_path / "c.csv").write_text(",time,x\n0,0.0,1.0\n1,1.5,2.0\n")  # with the index of pandas
    assert read(tmp_path / "c.csv").channels == ("x",)
    for text, told in {
        "x,y\n1,2": "needs a column 'time'",
        "time\n1": "others beside it; it has time",
        "time,x\n2024-01-01 10:00,2": "its times are no numbers: write the seconds or days since the first",
        "time,x\n1,2\n2,inf": "infinite values; leave empty",
        "time,x,x\n1,2,3": "the column 'x' twice",
        "time,x\n1,2,3": "more cells than the header",
        "time,x\n1,2\n1,3": "times must rise",
        "time,x\n1,much": "cannot read",
        "": "cannot read",
    }.items():
        (tmp_path / "b.csv").write_text(text)
        with pytest.raises(ValueError, match=told):
            read(tmp_path / "b.csv")


@pytest.mark.parametrize("form", ["tsv", "semicolons", "blanks", "parquet", "parquet by time", "feather"])
def test_a_series_is_read_from_every_table(form: str, tmp_path: Path) -> None:
    trace = Trace(("x", "y"), np.array([0.0, 1.5]), np.array([[1.25, np.nan], [2.0, 3.0]]))
    frame = pandas.DataFrame({"time": trace.times, "x": trace.values[:, 0], "y": trace.values[:, 1]})
    file = tmp_path / ("a." + {"semicolons": "csv", "blanks": "csv"}.get(form, form.split()[0]))
    if file.suffix in (".parquet", ".feather"):
        getattr(frame.set_index("time") if "by" in form else frame, f"to_{file.suffix[1:]}")(file)
    else:
        options = {"tsv": {"sep": "\t"}, "semicolons": {"sep": ";", "decimal": ","}, "blanks": {"na_rep": " NA "}}
        frame.to_csv(file, index=False, **options[form])
    again = read(file)
    assert again.channels == trace.channels
    np.testing.assert_array_equal(again.times, trace.times)
    np.testing.assert_array_equal(again.values, trace.values)


def test_series_of_one_table_are_those_of_files_and_told_by_their_ids(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"who": np.repeat(["a", "b", "c"], 5), "time": np.tile(np.arange(5) / 2, 3)})
    frame["x"], frame["y"] = rng.normal(size=(2, 15)).round(3)
    frame = frame.drop(index=[3, 14]).sort_values(["time", "who"])
    frame.to_csv(tmp_path / "walks.csv", index=False)
    (tmp_path / "walks").mkdir()
    for name, one in frame.groupby("who"):
        one.drop(columns="who").to_csv(tmp_path / "walks" / f"{name}.csv", index=False)
    found = []
    for where in ('folder = "walks"', 'table = "walks.csv"\nid = "who"'):
        (tmp_path / "mine.toml").write_text(f'[modalities.walk]\nkind = "series"\n{where}\n')
        found.append(data_set(described(tmp_path / "mine.toml")))
    assert found[0].ids.tolist() == found[1].ids.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(found[0].arrays["walk"], found[1].arrays["walk"])
    np.testing.assert_array_equal(found[0].observed["walk"], found[1].observed["walk"])
    assert found[0].modalities[0].preprocessing == found[1].modalities[0].preprocessing


@pytest.mark.parametrize(
    ("where", "told"),
    [
        (
            'table = "w.csv"',
            r"modalities\.walk: .*no column 'id'; it has who, time, x; name the one that tells the items",
        ),
        ('table = "w.csv"\nid = "who"', r"cannot read '.*w\.csv' as series: its times, of 'b', must rise"),
        ('table = "w.csv"\nfolder = "w"', "say a folder of files or a table, and not both"),
        ("step = 1.0", "say a folder of files or a table, and not both"),
    ],
)
def test_a_table_of_series_that_cannot_be_read_is_told(where: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("who,time,x\na,0,1\nb,1,2\nb,0,2\n")
    (tmp_path / "mine.toml").write_text(f'[modalities.walk]\nkind = "series"\n{where}\n')
    with pytest.raises(ValueError, match=told):
        data_set(described(tmp_path / "mine.toml"))
