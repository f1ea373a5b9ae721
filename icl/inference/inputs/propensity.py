"""Probabilities of being labeled, estimated from the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.inputs.folds import assign_folds

if TYPE_CHECKING:
    import pandas as pd


CONTRAST = 4
"""Unlabeled rows shown to a propensity model for each labeled one; its odds are corrected for it."""


LEAST_PROPENSITY = 0.05
"""Estimated probabilities are raised to this share of the average one, so that no row outweighs all others."""


def estimate_propensity(
    classifier: Any,
    X: pd.DataFrame,
    n: int,
    folds: int,
    seed: int,
    clusters: np.ndarray | None = None,
    least: float = LEAST_PROPENSITY,
) -> tuple[np.ndarray, int]:
    """Probability of each row to be labeled, from a model that was fitted without it.

    The model learns from all labeled rows of the other folds and from `CONTRAST` times as many unlabeled ones, which
    keeps contexts small; its odds are then multiplied by the share of unlabeled rows that it saw.

    Args:
        X: (n + N, F) features, the n labeled rows first.
    Returns:
        (n + N,) probabilities, and how many of labeled rows were raised to `least` of the average.
    """
    from icl.inference.inputs.cross_fit import fresh

    is_labeled = np.arange(len(X)) < n
    fold_of_row = assign_folds(len(X), folds, seed, strata=is_labeled, groups=clusters)
    rng = np.random.default_rng(seed)
    probability = np.empty(len(X))
    for k in range(folds):
        ours, others = np.flatnonzero(is_labeled & (fold_of_row != k)), np.flatnonzero(~is_labeled & (fold_of_row != k))
        shown = rng.permutation(others)[: CONTRAST * max(len(ours), 50)]
        train = np.concatenate([ours, shown])
        model = fresh(classifier, seed).fit(X.iloc[train], is_labeled[train].astype(int))
        held_out = np.flatnonzero(fold_of_row == k)
        position = int(np.flatnonzero(np.asarray(model.classes_) == 1)[0])
        p = np.clip(np.asarray(model.predict_proba(X.iloc[held_out]), dtype=float)[:, position], 1e-9, 1 - 1e-9)
        odds = p / (1 - p) * len(shown) / len(others)
        probability[held_out] = odds / (1 + odds)
    floor = least * n / len(X)
    n_raised = int((probability[:n] < floor).sum())
    return np.maximum(probability, floor), n_raised
