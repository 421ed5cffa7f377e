"""Extra: the libraries that files of pictures, words, sounds and tables need, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any


def extra(module: str) -> Any:
    """A module of the extra ``ppvae[files]``.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        library = module.partition(".")[0]
        raise ValueError(
            f"this needs the library {library}, which is not installed: pip install 'ppvae[files]'"
        ) from None
