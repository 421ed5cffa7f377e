"""Datasets: the sets that ship with ppvae."""
