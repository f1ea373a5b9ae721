"""What stands in for the outcome: predictions of labeled and of unlabeled rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icl.inference.checks import OptionalArray


@dataclass(frozen=True)
class Surrogate:
    """Predictions f of the labeled (n, ...) and unlabeled (N, ...) rows, in the units of the outcome, and their source.

    The trailing shape is that of the outcome: none for one outcome, (K,) for K outcomes or classes. `f_unlabeled` is
    None where unlabeled rows come in batches, which bring their predictions along.
    """

    f_labeled: np.ndarray
    f_unlabeled: OptionalArray
    source: str
    thresholds: OptionalArray = None
    """(T,) increasing values at which the predictive distribution is known."""
    cdf_labeled: OptionalArray = None
    """(n, T) predicted P(Y <= threshold)."""
    cdf_unlabeled: OptionalArray = None
    """(N, T) the same, averaged over folds."""
    by_fold: OptionalArray = None
    """(n,) fold whose model predicted each labeled row, and (K, N, ...) predictions of unlabeled rows by the K models;
    NaN where a model has seen the cluster of the row."""
    cdf_levels: OptionalArray = None
    """(K, T) mean of P(Y <= threshold) over unlabeled rows by each fold model, less that of their average."""
    is_cross_fitted: bool = False
    """Predictions were made inside the call, so those of unlabeled rows are averages over folds, and tighter."""

    @property
    def has_distribution(self) -> bool:
        return self.thresholds is not None

    @property
    def ignores_fit(self) -> bool:
        """The models of all folds say the same, more than a constant, though they were fitted on different rows."""
        if self.by_fold is None or not self.by_fold[1].size:
            return False
        models = self.by_fold[1]
        first = models[0]
        agree = all(bool(((f == first) | np.isnan(f) | np.isnan(first)).all()) for f in models[1:])
        known = first[~np.isnan(first)]
        return agree and known.size > 0 and float(np.ptp(known)) > 0

    def cdf(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """(n,) and (N,) predicted P(Y <= t): what stands in for 1{Y <= t}; 0 or 1 where only values are predicted."""
        if not self.has_distribution:
            return (self.f_labeled <= t).astype(float), (self.f_unlabeled <= t).astype(float)
        return read_cdf(self.thresholds, self.cdf_labeled, t), read_cdf(self.thresholds, self.cdf_unlabeled, t)


def read_cdf(thresholds: np.ndarray, values: np.ndarray, t: float) -> np.ndarray:
    """(R,) P(Y <= t) from its values (R, T) at increasing thresholds: linear between them, flat outside."""
    k, share = between(thresholds, t)
    return (1 - share) * values[:, k] + share * values[:, k + 1]


def between(thresholds: np.ndarray, t: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The threshold below each t, and how far t lies on the way to the next one, a fraction in [0, 1]."""
    k = np.clip(np.searchsorted(thresholds, t) - 1, 0, len(thresholds) - 2)
    return k, np.clip((t - thresholds[k]) / (thresholds[k + 1] - thresholds[k]), 0, 1)
