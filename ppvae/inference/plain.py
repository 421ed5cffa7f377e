"""Plain programs: a fitted pair outside ppvae, as functions of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ppvae.language.batch import Batch


class Plain(NamedTuple):
    """A fitted pair as plain programs of one library, and their weights by name."""

    model: Callable[[Batch], Any]
    guide: Callable[[Batch], Any]
    params: dict[str, Any]
