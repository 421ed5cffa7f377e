"""Cases of reductions, shapes, indexing, linear algebra and creation."""

from __future__ import annotations

import math
import operator
from typing import Any

import hypothesis.strategies as st
import numpy as np
import torch
import torch.nn.functional as F
from mirror_harness import (
    FINITE,
    WITH_NAN,
    Case,
    Fixed,
    bools,
    calls,
    ints,
    one_of,
    positives,
    reals,
    special,
    symmetric,
)

from ppvae.backends.mirror.functions.arguments import namesakes


def without_values(result: Any) -> list[Any]:
    """Shape and dtype of what torch leaves uninitialised: any bytes may stand in it, NaN among them."""
    return [tuple(result.shape), result.dtype]


flag = st.booleans()
dims = st.sampled_from([None, -1, (0, 2), [1]])
dim = st.sampled_from([1, -1])
x = reals(2, 3, 4)
ties = special(2, 3, 4, pool=(-1.0, 0.0, 0.0, 1.0, 2.0))
apart = st.permutations(range(24)).map(lambda order: np.asarray(order, np.float64).reshape(2, 3, 4))

REDUCTIONS = [
    Case(
        (torch.sum, torch.mean),
        one_of(
            calls(ties, dims, maybe_keepdim=flag),
            calls(x, axis=dim, keepdims=True),
            calls(x, dim=()),
            calls(x, dim=0, dtype=torch.float64),
        ),
    ),
    Case((torch.sum, torch.prod, torch.cumsum, torch.cumprod), calls(one_of(ints(3, 4), bools(3, 4)), dim=1)),
    Case(
        (torch.nansum, torch.nanmean),
        calls(special(2, 3, 4, pool=(1.0, 2.0, np.nan)), dims, maybe_keepdim=flag),
        gradient=False,
    ),
    Case((torch.nansum, torch.nanmean), calls(x, dims, maybe_keepdim=flag)),
    Case((torch.prod,), one_of(calls(ties), calls(ties, dim, maybe_keepdim=flag))),
    Case(
        (torch.var, torch.std, torch.var_mean, torch.std_mean),
        one_of(
            calls(x, dims, maybe_keepdim=flag, maybe_correction=st.sampled_from([0, 1, 2])),
            calls(x),
            calls(x, flag),
            calls(x, (0, 2), flag, flag),
            calls(np.ones((2, 3, 4)), -1),
        ),
    ),
    Case(
        (torch.amax, torch.amin),
        one_of(calls(ties, dims.filter(lambda d: d is not None), maybe_keepdim=flag), calls(ties)),
    ),
    Case(
        (torch.max, torch.min),
        one_of(
            calls(ties),
            calls(ties, dim, maybe_keepdim=flag),
            calls(ties, dim=-1),
            calls(ties, ties),
            calls(ties, other=x),
        ),
    ),
    Case(
        (torch.max, torch.min, torch.argmax, torch.argmin), calls(special(2, 3, 4, pool=WITH_NAN), dim), gradient=False
    ),
    Case((torch.aminmax,), one_of(calls(ties), calls(ties, dim=dim, maybe_keepdim=flag))),
    Case((torch.argmax, torch.argmin), one_of(calls(ties), calls(ties, dim, maybe_keepdim=flag), calls(ints(3, 4)))),
    Case((torch.any, torch.all), calls(one_of(bools(2, 3, 4), ties), dims, maybe_keepdim=flag)),
    Case((torch.any, torch.all), calls(one_of(bools(2, 3, 4), ties))),
    Case((torch.count_nonzero,), calls(ties, dims)),
    Case(
        namesakes("logsumexp"),
        calls(special(2, 3, 4, pool=(*FINITE, -np.inf)), dims.filter(lambda d: d is not None), maybe_keepdim=flag),
        gradient=False,
    ),
    Case(
        namesakes("logsumexp"),
        one_of(
            calls(special(2, 3, 4, pool=FINITE), dims.filter(lambda d: d is not None), maybe_keepdim=flag),
            calls(np.array([[-np.inf, 0.0], [1.0, 1.0]]), 1),
            calls(np.full((2, 2), -np.inf), 1),
        ),
    ),
    Case(
        (torch.softmax, torch.log_softmax, torch.special.softmax, torch.special.log_softmax),
        one_of(
            calls(x, dim),
            calls(np.array([[-np.inf, 0.0], [1.0, 1.0]]), dim=1),
            calls(np.full((2, 2), -np.inf), 1),
        ),
    ),
    Case((torch.softmax, torch.log_softmax), calls(x, dim, dtype=torch.float32), gradient=False, rtol=1e-6),
    Case((torch.cumsum, torch.cumprod), calls(ties, dim)),
    Case((torch.logcumsumexp,), calls(x, dim)),
    Case(
        (torch.norm,),
        one_of(
            calls(ties),
            calls(ties, st.sampled_from([2, 1, 3.0, math.inf, "fro"]), dims, maybe_keepdim=flag),
            calls(np.zeros((2, 3)), dim=1),
        ),
    ),
    Case(
        (torch.linalg.vector_norm,),
        one_of(
            calls(ties, st.sampled_from([2, 1, 3, 1.5]), dims, maybe_keepdim=flag),
            calls(ties, st.sampled_from([math.inf, -math.inf, 0]), dims),
            calls(np.zeros((2, 3)), st.sampled_from([1, 2, 3]), 1),
            calls(positives(2, 3), st.sampled_from([-1, -2]), 1),
        ),
    ),
    Case(
        (torch.linalg.norm,),
        one_of(
            calls(x),
            calls(x, 2, -1),
            calls(reals(3, 4), st.sampled_from(["fro", "nuc", 1, math.inf, 2, -2])),
            calls(x, "fro", (1, 2)),
            calls(x, dim=(0, 1), keepdim=True),
            calls(reals(4), 3),
        ),
    ),
    Case(
        (torch.linalg.matrix_norm,), calls(x, st.sampled_from(["fro", "nuc", 1, -1, math.inf, 2]), maybe_keepdim=flag)
    ),
    Case((torch.norm,), calls(reals(3, 4), "nuc")),
    Case((torch.norm_except_dim,), one_of(calls(reals(3, 4, 2), 2, 0), calls(reals(3, 4), 2, -1), calls(reals(3), 1))),
    Case(
        (torch._weight_norm,),
        one_of(
            calls(reals(3, 4, 2), reals(3, 1, 1)), calls(reals(3, 4), reals(1, 4), 1), calls(reals(3, 4), reals(), -1)
        ),
    ),
    Case((torch.dist,), calls(reals(3, 4), reals(4), st.sampled_from([2, 1]))),
    Case(
        (F.cosine_similarity,),
        one_of(calls(x, reals(3, 4)), calls(x, x, dim=-1, maybe_eps=0.1), calls(np.zeros((2, 3)), reals(2, 3))),
    ),
    Case((F.pairwise_distance,), calls(reals(3, 4), reals(3, 4), maybe_p=1.0, maybe_keepdim=flag)),
    Case(
        (torch.cdist,),
        one_of(
            calls(reals(3, 4), reals(5, 4), maybe_p=1.0),
            calls(x, reals(2, 5, 4)),
            calls(np.ones((2, 3)), np.ones((2, 3))),
        ),
    ),
    Case(
        (torch.quantile,),
        calls(
            apart,
            one_of(0.3, np.array([0.25, 0.5]).view(), st.just(Fixed(np.array([0.2, 0.7])))).map(
                lambda q: Fixed(q) if isinstance(q, np.ndarray) else q
            ),
            dim=st.sampled_from([None, 1]),
            maybe_keepdim=flag,
            maybe_interpolation=st.sampled_from(["lower", "nearest", "higher", "midpoint"]),
        ),
    ),
    Case((torch.diff,), calls(x, st.sampled_from([1, 2]), maybe_dim=1)),
    Case(
        (torch.trapezoid, torch.trapz),
        one_of(calls(x, dim=st.sampled_from([-1, 1]), maybe_dx=0.5), calls(reals(4), reals(4))),
    ),
    Case((torch.cov,), one_of(calls(reals(3, 5), correction=st.sampled_from([0, 1])), calls(reals(5)))),
    Case((torch.corrcoef,), calls(reals(3, 5))),
    Case(
        (torch.median,),
        one_of(
            calls(apart),
            calls(apart, dim, maybe_keepdim=flag),
            calls(np.array([1.0, 0.0, 1.0, 3.0])),
            calls(np.array([1.0, np.nan, 0.0])),
        ),
    ),
]

