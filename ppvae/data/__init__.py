"""Data: the Dataset and reading one from files."""
