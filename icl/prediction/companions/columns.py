"""The columns that the companions of one table show to the network."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from scipy.special import expit
from sklearn.base import BaseEstimator

from icl.prediction.companions import crossfit, kernel, trees
from icl.prediction.companions.protocol import Companion, Kind, Labelled
from icl.prediction.companions.ridge import RidgeColumns

_FEWEST_ROWS = 30
# Where none are named. In small contexts the columns of kernel and trees cost as much as they tell: on 9 tables with
# classes (base, 4 members) the log loss at 60 rows is .633 with and .620 without them, at 200 rows about the same; at
# 1,000 rows .343 and .365.
_MANY_ROWS = 250
_OF_FEW, _OF_MANY = ("ridge",), ("ridge", "kernel", "trees")
# Share of the out-of-context squared error of the mean that a companion must remove.
_LEAST_GAIN = 0.02

KINDS = {
    "ridge": Kind(
        lambda labelled, seed: RidgeColumns(
            labelled.cells_NF,
            labelled.n_levels_F,
            labelled.y_N,
            labelled.n_classes,
            labelled.group_N,
            labelled.weight_N,
        ),
        lambda n_rows, n_features, n_classes: 0.05 + 6.5e-5 * n_rows,
    ),
    "kernel": Kind(kernel.Kernel, kernel.seconds),
    "trees": Kind(trees.Trees, trees.seconds),
    "boosting": Kind(crossfit.boosting, crossfit.boosting_seconds),
}
"""Companions by name."""


def suited(n_rows: int) -> tuple[str, ...]:
    """The companions of a context of so many rows, where none are named."""
    return _OF_FEW if n_rows < _MANY_ROWS else _OF_MANY


class Columns:
    """Answers of all companions side by side, of those that explain something.

    Args:
        labelled: the context.
        companions: names of `KINDS`, or scikit-learn estimators.
        seed: of what companions draw.

    Attributes:
        context_NS: out-of-context columns of the labelled rows, float32.
        shown: the companions that made them.
    """

    def __init__(self, labelled: Labelled, companions: Sequence[str | BaseEstimator], seed: int = 0):
        self._fitted: list[Companion] = []
        self.shown: list[str | BaseEstimator] = []
        if len(labelled.y_N) >= _FEWEST_ROWS:
            # Side by side: what one core decomposes, another grows.
            with ThreadPoolExecutor(max(1, min(len(companions), torch.get_num_threads()))) as pool:
                fitted = list(pool.map(lambda companion: _fit(companion, labelled, seed), companions))
            for companion, one in zip(companions, fitted):
                if one.context_NS.shape[1] and (companion == "ridge" or explains(one.context_NS, labelled)):
                    self.shown.append(companion)
                    self._fitted.append(one)
        made = [one.context_NS for one in self._fitted]
        self.context_NS = np.concatenate([*made, np.empty((len(labelled.y_N), 0), "f4")], 1)

    def __call__(self, rows_MF: np.ndarray) -> np.ndarray:
        """(M, S) float32 columns of rows that are not in the context."""
        made = [one(rows_MF) for one in self._fitted]
        return np.concatenate([*made, np.empty((len(rows_MF), 0), "f4")], 1)


def most_columns(companions: Sequence[str | BaseEstimator], n_classes: int | None) -> int:
    """The largest number of columns that these companions make."""
    width = 1 if n_classes in (None, 2) else n_classes
    return sum(RidgeColumns.most(n_classes) if companion == "ridge" else width for companion in companions)


def explains(context_NT: np.ndarray, labelled: Labelled) -> bool:
    """Whether out-of-context answers are better than the mean of the other rows, in squared error.

    By 2 % of that error at least, and by more than a standard error: else the column is noise to be fitted.
    """
    Y_NT, weight_N = labelled.indicators(), labelled.weights
    n = len(Y_NT)
    # Log-odds are shares again by the logistic function, up to what keeps them finite.
    answers_NT = context_NT if labelled.n_classes is None else expit(context_NT)
    without_N = weight_N * np.square((Y_NT - np.average(Y_NT, 0, weight_N)) * n / (n - 1)).sum(1)
    removed_N = without_N - weight_N * np.square(Y_NT - answers_NT).sum(1)
    gain = removed_N.sum() / without_N.sum()
    std_error = (removed_N - gain * without_N).std() / np.sqrt(n) / without_N.mean()
    return bool(gain > max(_LEAST_GAIN, std_error))


def _fit(companion: str | BaseEstimator, labelled: Labelled, seed: int) -> Companion:
    if isinstance(companion, str):
        return KINDS[companion].fit(labelled, seed)
    return crossfit.CrossFitted(companion, labelled, seed)
