"""Precision in torch: linear layers, convolutions and attention multiply in bfloat16 and answer in float32.

This is what torch's autocast makes of them, but that a bias is added in float32, and that nothing else is told: draws,
densities, what programs multiply themselves and ``nn.Bilinear`` stay float32. Recurrent layers do as well: they would
round their state at each step. In gradients, what arrives at a product is rounded as a factor, and what leaves it as an
answer; a bias is told what arrived.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch.backends import cudnn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from ppvae.runs.settings import Settings

_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
PRODUCTS = frozenset((F.linear, *_CONVOLUTIONS))
ATTENTION = frozenset((F.scaled_dot_product_attention, F.multi_head_attention_forward))


@contextmanager
def whole() -> Iterator[None]:
    """Within the block a GPU rounds no more than is asked for, unlike by torch's own defaults.

    Convolutions of float32 are of float32, and parts of a sum over factors in bfloat16 are added up in float32.
    """
    blas = torch.backends.cuda.matmul
    before, blas.allow_bf16_reduced_precision_reduction = blas.allow_bf16_reduced_precision_reduction, False
    try:
        with cudnn.flags(cudnn.enabled, cudnn.benchmark, cudnn.benchmark_limit, cudnn.deterministic, allow_tf32=False):
            yield
    finally:
        blas.allow_bf16_reduced_precision_reduction = before


def products(settings: Settings) -> AbstractContextManager[Any]:
    """Within the block networks multiply as the run's ``precision`` says."""
    return _Halved() if settings.precision == "bfloat16" else nullcontext()


class _Halved(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = _product if func in PRODUCTS else _attention if func in ATTENTION else _plain
        return call(func, *args, **(kwargs or {}))


def _plain(func: Any, *args: Any, **kwargs: Any) -> Any:
    return func(*args, **kwargs)


def _product(func: Any, input: torch.Tensor, weight: torch.Tensor, bias: Any = None, *rest: Any, **more: Any) -> Any:
    """The product without its bias: libraries add float32 up, and round the sum to bfloat16."""
    if not input.dtype == weight.dtype == torch.float32:
        return func(input, weight, bias, *rest, **more)
    y = func(input.bfloat16(), weight.bfloat16(), None, *rest, **more)
    return y.float() if bias is None else y + bias.reshape(-1, *(1,) * (weight.ndim - 2))  # float32, as the bias is


def _attention(func: Any, query: torch.Tensor, *rest: Any, **more: Any) -> Any:
    """Attention has products within it that no call of torch's shows: by autocast, its softmax where that has it."""
    with torch.autocast(query.device.type, torch.bfloat16, cache_enabled=False):
        answer = func(query, *rest, **more)
    return tree_map(lambda y: y.float() if getattr(y, "dtype", None) == torch.bfloat16 else y, answer)
