"""Dataset: holes, labels, splits, modalities, and the identity of rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ppvae import Dataset, Modality
from ppvae.data.reader import read_npz

NAN = np.nan


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_an_array_of_numbers_becomes_one_number_an_item() -> None:
    data = Dataset({"x": np.arange(4) + 0.5})
    assert data.arrays["x"].shape == (4, 1)
    assert data.modalities[0].shape == (1,)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.array([["a", "b"]])}, "modality 'x' must be an array of numbers"),
        ({"x": np.float64(1.0)}, "modality 'x' must be an array of numbers"),
        ({"x": np.zeros((2, 1)), "y": np.zeros((3, 1))}, "differ in their number of items"),
        ({}, "at least one modality"),
        ({"x": np.zeros((0, 3))}, "at least one item"),
        ({"x": np.array([[1.0], [np.inf]])}, "modality 'x' holds infinite values"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(arrays: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Dataset(arrays)


def test_an_infinite_value_in_a_hole_is_no_matter() -> None:
    data = Dataset({"x": np.array([[1.0], [np.inf]])}, observed={"x": np.array([True, False])})
    assert np.array_equal(data.arrays["x"], [[1], [0]])


def test_a_mask_for_no_array_or_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"observed names \['y'\]"):
        Dataset({"x": np.zeros((2, 1))}, observed={"y": np.ones(2, bool)})
    with pytest.raises(ValueError, match="modality 'x': a mask of shape"):
        Dataset({"x": np.zeros((2, 1))}, observed={"x": np.ones(3, bool)})


def test_labels_go_with_their_rows_and_must_be_as_many() -> None:
    data = Dataset({"x": np.arange(5) + 0.5}, labels={"kind": ["a", "b", "c", "d", "e"]})
    assert list(data.take([3, 1]).labels["kind"]) == ["d", "b"]
    with pytest.raises(ValueError, match="differ in their number of items"):
        Dataset({"x": np.arange(5) + 0.5}, labels={"kind": [1, 2]})


@pytest.mark.parametrize(
    ("likelihood", "array", "said"),
    [
        ("bernoulli", [[0.0], [2.0]], "from 0 to 1, but holds 2.0"),
        ("categorical", [[0.0], [3.0]], "from 0 to 2, but holds 3.0"),
        ("continuous_bernoulli", [[0.5], [1.5]], "takes numbers from 0 to 1, but holds 1.5"),
        ("continuous_bernoulli", [[-0.1], [0.0]], "takes numbers from 0 to 1, but holds -0.1"),
        ("logistic", [[0.0], [3.0]], "whole numbers from 0 to 2, but holds 3.0"),
        ("logistic_mixture", [[2.0], [0.5]], "whole numbers from 0 to 2, but holds 0.5"),
        ("poisson", [[1.0], [-1.0]], "of 0 or more, but holds -1.0"),
        ("negative_binomial", [[1.0], [0.5]], "of 0 or more, but holds 0.5"),
    ],
)
def test_values_that_a_likelihood_cannot_take_are_refused(likelihood: str, array: list, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Dataset({"x": np.array(array)}, modalities=[Modality("x", (1,), likelihood, levels=3)])


def test_modalities_that_do_not_fit_their_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\), but shape \(3,\) was declared"):
        Dataset({"x": np.zeros((4, 2))}, modalities=[Modality("x", (3,))])
    with pytest.raises(ValueError, match="which are not among the arrays"):
        Dataset({"x": np.zeros((4, 2))}, modalities=[Modality("y", (2,))])


@pytest.mark.parametrize(
    ("given", "declared", "said"),
    [
        ((8, 9, 3), (3, 8, 9), r"numpy.moveaxis\(x, -1, 1\)"),
        ((40, 2), (2, 40), r"numpy.moveaxis\(x, -1, 1\)"),
        ((8, 9), (1, 8, 9), r"x\[:, None\]"),
        ((72,), (1, 8, 9), r"x.reshape\(-1, 1, 8, 9\)"),
        ((8, 9), (72,), r"x.reshape\(-1, 72\)"),
        ((9, 8, 3), (3, 8, 9), "declared$"),
    ],
)
def test_another_shape_than_the_declared_one_says_what_mends_it(given: tuple, declared: tuple, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Dataset({"x": np.ones((4, *given))}, modalities=[Modality("x", declared)])


def test_a_hole_is_never_a_value_that_a_likelihood_cannot_take() -> None:
    data = Dataset({"x": np.array([[1.0], [NAN]])}, modalities=[Modality("x", (1,), "bernoulli")])
    assert np.array_equal(data.observed["x"], [True, False])


def test_a_split_is_disjoint_complete_shuffled_and_seeded(rng: np.random.Generator) -> None:
    data = Dataset({"x": rng.normal(size=(40, 2))}, labels={"row": np.arange(40)})
    train, test = data.split(0.75, seed=1)
    rows = np.concatenate([train.labels["row"], test.labels["row"]])
    assert (len(train), len(test)) == (30, 10)
    assert sorted(rows) == list(range(40))
    assert not np.array_equal(rows, np.arange(40))
    assert np.array_equal(data.split(0.75, seed=1)[0].labels["row"], train.labels["row"])
    assert not np.array_equal(data.split(0.75, seed=2)[0].labels["row"], train.labels["row"])
    assert np.array_equal(train.arrays["x"], data.arrays["x"][train.labels["row"]])


def test_parts_of_counted_data_know_their_rows() -> None:
    data = Dataset({"a": np.linspace(0.5, 19.5, 20)})
    _, test = data.counted().split(0.75, seed=0)
    assert test.ids is not None
    np.testing.assert_array_equal(test.ids + 0.5, test.arrays["a"][:, 0])
    named = Dataset({"a": np.array([0.5, 1.0, 2.0])}, ids=["x", "y", "z"])
    assert named.counted() is named


@pytest.mark.parametrize("fraction", [0.0, 1.0, 0.01])
def test_a_split_that_leaves_a_side_empty_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="leaves one side empty"):
        Dataset({"x": np.zeros((10, 1))}).split(fraction)


def test_a_split_standardises_by_its_first_part_alone(rng: np.random.Generator) -> None:
    train, test = Dataset({"x": rng.normal(3, 2, size=(40, 2))}).split(0.5)
    for part in (train, test):
        np.testing.assert_allclose(part.modalities[0].center, train.arrays["x"].mean(0), rtol=1e-5)
        np.testing.assert_allclose(part.modalities[0].spread, train.arrays["x"].std(0), rtol=1e-5)


def test_holes_are_split_with_their_rows(rng: np.random.Generator) -> None:
    x = rng.normal(size=(40, 3))
    x[rng.random((40, 3)) < 0.3] = NAN
    data = Dataset({"x": x}, labels={"row": np.arange(40)})
    for part in data.split():
        assert np.array_equal(part.observed["x"], ~np.isnan(x[part.labels["row"]]))


def test_a_batch_holds_the_rows_asked_for_and_the_size_of_the_whole(rng: np.random.Generator) -> None:
    x = rng.normal(size=(10, 2))
    x[4] = NAN
    data = Dataset({"x": x, "y": rng.normal(size=(10, 1))})
    batch = data.batch([4, 7], given=["x"])
    assert list(batch.arrays) == ["x"]
    assert (batch.size, batch.total) == (2, 10)
    assert np.array_equal(batch.present("x"), [False, True])
    assert np.array_equal(batch.arrays["x"][1], x[7])
    for row in (7, np.int64(7), [7], torch.tensor([7]), torch.tensor(7), -3, range(7, 8), slice(7, 8)):
        assert np.array_equal(data.batch(row).arrays["x"], x[[7]])
        assert np.array_equal(data.batch(row).index, [7])


def mixed(rng: np.random.Generator) -> Dataset:
    """Rows that have everything, miss elements, and miss a whole modality."""
    x, y = rng.normal(size=(6, 3)), rng.integers(0, 5, size=(6, 2)).astype(float)
    x[1, 2], x[2], y[3, 0], y[4] = NAN, NAN, NAN, NAN
    return Dataset({"x": x, "y": y}, likelihood={"y": "poisson"})


def test_a_rows_key_does_not_depend_on_other_rows(rng: np.random.Generator) -> None:
    data = mixed(rng)
    assert len(set(data.keys)) == 6
    for row in range(6):
        assert data.take([row]).keys[0] == data.keys[row]
    order = [5, 3, 1, 0, 2, 4]
    assert np.array_equal(data.take(order).keys, data.keys[order])


def test_a_rows_key_does_not_depend_on_how_holes_are_told(rng: np.random.Generator) -> None:
    data = mixed(rng)
    seen = {name: np.broadcast_to(mask.reshape(6, -1), data.arrays[name].shape) for name, mask in data.observed.items()}
    told = Dataset(
        {name: np.where(seen[name], array, 1e9) for name, array in data.arrays.items()},
        observed=seen,
        likelihood={"y": "poisson"},
    )
    assert np.array_equal(told.keys, data.keys)
    backwards = Dataset({name: told.arrays[name] for name in ("y", "x")}, observed=seen, likelihood={"y": "poisson"})
    assert np.array_equal(backwards.keys, data.keys)


def test_a_rows_key_tells_a_zero_from_a_hole_and_an_item_from_its_copies() -> None:
    zero, hole = Dataset({"x": np.array([[0.0, 1.0]])}), Dataset({"x": np.array([[NAN, 1.0]])})
    assert zero.keys[0] != hole.keys[0]
    copies = Dataset({"x": np.ones((5, 2))})
    assert len(set(copies.keys)) == 5
    assert np.array_equal(copies.take([0, 1]).keys, copies.keys[:2])


def test_a_data_set_reads_from_an_npz_file(tmp_path, rng: np.random.Generator) -> None:
    mask = rng.random(5) < 0.5
    mask[:2] = True, False
    path = tmp_path / "data.npz"
    np.savez(path, **{"x": np.ones((5, 2)), "x.observed": mask, "labels.kind": np.arange(5)})
    data = read_npz(path)
    assert list(data.arrays) == ["x"]
    assert np.array_equal(data.observed["x"], mask)
    assert np.array_equal(data.labels["kind"], np.arange(5))


def test_a_file_that_is_missing_damaged_or_pickled_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="there is no data file"):
        read_npz(tmp_path / "none.npz")
    (tmp_path / "damaged.npz").write_bytes(b"no zip at all")
    np.savez(tmp_path / "pickled.npz", x=np.array([{}], dtype=object))
    for name in ("damaged", "pickled"):
        with pytest.raises(ValueError, match="cannot read"):
            read_npz(tmp_path / f"{name}.npz")


def test_holes_are_nan_and_an_item_is_present_where_any_of_it_was_measured() -> None:
    data = Dataset({"x": np.array([[1.0, NAN], [NAN, NAN]]), "n": np.array([3.5, 4])}, {"n": np.array([True, False])})
    np.testing.assert_array_equal(data.holed("x"), [[1.0, NAN], [NAN, NAN]])
    np.testing.assert_array_equal(data.holed("n"), [[3.5], [NAN]])
    assert data.present("x").tolist() == data.present("n").tolist() == [True, False]
    assert data.present("y").tolist() == [False, False]


def test_only_some_modalities_are_kept_with_their_masks_and_labels(rng: np.random.Generator) -> None:
    arrays = {name: rng.normal(size=(4, 2)) for name in ("a", "b", "c")}
    data = Dataset(arrays, {"b": np.array([True, True, False, True])}, {"kind": np.arange(4)})
    part = data.only(["c", "b"])
    assert list(part.arrays) == [m.name for m in part.modalities] == ["b", "c"]
    assert np.array_equal(part.observed["b"], data.observed["b"])
    assert np.array_equal(part.labels["kind"], data.labels["kind"])
    assert part.modalities == data.modalities[1:]
    with pytest.raises(ValueError, match="the data have no modality 'd'; they have a, b, c"):
        data.only(["a", "d"])
    with pytest.raises(ValueError, match="at least one modality"):
        data.only([])


@pytest.mark.parametrize("declared", [{}, {"center": 5.0}, {"spread": 2.0}, {"center": 5.0, "spread": 2.0}])
def test_what_a_modality_does_not_declare_is_estimated_where_the_data_are_met(
    declared: dict, rng: np.random.Generator
) -> None:
    x = 100 + 20 * rng.normal(size=(40, 2))
    data = Dataset({"x": x}, modalities=[Modality("x", (2,), **declared)])
    train, test = data.split(0.5)
    for part, rows in ((data, x), (data.take([0, 1]), x), (train, train.arrays["x"]), (test, train.arrays["x"])):
        np.testing.assert_allclose(part.modalities[0].center, declared.get("center", rows.mean(0)), rtol=1e-5)
        np.testing.assert_allclose(part.modalities[0].spread, declared.get("spread", rows.std(0)), rtol=1e-5)


def test_a_modality_of_no_axes_keeps_single_numbers_as_they_are(rng: np.random.Generator) -> None:
    x = rng.normal(size=6)
    x[2] = NAN
    data = Dataset({"x": x}, modalities=[Modality("x", ())])
    train, _ = data.split(0.5)
    for part in (data, Dataset({"x": x[:, None]}, modalities=[Modality("x", ())]), data.take(np.arange(6))):
        np.testing.assert_array_equal(part.holed("x"), x)
    assert train.arrays["x"].shape == (3,)
    assert np.shape(train.modalities[0].spread) == ()
