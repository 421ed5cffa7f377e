"""Cases of elementwise functions, activation functions and losses."""

from __future__ import annotations

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
    units,
)

from ppvae.backends.mirror.functions.arguments import namesakes

flag = st.booleans()


def named(names: str) -> tuple[object, ...]:
    return tuple(dict.fromkeys(namesakes(*names.split())))


UNARY = named(
    "exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal sin cos tan asin arcsin acos arccos atan arctan "
    "sinh cosh tanh asinh arcsinh acosh arccosh atanh arctanh sinc deg2rad rad2deg sigmoid expit erf erfc erfcx erfinv "
    "lgamma gammaln i0 i0e i1 i1e ndtr ndtri log_ndtr digamma psi logit entr frac"
)
DIGAMMA = named("digamma psi")
SAME_DTYPE = named(
    "abs absolute neg negative positive sign sgn floor ceil trunc fix square isnan isfinite isinf isposinf isneginf "
    "signbit round relu"
)
BINARY = (
    *named("add sub subtract mul multiply div divide true_divide eq ne not_equal lt less le less_equal gt greater ge"),
    *named("greater_equal rsub"),
    *(getattr(operator, n) for n in ["add", "sub", "mul", "truediv", "eq", "ne", "lt", "le", "gt", "ge"]),
)
ARRAYS_ONLY = named("maximum minimum fmax fmin logical_and logical_or logical_xor")
DIVISIONS = (torch.remainder, torch.fmod, operator.mod)
BITS = (torch.bitwise_and, torch.bitwise_or, torch.bitwise_xor, operator.and_, operator.or_, operator.xor)


def _nonzero(call: Any) -> Any:
    (input, other), keywords = call
    return (input, np.where(other == 0, 0.75, other)), keywords


