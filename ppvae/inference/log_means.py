"""Log means: what importance weights estimate, with the error, and seeds for draws that are independent of others."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp


def log_mean(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The log mean of exp over axis 0, and its standard error (delta method)."""
    draws = len(log_weights)
    value = logsumexp(log_weights, axis=0) - np.log(draws)
    if draws < 2:
        return value, np.full_like(value, np.nan)
    return value, np.exp(log_weights - value).std(0, ddof=1) / np.sqrt(draws)


def other_seed(seed: int, number: int = 0) -> int:
    """A seed for independent draws."""
    return int(np.random.SeedSequence([seed, number, 1]).generate_state(1)[0])
