"""Expressions of torch over named tensors: a table of calls, crossed with shapes, dtypes and spellings.

An expression is Python text; what stands after its last semicolon is its value.
"""

# ruff: noqa: E501
# fmt: off

from __future__ import annotations

import ast
from itertools import product

import numpy as np
import torch


def inputs() -> dict[str, torch.Tensor]:
    """Floats of every number of dims (``c``: a dim of size 1; ``k``: ties), whole numbers, and booleans."""
    draw = np.random.default_rng(0)
    floats = {
        "s": draw.normal(size=()),
        "v": draw.normal(size=4),
        "m": draw.normal(size=(3, 4)),
        "n": draw.normal(size=(3, 4)),
        "t": draw.normal(size=(2, 3, 4)),
        "c": draw.normal(size=(3, 1)),
        "k": np.array([[1.0, 0.0, 1.0, -1.0], [0.0, 0.0, -1.0, -1.0], [2.0, 2.0, 2.0, 0.0]]),
        "h": np.array([[0.5, -0.5, 1.5, -1.5], [2.5, -2.5, 7.25, -7.25], [3.0, -3.0, 0.0, 10.0]]),
        "e": np.array([0.5, np.nan, np.inf, -np.inf]),
        "p": draw.dirichlet(np.ones(4), 3),
        "q": np.eye(3) + 0.1 * draw.normal(size=(3, 3)),
        "a": draw.normal(size=(1, 2, 4, 4)),
    }
    floats["d"] = floats["q"] @ floats["q"].T
    whole = {
        "i": np.array([[7, -7, 2, 0], [3, -3, 5, 1], [-1, 4, 4, -4]]),
        "j": np.array([[2, 2, -2, 3], [-2, -2, 3, 3], [3, -3, 2, 3]]),
        "x": np.array([2, 0, 1]),
        "u": np.array([[0, 1, 2, 3], [3, 1, 0, 2], [1, 0, 3, 2]]),
        "w": np.array([[0, 1, 1, 2], [2, 2, 0, 0], [1, 0, 2, 1]]),
        "b": np.array([[True, False, True, False], [False, False, True, True], [True, True, True, True]]),
        "r": np.array([True, False, True]),
        "g": np.array([False, True, False, True]),
    }
    return {name: torch.from_numpy(np.array(value)) for name, value in (floats | whole).items()}


def crossed(template: str, **choices: str) -> list[str]:
    """The template for every combination of the words of its choices; `|` parts words that hold spaces."""
    words = [v.split("|") if "|" in v.replace(" | ", "") else v.split() for v in choices.values()]
    return [template.format(**dict(zip(choices, chosen, strict=True))) for chosen in product(*words)]


def both(names: str, args: str, *forms: str) -> list[str]:
    """Every function on every input with every form of the other arguments: as a function and as a method by turns."""
    crossings = product(names.split(), args.split(), forms or ("",))
    return [_called(*crossing, as_method=bool(turn % 2)) for turn, crossing in enumerate(crossings)]


def _called(name: str, arg: str, form: str, as_method: bool) -> str:
    if as_method:
        return f"{arg}.{name}({form})"
    return f"torch.{name}({arg}, {form})" if form else f"torch.{name}({arg})"