finite_pairs = one_of(calls(special(3, 4, pool=FINITE), special(4, pool=FINITE)), calls(reals(3, 4), reals(3, 1)))
scalars = calls(reals(3, 4), st.sampled_from([2, 0.5]))
arrays = one_of(
    calls(special(3, 4), special(3, 4)),
    calls(special(3, 4, pool=FINITE), special(4, pool=FINITE)),
    calls(ints(3, 4, low=1, high=5), ints(4, low=1, high=5)),
)
pairs = one_of(arrays, scalars)
ELEMENTWISE = [
    *(Case((f,), one_of(calls(special(3, 4)), calls(reals(3, 4)))) for f in UNARY if f not in DIGAMMA),
    *(Case((f,), calls(special(3, 4)), gradient=False) for f in DIGAMMA),
    *(Case((f,), calls(reals(3, 4))) for f in DIGAMMA),
    *(Case((f,), calls(ints(3, 4, low=1))) for f in UNARY if f not in named("erfinv frac")),
    *(Case((f,), one_of(calls(special(3, 4)), calls(ints(3, 4)))) for f in SAME_DTYPE if f is not torch.special.round),
    *(Case((f,), pairs) for f in BINARY),
    *(Case((f,), arrays) for f in ARRAYS_ONLY),
    *(Case((f,), one_of(finite_pairs.map(_nonzero), scalars)) for f in DIVISIONS),
    Case((torch.floor_divide, operator.floordiv), one_of(arrays, scalars), gradient=False),
    *(Case((f,), one_of(calls(ints(3, 4), ints(4)), calls(bools(3, 4), bools(3, 4)))) for f in BITS),
    *(Case((f,), calls(special(3, 4, pool=WITH_NAN)), gradient=False) for f in (*UNARY, *SAME_DTYPE)),
    *(
        Case((f,), calls(special(3, 4, pool=WITH_NAN), special(4, pool=WITH_NAN)), gradient=False)
        for f in (*BINARY, *ARRAYS_ONLY)
    ),
    *(Case((f,), calls(ints(3, 4), ints(4, low=0))) for f in (operator.lshift, operator.rshift)),
    *(Case((f,), calls(reals(3, 4))) for f in (operator.neg, operator.pos, operator.abs)),
    Case((operator.invert, torch.bitwise_not, torch.logical_not), calls(bools(3, 4))),
    Case((torch.logical_not,), calls(special(3, 4))),
    Case((torch.add, torch.sub, torch.subtract, torch.rsub), calls(reals(3, 4), reals(4), alpha=2.5)),
    Case(
        (torch.div, torch.divide), calls(reals(3, 4), reals(4), rounding_mode=st.sampled_from(["floor", "trunc", None]))
    ),
    Case((torch.div,), calls(ints(3, 4), ints(4, low=1), rounding_mode=st.sampled_from(["floor", "trunc"]))),
    Case(
        (torch.pow, operator.pow, torch.float_power),
        one_of(
            calls(positives(3, 4), reals(3, 4)),
            calls(special(3, 4, pool=FINITE), st.sampled_from([2, 3, 0, 1, 0.5, 2.0, 0.0, -1])),
            calls(special(3, 4, pool=(0.0, 0.5, 1.0, 2.0)), special(3, 4, pool=(0.0, 1.0, 2.0, 3.0))),
        ),
    ),
    Case((torch.pow, operator.pow), calls(ints(3, 4), st.sampled_from([2, 3]))),
    Case((torch.pow, operator.pow), calls(2.0, reals(3, 4))),
    Case(named("atan2 arctan2"), one_of(finite_pairs, calls(np.zeros((2, 2)), np.zeros((2, 2))))),
    Case((torch.copysign, torch.logaddexp, torch.logaddexp2), finite_pairs),
    Case((torch.hypot,), finite_pairs.map(_nonzero)),
    Case((torch.hypot, torch.logaddexp, torch.logaddexp2), calls(special(3, 4), special(3, 4)), gradient=False),
    Case(named("xlogy"), calls(special(3, 4, pool=FINITE), special(4, pool=(-1.0, 0.5, 1.0, 2.0)))),
    Case(named("xlogy"), calls(special(3, 4, pool=WITH_NAN), special(4, pool=WITH_NAN)), gradient=False),
    Case(named("xlogy"), calls(ints(3, 4, low=1), ints(4, low=1))),
    Case(named("xlog1py"), calls(special(3, 4, pool=FINITE), positives(3, 4))),
    Case(
        named("igamma gammainc igammac gammaincc"),
        calls(special(3, 4, pool=(0.5, 1.0, 2.5)).map(Fixed), positives(3, 4)),
    ),
    Case(named("polygamma"), calls(st.integers(0, 3), positives(3, 4)), rtol=1e-8),
    Case(named("mvlgamma multigammaln"), calls(positives(3, 4).map(lambda x: x + 1), st.sampled_from([1, 2]))),
    Case(named("logit"), calls(special(3, 4), eps=st.sampled_from([1e-3, 0.25, None]))),
    Case((torch.heaviside,), calls(special(3, 4, pool=WITH_NAN).map(Fixed), special(3, 4).map(Fixed))),
    Case((torch.ldexp,), calls(reals(3, 4), ints(3, 4, low=0))),
    Case((torch.lerp,), calls(reals(3, 4), reals(4), one_of(0.3, reals(3, 4)))),
    Case((torch.addcmul, torch.addcdiv), calls(reals(3, 4), reals(4), positives(3, 1), maybe_value=0.5)),
    Case(
        (torch.clamp, torch.clip),
        one_of(
            calls(special(3, 4), min=st.sampled_from([None, -0.5, 0]), max=st.sampled_from([0.5, 1])),
            calls(special(3, 4), -1.0, 1.0),
            calls(special(3, 4), st.sampled_from([1.0, np.nan]), 0.5),
            calls(special(3, 4), special(4, pool=FINITE), special(3, 4, pool=(-2.0, 0.75, 1.5))),
            calls(ints(3, 4), min=-1, maybe_max=1),
            calls(ints(3, 4), min=0.5),
        ),
    ),
    Case((torch.clamp_min, torch.clamp_max), calls(special(3, 4), one_of(0.5, special(4, pool=FINITE)))),
    Case(
        (torch.clamp, torch.clamp_min, torch.clamp_max),
        calls(special(3, 4, pool=WITH_NAN), one_of(0.5, special(4, pool=WITH_NAN))),
        gradient=False,
    ),
    Case((torch.nan_to_num,), one_of(calls(special(3, 4)), calls(special(3, 4), nan=1.5, posinf=2.0, neginf=-2.0))),
    Case((torch.isclose,), calls(special(3, 4), special(3, 4), equal_nan=flag, maybe_rtol=0.5, maybe_atol=0.5)),
    Case((torch.round, torch.special.round), calls(reals(3, 4), decimals=st.sampled_from([0, 1, 2]))),
    Case(
        (torch.where,),
        one_of(
            calls(bools(3, 4), special(3, 4), special(4)),
            calls(bools(3, 4), special(3, 4), 0.0),
            calls(bools(3, 4), 1.0, 0.0),
            calls(bools(3, 4), ints(3, 4), 2.5),
        ),
    ),
]