SHAPES = [
    Case((torch.reshape, "reshape", "view"), calls(x, st.sampled_from([(6, 4), (-1,), (2, 3, 2, 2), (4, -1)]))),
    Case(("reshape", "view"), calls(x, 4, -1)),
    Case((torch.flatten,), one_of(calls(x), calls(x, 1), calls(x, start_dim=0, end_dim=-2), calls(np.array(1.0)))),
    Case((torch.unflatten,), one_of(calls(x, -1, (2, -1)), calls(x, 2, (2, 2)))),
    Case(
        (torch.ravel, torch.clone, torch.detach, torch.fliplr, torch.flipud, torch.numel, torch.trace),
        calls(reals(3, 4)),
    ),
    Case((torch.permute, "permute"), calls(x, st.sampled_from([(2, 0, 1), (-1, 0, 1)]))),
    Case(("permute",), calls(x, 2, 0, 1)),
    Case((torch.transpose, torch.swapaxes, torch.swapdims), calls(x, dim, dim)),
    Case((torch.t,), calls(one_of(reals(3, 4), reals(3)))),
    Case((torch.movedim, torch.moveaxis), one_of(calls(x, 0, -1), calls(x, (0, 1), (-1, 0)))),
    Case(
        (torch.squeeze,),
        calls(reals(1, 3, 1), *[]).flatmap(
            lambda c: st.sampled_from(
                [(c[0], {}), ((c[0][0], 0), {}), ((c[0][0], 1), {}), ((c[0][0], (0, 1)), {}), ((c[0][0],), {"dim": -1})]
            )
        ),
    ),
    Case((torch.unsqueeze,), calls(x, st.sampled_from([0, 2, -1, -4]))),
    Case((torch.broadcast_to, "expand"), calls(reals(3, 1), st.sampled_from([(3, 4), (2, 3, 4), (2, -1, 4)]))),
    Case(("expand",), calls(reals(3, 1), 2, -1, 4)),
    Case((torch.broadcast_tensors,), calls(reals(3, 1), reals(4))),
    Case((torch.broadcast_shapes,), calls((3, 1), (4,)), view=tuple),
    Case((torch.tile, "tile"), calls(x, st.sampled_from([(2,), (2, 1, 3), (2, 1, 1, 2)]))),
    Case(("repeat",), one_of(calls(reals(3, 4), 2, 3), calls(reals(3, 4), (2, 1, 3)))),
    Case(
        (torch.repeat_interleave,),
        one_of(calls(x, 2), calls(x, 2, dim=1), calls(reals(3, 4), np.array([0, 2, 1]), dim=0, maybe_output_size=3)),
    ),
    Case(
        (torch.cat, torch.concat, torch.concatenate),
        one_of(
            calls([x, x], maybe_dim=dim),
            calls([reals(3), np.zeros(0)]),
            calls((x, x), axis=1),
            calls([ints(3), reals(2)]),
        ),
    ),
    Case((torch.stack,), calls([x, x], st.sampled_from([0, -1, 2]))),
    Case((torch.hstack, torch.vstack, torch.row_stack, torch.dstack), calls([reals(3, 4), reals(3, 4)])),
    Case((torch.hstack, torch.vstack, torch.row_stack, torch.dstack, torch.column_stack), calls([reals(3), reals(3)])),
    Case((torch.atleast_1d, torch.atleast_2d, torch.atleast_3d), calls(one_of(reals(), reals(3), reals(2, 3)))),
    Case(
        (torch.split, "split"),
        one_of(calls(reals(5, 4), 2), calls(reals(5, 4), [1, 4]), calls(x, 3, dim=-1), calls(x, [1, 1, 2], -1)),
    ),
    Case((torch.split_with_sizes,), calls(reals(5, 4), [1, 4])),
    Case((torch.chunk,), one_of(calls(reals(5, 4), 2), calls(reals(5, 4), 4), calls(x, 3, dim=-1))),
    Case((torch.tensor_split,), one_of(calls(reals(5, 4), 3), calls(reals(5, 4), [1, 3]), calls(x, 2, dim=-1))),
    Case((torch.unbind,), calls(x, dim)),
    Case((torch.flip, "flip"), calls(x, st.sampled_from([(0,), (0, -1), [1]]))),
    Case(("flip",), calls(x, 0, 1)),
    Case((torch.roll,), one_of(calls(x, 2), calls(x, 1, dim), calls(x, (1, -2), (0, 1)))),
    Case((torch.rot90,), calls(x, st.sampled_from([1, 2, -1]), [1, 2])),
    Case((torch.tril, torch.triu), calls(x, maybe_diagonal=st.sampled_from([-1, 1]))),
    Case((torch.diag,), calls(one_of(reals(3, 4), reals(3)), maybe_diagonal=st.sampled_from([-1, 1]))),
    Case((torch.diagflat,), calls(reals(3), maybe_offset=1)),
    Case((torch.diagonal,), one_of(calls(x), calls(x, 1, 1, 2), calls(x, offset=-1, dim1=0, dim2=2))),
    Case((torch.linalg.diagonal,), one_of(calls(x), calls(x, offset=1, dim1=0))),
    Case(
        (torch.diag_embed,),
        one_of(calls(reals(2, 3)), calls(reals(2, 3), st.sampled_from([1, -1])), calls(reals(2, 3), 0, 0, 2)),
    ),
    Case((torch.block_diag,), calls(reals(2, 3), reals(1, 2))),
    Case(
        (torch.meshgrid,),
        one_of(
            calls(reals(3), reals(2), indexing=st.sampled_from(["ij", "xy"])),
            calls([reals(3), reals(2)], indexing="ij"),
        ),
    ),
    Case((torch.cartesian_prod,), one_of(calls(reals(3), reals(2)), calls(reals(3)))),
]


