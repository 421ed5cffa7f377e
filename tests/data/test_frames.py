"""Data frames: rows are joined by their index, and ids and features come out again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ppvae
from ppvae import Dataset

NAN = np.nan
IDS = ["p0", "p1", "p2", "p3"]
A = pd.DataFrame(np.arange(8).reshape(4, 2) + 0.5, index=IDS, columns=["g1", "g2"])
B = pd.DataFrame({"c": [3.5, 1.5, 9.5]}, index=["p3", "p1", "p9"])


def test_rows_are_joined_by_id_in_the_order_of_the_first_and_missing_ids_are_holes() -> None:
    data = Dataset({"a": A, "b": B}, labels={"kind": pd.Series(["w", "z"], index=["p9", "p0"])})
    assert data.ids.tolist() == [*IDS, "p9"]
    np.testing.assert_array_equal(data.holed("a"), [*A.to_numpy(), [NAN, NAN]])
    np.testing.assert_array_equal(data.holed("b").ravel(), [NAN, 1.5, NAN, 3.5, 9.5])
    assert [label for label in data.labels["kind"] if label == label] == ["z", "w"]
    assert data.features == {"a": ("g1", "g2"), "b": ("c",)}


def test_frames_shuffled_apart_are_the_ordered_ones() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(60, 1))
    a, b = (pd.DataFrame(z @ rng.normal(size=(1, 3)), index=[f"i{n}" for n in range(60)]) for _ in "ab")
    whole = Dataset({"a": a, "b": b})
    apart = Dataset({"a": a, "b": b.sample(frac=1, random_state=1)})
    assert np.array_equal(apart.keys, whole.keys)
    fitted = ppvae.fit(
        ppvae.method("mvae", whole.modalities, latent=1), whole, backend="pyro", epochs=3, progress=False
    )
    found = [fitted.query(data, given=["a"], ask=["b"])["b"] for data in (whole, apart)]
    assert np.array_equal(*found)


def test_an_index_that_counts_is_an_index_like_any_other() -> None:
    data = Dataset({"a": A.set_axis([3, 1, 2, 0]), "b": pd.Series([9.5, 8.5, 7.5, 6.5])})
    assert data.holed("b").ravel().tolist() == [6.5, 8.5, 7.5, 9.5]
    plain = Dataset({"a": A.reset_index(drop=True), "b": np.arange(4) + 0.5})
    assert plain.ids is None
    assert plain.holed("b").ravel().tolist() == [0.5, 1.5, 2.5, 3.5]


def test_masks_and_labels_are_joined_as_well() -> None:
    mask = pd.DataFrame({"g2": [False, True, True, True], "g1": True}, index=IDS[::-1])
    data = Dataset({"a": A}, {"a": mask}, {"kind": pd.Series(list("wxyz"), index=IDS[::-1])})
    assert np.isnan(data.holed("a")).tolist() == [[False, False]] * 3 + [[False, True]]
    assert data.labels["kind"].tolist() == list("zyxw")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"a": A, "b": pd.concat([B, B])}, "'b' has the id 'p3' twice"),
        ({"a": A.set_axis(["p0", None, "p2", "p3"])}, "'a' has rows without an id"),
        ({"a": A, "b": B.reset_index(drop=True)}, "'a' has no id in common with another"),
        ({"a": A, "b": B, "c": np.ones(5)}, "'c' is an array without ids"),
        ({"a": A, "c": np.ones(5)}, "differ in their number of items"),
        ({"a": A.reset_index(drop=True), "b": B.reset_index(drop=True)}, "differ in their number of items"),
    ],
)
def test_rows_that_cannot_be_told_apart_or_matched_are_refused(arrays: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Dataset(arrays)


def test_ids_and_features_stay_with_their_rows_and_come_out_as_a_frame() -> None:
    data = Dataset({"a": A, "b": B})
    part = data.take([3, 0]).only(["a"])
    assert part.ids.tolist() == ["p3", "p0"]
    pd.testing.assert_frame_equal(part.frame("a"), A.loc[["p3", "p0"]])
    assert {*data.split(0.5)[0].ids, *data.split(0.5)[1].ids} == {*IDS, "p9"}
    pd.testing.assert_frame_equal(data.frame("b"), B.reindex([*IDS, "p9"]))
    with pytest.raises(ValueError, match=r"takes values \(items, elements\), \(5, 1\), not \(5, 2\)"):
        data.frame("b", np.zeros((5, 2)))


def test_ids_of_plain_arrays_are_unique_and_as_many() -> None:
    assert Dataset({"x": np.ones((2, 1)) / 3}, ids=["u", "v"]).take(1).ids.tolist() == ["v"]
    for ids, said in ((["u", "u"], "unique"), (["u"], "number of items")):
        with pytest.raises(ValueError, match=said):
            Dataset({"x": np.ones((2, 1)) / 3}, ids=ids)


@pytest.mark.parametrize("counted", [False, True])
def test_named_masks_and_labels_are_joined_by_the_ids_of_arrays(counted: bool) -> None:
    array = pd.DataFrame(A.to_numpy()) if counted else A.to_numpy()
    mask = pd.Series([False, True, True, True], index=IDS[::-1])
    labels = {"kind": pd.Series(list("wxy"), index=["p3", "p1", "p0"]), "row": pd.Series(range(4)), "own": range(4)}
    data = Dataset({"a": array, "b": list("uvuv")}, {"a": mask}, labels, ids=IDS)
    assert data.ids.tolist() == IDS
    assert data.present("a").tolist() == [True, True, True, False]
    assert [label for label in data.labels["kind"] if label == label] == ["y", "x", "w"]
    assert data.labels["row"].tolist() == data.labels["own"].tolist() == [0, 1, 2, 3]
    beside = Dataset({"b": A, "a": A.to_numpy()}, {"a": mask})
    assert beside.present("a").tolist() == [True, True, True, False]


def test_names_in_two_orders_beside_arrays_without_any_are_refused() -> None:
    x, label = A.to_numpy(), pd.Series(list("wxyz"), index=IDS)
    assert Dataset({"x": x}, labels={"one": label, "two": label.copy()}).labels["one"].tolist() == list("wxyz")
    with pytest.raises(ValueError, match="label 'two' has another index than label 'one'"):
        Dataset({"x": x}, labels={"one": label, "two": label[::-1]})
    with pytest.raises(ValueError, match="label 'one' has another index than the mask of modality 'x'"):
        Dataset({"x": x}, {"x": label[::-1] == "w"}, {"one": label})
    with pytest.raises(ValueError, match="'x' has 4 rows, and there are 2 ids"):
        Dataset({"x": pd.DataFrame(x)}, ids=["p0", "p1"])


def test_a_table_shows_what_a_data_set_is() -> None:
    lines = repr(Dataset({"a": A, "b": B})).splitlines()
    assert lines[0] == "Dataset of 5 items (p0, p1, p2, ...)"
    assert lines[1].split() == ["modality", "shape", "likelihood", "observed", "features"]
    assert "normal (guessed: fractions)" in lines[2]
    assert lines[3].split()[-2:] == ["60.0%", "c"]
    counts = pd.DataFrame(np.arange(30).reshape(10, 3), columns=["HLA-A", "MT-CO1", "NKX2.5"])
    lines = repr(Dataset({"expression": counts}, labels={f"label_{n}": range(10) for n in range(9)})).splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines[-2:]).split()) == (
        "expression (3,) negative_binomial (guessed: whole 100.0% HLA-A, MT-CO1, numbers of 0 or more) NKX2.5"
    )


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_answers_know_ids_and_features_and_nothing_of_a_column_that_nobody_measured(backend: str, tmp_path) -> None:
    data = Dataset({"a": A.assign(never=NAN), "b": B})
    vae = ppvae.method("mvae", data.modalities, latent=1, hidden=(4,))
    with pytest.warns(UserWarning, match="nobody measured never of modality 'a'"):
        ppvae.fit(vae, data, backend=backend, epochs=1, progress=False).save(tmp_path / "run")
    fitted = ppvae.load(tmp_path / "run")
    for drawn in (fitted.query(data, draws=2), fitted.generate(3), fitted.impute(data, draws=2)):
        assert np.isnan(drawn["a"][..., 2]).all()
        assert np.isfinite(drawn["a"][..., :2]).all()
        assert np.isfinite(drawn["b"]).all()
    assert data.frame("a", fitted.impute(data, draws=2)["a"]).loc["p1", "g2"] == A.loc["p1", "g2"]
    if backend == "pyro":
        found = fitted.to_arviz(data, draws=30)["posterior_predictive"]["a"]
        assert found["item"].values.tolist() == [*IDS, "p9"]
        assert found["a_feature"].values.tolist() == ["g1", "g2", "never"]


def test_columns_in_another_order_than_in_training_are_refused() -> None:
    data = Dataset({"a": A})
    fitted = ppvae.fit(ppvae.method("vae", data.modalities, latent=1), data, backend="pyro", epochs=0, progress=False)
    for other, said in (
        (A[["g2", "g1"]], "in another order, or one twice: column 0 is 'g2', where 'g1' is expected"),
        (A[["g1"]], "'a' lacks column 'g2': give it the 2 columns of training"),
        (A.assign(g3=0.5, g4=0.5), "'a' takes no column 'g3', and 1 more: give it"),
        (A[["g1", "g2", "g1"]], "one twice: column 2 is 'g1', where None is expected"),
    ):
        with pytest.raises(ValueError, match=said):
            fitted.encode(Dataset({"a": other}))


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2024-01-01", periods=4, freq="h"),
        pd.date_range("2024-01-01", periods=4, tz="Europe/Berlin"),
        pd.timedelta_range("1h", periods=4),
        pd.period_range("2024-01", periods=4, freq="M"),
        pd.Index([0.5, 1.5, 2.5, 3.5]),
        pd.MultiIndex.from_product([["a", "b"], [0, 1]]),
        pd.Index(["a", 1, "b", 2], dtype=object),
        pd.CategoricalIndex(list("abcd")),
    ],
    ids=lambda index: type(index).__name__ + str(index.dtype),
)
def test_a_frame_comes_back_with_the_index_that_it_came_with(index: pd.Index) -> None:
    frame = pd.DataFrame({"u": [0.5, 1.0, np.nan, 2.5]}, index=index)
    data = Dataset({"x": frame})
    assert data.frame("x").index.isin(index).all()
    assert data.frame("x").reindex(index)["u"].equals(frame["u"])
    assert data.take([2, 0]).frame("x").index.tolist() == index[[2, 0]].tolist()
