"""Every stock layer without a file of its own computes what torch computes, and its gradients."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from mirror_oracle import assert_mirrors
from torch import nn

drawn = settings(max_examples=10, deadline=None, derandomize=True)


def x(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64) * 2


ACTIVATIONS = [
    nn.ReLU(),
    nn.ELU(0.7),
    nn.GELU(),
    nn.GELU("tanh"),
    nn.Hardshrink(0.3),
    nn.Hardswish(),
    nn.Hardtanh(-0.5, 0.7),
    nn.LeakyReLU(0.2),
    nn.LogSigmoid(),
    nn.LogSoftmax(1),
    nn.Mish(),
    nn.PReLU(),
    nn.PReLU(4),
    nn.ReLU6(),
    nn.RReLU().eval(),
    nn.SELU(),
    nn.CELU(0.5),
    nn.SiLU(),
    nn.Sigmoid(),
    nn.Softmax(-1),
    nn.Softmin(0),
    nn.Softplus(2, 0.5),
    nn.Softshrink(),
    nn.Softsign(),
    nn.Tanh(),
    nn.Tanhshrink(),
    nn.Threshold(0.1, 2),
]

OTHERS = [
    nn.Identity(),
    nn.Flatten(),
    nn.Flatten(0, 1),
    nn.Unflatten(1, (2, 2)),
    nn.Dropout().eval(),
    nn.Dropout1d().eval(),
    nn.AlphaDropout().eval(),
    nn.FeatureAlphaDropout().eval(),
    nn.ZeroPad1d(2),
    nn.ConstantPad1d((1, -1), 3.0),
    nn.CircularPad1d(2),
    nn.ReflectionPad1d(2),
    nn.ReplicationPad1d((1, 2)),
]

NORMS = [
    nn.LayerNorm(6),
    nn.LayerNorm((4, 6), elementwise_affine=False),
    nn.LayerNorm(6, bias=False, eps=0.1),
    nn.RMSNorm(6),
    nn.RMSNorm((4, 6), eps=0.1),
    nn.GroupNorm(2, 4),
    nn.GroupNorm(4, 4, affine=False),
    nn.InstanceNorm1d(4),
    nn.InstanceNorm1d(4, affine=True, eps=0.1),
]


@pytest.mark.parametrize("module", ACTIVATIONS + OTHERS + NORMS, ids=repr)
def test_a_layer_on_items_with_channels_equals_torch(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        nn.init.normal_(parameter, 0.5, 0.3, torch.Generator().manual_seed(len(name)))
    assert_mirrors(module, x(3, 4, 6))


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.GLU(1), (3, 4, 5)),
        (nn.Softmax2d(), (2, 3, 4, 5)),
        (nn.Softmax2d(), (3, 4, 5)),
        (nn.InstanceNorm2d(3, affine=True), (2, 3, 4, 5)),
        (nn.InstanceNorm2d(3), (3, 4, 5)),
        (nn.InstanceNorm3d(3), (2, 3, 2, 3, 2)),
        (nn.GroupNorm(3, 6), (2, 6, 2, 3)),
        (nn.LayerNorm(5), (5,)),
        (nn.LayerNorm(5), (2, 3, 4, 5)),
        (nn.Linear(5, 3), (5,)),
        (nn.Linear(5, 3, bias=False), (2, 3, 4, 5)),
        (nn.ZeroPad2d((1, 2, 0, 1)), (2, 3, 4)),
        (nn.CircularPad2d(1), (2, 3, 4, 5)),
        (nn.PixelShuffle(2), (2, 8, 3, 2)),
        (nn.PixelUnshuffle(2), (3, 4, 6)),
        (nn.ChannelShuffle(2), (2, 4, 3, 2)),
        (nn.Dropout2d().eval(), (2, 3, 4, 5)),
        (nn.Sequential(nn.Linear(5, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)), (2, 3, 5)),
    ],
    ids=repr,
)
def test_a_layer_of_its_own_shape_equals_torch(module: nn.Module, shape: tuple[int, ...]) -> None:
    assert_mirrors(module, x(*shape))


def test_hardsigmoid_equals_torch_to_the_single_precision_of_its_gradient() -> None:
    values = torch.tensor([-4.0, -1.0, 0.0, 2.0, 5.0])
    with torch.no_grad():
        expected = nn.Hardsigmoid()(values)
    torch.testing.assert_close(expected, torch.clamp(values / 6 + 0.5, 0, 1))


@pytest.mark.parametrize("bias", [True, False])
def test_bilinear_and_distances_equal_torch(bias: bool) -> None:
    assert_mirrors(nn.Bilinear(2, 3, 4, bias=bias), x(5, 2), x(5, 3))
    assert_mirrors(nn.CosineSimilarity(-1), x(4, 3), x(4, 3).flip(0))
    assert_mirrors(nn.PairwiseDistance(), x(4, 3), x(4, 3).flip(0))


@pytest.mark.parametrize("padding", [None, 0, 3, -1])
def test_an_embedding_equals_torch(padding: int | None) -> None:
    assert_mirrors(nn.Embedding(5, 3, padding_idx=padding), torch.tensor([[0, 3, 3], [4, 1, 0]]))


@drawn
@given(
    mode=st.sampled_from(["sum", "mean", "max"]),
    padding=st.sampled_from([None, 0, 4]),
    closed=st.booleans(),
    weighted=st.booleans(),
)
def test_a_bag_of_embeddings_equals_torch(mode: str, padding: int | None, closed: bool, weighted: bool) -> None:
    bag = nn.EmbeddingBag(5, 3, mode=mode, padding_idx=padding, include_last_offset=closed)
    indices = torch.tensor([0, 3, 3, 4, 1, 0])
    weights = x(6) if weighted and mode == "sum" else None
    assert_mirrors(bag, indices, torch.tensor([0, 2, 2, 6] if closed else [0, 2, 2]), weights)
    assert_mirrors(bag, indices.reshape(2, 3), None, None if weights is None else weights.reshape(2, 3))


@drawn
@given(
    dims=st.integers(1, 3),
    mode=st.sampled_from(["nearest", "nearest-exact", "linear", "area"]),
    corners=st.booleans(),
    size=st.integers(1, 9),
    scale=st.sampled_from([None, 0.6, 2, 2.5]),
    recompute=st.booleans(),
)
def test_upsampling_equals_torch(
    dims: int, mode: str, corners: bool, size: int, scale: float | None, recompute: bool
) -> None:
    if mode == "linear":
        mode = ("linear", "bilinear", "trilinear")[dims - 1]
    options = {"align_corners": corners} if "linear" in mode else {}
    options |= {"size": size} if scale is None else {"scale_factor": scale, "recompute_scale_factor": recompute}
    assert_mirrors(nn.Upsample(mode=mode, **options), x(2, 2, *(4, 5, 3)[:dims]))