def at(shape: tuple[int, ...], *indices: Any) -> st.SearchStrategy[Any]:
    return calls(reals(*shape), st.sampled_from(indices))


INDEXING = [
    Case(
        (operator.getitem,),
        at(
            (3, 4, 2),
            0,
            -1,
            slice(1, None),
            (..., 1),
            (None, 0),
            (slice(None), 2),
            (0, slice(0, 3, 2)),
            (slice(None), [2, 0]),
            [0, 2],
            (Ellipsis, slice(0, 1)),
            (None, ..., None),
            (1, ..., -2),
            (slice(None), None, slice(-3, None)),
        ),
    ),
    Case(
        (operator.getitem,),
        one_of(
            calls(reals(3, 4), np.array([True, False, True])),
            calls(reals(3, 4), np.array([2, 0, 1, 1])),
            calls(reals(3, 4), (np.array([0, 2]), np.array([1, 3]))),
            calls(reals(3, 4), (slice(None), np.array([[0], [3]]))),
            calls(reals(2, 3, 4), (np.array([0, 1]), slice(None), np.array([1, 2]))),
            calls(reals(2, 3, 4), (np.ones((2, 3), bool), 0)),
        ),
    ),
    Case((operator.getitem,), calls({"a": reals(2), "b": 3}, "a")),
    Case(
        (torch.gather,),
        one_of(
            calls(reals(3, 4), 1, ints(2, 3, low=0, high=4)),
            calls(reals(3, 4), 0, ints(5, 1, low=0, high=3)),
            calls(reals(3, 4), -1, index=ints(3, 2, low=0, high=4)),
        ),
    ),
    Case(
        (torch.take_along_dim,),
        one_of(
            calls(reals(3, 4), ints(3, 1, low=0, high=4), 1),
            calls(reals(3, 4), ints(1, 4, low=0, high=3), dim=0),
            calls(reals(3, 4), ints(5, low=0, high=12)),
        ),
    ),
    Case((torch.take,), calls(reals(3, 4), ints(2, 2, low=0, high=12))),
    Case((torch.index_select,), calls(reals(3, 4), st.sampled_from([0, -1]), ints(5, low=0, high=3))),
    Case((torch.narrow,), calls(reals(3, 4), st.sampled_from([1, -1]), st.sampled_from([0, 1, -2]), 2)),
    Case((torch.select,), calls(reals(3, 4), dim, st.sampled_from([0, -1, 2]))),
    Case(
        (torch.scatter,),
        one_of(
            calls(reals(3, 4), 1, np.array([[0, 2], [3, 1]]), reals(2, 2)),
            calls(reals(3, 4), 0, np.array([[0, 2, 1]]), src=reals(3, 4).map(Fixed)),
            calls(reals(3, 4), -1, np.array([[0, 2]]), value=2.5),
            calls(reals(3, 4), 1, np.array([[0, 2]]), 2.5),
        ),
    ),
    Case(
        (torch.scatter_add,),
        one_of(
            calls(reals(3, 4), 1, ints(2, 3, low=0, high=4), reals(3, 4).map(Fixed)),
            calls(reals(3, 4), 0, ints(5, 4, low=0, high=3), reals(5, 4)),
        ),
    ),
    Case((torch.index_add,), calls(reals(3, 4), 0, np.array([0, 2, 2]), reals(3, 4), maybe_alpha=2.0)),
    Case((torch.index_copy,), calls(reals(3, 4), -1, np.array([3, 1]), reals(3, 2))),
    Case((torch.index_fill,), calls(reals(3, 4), 1, np.array([0, 2]), 1.5)),
    Case(
        (torch.masked_fill,),
        one_of(
            calls(reals(3, 4), bools(4), -np.inf),
            calls(reals(4), bools(3, 4), np.array(2.5)),
            calls(ints(3, 4), bools(3, 4), 2),
        ),
    ),
    Case((F.one_hot,), calls(ints(3, 4, low=0, high=5), 5)),
    Case(
        (torch.sort,),
        one_of(
            calls(apart, dim, flag),
            calls(apart),
            calls(special(3, 4, pool=(0.0, 1.0, np.inf)), stable=True, descending=flag),
        ),
    ),
    Case((torch.argsort,), one_of(calls(apart, dim, flag), calls(apart), calls(ties, stable=True, descending=flag))),
    Case((torch.msort,), calls(apart)),
    Case((torch.topk,), calls(apart, 2, dim, maybe_largest=flag)),
    Case((torch.kthvalue,), calls(apart, 2, dim, maybe_keepdim=flag)),
    Case(
        (torch.searchsorted,),
        calls(np.array([-1.0, 0.0, 1.0]), special(3, 4, pool=FINITE), maybe_right=flag, maybe_out_int32=flag),
    ),
    Case(
        (torch.searchsorted,),
        calls(np.array([-1.0, 0.0, 1.0]), special(3, 4, pool=FINITE), side=st.sampled_from(["left", "right"])),
    ),
    Case((torch.bucketize,), calls(special(3, 4, pool=FINITE), np.array([-1.0, 0.0, 1.0]), maybe_right=flag)),
]

