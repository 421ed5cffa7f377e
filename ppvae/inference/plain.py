"""Plain: a fitted pair as ordinary programs of one library, which everything of that library runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ppvae.language.batch import Batch


class Plain(NamedTuple):
    """Model and guide as functions of a batch, and their trained weights by name."""

    model: Callable[[Batch], Any]
    guide: Callable[[Batch], Any]
    params: dict[str, Any]