REDUCTIONS = [
    *both("sum mean std var amax amin prod norm", "s v m t", ""),
    *both("sum mean std var amax amin logsumexp norm", "m t", "dim=-1", "dim=(0, 1)", "dim=[-1], keepdim=True"),
    *both("sum mean logsumexp", "m k", "0", "1, True", "-1, keepdim=True"),
    *both("std var", "m", "0", "unbiased=False", "False", "0, False", "0, True, True", "correction=0", "dim=1, correction=2"),
    *both("std_mean var_mean", "m", "", "0", "dim=1, keepdim=True", "dim=1, correction=0"),
    *both("max min median mode cummax cummin", "k m", "0", "-1", "dim=1"),
    *both("max min median", "k m i v", "", ),
    *both("max min median mode", "k", "1, True", "dim=0, keepdim=True"),
    *both("max min maximum minimum fmax fmin", "m k", "n", "other=k"),
    *both("argmax argmin", "k m i", "", "1", "dim=0, keepdim=True"),
    *both("sort argsort", "m k i", "", "0", "dim=-1, descending=True", "stable=True, dim=0"),
    *both("topk", "m", "2", "2, 0", "k=1, dim=1, largest=False", "2, sorted=True"),
    *both("kthvalue", "m i", "2", "1, 0", "k=2, dim=1, keepdim=True"),
    *both("any all", "b i m", "", "1", "dim=0, keepdim=True"),
    *both("sum prod cumsum cumprod mean", "i b", "0", "0, dtype=torch.float64"),
    *both("cumsum cumprod logcumsumexp", "m t k", "0", "dim=-1"),
    *both("count_nonzero nansum nanmean aminmax", "k m", ""),
    *both("quantile nanquantile", "v m", "0.3", "torch.tensor([0.1, 0.5], dtype=torch.float64), dim=-1"),
    *both("softmax log_softmax", "m t", "-1", "dim=0"),
    *crossed("{x}.{f}", x="s|m|k", f="max()|min()|amax()|amin()|logsumexp(-1)|std()|softmax(0)"),
    *crossed("{x}[0]", x="m.max(-1)|m.min(0)|m.sort()|k.median(0)|m.topk(2)|m.kthvalue(1)|torch.sort(m, dim=0)"),
    *crossed("values, indices = {x}; values * 2", x="m.max(-1)|k.min(1)|m.sort(1)|k.mode(1)|k.cummax(0)|m.topk(1)"),
    *crossed("{x}.values", x="m.max(dim=-1)|m.sort(-1, True)|torch.min(k, 0)|m.topk(2, dim=0)|m.median(dim=1)"),
    "(m - m.max(-1, keepdim=True)[0]).exp()", "torch.cov(m)", "torch.corrcoef(m)", "m.diff()", "torch.trapezoid(m)",
    "m.norm(p=1, dim=1)", "torch.norm(m, 2, -1, True)", "torch.linalg.norm(q)", "torch.linalg.norm(m, dim=-1)",
    "torch.linalg.vector_norm(m, 3)", "torch.dist(m, n)", "m.dist(n, 1)", "torch.histc(m)", "m.renorm(2, 0, 1.0)",
]

ELEMENTWISE = [
    *both("exp log1p sqrt sin tanh sigmoid abs neg sign floor ceil round trunc frac square erf relu", "m k i"),
    *both("reciprocal log rsqrt exp2 expm1 log2 atan sinh lgamma digamma softplus logit positive", "p i"),
    *both("add sub mul div true_divide floor_divide remainder fmod", "h i", "j", "2", "-3", "h"), *both("pow", "h i", "j", "2", "-3"), *both("pow", "p", "h", "j", "0.5", "m"),
    *both("div", "h i", "j, rounding_mode='floor'", "j, rounding_mode='trunc'", "2, rounding_mode=None"),
    *both("add sub", "m i", "n, alpha=2", "j, alpha=3", "b"),
    *crossed("{x} {o} {y}", x="h i", o="+ - * / // % **", y="j 2 2.0 -3"),
    *crossed("{x} {o} {y}", x="2 -3 2.5", o="+ - * / // %", y="h j"),
    *crossed("{x} {o} {y}", x="b", o="+ * & | ^ == < >=", y="b i True"),
    *crossed("{x} {o} {y}", x="i 5", o="& | ^ << >>", y="w"),
    *crossed("{x} {o} {y}", x="i h s", o="== != < <= > >=", y="j 2 k"),
    *crossed("m {o} {y}", o="+ * - /", y="s c v t x"),
    *crossed("{o}{x}", o="-|+|~|abs(i) + ", x="i b h"),
    *both("eq ne lt le gt ge logical_and logical_or logical_xor", "i k b", "j", "0"),
    *both("bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift", "i b", "w", "3"),
    *both("logical_not isnan isfinite isinf isposinf isneginf signbit nan_to_num", "e i k"),
    *both("nan_to_num", "e", "0.5", "nan=1.0, posinf=2.0", "neginf=-1.0"),
    *both("clamp clip", "h k i", "0", "-1, 1", "min=0", "max=1", "min=-1, max=0.5", "None, 1"),
    *both("clamp", "k", "n", "min=n, max=m", "m, n"),
    *both("clamp_min clamp_max", "k i", "0", "1.5"),
    *both("where", "b", "m, n", "m, 0.0", "1, i", "s, v", "i, n", "2, 3"),
    *both("lerp", "m", "n, 0.3", "n, weight=p"), *both("addcmul addcdiv", "m", "n, p", "n, p, value=0.5"),
    *both("atan2 hypot copysign logaddexp fmax fmin xlogy nextafter", "h", "n", "k"),
    *both("round", "h", "decimals=1", ""), *both("float_power", "p i", "2", "p"), *both("heaviside", "k", "m"),
    *both("isclose", "m", "n", "m, rtol=0.1"), *both("sinc hardshrink deg2rad sgn", "h"), "torch.rsub(m, n)",
    "m.mul_(2)", "y = m.clone(); y.add_(n, alpha=2); y", "y = m * 1; y += n; y", "y = m * 1; y -= 2; y", "y = i * 1; y //= 2; y",
    "y = m * 1; y *= c; y", "y = m * 1; y **= 2; y", "y = m * 1; y.clamp_(0, 1); y", "y = m * 1; y.exp_(); y",
    "y = m * 1; y.fill_(2.0); y", "y = m * 1; y.zero_(); y", "y = m * 1; y.copy_(v); y", "y = i * 1; y += 1.5; y",
    "y = m * 1; y.masked_fill_(b, 0.0); y", "y = m * 1; z = y; y += 1; z", "y = c * 1; y += m; y", "y = m * 1; y.t_(); y",
    "y = m * 1; y.unsqueeze_(0); y", "y = m * 1; y /= s; y", "y = i * 1; y /= 2; y", "y = m * 1; y.sub_(n).abs_(); y",
    "torch.exp(m, out=m.clone())", "torch.addcmul(m, n, p, value=s)", "torch.sigmoid(input=m)", "m.add(other=n)",
    "torch.add(input=m, other=n)", "m.add(1, 2)", "m.exp(1)", "m.sum(axis=0)", "m.sum(1, keepdims=True)", "m.foo()",
]

