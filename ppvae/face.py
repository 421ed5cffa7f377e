"""Face: the public names of a package, each loaded at first use, and never hidden by a file of the same name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any


class _Package(ModuleType):
    """A package whose public names come before its files: ``ppvae.metrics.ssim`` is the function, once and for all."""

    _files: Mapping[str, str]

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, unless it is the file that the import system puts in place of a public name."""
        if not (isinstance(value, ModuleType) and name in self._files):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name in self._files:
            return getattr(importlib.import_module(f"{self.__name__}.{self._files[name]}"), name)
        try:
            return importlib.import_module(f"{self.__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{self.__name__}.{name}":
                raise
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *self._files})


def show(package: str, names: Mapping[str, str]) -> None:
    """Give a package its public names.

    Args:
        package: its ``__name__``; called by its ``__init__``.
        names: file of the package to the names that it holds, parted by blanks.
    """
    module = sys.modules[package]
    module.__dict__["_files"] = {name: file for file, held in names.items() for name in held.split()}
    module.__class__ = _Package
