"""Names: what tables hold of categories and texts becomes numbers and comes back, in every form, and not in silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ppvae
from ppvae import Dataset, Modality
from ppvae.data.preprocessing import text
from ppvae.data.reader import read_npz

KINDS = ["b", "a", "c", "a", None, "b"]
X = np.random.default_rng(0).normal(size=(6, 2))
TABLE = pd.DataFrame({"kind": KINDS})
FORMS: dict[str, Any] = {
    "a list": KINDS,
    "objects": np.array(KINDS, object),
    "bytes": np.array([k and k.encode() for k in KINDS], object),
    "a column of objects": np.array(KINDS, object)[:, None],
    "masked": np.ma.array(["b", "a", "c", "a", "a", "b"], mask=[0, 0, 0, 0, 1, 0]),
    "a series": TABLE["kind"],
    "a frame of one column": TABLE,
    "strings": TABLE["kind"].astype("string"),
    "strings of Arrow": TABLE["kind"].astype("string[pyarrow]"),
    "a categorical": TABLE["kind"].astype("category"),
    "bare": pd.Categorical(KINDS),
    "empty where missing": [k or "" for k in KINDS],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_names_is_the_same_modality(form: str) -> None:
    data = Dataset({"x": X, "kind": FORMS[form]})
    assert [m.name for m in data.modalities] == ["x", "kind"]
    assert (data.modalities[1].likelihood, data.modalities[1].levels) == ("categorical", 3)
    np.testing.assert_array_equal(data.holed("kind")[:, 0], [1, 0, 2, 0, np.nan, 1])
    assert data.frame("kind").iloc[:, 0].astype(object).where(data.present("kind"), None).tolist() == KINDS
    assert np.array_equal(data.keys, Dataset({"x": X, "kind": KINDS}).keys)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([4, 6, 8, None]), min_size=3, max_size=9).filter(lambda found: any(found)))
def test_what_a_categorical_holds_comes_back_in_its_own_kind(found: list[Any]) -> None:
    column = pd.Series(pd.Categorical(found, [8, 4, 6]), name="cylinders")
    data = Dataset({"cylinders": column})
    assert data.modalities[0].preprocessing["names"] == [8, 4, 6]
    back = data.frame("cylinders")["cylinders"]
    assert [None if value != value else value for value in back] == found
    again = Dataset({"cylinders": column.astype(float)}, modalities=data.modalities)  # as read without its type
    np.testing.assert_array_equal(again.holed("cylinders"), data.holed("cylinders"))


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([f"patient {i}" for i in range(30)], "30 different texts in 30 items, such as 'patient 0'"),
        (["1", "2.5", "NA", "4", "5", "6"], "numbers written as text, such as '1': they become numbers by"),
        (["1,234", "12", "NA"] * 3, "numbers as people write them, such as '1,234': they become numbers once all but"),
        (["1.234.567,8", "2", "3"] * 3, "numbers as people write them, such as '1.234.567,8'"),
        (["$5", "€ 7.50", "9"] * 3, r"numbers as people write them, such as '\$5'"),
        (["5%", "10 %"] * 3, "numbers as people write them, such as '10 %'"),
        (["1", "2", "<0.5", "3.5"] * 3, r"numbers written as text, such as '1', beside '<0\.5': they become numbers"),
        ([*map(str, range(30)), "below"], "such as '0', beside 'below': they become numbers"),
        ([None, "", np.nan] * 2, "has no value at all"),
    ],
)
def test_texts_that_are_no_categories_are_refused_with_what_to_do(column: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Dataset({"kind": np.array(column, object)})


@pytest.mark.parametrize(
    "names", [["<5", "5-10"], ["0", "1+", "2+"], ["1a", "2a"], ["3 days", "4 days"], ["$", "%"], ["1.2.3", "1.2.4"]]
)
def test_names_with_digits_are_names(names: list[str]) -> None:
    assert Dataset({"kind": names * 3}).modalities[0].levels == len(names)


def test_a_name_that_may_be_a_hole_is_told_and_only_categorical_is_their_likelihood() -> None:
    with pytest.warns(UserWarning, match="modality 'kind': 'nan' is taken as a text"):
        assert Dataset({"kind": ["a", "nan", "b", "a"]}).modalities[0].levels == 3
    assert Dataset({"kind": KINDS}, likelihood={"kind": "categorical"}).guesses == {}
    assert Dataset({"kind": KINDS}).guesses == {"kind": "3 different names"}
    with pytest.raises(ValueError, match="'kind' holds names, which are categorical, not normal"):
        Dataset({"kind": KINDS}, likelihood={"kind": "normal"})
    with pytest.raises(ValueError, match="'kind' must be an array of numbers"):
        Dataset({"kind": KINDS}, modalities=[Modality("kind", (1,), "categorical", levels=3)])


def test_names_are_joined_by_their_index_as_numbers_are() -> None:
    ids = [f"p{i}" for i in range(6)]
    rows = pd.DataFrame(X, ids, ["u", "v"])
    data = Dataset({"x": rows, "kind": pd.Series(KINDS, ids, name="type").iloc[::-1].iloc[1:]})
    assert data.ids.tolist() == ids
    assert data.frame("kind").loc["p2", "type"] == "c"
    assert data.present("kind").tolist() == [True, True, True, True, False, False]


def test_texts_of_a_declared_modality_are_encoded() -> None:
    captions = pd.Series(["a red square", None, "a blue circle"])
    declared = text.modality("caption", captions, tokens="words")
    data = Dataset({"caption": captions}, modalities=[declared])
    assert data.present("caption").tolist() == [True, False, True]
    assert data.frame("caption")["caption"].where(data.present("caption"), None).tolist() == captions.tolist()


def test_other_rows_are_read_with_the_names_of_training() -> None:
    data = Dataset({"x": X, "kind": KINDS})
    numbers = Dataset(data.arrays, data.observed, modalities=data.modalities)
    np.testing.assert_array_equal(numbers.holed("kind"), data.holed("kind"))
    with pytest.warns(UserWarning, match="1 of 2 names, such as 'z', are none of the categories a, b, c, and count as"):
        new = Dataset({"x": X[:2], "kind": ["c", "z"]}, modalities=data.modalities)
    np.testing.assert_array_equal(new.holed("kind")[:, 0], [2, np.nan])
    other = Dataset({"x": X[:2], "kind": ["c", "b"]})
    np.testing.assert_array_equal(other.arrays["kind"][:, 0], [1, 0])
    np.testing.assert_array_equal(other.like(data.modalities).arrays["kind"][:, 0], [2, 1])
    alone = Dataset({"kind": ["c", None]}).like(data.modalities)
    np.testing.assert_array_equal(alone.holed("kind")[:, 0], [2, np.nan])


def test_texts_of_other_tokens_are_refused_and_files_of_names_are_read(tmp_path: Any) -> None:
    captions = ["a b", "b a"], ["c d", "d c"]
    first, second = (Dataset({"t": x}, modalities=[text.modality("t", x, tokens="words")]) for x in captions)
    with pytest.raises(ValueError, match="'t' became numbers in another way than in training"):
        second.like(first.modalities)
    np.savez(tmp_path / "a.npz", x=X, kind=np.array([k or "" for k in KINDS]))
    assert read_npz(tmp_path / "a.npz").frame("kind")["kind"][2] == "c"


@pytest.mark.parametrize("backend", ["pyro", "numpyro"])
def test_a_run_fills_names_and_refuses_those_that_it_counts_otherwise(backend: str, tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    kinds = np.repeat(["low", "middle", "high"], 20).astype(object)
    x = np.repeat([-1.0, 0.0, 1.0], 20)[:, None] + 0.1 * rng.normal(size=(60, 2))
    shown = kinds.copy()
    shown[::6] = None
    data = Dataset({"x": x, "kind": shown})
    vae = ppvae.method("mvae", data.modalities, latent=1, hidden=(8,))
    fitted = ppvae.fit(vae, data, backend=backend, epochs=100, batch_size=30, lr=0.02, progress=False)
    fitted.save(tmp_path / "run")
    fitted = ppvae.load(tmp_path / "run")
    filled = data.frame("kind", fitted.impute(data, draws=50)["kind"])["kind"]
    assert (filled[::6] == kinds[::6]).mean() > 0.8
    fewer = Dataset({"x": x[:30], "kind": kinds[:30]})
    with pytest.raises(ValueError, match="'kind' became numbers in another way than in training"):
        fitted.impute(fewer)
    assert np.isfinite(fitted.log_evidence(fewer.like(fitted.modalities), particles=5)).all()
