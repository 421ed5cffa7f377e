"""Zoo: the table of published methods, what builds a row of it, and its page. Calls runs and below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppvae.face import show

show(
    __name__,
    {
        "build": "method",
        "table": "METHODS Row",
    },
)

if TYPE_CHECKING:
    from ppvae.zoo.build import method as method
    from ppvae.zoo.table import METHODS as METHODS
    from ppvae.zoo.table import Row as Row