plain = one_of(
    calls(special(3, 4)), calls(special(3, 4, pool=(-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0))), calls(reals(3, 4))
)
ACTIVATIONS = [
    *(
        Case((f,), plain)
        for f in (
            *named("relu relu6 leaky_relu elu celu selu gelu silu mish softplus logsigmoid hardtanh "),
            *named("softsign tanhshrink softshrink hardshrink"),
            F.sigmoid,
            F.tanh,
        )
        if f not in (torch.celu, torch.selu)
    ),
    Case((F.hardsigmoid, F.hardswish), calls(special(3, 4, pool=FINITE)), rtol=1e-8),  # 1 / 6 in float32
    Case((torch.celu, torch.selu), calls(reals(3, 4))),
    Case((F.leaky_relu,), calls(special(3, 4, pool=FINITE), st.sampled_from([0.2, 0.0]))),
    Case(named("elu celu"), calls(special(3, 4, pool=FINITE), alpha=st.sampled_from([0.5, 2.0]))),
    Case((F.gelu,), calls(reals(3, 4), approximate=st.sampled_from(["tanh", "none"]))),
    Case(
        (F.softplus,),
        calls(
            one_of(reals(3, 4), special(3, 4, pool=(19.0, 20.0, 30.0, 8.0))),
            beta=st.sampled_from([1, 2.5]),
            threshold=st.sampled_from([20, 5.0]),
        ),
    ),
    Case((F.hardtanh,), calls(special(3, 4), -0.5, 2.0)),
    Case(named("threshold"), calls(special(3, 4), 0.5, -7.0)),
    Case(named("softshrink hardshrink"), calls(special(3, 4), lambd=st.sampled_from([0.25, 1.0]))),
    Case(named("prelu"), calls(special(3, 4, pool=FINITE), one_of(reals(1), reals(4)))),
    Case((F.glu,), calls(reals(2, 4), st.sampled_from([-1, 0]))),
    Case(
        (F.softmax, F.log_softmax, F.softmin),
        calls(special(3, 4, pool=FINITE), dim=st.sampled_from([0, -1]), dtype=torch.float32),
        gradient=False,
        rtol=1e-6,
    ),
    Case((F.softmax, F.log_softmax, F.softmin), calls(special(3, 4, pool=FINITE), dim=st.sampled_from([0, -1]))),
]

