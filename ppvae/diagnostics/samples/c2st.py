"""C2ST: the classifier two-sample test, which asks how often two sets of draws can be told apart."""

from __future__ import annotations

import numpy as np
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.svm import SVC

FOLDS = 5
JUDGED = 1000  # draws of each set, at most
SHRINK = 1e-3


def c2st(one: np.ndarray, other: np.ndarray, seed: int = 0) -> float:
    """How often a classifier tells two sets of draws ``(draws, latents)`` apart, on draws that it was not fitted to.

    The classifier two-sample test (Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests"), cross-validated
    on at most 1,000 draws of each, by the better of two: quadratic discriminant analysis sees location, scale and
    correlation, a support vector machine shape as well, if latents are few. 0.5 where neither can, or a little more,
    as the better is taken; 1 where one always does. All copies of a draw that was resampled stand in one fold: a
    classifier could know it again elsewhere.
    """
    one, other = (draws[np.linspace(0, len(draws) - 1, min(len(draws), JUDGED)).astype(int)] for draws in (one, other))
    x, label = np.concatenate([one, other]), np.repeat([0, 1], [len(one), len(other)])
    _, copies = np.unique(x, axis=0, return_inverse=True)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    x = (x - x.mean(0)) / x.std(0)
    classifiers = QuadraticDiscriminantAnalysis(reg_param=SHRINK), SVC()
    return max(float(cross_val_score(each, x, label, groups=copies, cv=folds).mean()) for each in classifiers)