matrix = reals(3, 3).map(lambda a: a + 3 * np.eye(3))
batch = reals(2, 3, 3).map(lambda a: a + 3 * np.eye(3))
spread = np.diag([1.0, 2.0, 4.0])
distinct = reals(3, 3).map(lambda a: spread + 0.1 * (a + a.T))


def _gauge_free(result: Any) -> Any:
    """Eigenvectors and singular vectors up to their signs."""
    return [part**2 if part.ndim > 1 else part for part in result]


LINEAR_ALGEBRA = [
    Case(
        (torch.matmul, torch.linalg.matmul, operator.matmul),
        one_of(
            calls(reals(3, 4), reals(4, 2)),
            calls(reals(4), reals(4)),
            calls(x, reals(4)),
            calls(reals(3), reals(2, 3, 4)),
            calls(x, reals(4, 5)),
        ),
    ),
    Case((torch.mm,), calls(reals(3, 4), reals(4, 2))),
    Case((torch.bmm,), calls(x, reals(2, 4, 2))),
    Case((torch.mv,), calls(reals(3, 4), reals(4))),
    Case((torch.dot, torch.vdot, torch.inner), calls(reals(4), reals(4))),
    Case((torch.inner,), calls(x, reals(5, 4))),
    Case((torch.outer, torch.ger), calls(reals(3), reals(4))),
    Case((torch.linalg.vecdot,), calls(x, reals(3, 4), maybe_dim=-1)),
    Case((torch.kron,), calls(reals(2, 3), reals(3, 2))),
    Case((torch.cross, torch.linalg.cross), calls(reals(2, 3), reals(2, 3), dim=-1)),
    Case(
        (torch.tensordot,),
        one_of(calls(x, reals(3, 4, 2)), calls(x, reals(2, 5), dims=([0], [0])), calls(x, reals(4, 2), 1)),
    ),
    Case(
        (torch.einsum,),
        one_of(
            calls("sm,mil->sil", reals(2, 3), reals(3, 4, 2)),
            calls("...i,...j->...ij", reals(2, 3), reals(3)),
            calls("ii->i", matrix),
            calls("ij,jk", [reals(2, 3), reals(3, 2)]),
        ),
    ),
    Case((torch.addmm,), calls(reals(4), reals(3, 2), reals(2, 4), maybe_beta=0.5, maybe_alpha=2.0)),
    Case((torch.addmm,), calls(np.full(4, np.nan), reals(3, 2), reals(2, 4), beta=0), gradient=False),
    Case((torch.addmv,), calls(reals(3), reals(3, 2), reals(2), maybe_beta=0.5, maybe_alpha=2.0)),
    Case((torch.addr,), calls(reals(3, 4), reals(3), reals(4), maybe_beta=0.5, maybe_alpha=2.0)),
    Case((torch.baddbmm,), calls(reals(2, 3, 5), x, reals(2, 4, 5), maybe_beta=0.5, maybe_alpha=2.0)),
    Case((torch.addbmm,), calls(reals(3, 5), x, reals(2, 4, 5), maybe_beta=0.5, maybe_alpha=2.0)),
    Case(
        (
            torch.inverse,
            torch.linalg.inv,
            torch.det,
            torch.linalg.det,
            torch.logdet,
            torch.slogdet,
            torch.linalg.slogdet,
        ),
        calls(one_of(matrix, batch)),
    ),
    Case((torch.logdet,), calls(-np.eye(3)), gradient=False),
    Case((torch.pinverse,), calls(reals(3, 2)), rtol=1e-8),
    Case((torch.cholesky, torch.linalg.cholesky), calls(one_of(symmetric(3), symmetric(3, 2)), maybe_upper=flag)),
    Case((torch.cholesky_solve,), calls(reals(3, 2), symmetric(3).map(lambda a: Fixed(np.linalg.cholesky(a))))),
    Case(
        (torch.cholesky_solve,),
        calls(reals(3, 2), symmetric(3).map(lambda a: Fixed(np.linalg.cholesky(a).T)), upper=True),
    ),
    Case((torch.cholesky_inverse,), calls(symmetric(3).map(lambda a: Fixed(np.linalg.cholesky(a))))),
    Case(
        (torch.linalg.solve,),
        one_of(
            calls(matrix, reals(3)),
            calls(matrix, reals(3, 2)),
            calls(batch, reals(2, 3)),
            calls(batch, reals(2, 3, 2)),
            calls(matrix, reals(2, 3), left=False),
        ),
    ),
    Case(
        (torch.linalg.solve_triangular,),
        one_of(
            calls(matrix.map(np.tril), reals(3, 2), upper=False, maybe_unitriangular=flag),
            calls(batch.map(np.triu), reals(3, 2), upper=True),
            calls(matrix.map(np.triu), reals(2, 3), upper=True, left=False),
        ),
    ),
    Case((torch.linalg.eigh,), calls(distinct), view=_gauge_free, rtol=1e-8),
    Case((torch.linalg.eigvalsh,), calls(distinct, maybe_UPLO="U")),
    Case((torch.linalg.svd,), calls(distinct, maybe_full_matrices=flag), view=_gauge_free, rtol=1e-8),
    Case((torch.linalg.svdvals,), calls(reals(3, 2)), rtol=1e-8),
    Case((torch.linalg.pinv,), calls(reals(4, 3)), rtol=1e-8),
    Case((torch.linalg.householder_product,), calls(reals(2, 4, 3), reals(2, 3)) | calls(reals(4, 3), reals(2))),
    Case((torch.linalg.qr,), calls(reals(4, 3)), rtol=1e-8),
    Case((torch.matrix_power, torch.linalg.matrix_power), calls(matrix, st.sampled_from([0, 1, 3, -1]))),
    Case((torch.matrix_exp, torch.linalg.matrix_exp), calls(reals(3, 3)), rtol=1e-8),
    Case((torch.linalg.multi_dot,), calls([reals(2, 3), reals(3, 4), reals(4)])),
]

