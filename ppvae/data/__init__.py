"""Data: the Dataset, and reading one from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppvae.face import show

show(__name__, {"dataset": "Dataset", "reader": "read_npz"})

if TYPE_CHECKING:
    from ppvae.data.dataset import Dataset as Dataset
    from ppvae.data.reader import read_npz as read_npz
