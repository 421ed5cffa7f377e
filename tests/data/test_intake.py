"""The door: what people call an array is the same data set, bit for bit, or refused in one sentence."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import sparse
from sklearn.datasets import load_iris

import ppvae
from ppvae import Batch, Dataset, Modality

NAN = np.nan
X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
MASKED = np.ma.array(np.where(X > 0.5, -999, X), mask=X > 0.5)
HOLED = np.where(X > 0.5, NAN, X)

Views = type("SparseCSRMatrixView", (sparse.csr_matrix,), {"__module__": "anndata._core.views"})
FrameViews = type("DataFrameView", (pd.DataFrame,), {"__module__": "anndata._core.views"})

SAME: dict[str, Any] = {
    "big-endian": X.astype(">f4"),
    "negative strides": X[::-1].copy()[::-1],
    "every other column": np.repeat(X, 2, 1)[:, ::2],
    "Fortran order": np.asfortranarray(X),
    "pandas": pd.DataFrame(X),
    "nullable pandas": pd.DataFrame(X).astype("Float32"),
    "sparse matrix": sparse.csr_matrix(X),
    "sparse array": sparse.coo_array(X),
    "a view of AnnData": Views(X),
    "a list of rows": list(X),
    "objects that are rows": pd.Series(list(X)).to_numpy(),
    "torch": torch.tensor(X, requires_grad=True),
    "jax": jnp.asarray(X),
}


@pytest.mark.parametrize("kind", SAME)
def test_every_form_of_the_same_numbers_is_the_same_data_set(kind: str) -> None:
    data = Dataset({"x": SAME[kind]})
    assert data.arrays["x"].dtype == np.float32
    assert data.arrays["x"].tobytes() == X.tobytes()
    assert np.array_equal(data.keys, Dataset({"x": X}).keys)
    if kind not in ("pandas", "nullable pandas"):
        assert np.array_equal(Batch({"x": SAME[kind]}).get("x").detach(), X)


@pytest.mark.parametrize("dtype", ["float16", "longdouble", "f8", ">f8"])
def test_floats_of_every_width_reach_both_backends(dtype: str) -> None:
    array = Dataset({"x": X.astype(dtype)}).arrays["x"]
    assert array.dtype.isnative
    np.testing.assert_allclose(torch.as_tensor(array), X, rtol=1e-2)
    np.testing.assert_allclose(jnp.asarray(array), X, rtol=1e-2)


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "u2", ">u2", "i4", "u4", ">i4", "i8", "u8", ">u8"])
def test_whole_numbers_of_every_type_reach_both_backends(dtype: str) -> None:
    array = Dataset({"x": np.eye(3).astype(dtype)}, likelihood={"x": "bernoulli"}).arrays["x"]
    order = torch.as_tensor(array)[torch.tensor([1, 0, 2])]  # torch indexes no unsigned integers beyond a byte
    assert np.array_equal(order, np.eye(3)[[1, 0, 2]])
    assert np.array_equal(jnp.asarray(array), np.eye(3))


def test_whole_numbers_that_jax_would_wrap_around_are_kept() -> None:
    values = np.array([[2**31 + 5], [-(2**40)], [0]])
    data = Dataset({"x": values}, likelihood={"x": "normal"})
    np.testing.assert_allclose(jnp.asarray(data.arrays["x"]), values, rtol=1e-6)


@pytest.mark.parametrize("form", [MASKED, list(MASKED), pd.DataFrame(HOLED), pd.DataFrame(HOLED).astype("Float64")])
def test_what_is_masked_or_missing_is_a_hole(form: Any) -> None:
    np.testing.assert_array_equal(Dataset({"x": form}).holed("x").astype(np.float32), HOLED)


def test_none_and_every_missing_value_of_pandas_is_a_hole() -> None:
    objects = pd.Series([1.5, None, pd.NaT, pd.NA], dtype=object)
    frame = pd.DataFrame(
        {"o": objects, "i": pd.array([1, None, 3, 4], "Int64"), "b": pd.array([None, True, False, True], "boolean")}
    )
    expected = [[1.5, 1, NAN], [NAN, NAN, 1], [NAN, 3, 0], [NAN, 4, 1]]
    np.testing.assert_array_equal(Dataset({"x": frame}).holed("x"), expected)
    np.testing.assert_array_equal(Dataset({"x": [[1.5, None], [2, 3]]}).holed("x"), [[1.5, NAN], [2, 3]])


def test_rows_that_are_missing_are_holes_and_columns_of_rows_are_modalities() -> None:
    holed = np.array([[1.5, 2.0], [NAN, NAN], [3.0, NAN]])
    for rows in ([holed[0], None, [3, None]], pd.Series([[1.5, 2], None, [3.0, NAN]])):
        np.testing.assert_array_equal(Dataset({"x": rows}).holed("x"), holed)
    with pytest.raises(ValueError, match="column 'b' holds several numbers a row; make the column a modality"):
        Dataset({"x": pd.DataFrame({"a": [1, 2], "b": [[1, 2], [3, 4]]})})


def test_decimals_are_numbers_and_views_of_frames_are_frames() -> None:
    money = pd.Series([Decimal("1.5"), None, Decimal("NaN"), Decimal(2)], index=list("abcd"))
    view = FrameViews({"y": [1.5, 2.0]}, index=["a", "d"])
    data = Dataset({"x": money, "y": view})
    np.testing.assert_array_equal(data.holed("x")[:, 0], [1.5, NAN, NAN, 2])
    np.testing.assert_array_equal(data.holed("y")[:, 0], [1.5, NAN, NAN, 2])


def test_a_masked_array_has_the_loss_of_the_same_holes_as_nan() -> None:
    vae = ppvae.method("mvae", Dataset({"x": HOLED}).modalities, latent=2, hidden=(4,))
    losses = []
    for form in (MASKED, HOLED, X):
        data = Dataset({"x": form}, modalities=[Modality("x", (3,), center=0.0, spread=1.0)])
        losses.append(ppvae.fit(vae, data, backend="pyro", epochs=1, progress=False).history[0]["loss"])
    assert losses[0] == losses[1] != losses[2]


REFUSED: dict[str, tuple[Any, str]] = {
    "ragged": ([[1, 2], [3]], "'x' is ragged"),
    "ragged objects": (np.array([[1, 2], [3]], object), "'x' is ragged"),
    "text": ([["a"], ["b"]], "not of text"),
    "text among numbers": ([[1, None], [2, "a"]], "but holds 'a'; a column of categories' names is a modality"),
    "rows by name": ([{"a": 1}, {"a": 2}], r"give pandas.DataFrame\(rows\)"),
    "masked records": (np.ma.zeros(3, [("a", float)]), "not of records; give .* or pandas.DataFrame"),
    "complex": (X * 1j, r"complex numbers; give x.real and x.imag"),
    "months": (
        np.array(pd.period_range("2020-01", periods=2, freq="M"), object),
        r"'2020-01'; make dates .*to_timestamp",
    ),
    "pictures": (np.array([Image.new("L", (2, 2)), None], object), r"; give .*numpy.asarray\(picture\)"),
    "things of another kind": ([object(), 1], "; give ppvae.Dataset"),
    "dates of Python": ([datetime.date(2020, 1, 1)], "'2020-01-01'; give the time since"),
    "dates with a zone": (np.array(pd.date_range("2020", periods=2, tz="UTC"), object), "; give the time since"),
    "dates": (np.array(["2020-01-01"], "M8[D]"), "dates; give the time since"),
    "records": (np.zeros(3, [("a", float)]), "records"),
    "infinite": ([[0.5], [np.inf]], "infinite values, first in row 1"),
    "beyond float32": ([[0.5], [1e39]], r"1e\+39 in row 1"),
    "ids": ([[2**60 + 1], [1]], "2\\^53"),
    "a generator": ((row for row in X), "list"),
    "a path": ("data.npz", "read_npz"),
    "a torch data set": (torch.utils.data.TensorDataset(torch.ones(2)), "torch.stack"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_holds_no_numbers_is_refused_in_one_sentence(kind: str) -> None:
    given, said = REFUSED[kind]
    for make in (Dataset, Batch):
        with pytest.raises(ValueError, match=said) as error:
            make({"x": given})
        assert "'x'" in str(error.value)
        assert "\n" not in str(error.value)


def test_a_text_column_is_named() -> None:
    with pytest.raises(ValueError, match="modality 'x', column 'sex' must be an array of numbers"):
        Dataset({"x": pd.DataFrame({"age": [1, 2], "sex": ["f", "m"]})})
    with pytest.raises(ValueError, match="of a batch cannot be a data frame"):
        Batch({"x": pd.DataFrame(X)})


class MuData:
    """Stands for mudata's class, whose iteration never ends."""

    def __iter__(self) -> MuData:
        return self

    def __next__(self) -> str:
        return "rna"


