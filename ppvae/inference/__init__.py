"""Inference: the fitted pair, and the questions it answers. Calls runs, data and language."""
