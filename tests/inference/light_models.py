"""Least squares and logistic regression without checks, which are most of what scikit-learn's small models take.

For tests that fit thousands of them; what scikit-learn's models are asked for is tested elsewhere.
"""

import numpy as np
from scipy.special import expit


class Line:
    """Least squares on all columns, or on none (`constant`): the mean."""

    def __init__(self, constant: bool = False):
        self.constant = constant

    def _terms(self, X) -> np.ndarray:
        ones = np.ones((len(X), 1))
        return ones if self.constant else np.hstack([ones, X.to_numpy(dtype=float)])

    def fit(self, X, y):
        Z = self._terms(X)
        self.slopes = np.linalg.solve(Z.T @ Z, Z.T @ np.asarray(y, dtype=float))
        return self

    def predict(self, X) -> np.ndarray:
        return self._terms(X) @ self.slopes


class Odds(Line):
    """Logistic regression by Newton's method, of the classes 0 and 1."""

    classes_ = (0, 1)

    def fit(self, X, y):
        Z, y = self._terms(X), np.asarray(y, dtype=float)
        self.slopes = np.zeros(Z.shape[1])
        for _ in range(8):
            p = expit(Z @ self.slopes)
            self.slopes = self.slopes + np.linalg.solve((Z.T * (p * (1 - p))) @ Z, Z.T @ (y - p))
        return self

    def predict_proba(self, X) -> np.ndarray:
        p = expit(super().predict(X))
        return np.column_stack([1 - p, p])