MuData.__module__ = "mudata._core.mudata"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (MuData(), r"ppvae.Dataset\({name: part.to_df\(\)"),
        ("data.npz", r"ppvae.data.read_npz\(path\)"),
        (X, r'Dataset\({"x": array}\)'),
        (pd.DataFrame(X), r'Dataset\({"x": frame}\)'),
        ({1: X}, "must be text, and 1 is not"),
        (load_iris(), r'Dataset\({"x": bunch.data}'),
    ],
)
def test_what_is_no_dict_of_arrays_is_refused_at_once_with_the_call_that_works(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Dataset(given)


MASK = [True, False, True, True]


@pytest.mark.parametrize(
    "mask",
    [
        MASK,
        np.array(MASK) * 1,
        np.array(MASK) * 1.0,
        np.array(MASK, object),
        pd.Series(MASK),
        torch.tensor(MASK),
        jnp.array(MASK),
    ],
)
def test_a_mask_is_boolean_or_of_zeros_and_ones(mask: Any) -> None:
    assert np.array_equal(Dataset({"x": X}, {"x": mask}).observed["x"], MASK)


@pytest.mark.parametrize(
    "mask",
    [
        ["True", "False"] * 2,
        [1, 0, NAN, 1],
        [1, 0, 2, 1],
        [-1, 0, 1, 1],
        [True, None, True, True],
        pd.array([True, None] * 2, "boolean"),
    ],
)
def test_a_mask_of_anything_else_is_refused(mask: Any) -> None:
    for make in (Dataset, Batch):
        with pytest.raises(ValueError, match="the mask of modality 'x' must be an array of booleans"):
            make({"x": X}, {"x": mask})


def test_a_data_set_neither_changes_nor_shares_the_arrays_it_is_given() -> None:
    given, mask = HOLED.copy(), X < 2
    given.flags.writeable = False
    data = Dataset({"x": given}, {"x": mask})
    own = X.copy()
    other = Dataset({"x": own})
    own[:], mask[:] = 0, False
    np.testing.assert_array_equal(given, HOLED)
    np.testing.assert_array_equal(other.arrays["x"], X)
    np.testing.assert_array_equal(data.holed("x"), HOLED)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pd.Series(["a", None, "c"]), ["a", NAN, "c"]),
        (pd.array([1, None, 3], "Int64"), [1, NAN, 3]),
        (np.ma.array([1, 2, 3], mask=[0, 1, 0]), [1, NAN, 3]),
        (pd.Categorical(["a", "b", "a"]), ["a", "b", "a"]),
        (np.array(["a", "b", "c"], np.dtypes.StringDType()), ["a", "b", "c"]),
        (torch.tensor([1, 2, 3]), [1, 2, 3]),
    ],
)
def test_a_label_is_text_or_numbers_nan_where_missing(given: Any, expected: list) -> None:
    label = Dataset({"x": X[:3]}, labels={"kind": given}).labels["kind"]
    assert all(a == b or (a != a and b != b) for a, b in zip(label.tolist(), expected, strict=True))


