"""Cases of layers as functions."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import torch
import torch.nn.functional as F
from mirror_harness import Case, Fixed, bools, calls, ints, one_of, reals

from ppvae.backends.mirror.functions.arguments import namesakes

image = reals(2, 4, 3)
channels = {"maybe_weight": reals(4), "maybe_bias": reals(4)}
query, key, value = reals(2, 3, 4), reals(2, 5, 4), reals(2, 5, 4)

CASES = [
    Case((F.linear,), one_of(calls(reals(2, 3, 4), reals(5, 4), reals(5)), calls(reals(4), reals(5, 4)))),
    Case(namesakes("bilinear"), calls(reals(2, 3), reals(2, 4), reals(5, 3, 4), reals(5))),
    Case((F.normalize,), one_of(calls(image, maybe_p=1.0, maybe_dim=-1), calls(np.zeros((2, 3))))),
    Case(namesakes("layer_norm"), one_of(calls(image, (3,)), calls(image, [4, 3], reals(4, 3), reals(4, 3), 0.1))),
    Case(namesakes("rms_norm"), one_of(calls(image, (3,)), calls(image, [4, 3], reals(4, 3), eps=0.1))),
    Case(namesakes("group_norm"), one_of(calls(image, 2, **channels), calls(reals(2, 4), 2, eps=0.1))),
    Case((F.instance_norm,), calls(image, **channels)),
    Case((F.embedding,), calls(ints(2, 3, low=0, high=5), reals(5, 4), padding_idx=st.sampled_from([None, 1, -1]))),
    Case((torch.embedding,), calls(reals(5, 4), ints(2, 3, low=0, high=5), st.sampled_from([-1, 1]))),
    Case(
        (F.pad,),
        one_of(
            calls(image, st.sampled_from([(1, 2), (0, 1, 2, 0), (-1, 1)]), maybe_value=1.5),
            calls(image, (1, 2), mode=st.sampled_from(["reflect", "replicate", "circular"])),
        ),
    ),
    Case(
        (F.scaled_dot_product_attention,),
        one_of(
            calls(query, key, value, maybe_scale=0.5),
            calls(query, key, value, maybe_is_causal=True),
            calls(query, key, value, reals(3, 5)),
            calls(query, key, value, attn_mask=bools(3, 5)),
            calls(query, key, value, attn_mask=Fixed(np.full((3, 5), -np.inf))),
            calls(reals(1, 4, 3, 2), reals(1, 2, 5, 2), reals(1, 2, 5, 2), enable_gqa=True),
        ),
    ),
]