SHAPES = [
    *both("transpose swapaxes movedim", "m t", "0, 1", "-1, 0", "1, -1"), *both("movedim", "t", "(0, 1), (1, 0)"),
    *crossed("{x}.{f}", x="m t v s", f="T mT H mH real data"), *both("t", "v m t s"),
    *crossed("t.{f}", f="permute(2, 0, 1)|permute((1, 0, 2))|permute(dims=(0, 2, 1))|permute(-1, 0, 1)|permute(0, 1)"),
    *crossed("torch.permute(t, {f})", f="(2, 0, 1)|dims=(0, 2, 1)|(0, 1)|(0, 0, 1)"),
    *crossed("m.{f}", f="repeat(2, 1)|repeat(2, 1, 2)|repeat((1, 3))|repeat(2)|repeat(repeats=(2, 1))|tile(2)|tile(2, 1)"),
    *crossed("m.{f}", f="tile((2, 1, 1))|expand(2, 3, 4)|expand(-1, 4)|expand((2, -1, -1))|expand(3, 5)|expand_as(t)"),
    *crossed("c.{f}", f="expand(3, 4)|expand(-1, 2)|expand_as(m)|broadcast_to((3, 2))|repeat(1, 2)|squeeze()|squeeze(0)"),
    *both("repeat_interleave", "v m", "2", "3, 0", "2, dim=-1", "repeats=2"), "m.repeat_interleave(torch.tensor([1, 0, 2]), 0)",
    *both("split", "m t", "2", "2, 1", "3, dim=-1", "[1, 2], 0", "[1, 1, 2], dim=-1", "[1, 1], 1"),
    *both("chunk tensor_split", "m t", "2", "3, 1", "chunks=2", "2, dim=-1"), *both("unbind", "m t", "", "1", "dim=-1"),
    *both("unsafe_chunk hsplit vsplit dsplit", "m t", "2"), *both("tensor_split", "m", "(1, 3), 1"),
    *crossed("m.{f}", f="view(-1)|view(2, -1)|view((4, 3))|view(2, 6)|view(5, -1)|view(-1, -1)|view(size=(12,))|view_as(n)"),
    *crossed("m.{f}", f="reshape(-1)|reshape(2, -1)|reshape((6, 2))|reshape(7)|reshape_as(n)|reshape(shape=(4, 3))|view(torch.int64)"),
    *crossed("t.{f}", f="transpose(1, 2).view(2, 12)|t()|transpose(0, 1).reshape(6, 4)|contiguous().view(-1)|mT.flatten()"),
    *both("flatten", "m t s", "", "1", "start_dim=0, end_dim=1", "0, -2"), *both("unflatten", "m", "1, (2, 2)", "-1, (2, -1)", "1, (3, 1)"),
    *both("squeeze", "c a m s", "", "0", "-1", "dim=(0, 1)", "5"), *both("unsqueeze", "v m s", "0", "-1", "dim=1", "-3"),
    *both("roll", "m", "1", "1, 0", "shifts=(1, -1), dims=(0, 1)", "-2, -1"), *both("flip", "m t", "0", "(0, 1)", "dims=(-1,)"),
    *crossed("m.{f}", f="flip(0, 1)|flip([0])|fliplr()|flipud()|rot90()|rot90(2, (1, 0))|rot90(k=-1)|ravel()"),
    *both("tril triu", "m t q", "", "1", "diagonal=-1"), *both("diag diagflat diag_embed", "v m", "", "1"),
    *both("diagonal", "q t", "", "1", "0, 0, 1", "offset=-1, dim1=-2, dim2=-1"), *both("trace", "q m"),
    *crossed("torch.{f}({x})", f="cat stack hstack vstack dstack column_stack", x="[m, n]|(m, k)|[m, i]|[v, m]"),
    *crossed("torch.{f}", f="cat([m, n], 1)|cat((m, n), dim=-1)|stack([m, n], -1)|stack([v, v], dim=1)|cat([m, t])|cat([m], 5)"),
    *crossed("torch.{f}", f="atleast_2d(v)|broadcast_tensors(c, v)|broadcast_tensors(m, x)|meshgrid(v, x, indexing='ij')|block_diag(m, v)"),
    *crossed("torch.{f}", f="cartesian_prod(v, x)|combinations(v)|atleast_3d(m, v)|stack([m, v])|vander(v)|cat([b, i])|clone(m)"),
    *crossed("{x}.{f}", x="m t s", f="shape|size()|size(-1)|size(dim=0)|size(5)|dim()|ndim|numel()|nelement()|stride()|dtype"),
    *crossed("{x}.{f}", x="m i b", f="is_floating_point()|is_complex()|dtype|element_size()|itemsize|is_contiguous()|device|is_cuda"),
    *crossed("{f}", f="len(m)|len(s)|tuple(m.shape)|m.T.is_contiguous()|[r.sum() for r in m]|torch.numel(m)|torch.is_tensor(m)"),
    *crossed("{f}", f="isinstance(m, torch.Tensor)|m.shape[-1] * 2|torch.Size([2]) + m.shape|m.shape == n.shape|m.get_device()"),
    *crossed("m.{f}", f="narrow(0, 1, 2)|narrow(1, -2, 2)|narrow(1, 3, 2)|narrow(dim=0, start=0, length=1)|select(0, 1)|select(1, -1)|select(0, 3)"),
    *crossed("m.{f}", f="unfold(1, 2, 1)|unfold(0, 2, 2)|sum_to_size(1, 4)|as_strided((2, 2), (1, 2))|swapdims(0, 1)|contiguous()|clone()"),
    "y = m.clone(); y.transpose_(0, 1); y", "m.adjoint()", "*r, last = m; last", "torch.stack(list(m))", "torch.stack([*t.unbind(1)], 1)",
]

