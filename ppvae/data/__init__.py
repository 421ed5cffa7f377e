"""Data: the Dataset, and reading one from a file."""

from ppvae.data.dataset import Dataset

__all__ = ["Dataset"]