kind = st.sampled_from([None, torch.float32, torch.int64, torch.bool])
like = one_of(reals(2, 3), ints(2, 3), bools(2, 3))
CREATION = [
    Case(
        (torch.zeros, torch.ones),
        one_of(
            calls(2, 3), calls((2, 3)), calls([2], dtype=kind), calls(()), calls(2, device="cpu", requires_grad=False)
        ),
    ),
    Case((torch.empty,), calls(2, 3), view=without_values),
    Case((torch.full,), calls((2, 3), st.sampled_from([1.5, 2, True]), maybe_dtype=torch.float32)),
    Case((torch.zeros_like, torch.ones_like), calls(like, maybe_dtype=kind, maybe_device="cpu")),
    Case((torch.empty_like,), calls(reals(2)), view=without_values, gradient=False),
    Case((torch.full_like,), calls(reals(2, 3), 2, maybe_dtype=torch.int64)),
    Case((torch.eye,), one_of(calls(3), calls(2, 3, maybe_dtype=kind))),
    Case(
        (torch.arange,),
        one_of(
            calls(5),
            calls(1, 5),
            calls(5.0),
            calls(1, 7, 2),
            calls(0, 1, 0.25),
            calls(start=2, end=4, dtype=torch.float32),
            calls(3, 0, -1),
        ),
    ),
    Case((torch.linspace,), one_of(calls(0, 1, 5), calls(-1.0, 2.0, steps=4, dtype=torch.float64), calls(0, 1, 1))),
    Case((torch.logspace,), calls(-1, 1, 5, maybe_base=2.0)),
    Case(
        (torch.as_tensor, torch.asarray, torch.tensor),
        one_of(
            calls(1.5),
            calls([1, 2]),
            calls([[1.0, 2.0]], maybe_dtype=torch.float32),
            calls(True),
            calls([1, 2], dtype=torch.float64),
            calls(2, device="cpu"),
        ),
    ),
    Case((torch.as_tensor, torch.asarray), calls(reals(2, 3))),
    Case((torch.scalar_tensor,), calls(1.5)),
    Case((torch.tril_indices, torch.triu_indices), calls(3, 4, maybe_offset=1)),
    Case((torch.get_default_dtype,), calls()),
    Case(
        (torch.finfo,),
        calls(st.sampled_from([torch.float32, torch.float64])),
        view=lambda info: [float(getattr(info, n)) for n in ["eps", "max", "min", "tiny", "smallest_normal"]],
    ),
    Case((torch.finfo,), calls(), view=lambda info: float(info.eps)),
    Case((torch.iinfo,), calls(torch.int32), view=lambda info: [int(info.max), int(info.min), info.bits]),
    Case((torch.is_tensor, torch.is_floating_point), calls(like)),
    Case((torch.result_type,), calls(like, like)),
]

