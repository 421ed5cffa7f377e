"""Time and memory: what was compiled once is found again; cached fits of a test file are let go when it is over."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from tempfile import TemporaryDirectory

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Each test process keeps what it compiled, for its later tests; processes that a test starts do not see it."""
    if find_spec("jax") is None:  # ArviZ 1.x is tested in an environment without it
        return
    import jax

    folder = TemporaryDirectory(prefix="ppvae-tests-")
    config.add_cleanup(folder.cleanup)
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", folder.name)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"


@pytest.fixture(scope="module", autouse=True)
def _let_go(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for held in vars(request.module).values():
        if hasattr(held, "cache_clear"):
            held.cache_clear()
    answers = sys.modules.get("ppvae.backends.answers.in_jax")
    if answers is not None:
        answers.asker.cache_clear()
        answers.jax.clear_caches()
    gc.collect()
