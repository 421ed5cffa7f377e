"""Backends: the two engines, Pyro and NumPyro, and the mirror between them."""
