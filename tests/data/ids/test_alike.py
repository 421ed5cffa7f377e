"""Alike: ids that were meant to be one, and are written in two ways."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

import ppvae
from ppvae.data.ids.alike import check_apart, plain

FORMS = ("{:02}".format, "{}".format)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("4", "004"),
        (4, "04"),
        ("4", "4.0"),
        ("a", "A"),
        ("a 1", "a1"),
        ("cat_07", "cat_7"),
        ("x", " x\n"),
        ("\u00e9", "e\u0301"),
    ],
)
def test_ids_of_one_item_in_two_ways_of_writing_are_refused(one, other) -> None:
    with pytest.raises(ValueError, match="would be two items, and may be one in two ways of writing, as 1 such pairs"):
        check_apart({"a": ["both", one], "b": ["both", other]})


@pytest.mark.parametrize(
    "ids",
    [
        {"a": ["4", "04"], "b": ["04"]},  # both are of one modality, which so tells them apart
        {"a": ["1", "2"], "b": ["2", "3"]},
        {"a": ["10", "1.5"], "b": ["1", "1.50", "100"]},
        {"a": ["a0"], "b": ["a00.1"]},
    ],
)
def test_other_ids_are_apart(ids: dict[str, list[str]]) -> None:
    check_apart(ids)


def test_zeros_go_before_numbers_alone() -> None:
    assert [plain(each) for each in ("0", "000", "100", "1.05", "a0b")] == ["0", "0", "100", "1.05", "a0b"]


def test_frames_whose_ids_are_the_same_for_some_items_alone_are_refused() -> None:
    padded, bare = (pandas.DataFrame({"x": np.arange(12) + 0.5}, [form(i) for i in range(4, 16)]) for form in FORMS)
    with pytest.raises(ValueError, match=r"'4' of modality 'b' and '04' of modality 'a' would be two items.* 6 such"):
        ppvae.Dataset({"a": padded, "b": bare})
    assert len(ppvae.Dataset({"a": padded, "b": padded.iloc[3:]})) == 12
