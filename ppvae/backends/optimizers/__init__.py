"""Optimizers: those that both backends share, by name, and those of either library, run and kept as they are."""
