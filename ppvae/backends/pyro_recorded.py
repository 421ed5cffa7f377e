"""Recorded: a step of stock programs as the operations of torch that it is, written down once and repeated.

Between the operations of a step stands Python: texts, traces, distributions, torch's own record for the gradient. It
does the same in every step of programs that are ppvae's own, since these keep nothing and draw by torch's generator
alone. Their operations, those of the gradient among them, take less time without it, and give the same bits; a GPU
is told of all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from ppvae.backends.devices import processes
from ppvae.backends.devices.in_torch import device
from ppvae.language.batch import Batch
from ppvae.runs.plan import Plan

Shares = dict[str, torch.Tensor]
Loss = Callable[[Batch], tuple[torch.Tensor, Shares]]

WORTH = 500  # steps of a run: recording one takes as long as some 300 gain by it
AFTER = 10  # steps alike: while the weight of latent sites warms up no two are
UNSEEN = (nn.Embedding, nn.RNNBase, nn.MultiheadAttention)  # recorded on a GPU, where dense networks and Conv1d were

Operations = Callable[..., list[Any]]


class Recording(NamedTuple):
    """What gives the gradients and then the shares of a batch's tensors, and the shares' names."""

    operations: Operations
    names: list[str]


def pays(plan: Plan, pair: nn.Module, objective: Any) -> bool:
    """Is a run long enough for its steps to be recorded, and may they be?"""
    epochs = plan.settings.epochs
    steps = WORTH if epochs == "auto" else epochs * plan.steps
    unseen = device(plan.settings.device).type != "cpu" and any(isinstance(m, UNSEEN) for m in pair.modules())
    return steps >= WORTH and not processes.joined() and not unseen and stock(pair, objective)


def stock(pair: nn.Module, objective: Any) -> bool:
    """Are the texts of a pair, its networks and its objective the libraries' own, without a hook of anybody's?

    Args:
        pair: model and guide.
        objective: a function, or an estimator of Pyro's.
    """
    return (type(objective).__module__.startswith("pyro.infer.") or _ours(objective)) and all(
        type(module).__module__.startswith(("ppvae.", "torch.nn."))
        and not (module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))
        for module in pair.modules()
    )


def _ours(value: Any) -> bool:
    """Is this no function, or one of ppvae's that is made of nothing but such?"""
    if not isinstance(value, FunctionType):
        return not callable(value) or isinstance(value, torch.Tensor)
    held = [cell.cell_contents for cell in value.__closure__ or ()]
    return value.__module__.startswith("ppvae.") and all(map(_ours, held))


def differentiated(
    known: dict[Hashable, Any], key: Hashable, loss: Loss, batch: Batch, parameters: Sequence[nn.Parameter]
) -> Shares | None:
    """Each site's share of a loss whose gradient is then at the parameters; None as long as there is no recording.

    Args:
        known: the recordings, and how often was asked for what has none yet.
        key: what the loss depends on beside a batch of these shapes and the values of the parameters.
    """
    tensors = _tensors(batch)
    key = (key, *((name, array.shape, array.dtype) for name, array in tensors.items()))
    found = known.get(key, 0)
    if isinstance(found, int):
        known[key] = recorded(loss, batch, parameters) if found == AFTER else found + 1
        return None
    told = found.operations(*tensors.values())
    for parameter, gradient in zip(parameters, told, strict=False):
        parameter.grad = gradient
    return dict(zip(found.names, told[len(parameters) :], strict=True))


def _tensors(batch: Batch) -> dict[Any, torch.Tensor]:
    """What differs between batches of one kind."""
    masks = {(name,): mask for name, mask in (batch.observed or {}).items()}
    return {**batch.arrays, **masks, **({} if batch.index is None else {(): batch.index})}


def recorded(loss: Loss, batch: Batch, parameters: Sequence[nn.Parameter]) -> Recording:
    """The operations that differentiate a loss of this batch, and of any other of its shapes.

    They draw anew each time. Weights, and what else the loss sees, are as they then are.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    names: list[str] = []
    tensors = _tensors(batch)

    def gradients(*given: torch.Tensor) -> list[Any]:
        now = dict(zip(tensors, given, strict=True))
        masks = {name: now[(name,)] for name in batch.observed or {}}
        whole, shares = loss(
            replace(batch, arrays={n: now[n] for n in batch.arrays}, observed=masks, index=now.get(()))
        )
        names[:] = shares
        return [*torch.autograd.grad(whole, parameters, allow_unused=True), *shares.values()]

    traced = make_fx(gradients, tracing_mode="fake", _allow_non_fake_inputs=True)(*tensors.values())
    held = lifted(traced)
    operations = torch.no_grad()(lambda *given: traced.forward(*given, *held))
    given = list(tensors.values())
    return Recording(launched(operations, given, len(parameters)) if given[0].is_cuda else operations, names)


def launched(operations: Operations, given: Sequence[torch.Tensor], lent: int) -> Operations:
    """The same operations by one launch of a GPU, whose first ``lent`` results hold until it is launched again.

    They read their arguments from where copies of them are put, and draw as they would one by one.
    """
    inputs, graph, side = [tensor.clone() for tensor in given], torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.random.fork_rng():
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            operations(*inputs)  # what libraries prepare at their first call is prepared
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            told = operations(*inputs)
            told = [*told[:lent], torch.stack(told[lent:])]

    def replayed(*now: torch.Tensor) -> list[Any]:
        torch._foreach_copy_(inputs, now)
        graph.replay()
        return [*told[:lent], *told[lent].clone().unbind()]

    return replayed


def lifted(traced: fx.GraphModule) -> list[torch.Tensor]:
    """Make arguments of the tensors that operations find by name, which costs a search each time, and return them."""
    graph, own = traced.graph, dict[str, fx.Node]()
    graph.set_codegen(fx.graph.CodeGen())  # arguments and results are lists
    *_, last = (node for node in graph.nodes if node.op == "placeholder")
    for node in list(graph.nodes):
        if node.op == "get_attr":
            if node.target not in own:
                with graph.inserting_after(last):
                    own[node.target] = last = graph.placeholder(node.target)
            node.replace_all_uses_with(own[node.target])
            graph.erase_node(node)
        elif node.target is torch.ops.aten.detach.default:  # nothing is differentiated any more
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    traced.recompile()
    return [getattr(traced, name) for name in own]
