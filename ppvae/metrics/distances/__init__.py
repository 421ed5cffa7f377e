"""Distances: how far what was made is from what was measured, thing by thing or as sets."""
