"""JAX's faults: what the installed one computes is right, and those that are known not to be are named."""

from __future__ import annotations

from pathlib import Path
from tomllib import load

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from packaging.requirements import Requirement

from ppvae.backends.devices.jax_faults import FAULTS, FLAG, fault

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


def sums_of_squares(rows: jax.Array) -> jax.Array:
    """Of a matrix times each row; jaxlib 0.10.2 compiles it wrongly on a CPU (jax-ml/jax #39103)."""
    return jax.vmap(lambda row: jnp.sum((jnp.eye(3, dtype=rows.dtype) @ row) ** 2))(rows)


def test_compiled_sums_of_squares_are_right() -> None:
    rows = np.zeros((32_769, 3), np.float32)
    rows[:, 0] = np.arange(len(rows))
    np.testing.assert_allclose(jax.jit(sums_of_squares)(rows), rows[:, 0] ** 2, rtol=1e-6)


@pytest.mark.parametrize("version", FAULTS)
def test_a_version_with_a_fault_is_named_and_not_installed(version: str) -> None:
    said = fault(version, "--xla_force_host_platform_device_count=2")
    assert said is not None
    assert said.startswith(f"jaxlib {version} ")
    with PROJECT.open("rb") as file:
        needed = {r.name: r for r in map(Requirement, load(file)["project"]["dependencies"])}
    assert not needed["jax"].specifier.contains(version)
    assert not needed["jaxlib"].specifier.contains(version)


def test_the_flag_that_cures_a_fault_is_no_reason_to_warn() -> None:
    assert fault("0.10.2", f"--xla_cpu_use_onednn=false {FLAG}=") is None
    assert fault("0.10.2", f"{FLAG}=dot") is not None
    assert fault("0.11.1", f"{FLAG}=") is not None
    assert fault("0.10.1", "") is None