METHODS = [
    Case(("float",), calls(like), gradient=False, rtol=1e-6),
    Case(("double", "int", "long", "short", "bool"), calls(like)),
    Case(("half", "bfloat16"), calls(ints(3)), view=lambda result: result * 2.0 == 4.0),
    Case(("contiguous",), calls(x)),
    Case(("view_as", "reshape_as"), calls(x, reals(6, 4))),
    Case(("expand_as",), calls(reals(3, 1), reals(2, 3, 4))),
    Case(("sum_to_size",), one_of(calls(x, 3, 1), calls(x, (1, 3, 4)))),
    Case(("unfold",), calls(x, dim, 2, st.sampled_from([1, 2]))),
    Case(
        ("to",),
        one_of(
            calls(x, torch.int64),
            calls(like, "cpu"),
            calls(like, dtype=torch.float64),
            calls(like, "cpu", torch.float64),
            calls(ints(2), reals(3)),
            calls(like, torch.float64, non_blocking=True),
        ),
    ),
    Case(("type",), calls(like, st.sampled_from([torch.float64, torch.int64]))),
    Case(("type_as",), calls(ints(3), reals(2))),
    Case(
        ("new_zeros", "new_ones"),
        one_of(calls(like, 2, 3), calls(like, (2, 3)), calls(like, 2, dtype=torch.int64, device="cpu")),
        gradient=False,
    ),
    Case(("new_empty",), calls(reals(2), 3), view=without_values, gradient=False),
    Case(("new_full",), calls(like, (2, 3), 1, maybe_dtype=torch.int64), gradient=False),
    Case(("new_tensor",), calls(like, [1, 2], maybe_dtype=torch.int64), gradient=False),
    Case(("where",), calls(reals(3, 4), bools(3, 4), one_of(reals(4), 0.0))),
    Case(("polygamma",), calls(positives(3, 4), st.sampled_from([1, 2])), rtol=1e-8),
    Case(("norm",), one_of(calls(x), calls(x, 1, -1), calls(x, p=2, dim=(0, 1), keepdim=True))),
]

CASES = [*REDUCTIONS, *SHAPES, *INDEXING, *LINEAR_ALGEBRA, *CREATION, *METHODS]
