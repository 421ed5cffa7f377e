"""Devices: where a run computes, in torch and in JAX."""
