"""The oracle of the mirror: torch itself, in float64, for values and for every gradient."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

from ppvae.backends import mirror

RTOL, ATOL = 1e-9, 1e-11
UNOPTIMISED = {"xla_backend_optimization_level": 0}  # every graph runs once: compiling is what takes the time


def numpy(value: torch.Tensor) -> np.ndarray:
    return value.detach().cpu().numpy()


def floats(value: Any) -> list[Any]:
    """The floating-point tensors or arrays inside a result, in order."""
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]  # as JAX orders them
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in floats(item)]
    return [value] if str(getattr(value, "dtype", "")).endswith("float64") else []


def cotangents(outputs: list[torch.Tensor]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(y.shape, generator=generator, dtype=y.dtype) for y in outputs]


def on_torch(module: nn.Module, *inputs: Any, **keywords: Any) -> tuple[Any, dict[str, np.ndarray], list[Any]]:
    """The result, the gradient of every parameter, and that of every floating-point input."""
    inputs = tuple(x.clone().requires_grad_() if floats(x) else x for x in inputs)
    result = module(*inputs, **keywords)
    outputs = floats(result)
    scores = [(y * c).sum() for y, c in zip(outputs, cotangents(outputs), strict=True)]
    module.zero_grad()
    torch.stack(scores).sum().backward()
    zero = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in module.named_parameters()}
    given = [torch.zeros_like(x) if x.grad is None else x.grad for x in inputs if floats(x)]
    return result, {n: numpy(g) for n, g in zero.items()}, [numpy(g) for g in given]


def on_jax(module: nn.Module, weights: list[np.ndarray], *inputs: Any, **keywords: Any) -> Any:
    """The same, on the mirror; ``weights`` are the cotangents of the outputs."""
    arrays, aliases = mirror.arrays(module), mirror.aliases(module)
    trained = {n: arrays.pop(n) for n, _ in module.named_parameters()}
    places = [i for i, x in enumerate(inputs) if floats(x)]

    def score(trained: Any, given: list[jax.Array]) -> Any:
        p = mirror.Parameters(trained | arrays, aliases, training=module.training)
        result = mirror.forward(module, p, *filled(inputs, places, given), **keywords)
        total = sum((y * c).sum() for y, c in zip(floats(result), weights, strict=True))
        return total, result

    given = [jnp.asarray(numpy(inputs[i])) for i in places]
    # compiled as a whole, which takes less time than compiling its every operation
    grads, result = jax.jit(jax.grad(score, argnums=(0, 1), has_aux=True), compiler_options=UNOPTIMISED)(trained, given)
    return result, *grads


def filled(inputs: tuple[Any, ...], places: list[int], given: list[jax.Array]) -> list[Any]:
    kept = list(inputs)
    for place, array in zip(places, given, strict=True):
        kept[place] = array
    return kept


def same(ours: Any, theirs: Any, what: str) -> None:
    """Equal shapes, dtypes' kinds and values, inside any nest."""
    if isinstance(theirs, torch.Tensor):
        assert np.asarray(ours).dtype.kind == numpy(theirs).dtype.kind, what
        assert np.shape(ours) == tuple(theirs.shape), what
        np.testing.assert_allclose(np.asarray(ours), numpy(theirs), RTOL, ATOL, err_msg=what)
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs), what
        for mine, his in zip(ours, theirs, strict=True):
            same(mine, his, what)
    elif isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), what
        for key in theirs:
            same(ours[key], theirs[key], f"{what} {key}")
    else:
        assert ours == theirs, what


def assert_mirrors(module: nn.Module, *inputs: Any, **keywords: Any) -> None:
    """The mirror's result equals torch's, and so do the gradients of every parameter and floating-point input."""
    module = module.double()
    theirs, parameters, given = on_torch(module, *inputs, **keywords)
    weights = [numpy(c) for c in cotangents(floats(theirs))]
    with jax.enable_x64(True):
        ours, our_parameters, our_given = on_jax(module, weights, *inputs, **keywords)
        same(ours, theirs, "result")
        assert our_parameters.keys() == parameters.keys()
        for name, gradient in parameters.items():
            np.testing.assert_allclose(our_parameters[name], gradient, RTOL, ATOL, err_msg=f"gradient of {name}")
        for place, (mine, his) in enumerate(zip(our_given, given, strict=True)):
            np.testing.assert_allclose(mine, his, RTOL, ATOL, err_msg=f"gradient of input {place}")


def parameters(module: nn.Module, training: bool = False, seed: int | None = None) -> mirror.Parameters:
    """The mirror's view of a module, with keys from ``seed``."""
    options: dict[str, Callable[[], jax.Array]] = {}
    if seed is not None:
        state = [jax.random.key(seed)]

        def key() -> jax.Array:
            state[0], fresh = jax.random.split(state[0])
            return fresh

        options["key"] = key
    return mirror.Parameters(mirror.arrays(module), mirror.aliases(module), training=training, **options)
