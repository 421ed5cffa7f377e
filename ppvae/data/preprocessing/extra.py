"""Extra: the libraries that only some need, such as those for files of pictures, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any


def extra(module: str, name: str = "files") -> Any:
    """A module of an extra, ``ppvae[files]`` or the one of this name.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        library = module.partition(".")[0]
        raise ValueError(
            f"this needs the library {library}, which is not installed: pip install 'ppvae[{name}]'"
        ) from None
