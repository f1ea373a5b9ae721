"""Can a classifier tell synthetic rows from real ones? The area under its ROC curve, .5 if it cannot.

Source:
    Two-sample tests by classification: Lopez-Paz & Oquab (2017), arXiv:1610.06545. Interval of a cross-fitted AUC:
    placements of DeLong et al. (1988), doi:10.2307/2531595, over folds as LeDell et al. (2015), doi:10.1214/15-EJS1035.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold

_FOLDS = 5
ROUNDS = 100  # of boosting
_MOST_LEVELS = 250  # what the trees take as categories; rarer levels are one


@dataclass(frozen=True, eq=False)
class Likeness:
    """The two-sample AUC with its interval.

    Attributes:
        auc: chance that a synthetic row looks more synthetic than a real one does; below .5 where rows are copies,
            whose twins among the other rows mislead the classifier.
        scores, is_synthetic: of every row that was compared, out of fold.
    """

    auc: float
    lower: float
    upper: float
    scores: np.ndarray
    is_synthetic: np.ndarray

    def __str__(self) -> str:
        return f"{self.auc:.3f} [{self.lower:.3f}, {self.upper:.3f}]"


def two_sample_auc(
    tables: tuple[pd.DataFrame, pd.DataFrame],
    numbers: tuple[np.ndarray, np.ndarray],
    is_level: np.ndarray,
    detector: Any,
    seed: int,
    level: float,
) -> Likeness:
    """AUC of a cross-fitted classifier of real rows against synthetic ones.

    Args:
        tables: real and synthetic rows, for a detector of the caller's.
        numbers: the same as `Coder.numbers`, for the default, gradient boosting.
        detector: a scikit-learn classifier, or None.
    """
    rows: Any
    if detector is None:
        rows = np.concatenate(numbers)
        for j in np.flatnonzero(is_level):
            codes = rows[:, j]
            rows[:, j] = np.where(codes >= _MOST_LEVELS, _MOST_LEVELS, codes)
        detector = HistGradientBoostingClassifier(
            max_iter=ROUNDS, learning_rate=0.1, max_leaf_nodes=15, min_samples_leaf=10, categorical_features=is_level,
            early_stopping=False, random_state=seed,
        )  # fmt: skip
    else:
        rows = pd.concat(tables, ignore_index=True)
    is_synthetic = np.repeat([False, True], [len(table) for table in numbers])
    scores = np.zeros(len(is_synthetic))
    found = []
    for learnt, held_out in StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(scores, is_synthetic):
        take = rows.iloc if isinstance(rows, pd.DataFrame) else rows
        model = clone(detector).fit(take[learnt], is_synthetic[learnt])
        scores[held_out] = model.predict_proba(take[held_out])[:, 1]
        found.append(auc_and_variance(scores[held_out], is_synthetic[held_out]))
    aucs, variances = np.array(found).T
    auc, reach = aucs.mean(), NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(variances.sum()) / len(aucs)
    return Likeness(float(auc), float(max(auc - reach, 0)), float(min(auc + reach, 1)), scores, is_synthetic)


def auc_and_variance(scores: np.ndarray, is_positive: np.ndarray) -> tuple[float, float]:
    """AUC and its variance by DeLong's placements."""
    positive, negative = scores[is_positive], scores[~is_positive]
    ranks = rankdata(np.concatenate([positive, negative]))
    above = (ranks[: len(positive)] - rankdata(positive)) / len(negative)
    below = 1 - (ranks[len(positive) :] - rankdata(negative)) / len(positive)
    return float(above.mean()), float(above.var(ddof=1) / len(positive) + below.var(ddof=1) / len(negative))