def test_ids_tell_every_item_and_labels_say_what_they_hold_instead() -> None:
    with pytest.raises(ValueError, match="ids must tell each item, and one is missing"):
        Dataset({"x": X[:3]}, ids=["a", None, "b"])
    with pytest.raises(ValueError, match=r"holds '2020-01-01 00:00:00\+00:00', a Timestamp"):
        Dataset({"x": X[:3]}, labels={"kind": pd.date_range("2020", periods=3, tz="UTC")})
    with pytest.raises(ValueError, match="has the id 0 twice"):
        Dataset({"x": pd.DataFrame(X[:3], index=[0, 0, 1])})


@pytest.mark.parametrize("label", [np.array(3), np.zeros((3, 2)), [{}, 1, 2]])
def test_a_label_of_another_shape_or_kind_is_refused(label: Any) -> None:
    with pytest.raises(ValueError, match="label 'kind' must"):
        Dataset({"x": X[:3]}, labels={"kind": label})


TENSORS = {
    "without elements": torch.empty(3, 2, device="meta"),
    "eight bits": torch.ones(3, 2).to(torch.float8_e4m3fn),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_that_numpy_cannot_hold_are_refused_in_a_sentence(kind: str) -> None:
    with pytest.raises(ValueError, match=r"^modality 'x' is a tensor of torch\..* that NumPy cannot hold; give one of"):
        Dataset({"x": TENSORS[kind]})