INDEXING = [
    *crossed("m[{i}]", i="0|-1|3|-4|1, 2|0, -1|0, 4|:|1:|:-1|::2|::-1|1:1|5:|..., 0|None|:, None|None, ..., None|...|()|0, 0, 0"),
    *crossed("m[{i}]", i="[0, 2]|[0, -1]|[0, 3]|x|x, x|:, x|x, :|x, 1|x[:, None], x|(0, 2)|[0], [1]|torch.tensor([1, -1])|x.tolist()"),
    *crossed("m[{i}]", i="torch.tensor(1)|torch.tensor([5])|torch.tensor([[0, 1], [2, -3]])|np.int64(1)|True|None, x|x, None, x|x > 0|b|r"),
    *crossed("m[{i}]", i="torch.tensor([True, False, True])|[True, False, True]|1.0|slice(0, 2)|slice(None), 1|'a'|:, [True, False, True, False]"),
    *crossed("t[{i}]", i="0|:, 1|..., 1|0, ..., 0|x % 2|:, x|x % 2, x|x % 2, :, x|:, x, x|[0, 1], ..., [0, 1]|0, x|x % 2, 0, x|-1, -1, -1|1, 3"),
    *crossed("t[{i}]", i=":, :, ::2|1, None, x|[1], :, None, [2]|..., None|..., x, :|2|w[0] % 2|w % 2, w"),
    *crossed("s[{i}]", i="...|None|0|()"), *crossed("v[{i}]", i="w|i % 4|-1|x|x - 4|4|s.long()"),
    *crossed("y = m * 1; y[{i}] = {z}; y", i="0|-1|1, 2|:, 0|1:|..., -1|x|[0, 2]|b|r|x, x|None|3|::2, 1:3|m > 0", z="0|2.5|s"),
    *crossed("y = m * 1; y[{i}] = {z}; y", i="0|:|x|2:", z="v|n[0]|v[:3]|i[0]|[1.0, 2.0, 3.0, 4.0]"),
    *crossed("y = m * 1; y[{i}] {o} {z}; y", i="0|:, 1|x|b|1:, ::2", o="+= *=", z="2|s"),
    *crossed("y = torch.zeros(3, 4); y[{i}] = {z}; y", i="0|x|:, 2|1, 1", z="v[0]|s|1.0"),
    *crossed("y = m * 1; z = y{v}; {w}; [y, z]", v="[0]|[:, 1:]|.t()|.view(-1)|[None]|.reshape(12)|[x]|.transpose(0, 1)[1]|.detach()", w="y += 1|z += 1|z.mul_(2)|y[0] = 0"),
    *both("gather", "m", "1, w", "0, w", "dim=1, index=w[:, :2]", "1, i", "-1, w[:2]", "0, x"),
    *both("index_select", "m t", "0, x % 2", "1, x", "dim=-1, index=x", "0, x + 3", "0, -x", "1, torch.tensor([9])"),
    *both("take", "m", "w", "x", "x - 3", "torch.tensor([50])"), *both("take_along_dim", "m", "w, 1", "w", "w[:, :1], dim=1"),
    *both("scatter scatter_add", "m", "1, u, n", "0, u % 3 * 0 + x[:, None], n", "dim=1, index=u[:, :2], src=n", "1, u[:, :1], n"),
    *both("scatter", "m", "1, w[:, :1], 2.0", "1, w[:, :1], value=2.0", "1, w[:, :1], n, reduce='add'", "0, i[:1], 1.0"),
    *both("scatter_reduce", "m", "1, w, n, 'sum'", "1, w, n, 'amax'", "1, w, n, reduce='mean', include_self=False"),
    *both("index_add index_copy", "m", "0, x, n", "1, x, n[:, :3]", "0, x + 1, n"), *both("index_fill", "m", "0, x, 2.0", "1, x, s", "0, x + 1, 0"),
    *crossed("{x}.scatter_reduce({f}, {x}.flip(1), '{r}', include_self={s})", x="k i", f="0, w|1, w", r="amax amin", s="True False"),
    *both("index_add", "m", "0, x, n, alpha=2"), *both("index_put", "m", "(x,), v", "(x, x), s, accumulate=True"),
    *both("masked_fill", "m i", "b, 2", "r[:, None], 0.5", "b, s", "g, float('-inf')", "mask=b, value=1"),
    *both("masked_select masked_scatter", "m", "b", "b, n"), *both("nonzero unique bincount", "x w"), "torch.where(b)", "torch.argwhere(b)",
    *crossed("F.one_hot({f})", f="x, 3|x, num_classes=5|x|x, 2|i, 4|m.long(), 9"), *both("isin", "w", "x"),
    *crossed("torch.{f}", f="searchsorted(v.sort()[0], m)|searchsorted(v.sort()[0], s)|bucketize(m, v.sort()[0])|searchsorted(m.sort()[0], n, right=True)"),
    *crossed("torch.{f}", f="searchsorted(v.sort()[0], m, side='right')|bucketize(m, v.sort()[0], right=True)|searchsorted(v.sort()[0], 0.3)"),
    "y = m.clone(); y.scatter_(1, u, n); y", "y = m.clone(); y.index_add_(0, x, n); y", "y = m.clone(); y.scatter_(1, w[:, :1], 1.0); y",
    "y = m.clone(); y.index_fill_(0, x[:1], 0.0); y", "y = m.clone(); y.fill_diagonal_(0.0); y", "y = m.clone(); operator.setitem(y, 0, v); y", "y = m.clone(); y[0][1] = 5.0; y",
]

