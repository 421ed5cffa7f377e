"""Texts as token ids: they come back as they were, and what is no text is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppvae import Dataset
from ppvae.data.preprocessing import preprocessing
from ppvae.data.preprocessing.text import Texts, fitted, modality
from ppvae.language.tokens import END, PADDING, START, UNKNOWN

TEXTS = ["a red square", "a blue circle", "two <end> red  squares"]
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
exact = pytest.mark.parametrize("tokens", ["characters", "bpe"])
every = pytest.mark.parametrize("tokens", ["characters", "words", "bpe"])


@exact
@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.one_of(anything, st.none()), min_size=1, max_size=6).filter(
        lambda texts: any(t is not None for t in texts)
    )
)
def test_texts_come_back_to_the_last_character(tokens: Any, texts: Sequence[str | None]) -> None:
    made = fitted(texts, tokens)
    ids, there = made.encode(texts)
    assert made.decode(ids) == ["" if text is None else text for text in texts]
    assert there.tolist() == [text is not None for text in texts]
    if there.all():
        Dataset({"x": ids}, modalities=[modality("x", texts, tokens=tokens)])  # refuses what is no text


def test_words_come_back_with_single_spaces() -> None:
    made = fitted(TEXTS, "words")
    assert made.decode(made.encode(TEXTS)[0]) == [" ".join(text.split()) for text in TEXTS]


@every
def test_rows_are_ids_an_end_and_padding(tokens: Any) -> None:
    made = fitted(TEXTS, tokens)
    ids, _ = made.encode([*TEXTS, ""])
    for row in ids.astype(int).tolist():
        end = row.index(END)
        assert not {PADDING, UNKNOWN, START, END} & set(row[:end])
        assert row[end + 1 :] == [PADDING] * (made.length - end - 1)
    assert ids[3, 0] == END
    assert ids.max() < made.levels
    assert (ids == END).any(1).all()


@every
def test_a_run_remembers_the_tokens_as_json(tokens: Any) -> None:
    made = modality("x", TEXTS, tokens=tokens)
    told = json.loads(json.dumps(made.plain()))["preprocessing"]
    again = preprocessing("x", told)
    assert (again.shape, again.levels) == (made.shape, made.levels)
    np.testing.assert_array_equal(again.encode(TEXTS)[0], fitted(TEXTS, tokens).encode(TEXTS)[0])


@every
def test_what_training_did_not_hold_is_unknown(tokens: Any) -> None:
    made = fitted(TEXTS, tokens, length=9)
    ids, _ = made.encode(["\N{SNOWMAN}"])
    assert ids[0, 0] == UNKNOWN
    assert set(made.decode(ids)[0]) == {"\N{REPLACEMENT CHARACTER}"}


def test_a_vocabulary_keeps_the_most_frequent_words() -> None:
    made = fitted(["b b b a a c", "c"], "words", vocabulary=6)
    assert made.levels == 6
    assert made.decode(made.encode(["a b c"])[0]) == ["a b \N{REPLACEMENT CHARACTER}"]


def test_pairs_of_bytes_make_rows_shorter() -> None:
    texts = [f"the {word} end" for word in ("red", "blue", "round")] * 20
    assert fitted(texts, "bpe").length < fitted(texts, "characters").length / 2


def test_a_text_that_is_too_long_is_cut_off_with_a_warning() -> None:
    made = fitted(TEXTS, "words", length=3)
    with pytest.warns(UserWarning, match="1 of 2 texts are cut off after 3 tokens"):
        ids, _ = made.encode(["a red square", TEXTS[2]])
    assert made.decode(ids) == ["a red square", "two <end> red"]
    assert not (ids == END).any()


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([None], {}, "there is no text"),
        (["a", 3], {}, "'3' is a int"),
        (["\ud800"], {}, "half of a surrogate pair"),
        (["a"], {"tokens": "letters"}, "unknown tokens 'letters'; choose one of characters, words, bpe"),
    ],
)
def test_what_is_no_text_is_refused(texts: list[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(texts, **options)


def test_a_damaged_tokenizer_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="the tokenizer of a text modality is damaged"):
        Texts({"model": "none"}, 3).encode(["a"])
    with pytest.raises(ValueError, match="the preprocessing of modality 'x' is damaged: length"):
        preprocessing("x", {"kind": "text", "tokenizer": {}, "length": 0})