reduction = st.sampled_from(["mean", "sum", "none"])
regression = calls(special(3, 4, pool=FINITE), special(3, 4, pool=FINITE), reduction=reduction)
weighted = calls(reals(3, 4), reals(3, 4), reduction=reduction, weight=positives(3, 4).map(Fixed))
classes = one_of(
    calls(reals(5, 3), ints(5, low=0, high=3), reduction=reduction, maybe_weight=Fixed(np.array([0.5, 1.0, 2.0]))),
    calls(reals(5, 3), np.array([0, -100, 2, 1, -100]), reduction=reduction),
    calls(reals(3), np.array(2)),
    calls(
        reals(2, 3, 4),
        ints(2, 4, low=0, high=3),
        reduction=reduction,
        ignore_index=1,
        maybe_weight=Fixed(np.array([0.5, 1.0, 2.0])),
    ),
)
LOSSES = [
    Case((F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss), regression),
    Case((F.mse_loss, F.l1_loss, F.huber_loss), weighted),
    Case((F.smooth_l1_loss,), calls(reals(3, 4), reals(3, 4), beta=st.sampled_from([0.5, 0.0]), reduction=reduction)),
    Case((F.huber_loss,), calls(reals(3, 4), reals(3, 4), delta=0.5, reduction=reduction)),
    Case(
        (F.binary_cross_entropy,),
        one_of(
            calls(units(3, 4), units(3, 4), reduction=reduction, maybe_weight=positives(4).map(Fixed)),
            calls(special(3, 4, pool=(0.0, 0.5, 1.0)), special(3, 4, pool=(0.0, 1.0)).map(Fixed), reduction=reduction),
        ),
        rtol=1e-9,
    ),
    Case(
        (F.binary_cross_entropy_with_logits,),
        calls(
            special(3, 4, pool=FINITE),
            units(3, 4),
            reduction=reduction,
            maybe_weight=positives(4).map(Fixed),
            maybe_pos_weight=positives(4).map(Fixed),
        ),
    ),
    Case((F.nll_loss, F.cross_entropy), classes),
    Case(
        (F.cross_entropy,),
        one_of(
            calls(
                reals(5, 3),
                ints(5, low=0, high=3),
                reduction=reduction,
                label_smoothing=0.1,
                maybe_weight=Fixed(np.array([0.5, 1.0, 2.0])),
            ),
            calls(
                reals(5, 3),
                np.array([0, -100, 2, 1, -100]),
                reduction=reduction,
                label_smoothing=0.1,
                maybe_weight=Fixed(np.array([0.5, 1.0, 2.0])),
            ),
            calls(
                reals(5, 3),
                units(5, 3),
                reduction=reduction,
                label_smoothing=st.sampled_from([0.0, 0.1]),
                maybe_weight=Fixed(np.array([0.5, 1.0, 2.0])),
            ),
            calls(reals(2, 3, 4), units(2, 3, 4), reduction=reduction),
        ),
    ),
    Case(
        (F.kl_div,),
        one_of(
            calls(reals(3, 4), units(3, 4), reduction=st.sampled_from(["mean", "sum", "none"])),
            calls(reals(3, 4), special(3, 4, pool=(0.0, 0.5)).map(Fixed), reduction=st.just("batchmean")),
            calls(reals(3, 4), reals(3, 4), reduction=st.sampled_from(["batchmean", "none"]), log_target=True),
        ),
    ),
    Case(
        (F.gaussian_nll_loss,),
        calls(
            reals(3, 4),
            reals(3, 4),
            one_of(positives(3, 4), positives(3, 1), positives(3), np.full((3, 4), 1e-9), 0.5),
            full=flag,
            reduction=reduction,
            maybe_eps=0.5,
        ),
    ),
    Case(
        (F.poisson_nll_loss,),
        calls(
            positives(3, 4),
            special(3, 4, pool=(0.0, 1.0, 2.0, 5.0)).map(Fixed),
            log_input=flag,
            full=flag,
            reduction=reduction,
        ),
    ),
    Case((F.soft_margin_loss,), calls(reals(3, 4), special(3, 4, pool=(-1.0, 1.0)).map(Fixed), reduction=reduction)),
]

CASES = [*ELEMENTWISE, *ACTIVATIONS, *LOSSES]
