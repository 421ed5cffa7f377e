"""Runs: what describes one, known to backends and training alike. Calls language and objectives."""
