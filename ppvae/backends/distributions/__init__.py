"""Distributions: Pyro's own on both backends; on NumPyro their text runs on JAX, as a program's does."""
