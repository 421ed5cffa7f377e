"""Networks with a forward of their own run on the mirror: arguments, containers, state, control flow, refusals."""

import threading
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mirror_oracle import assert_mirrors, parameters
from torch import nn

from ppvae.backends import mirror
from ppvae.backends.mirror import MirrorError


def x(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


class Of(nn.Module):
    """A network whose forward is a function of itself and its inputs."""

    def __init__(self, body: Any, **parts: Any) -> None:
        super().__init__()
        self.body = body
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.body(self, *args, **kwargs)


class Options(nn.Module):
    """Keywords, defaults, nests of arrays, and branches on plain values and shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(3, 4, bias=False)
        self.register_buffer("shift", torch.arange(4.0))
        self.register_buffer("nothing", None)

    def forward(self, x: Any, scale: float = 2.0, *, which: str = "first", more: Any = (), mask: Any = None) -> Any:
        assert x.shape[-1] == 3
        if x.dim() == 2:
            x = x.unsqueeze(0)
        h = getattr(self, which)(x) * scale + self.shift
        for extra in more:
            h = h * extra
        if mask is not None:
            h = torch.where(mask, h, torch.zeros(4, dtype=h.dtype))
        items, steps, _ = h.shape
        return {"z": h.reshape(items * steps, -1), "a": [h.mean(1), None], "n": items}


def test_keywords_nests_and_branches_equal_torch() -> None:
    assert_mirrors(Options(), x(2, 3))
    assert_mirrors(Options(), x(5, 2, 3), 3.0, which="second", more=[x(4), 0.5])
    assert_mirrors(Options(), x(2, 3), mask=torch.tensor([True, False, True, True]), more=(x(4),))


SHARED = nn.Linear(3, 3)
BODIES = {
    "containers": Of(
        lambda self, x: self.named["b"](sum(layer(x) for layer in self.layers)),
        layers=nn.ModuleList([nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.ReLU())]),
        named=nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.Linear(3, 4)}),
    ),
    "parameters": Of(
        lambda self, x: x @ self.listed[1] + self.named["c"] * self.own,
        listed=nn.ParameterList([nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(3, 2))]),
        named=nn.ParameterDict({"c": nn.Parameter(torch.ones(2))}),
        own=nn.Parameter(torch.tensor(2.0)),
    ),
    "tied weights": Of(
        lambda self, x: F.linear(self.b(self.a(x)), self.a.weight.T), a=SHARED, b=nn.Sequential(SHARED, nn.Tanh())
    ),
    "slices and shapes": Of(
        lambda self, x: torch.cat([x[:, :1], x[:, 1:].flip(1), x.new_zeros(x.size(0), 2)], 1).view(-1, x.shape[1] + 2)
    ),
    "einsum": Of(lambda self, x: torch.einsum("ni,ij->nj", x, self.w), w=nn.Parameter(torch.ones(3, 2))),
    "functions": Of(lambda self, x: F.softplus(F.layer_norm(x, (3,))).exp().log_softmax(-1)),
    "loop over a dim": Of(lambda self, x: torch.stack([x[:, t] * t for t in range(x.shape[1])], 1)),
    "iteration and length": Of(lambda self, x: sum(row * len(x) for row in x)),
    "constants": Of(lambda self, x: x + torch.arange(3, dtype=x.dtype) * self.kept, kept=np.float64(2.0)),
    "operators": Of(lambda self, x: -(2.0 - x) / (1 + x**2) + abs(x) * (x > 0) + np.float64(2.0) * x),
    "in place": Of(lambda self, x: F.relu((x * 2).add_(1).mul_(3), inplace=True)),
    "augmented": Of(lambda self, x: self.bump(x * 1.0), bump=lambda h: h.__iadd__(h)),
    "no gradient": Of(lambda self, x: x * x.detach() + x.sin().data),
    "a mask made in place": Of(
        lambda self, x: x + torch.zeros_like(x).masked_fill_(x > 0, 3.0),
    ),
    "views that see a change": Of(
        lambda self, x: self.change(x * 1, torch.zeros(4, 3, dtype=x.dtype)),
        change=lambda h, new: [row := h[0], h.t().add_(1), new[1].add_(h[1]), h.view(-1)[2:5].mul_(2), row, h, new],
    ),
    "assignment to elements": Of(
        lambda self, x: self.fill(x * 1), fill=lambda h: (h.__setitem__((slice(None), 0), h[:, 1]), h[0].zero_(), h)
    ),
    "a partial and a bound method": Of(
        lambda self, x: self.squash(self.call(x)), squash=partial(F.elu, alpha=0.5), call=SHARED.forward, a=SHARED
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_forward_of_its_own_equals_torch(name: str) -> None:
    assert_mirrors(BODIES[name], x(4, 3))


def test_no_grad_stops_gradients_as_in_torch() -> None:
    def body(self: nn.Module, x: Any) -> Any:
        with torch.no_grad():
            scale = x.exp()
        return x * scale

    assert_mirrors(Of(body), x(3))
    with torch.no_grad():
        grad = jax.grad(lambda v: mirror.forward(nn.Tanh(), parameters(nn.Tanh()), v))(0.0 * jnp.ones(()))
    assert grad == 1, "what torch does about gradients outside says nothing about JAX's"


class Doubled(nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(input)


class Renamed(nn.GRU):
    """Inherits its forward."""


def test_subclasses_of_stock_layers_equal_torch() -> None:
    assert_mirrors(Doubled(3, 2), x(4, 3))
    assert_mirrors(Renamed(3, 2), x(4, 1, 3))


def test_hooks_and_parametrizations_equal_torch() -> None:
    hooked = nn.Linear(3, 2)
    hooked.register_forward_hook(lambda module, args, output: output * 3)
    assert_mirrors(hooked, x(4, 3))

    class Positive(nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return weight.exp()

    layer = nn.Linear(3, 2)
    nn.utils.parametrize.register_parametrization(layer, "weight", Positive())
    assert_mirrors(layer, x(4, 3))


class Flagged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return x + 1 if self.training else x


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_the_programs_training_flag_counts_and_the_module_is_left_alone(own: bool, training: bool) -> None:
    net = nn.Sequential(Flagged()).train(own)
    y = mirror.forward(net, parameters(net, training), jnp.zeros(2))
    assert (y == (1 if training else 0)).all()
    assert net.training == net[0].training == own
    assert net[0].seen == 0


def test_the_flag_is_left_alone_by_errors_too() -> None:
    net = Of(lambda self, x: x.nonsense()).eval()
    with pytest.raises(AttributeError, match="nonsense"):
        mirror.forward(net, parameters(net, True), jnp.zeros(2))
    assert not net.training


def test_a_network_may_return_its_parameters_and_what_it_was_given() -> None:
    net = Of(lambda self, x: (x, self.w, self.w.shape), w=nn.Parameter(torch.ones(3)))
    given, weight, shape = mirror.forward(net, parameters(net), jnp.zeros(2))
    assert isinstance(given, jax.Array)
    assert isinstance(weight, jax.Array)
    assert tuple(shape) == (3,)


def test_a_network_compiles_and_batches() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.GELU())
    p = parameters(net)
    rows = jnp.asarray(x(5, 3).float().numpy())
    batched = jax.jit(jax.vmap(lambda row: mirror.forward(net, p, row)))(rows)
    np.testing.assert_allclose(batched, mirror.forward(net, p, rows), rtol=1e-6)


def test_networks_run_in_several_threads() -> None:
    nets, results = [nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(4)], {}

    def work(i: int) -> None:
        for _ in range(5):
            results[i] = mirror.forward(nets[i], parameters(nets[i]), jnp.ones(3))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, net in enumerate(nets):
        np.testing.assert_allclose(results[i], net(torch.ones(3)).detach(), rtol=1e-5)


def refused(net: nn.Module, *inputs: Any, training: bool = False) -> str:
    with pytest.raises(MirrorError) as caught:
        mirror.forward(net, parameters(net, training, 0), *(inputs or (jnp.ones((2, 3)),)))
    return str(caught.value)


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(3), nn.InstanceNorm1d(3, track_running_stats=True)])
def test_running_statistics_are_refused_with_advice(layer: nn.Module) -> None:
    message = refused(nn.Sequential(nn.Linear(3, 3), nn.Sequential(layer)))
    assert f"nn.{type(layer).__name__}" in message
    assert "'1.0'" in message
    assert "use nn.GroupNorm or nn.LayerNorm" in message


def test_a_stock_layer_without_a_mirror_is_named() -> None:
    message = refused(nn.Sequential(nn.Identity(), nn.FractionalMaxPool2d(1, 1)), jnp.ones((1, 1, 4, 4)))
    name = "nn.FractionalMaxPool2d"
    assert message == f"the layer {name} at '1' has no mirror; register one with @mirror.layer({name})"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (lambda self, x: torch.linalg.eigvals(x), ["function", "linalg_eigvals", "@mirror.function("]),
        (lambda self, x: x.sparse_mask(x), ["tensor method sparse_mask", '@mirror.method("sparse_mask")']),
        (lambda self, x: x if x.sum() > 0 else -x, ["control flow on the values", "torch.where"]),
        (lambda self, x: range(x.sum()), ["control flow on the values"]),
        (lambda self, x: x + torch.ones(7), ["refuses its arguments", "dimension"]),
        (lambda self, x: x.sum(dim=5), ["Tensor.sum refuses its arguments", "Dimension out of range"]),
        (lambda self, x: x.item(), ["reading the values"]),
        (lambda self, x: f"{x.sum()}", ["reading the values"]),
        (lambda self, x: x.requires_grad, ["about gradients"]),
        (lambda self, x: F.embedding(x.long(), x, max_norm=1.0), ["max_norm", "met in"]),
    ],
)
def test_a_refusal_names_the_module_the_line_and_the_way_out(body: Any, words: list[str]) -> None:
    message = refused(nn.Sequential(nn.Identity(), Of(body)))
    for word in [*words, "Of at '1'", __file__, "lambda self, x"]:
        assert word in message
    assert "\n" not in message


def test_state_that_forward_would_change_is_refused() -> None:
    net = Of(lambda self, x: self.count.add_(1), count=nn.Buffer(torch.zeros(())))
    assert "a change of count in forward" in refused(net)
    net = Of(lambda self, x: setattr(self, "count", x.mean()), count=nn.Buffer(torch.zeros(())))
    assert "Of at '' replaces its 'count'" in refused(net)


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return torch.round(x)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad


def test_gradients_written_by_hand_are_refused() -> None:
    assert "torch.autograd.Function" in refused(Of(lambda self, x: Straight.apply(x)))


def test_a_rule_of_the_users_own_serves_the_layer_and_its_subclasses() -> None:
    class Cubed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError("the rule stands in")

    @mirror.layer(Cubed)
    def cubed(module: Cubed, p: mirror.Parameters, x: jax.Array) -> jax.Array:
        return x**3

    try:
        net = nn.Sequential(Cubed())
        assert (mirror.forward(net, parameters(net), 2 * jnp.ones(2)) == 8).all()
    finally:
        del mirror.LAYERS[Cubed]


class Asking(nn.Module):
    """A network that asks what its tensors are, as ``get_parameter`` does."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.compiled = nn.Parameter(torch.ones(3)), torch.compile(nn.Linear(3, 3), backend="eager")
        self.register_buffer("shift", torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        known = [isinstance(tensor, nn.Parameter) for tensor in (self.weight, self.shift, self.weight * 1)]
        return self.compiled(x) * self.get_parameter("weight") + torch.tensor(known)


def test_parameters_are_parameters_and_what_is_compiled_is_what_it_was_made_of() -> None:
    net = Asking()
    x = torch.randn(2, 3)
    found = mirror.forward(net, parameters(net, False, 0), jnp.asarray(x.numpy()))
    np.testing.assert_allclose(found, net.compiled._orig_mod(x).detach() + torch.tensor([1.0, 0.0, 0.0]), rtol=1e-5)


class Differentiated(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        return torch.func.jacrev(torch.sum)(x)


def test_what_torch_itself_differentiates_behind_the_mirrors_back_is_refused() -> None:
    assert "torch.func" in refused(Differentiated())


def test_a_slope_that_counts_nothing_is_none() -> None:
    """``xlogy`` at zero, left out by ``where``, as the density of a positive number where there is none."""

    class Left(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return torch.where(y > 0, torch.xlogy(x, y), 0.0).sum()

    def loss(x: jnp.ndarray) -> jnp.ndarray:
        net = Left()
        return mirror.forward(net, parameters(net, False, 0), x, jnp.array([0.0, 2.0]))

    np.testing.assert_allclose(jax.jit(jax.grad(loss))(jnp.array([1.5, 1.5])), [0.0, np.log(2.0)], rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 3), (3, 5), (5, 3)])
def test_orthogonal_weights_are_torchs(shape: tuple[int, int]) -> None:
    net = nn.utils.parametrizations.orthogonal(nn.Linear(*shape))
    assert_mirrors(net.double(), torch.randn(2, shape[0], dtype=torch.float64))
