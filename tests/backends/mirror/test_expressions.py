"""Expressions of torch under the mirror, values and gradients: the same as torch's, or refused by name."""

from __future__ import annotations

import functools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch_comparison import Text, Verdict, compared
from torch_expressions import EXPRESSIONS, inputs

from ppvae.backends import mirror
from ppvae.backends.mirror import MirrorError

every = pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)], ids=["a quarter", "all"])


@functools.cache
def verdicts(step: int) -> list[Verdict]:
    """Of the expressions, or of every so many of them."""
    with jax.enable_x64(True):
        return compared(EXPRESSIONS[::step], inputs())


def told(step: int, *kinds: str) -> list[str]:
    return [f"{v.kind}: {v.text}: {v.why}" for v in verdicts(step) if v.kind in kinds]


@every
def test_no_expression_differs_in_silence(step: int) -> None:
    assert not told(step, "different")


@every
def test_what_torch_refuses_is_refused(step: int) -> None:
    assert not told(step, "accepted")


@every
def test_nothing_is_refused_in_the_words_of_jax(step: int) -> None:
    assert not told(step, "raw")
    for sentence in told(step, "refused", "both refuse"):
        assert "Tracer" not in sentence
        assert "jax" not in sentence.lower()


@every
def test_of_what_torch_takes_nearly_all_is_the_same(step: int) -> None:
    counts = Counter(v.kind for v in verdicts(step))
    print(dict(counts))
    assert counts["same"] >= 400
    assert counts["same"] / (counts["same"] + counts["refused"]) >= 0.95


READS = [
    "m[x + 9]",
    "m[:, w - 9]",
    "m.gather(1, w + 9)",
    "m.gather(1, w - 9)",
    "m.index_select(0, x - 1)",
    "m.take(w + 99)",
    "m.take_along_dim(w + 9, 1)",
    "F.embedding(x + 9, m)",
    "F.nll_loss(m, x + 9)",
    "F.cross_entropy(m, x - 1)",
    "F.one_hot(x, 2)",
]


@pytest.mark.parametrize("text", READS)
def test_an_index_out_of_range_is_an_error_if_it_is_known_and_not_a_number_if_it_is_computed(text: str) -> None:
    used = {n: jnp.asarray(t.numpy()) for n, t in inputs().items() if n in Text(text).used}
    with pytest.raises(MirrorError) as caught:
        mirror.forward(Text(text), mirror.Parameters({}, {}), used)
    assert isinstance(caught.value, IndexError)
    found = np.asarray(jax.jit(lambda arrays: mirror.forward(Text(text), mirror.Parameters({}, {}), arrays))(used))
    lowest = np.iinfo(found.dtype).min if found.dtype.kind == "i" else None
    assert (np.isnan(found) if lowest is None else found == lowest).any()


WRITES = [
    "m.scatter(1, w + 9, 5.0)",
    "m.index_add(0, x + 9, m)",
    "m.index_fill(0, x + 9, 5.0)",
    "y = m * 1; y[x + 9] = 5.0; y",
]


@pytest.mark.parametrize("text", WRITES)
def test_writing_out_of_range_is_an_error_or_nothing(text: str) -> None:
    used = {n: jnp.asarray(t.numpy()) for n, t in inputs().items() if n in Text(text).used}
    with pytest.raises(MirrorError):
        mirror.forward(Text(text), mirror.Parameters({}, {}), used)
    found = jax.jit(lambda arrays: mirror.forward(Text(text), mirror.Parameters({}, {}), arrays))(used)
    assert (found == used["m"]).all()


def test_a_tensor_is_described_and_never_printed() -> None:
    arrays = {"m": jnp.ones((3, 4))}
    for text in ("str(m)", "repr(m)"):
        assert (
            mirror.forward(Text(text), mirror.Parameters({}, {}), arrays)
            == "<a tensor of shape (3, 4) and torch.float32>"
        )


def test_constants_stay_tensors_until_an_array_changes_them() -> None:
    text = "h = torch.zeros(2); kept = bool((h == 0).all()); row = h[:1]; h += m[0, :2]; [kept, row, h]"
    kept, row, h = mirror.forward(Text(text), mirror.Parameters({}, {}), {"m": jnp.ones((3, 4))})
    assert kept
    assert row.tolist() == [1]
    assert h.tolist() == [1, 1]


def test_without_64_bits_whole_numbers_pass_for_torchs_own() -> None:
    text = "torch.gather(m, 1, w) * (w.dtype == torch.int64)"
    tensors = inputs()
    arrays = {n: jnp.asarray(tensors[n].numpy()) for n in ("m", "w")}
    assert arrays["w"].dtype == jnp.int32
    ours = mirror.forward(Text(text), mirror.Parameters({}, {}), arrays)
    np.testing.assert_allclose(ours, torch.gather(tensors["m"], 1, tensors["w"]), rtol=1e-6)