PRODUCTS = [
    *both("matmul mm", "m q", "n.T", "q", "v", "t"), *crossed("{x} @ {y}", x="m v t", y="v|n.T|t.mT|v[:, None]|c"),
    *both("bmm", "t", "t.mT", "m.T"), *both("mv", "m", "v", "m"), *both("dot inner outer", "v", "v", "m", "v[:3]"),
    *crossed("torch.einsum({f})", f="'ij,kj->ik', m, n|'bij,bkj', t, t|'ij->j', m|'ii', q|'ij,j', m, v|'...j,j->...', t, v|'ij,jk', m, n|'i,i,i->', v, v, v|[m, n]"),
    *crossed("torch.{f}", f="tensordot(m, n, 2)|tensordot(m, n, dims=([1], [1]))|kron(m, v)|cross(q, d)|cross(q, d, dim=0)|chain_matmul(q, d)"),
    *crossed("torch.{f}", f="addmm(q, m, n.T)|addmm(q, m, n.T, beta=0.5, alpha=2)|addmv(x, m, v)|baddbmm(t[:, :, :3], t, t.mT)|addbmm(q, t, t.mT)|baddbmm(t, t, t)"),
    *crossed("torch.linalg.{f}", f="inv(q)|det(q)|slogdet(q)|cholesky(d)|solve(q, m)|solve(q, x.double())|eigvalsh(d)|svdvals(m)|matrix_power(q, 3)|inv(m)"),
    *crossed("torch.linalg.{f}", f="solve_triangular(q.tril(), m, upper=False)|matrix_norm(q)|matrix_norm(q, 1)|vector_norm(m, 2, -1)|multi_dot([m, n.T, q])|qr(q)|eigh(d)"),
    *crossed("torch.linalg.{f}", f="cond(q)|pinv(m)|matrix_rank(m)|vecdot(m, n)|cross(q, d)|lstsq(q, m)|lu_factor(q)|cholesky_ex(d)|solve(q, v)|inv_ex(q)"),
    *both("det logdet inverse cholesky matrix_exp pinverse slogdet", "d"), *both("cholesky_solve triangular_solve", "m", "d.cholesky()"),
    *crossed("torch.{f}", f="cholesky_inverse(q.tril())|matrix_power(q, 2)|cdist(m, n)|cdist(t, t, p=1.0)|cdist(m, n, 3)|pdist(m)|cdist(m, q)"),
]

