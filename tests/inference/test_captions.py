"""Captions beside numbers: trained on either backend, each says what the other is, and every answer knows them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

import ppvae
from ppvae.data.preprocessing import preprocessing
from ppvae.data.preprocessing.text import modality
from ppvae.inference.fitted import Fitted

COLOURS, SHAPES = ("red", "green", "blue"), ("circle", "square", "star")
FRAMES = ("a {} {}", "the {} {}", "one {} {}")

both = pytest.mark.parametrize("backend", ["pyro", "numpyro"])


def items(count: int, seed: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Captions, numbers that tell colour and shape with some noise, and which of the nine each item is."""
    rng = np.random.default_rng(seed)
    colour, shape, frame = rng.integers(3, size=(3, count))
    texts = [FRAMES[f].format(COLOURS[c], SHAPES[s]) for c, s, f in zip(colour, shape, frame, strict=True)]
    numbers = np.eye(3)[colour] @ CODES[:3] + np.eye(3)[shape] @ CODES[3:] + 0.2 * rng.normal(size=(count, 4))
    return texts, numbers, 3 * colour + shape


CODES = np.random.default_rng(1).normal(size=(6, 4))


@cache
def fitted(backend: str) -> tuple[Fitted, ppvae.Dataset]:
    texts, numbers, _ = items(300, 0)
    caption = modality("caption", texts, tokens="words")
    ids, _ = preprocessing("caption", caption.preprocessing or {}).encode(texts)
    ids[::10] = np.nan
    train = ppvae.Dataset({"caption": ids, "numbers": numbers}, modalities=[caption])
    vae = ppvae.method("mopoe", train.modalities, latent=4, hidden=(64,))
    run = ppvae.fit(vae, train, backend=backend, epochs=60, batch_size=50, lr=1e-2, seed=0)
    texts, numbers, kinds = items(90, 2)
    ids, _ = preprocessing("caption", caption.preprocessing or {}).encode(texts)
    return run, ppvae.Dataset({"caption": ids, "numbers": numbers}, labels={"kind": kinds}, modalities=run.modalities)


def said(run: Fitted, ids: np.ndarray) -> list[str]:
    caption = next(m for m in run.modalities if m.name == "caption")
    return preprocessing("caption", caption.preprocessing or {}).decode(ids)


def kind(text: str) -> int:
    """Which of the nine a text says, -1 if none."""
    _, *rest = text.split()
    found = tuple(rest)
    pairs = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    return pairs.index(found) if found in pairs else -1


@pytest.mark.parametrize("backend", ["pyro", pytest.param("numpyro", marks=pytest.mark.slow)])
def test_numbers_become_captions_and_captions_numbers(backend: str) -> None:
    run, test = fitted(backend)
    drawn = run.query(test, given=["numbers"], ask=["caption"], draws=10)["caption"]
    right = np.mean([[kind(text) for text in said(run, draw)] == test.labels["kind"] for draw in drawn])
    assert right > 0.4  # chance is one in nine
    numbers = run.query(test, given=["caption"], ask=["numbers"], draws=50)["numbers"].mean(0)
    assert ppvae.metrics.r2(test.arrays["numbers"], numbers) > 0.6


def test_a_missing_caption_is_imputed_by_one_that_fits() -> None:
    run, test = fitted("pyro")
    missing = np.arange(90) % 3 == 0
    holed = ppvae.Dataset(
        {"caption": np.where(missing[:, None], np.nan, test.arrays["caption"]), "numbers": test.arrays["numbers"]},
        modalities=test.modalities,
    )
    found = run.impute(holed, draws=10)["caption"]
    np.testing.assert_array_equal(found[~missing], test.arrays["caption"][~missing])
    right = [kind(text) for text in said(run, found[missing])] == test.labels["kind"][missing]
    assert right.mean() > 0.5
    assert np.isfinite(run.log_evidence(holed, particles=5)).all()


def test_a_run_with_captions_is_read_again_with_its_words(tmp_path: Path) -> None:
    run, test = fitted("pyro")
    run.save(tmp_path / "run")
    again = ppvae.load(tmp_path / "run")
    few = test.take(slice(3))
    drawn = again.query(few, given=["numbers"], ask=["caption"])["caption"]
    np.testing.assert_array_equal(drawn, run.query(few, given=["numbers"], ask=["caption"])["caption"])
    assert said(again, drawn[0]) == said(run, drawn[0])


def test_captions_are_in_what_arviz_reads() -> None:
    run, test = fitted("pyro")
    found = run.to_arviz(test.take(slice(4)), draws=25)
    assert found["posterior_predictive"]["caption"].shape == (1, 25, 4, 4)
    assert np.isfinite(found["log_likelihood"]["caption"]).all()
    np.testing.assert_array_equal(found["observed_data"]["caption"], test.arrays["caption"][:4])


@both
def test_a_traversal_writes_a_caption_at_every_step(backend: str) -> None:
    run, test = fitted(backend)
    found = ppvae.diagnostics.traversal(run, test.take(slice(12)), dimensions=1, draws=2)
    assert all(kind(text) >= 0 for text in said(run, found.decoded["caption"][0]))
    assert found.decoded["numbers"].shape[2:] == (4,)


def test_a_text_with_holes_is_refused_by_every_answer() -> None:
    run, test = fitted("pyro")
    ids = test.arrays["caption"][:3].astype(float)
    ids[1, 1] = np.nan
    wrong = ppvae.Dataset({"caption": ids}, likelihood={"caption": "normal"})
    for answer in (run.encode, run.query, run.log_evidence):
        with pytest.raises(ValueError, match="'caption': row 1 has holes, but a text is whole or missing"):
            answer(wrong)
