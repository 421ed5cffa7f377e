"""Correction: an item's own posterior in place of the guide's, and for each item whether it can be trusted."""