CREATION = [
    *crossed("m.{f}", f="to(torch.float32)|to(i)|to(torch.int64)|to('cpu')|to(m.device)|to('cpu', torch.float32)|to(dtype=torch.float32)|to(device='cpu')|to(m.device, dtype=torch.int32)"),
    *crossed("{x}.{f}", x="h i b", f="float()|double()|int()|long()|bool()|short()|half()|type(torch.float32)|type_as(m)|to(int)|type()|char()|byte()|cpu()"),
    *crossed("{x}.{f}", x="m i", f="new_zeros(2, 3)|new_zeros((2,))|new_ones(3)|new_full((2,), 3)|new_tensor([1, 2])|new_empty(2).shape|new_zeros(2, dtype=torch.int64)|new_full((2,), s)"),
    *crossed("torch.{f}_like({x})", f="zeros ones", x="m|i|m, dtype=torch.int64|b"), *crossed("torch.full_like({x})", x="m, 2|i, 2|m, fill_value=s|i, 2.5|m, 1, dtype=torch.int64"),
    *crossed("m + torch.{f}", f="arange(4)|arange(0, 4)|arange(1, 9, 2)|arange(4.0)|arange(0, 1, 0.25)|arange(4, dtype=torch.float32)|linspace(0, 1, 4)|ones(4)|zeros(3, 4)|zeros((3, 4))"),
    *crossed("m * torch.{f}", f="full((3, 4), 2)|full((4,), 2.5)|eye(3, 4)|eye(4)|tensor(2)|tensor([1, 2, 3, 4])|tensor(0.1)|ones(4, dtype=torch.float64)|ones(3, 1, dtype=torch.bool)"),
    *crossed("{f}", f="torch.full((2,), s)|torch.tensor([s, s])|torch.tensor(s)|torch.as_tensor(m)|torch.as_tensor([s, s])|torch.tensor(m)|torch.scalar_tensor(2.0) * s|torch.arange(m.shape[0])"),
    *crossed("torch.result_type({x})", x="m, i|i, 2.0|b, 1|s, i"), *crossed("m.{f}", f="detach() * m|numpy()|tolist()|item()|data * m|grad|requires_grad_()|is_leaf|grad_fn|H"),
    *crossed("{f}(s)", f="float|int|bool|complex|round|math.exp|np.asarray|abs|list|torch.is_nonzero"), "s.item()", "1 in m", "s in v",
    *crossed("{f}", f="s if s > 0 else -s|[1, 2][x[0]]|range(x[0])|v if v.any() else -v|copy.deepcopy(m)|copy.copy(m) * 2|hash(m) == hash(m)|torch.equal(m, m)|torch.allclose(m, n)"),
    *crossed("{f}", f="m.is_nonzero()|m.requires_grad|m.is_sparse|m.is_meta|m.layout|m.type()|m.equal(m)|s.__index__()|m.storage()|m.data_ptr()|m.numpy(force=True)|m.__array__()"),
    *crossed("{f}", f="(m.detach() + m).sum()|m * m.data|torch.tril_indices(3, 3)|m.new_tensor(2.0)|torch.finfo(m.dtype).eps * m|torch.iinfo(i.dtype).max|m.to(torch.device('cpu'))"),
    *crossed("{f}", f="torch.complex(m, n).abs()|torch.polar(m, n).real|torch.view_as_real(torch.complex(m, n))|m.to(torch.complex128).real|torch.is_floating_point(m)|torch.fft.fft(v).abs()"),
]

