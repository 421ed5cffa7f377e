"""Checks: what can be wrong with a pair and its data, found before training starts."""
