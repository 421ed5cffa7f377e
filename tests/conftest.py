"""Memory: compiled functions and cached fits of a test file are let go when its tests are over."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _let_go(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for held in vars(request.module).values():
        if hasattr(held, "cache_clear"):
            held.cache_clear()
    engine = sys.modules.get("ppvae.backends.numpyro")
    if engine is not None:
        engine._asker.cache_clear()
        engine.jax.clear_caches()
    gc.collect()