LOSSES = [
    *crossed("F.{f}({x})", f="relu elu selu celu gelu silu mish softplus logsigmoid hardtanh relu6 leaky_relu hardswish softsign tanhshrink softshrink hardshrink", x="m k h"),
    *crossed("F.{f}", f="gelu(m, approximate='tanh')|softplus(h, beta=2, threshold=5)|leaky_relu(k, 0.2)|elu(k, alpha=0.5)|hardtanh(h, -2, 2)|threshold(h, 0.5, 9.0)|glu(m)|glu(m, dim=1)|softmax(m, dim=0)|log_softmax(m, -1)|softmin(m, dim=1)|prelu(k, s[None])"),
    *crossed("F.{f}(m, n, reduction='{r}')", f="mse_loss l1_loss smooth_l1_loss huber_loss kl_div poisson_nll_loss soft_margin_loss", r="mean sum none batchmean"),
    *crossed("F.{f}, reduction='{r}')", f="nll_loss(m, x|cross_entropy(m, x|cross_entropy(m, p|binary_cross_entropy(p, b.double()|binary_cross_entropy_with_logits(m, p|gaussian_nll_loss(m, n, p", r="mean sum none"),
    *crossed("F.{f}", f="cross_entropy(m, x, weight=v)|cross_entropy(m, x, ignore_index=0)|cross_entropy(m, x, label_smoothing=0.1)|cross_entropy(t, w[:2])|cross_entropy(m, x + 2)|nll_loss(m, x - 3)|cross_entropy(m, torch.tensor([0, 1, 7]))|cross_entropy(m, x.double())|cross_entropy(v, x[0])"),
    *crossed("F.{f}", f="pad(m, (1, 2))|pad(m, (1, 1, 0, 2), value=3.0)|pad(a, (1, 1), mode='reflect')|pad(a, (1, 2, 0, 1), 'replicate')|pad(a, (1, 1, 1, 1), mode='circular')|pad(m, (-1, 1))|pad(a, (9, 9), mode='reflect')"),
    *crossed("F.{f}", f="cosine_similarity(m, n)|cosine_similarity(m, n, dim=0)|cosine_similarity(m, v, dim=-1)|pairwise_distance(m, n)|pairwise_distance(m, n, p=1, keepdim=True)|normalize(m)|normalize(m, p=1, dim=0)|layer_norm(m, (4,))|layer_norm(m, (4,), v, v)|group_norm(a, 2)|rms_norm(m, (4,))"),
    *crossed("F.{f}", f="linear(m, n)|linear(m, n, x)|linear(m, v)|bilinear(m, n, t[:, :4, :1].expand(2, 3, 4)[:, :1])|embedding(x, m)|embedding(w, m, padding_idx=0)|embedding(x + 1, m)|embedding(m, m)|embedding_bag(w, m)|scaled_dot_product_attention(t, t, t)"),
    *crossed("F.{f}", f="interpolate(a, scale_factor=2)|interpolate(a, size=(2, 3), mode='nearest')|interpolate(a, scale_factor=2, mode='bilinear')|interpolate(a, size=8, mode='bilinear', align_corners=True)|max_pool2d(a, 2)|avg_pool2d(a, 2)|adaptive_avg_pool2d(a, 1)|conv2d(a, t[:, :2, :2, None].expand(2, 2, 2, 2))"),
    *crossed("F.{f}", f="conv1d(t, t)|conv1d(t, t[:, :, :2], padding=1)|unfold(a, 2)|pixel_shuffle(a.repeat(1, 2, 1, 1), 2)|triplet_margin_loss(m, n, k)|margin_ranking_loss(m, n, k)|hinge_embedding_loss(m, k)|cosine_embedding_loss(m, n, x)|multilabel_margin_loss(m, w)|ctc_loss(m, x, x, x)"),
    *crossed("nn.{f}", f="ReLU()(m)|Softmax(-1)(m)|Tanh()(m)|Flatten()(t)|Identity()(m)|LogSoftmax(dim=0)(m)|Softplus()(k)|Hardtanh()(k)|MSELoss()(m, n)|CrossEntropyLoss()(m, x)|Unflatten(1, (2, 2))(m)|LeakyReLU(0.1)(k)"),
    "torch.fft.rfft(m).real", "torch.fft.fft(m).imag", "torch.fft.irfft(torch.fft.rfft(m), 4)", "torch.fft.ifft(m, dim=0).real",
    *crossed("torch.fft.{f}", f="fft2(m).imag|ifft2(t).real|rfft2(t, s=(2, 3)).abs()|irfft2(torch.fft.rfft2(m), s=(3, 4))|fftn(t).real|ifftn(m, dim=0).imag|rfftn(t, s=(2, 2), norm='ortho').abs()|irfftn(torch.fft.rfftn(t))|fftshift(m)|ifftshift(m, dim=-1)|fftshift(t, dim=(0, 2))"),
    "torch.view_as_complex(m.reshape(3, 2, 2)).conj().imag", "torch.linalg.pinv(m)", "torch.linalg.pinv(t, rtol=1e-3)",
    *crossed("F.{f}", f="unfold(a, (2, 3), dilation=(1, 2), padding=1, stride=2)|unfold(a[0], 2)|fold(F.unfold(a, 2), a.shape[-2:], 2)|fold(F.unfold(a, 2, padding=1, stride=(1, 2)), a.shape[-2:], 2, padding=1, stride=(1, 2))|fold(m, 5, 2)"),
    "torch.view_as_complex(m.reshape(3, 2, 2)).imag", "torch.view_as_real(torch.fft.fft(m))", "m.new(torch.Size([2, 3])).shape",
    "F.affine_grid(q[None, :2], (1, 2, 3, 5))", "F.affine_grid(q[None, :2], (1, 2, 3, 1), align_corners=True)",
    "F.grid_sample(a, F.affine_grid(q[None, :2] * 1.3, (1, 2, 3, 5)))", "F.grid_sample(a, t[None, :, :, :2], align_corners=True)",
    *crossed("F.grid_sample(a, t[None, :, :, 1:3] * 1.5, {f})", f="padding_mode='border'|'nearest', 'border', align_corners=True|mode='nearest'|padding_mode='reflection'|'bicubic'"),
    *crossed("F.interpolate(a, {f}, mode='bicubic')", f="size=(7, 3)|size=(7, 1), align_corners=True|scale_factor=1.7|scale_factor=0.6, recompute_scale_factor=True|size=7, antialias=True"),
    "F.softmax(m)", "F.hardsigmoid(m.detach())", "F.dropout(m, 0.5, training=False)", "F.sigmoid(m)", "F.tanh(m)", "F.mse_loss(m, v[:3])", "F.relu(m * 1, inplace=True)", "torch.special.expit(m)",
]

def names() -> set[str]:
    """Every function and method that an expression calls."""
    return {node.attr for text in EXPRESSIONS for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}


EXPRESSIONS = list(dict.fromkeys(REDUCTIONS + ELEMENTWISE + SHAPES + INDEXING + PRODUCTS + CREATION + LOSSES))
