"""Attention and Transformer layers equal torch's, with every form of mask."""

from typing import Any

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from mirror_oracle import assert_mirrors, parameters
from torch import nn

from ppvae.backends import mirror

STEPS, SOURCES, ITEMS, HEADS = 3, 4, 2, 2


def x(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def hidden(*shape: int) -> torch.Tensor:
    """A mask that hides some sources, and never the first."""
    mask = x(*shape) > 0.5
    mask[..., 0] = False
    return mask


MASKS = {
    None: lambda items: None,
    "boolean": lambda items: hidden(STEPS, SOURCES),
    "added": lambda items: x(STEPS, SOURCES),
    "for each head": lambda items: hidden(items * HEADS, STEPS, SOURCES),
}


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    mask=st.sampled_from(list(MASKS)),
    padding=st.sampled_from([None, "boolean", "added"]),
    weights=st.sampled_from(["none", "mean", "each"]),
    sizes=st.sampled_from([{}, {"kdim": 5, "vdim": 3}]),
    extra=st.sampled_from([{}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"bias": False}]),
    first=st.booleans(),
    batched=st.booleans(),
)
def test_multi_head_attention_equals_torch(
    mask: str | None, padding: str | None, weights: str, sizes: Any, extra: Any, first: bool, batched: bool
) -> None:
    layer = nn.MultiheadAttention(4, HEADS, batch_first=first, **sizes, **extra)
    lengths = (STEPS, SOURCES, SOURCES)
    widths = (4, sizes.get("kdim", 4), sizes.get("vdim", 4))
    shapes = zip(lengths, widths, strict=True)
    inputs = [
        x(*(() if not batched else (ITEMS, n) if first else (n, ITEMS)), *((n,) * (not batched)), w) for n, w in shapes
    ]
    items = (ITEMS,) if batched else ()
    kept = None if padding is None else hidden(*items, SOURCES) if padding == "boolean" else x(*items, SOURCES)
    if (mask == "added" and padding == "boolean") or (mask in ("boolean", "for each head") and padding == "added"):
        kept = None  # torch warns that masks should be of one kind
    assert_mirrors(
        layer,
        *inputs,
        key_padding_mask=kept,
        attn_mask=MASKS[mask](ITEMS if batched else 1),
        need_weights=weights != "none",
        average_attn_weights=weights == "mean",
    )


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    norm_first=st.booleans(),
    activation=st.sampled_from(["relu", "gelu"]),
    first=st.booleans(),
    bias=st.booleans(),
    masked=st.booleans(),
)
def test_transformer_layers_equal_torch(
    norm_first: bool, activation: str, first: bool, bias: bool, masked: bool
) -> None:
    options = {"norm_first": norm_first, "activation": activation, "batch_first": first, "bias": bias}
    mask = hidden(STEPS, STEPS) if masked else None
    padding = hidden(ITEMS, STEPS) if masked else None
    inputs = x(ITEMS, STEPS, 4) if first else x(STEPS, ITEMS, 4)
    encoder = nn.TransformerEncoderLayer(4, HEADS, 6, 0.0, **options)
    assert_mirrors(encoder, inputs, src_mask=mask, src_key_padding_mask=padding)
    decoder = nn.TransformerDecoderLayer(4, HEADS, 6, 0.0, **options)
    assert_mirrors(decoder, inputs, inputs.flip(0), tgt_mask=mask, memory_key_padding_mask=padding)


@pytest.mark.parametrize("masked", [True, False])
def test_transformer_stacks_equal_torch(masked: bool) -> None:
    mask = nn.Transformer.generate_square_subsequent_mask(STEPS, dtype=torch.float64) if masked else None
    norm = nn.LayerNorm(4)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, HEADS, 6, 0.0), 2, norm, enable_nested_tensor=False)
    assert_mirrors(encoder, x(STEPS, ITEMS, 4), mask=mask)
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(4, HEADS, 6, 0.0), 2)
    assert_mirrors(decoder, x(STEPS, ITEMS, 4), x(SOURCES, ITEMS, 4), tgt_mask=mask)


def test_the_mirror_agrees_with_the_fast_path_of_torch() -> None:
    layer = nn.TransformerEncoderLayer(4, HEADS, 6, batch_first=True).eval()
    inputs = x(ITEMS, STEPS, 4).float()
    with torch.no_grad():
        expected = layer(inputs)
    ours = mirror.forward(layer, parameters(layer), jnp.asarray(inputs.numpy()))
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_attention_drops_weights_under_training() -> None:
    layer = nn.MultiheadAttention(4, HEADS, dropout=0.5)
    inputs = jnp.asarray(x(STEPS, ITEMS, 4).float().numpy())
    drawn = [mirror.forward(layer, parameters(layer, True, seed), inputs, inputs, inputs)[0] for seed in (0, 0, 1)]
    assert (drawn[0] == drawn[1]).all()
    assert not np.allclose(drawn[0], drawn[2])
