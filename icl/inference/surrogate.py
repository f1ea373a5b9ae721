"""Out-of-context predictions: no labeled row is predicted by a model that saw its label.

Cross-fitting (Zrnic & Candes 2024, arXiv:2309.16598): labeled rows are predicted by a clone fitted on the other folds,
unlabeled rows by the average over the fold models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Surrogate:
    """Predictions f of the labeled (n,) and unlabeled (N,) rows, in the units of the outcome, and their source."""

    f_labeled: np.ndarray
    f_unlabeled: np.ndarray
    source: str


def cross_fit(
    predictor: Any, X_labeled: pd.DataFrame, y: np.ndarray, X_unlabeled: pd.DataFrame, folds: int = 5, seed: int = 0
) -> Surrogate:
    """Cross-fitted predictions of any scikit-learn style predictor; a classifier gives the probability of outcome 1.

    A predictor that can batch its folds may offer
    `predict_folds(X_labeled, y, fold_of_row, X_unlabeled) -> (f_labeled (n,), f_unlabeled_by_fold (folds, N))`,
    where `fold_of_row` (n,) numbers the fold whose model must not see the row. It must leave the predictor as it was.

    Args:
        predictor: unfitted or fitted; it is cloned, so what it has learned so far is not used.
        X_labeled, X_unlabeled: columns that the predictor may see.
        y: (n,) outcome; 0 and 1 if the predictor is a classifier.
        folds: number of folds, 2 to n.
        seed: of the folds, and of the predictor where its `random_state` is None.
    Raises:
        ValueError: for a predictor without fit and predict, too many folds, a classifier of a non-binary outcome, or
            predictions of the wrong shape or not finite.
    """
    name = type(predictor).__name__
    if isinstance(predictor, type) or not (hasattr(predictor, "fit") and hasattr(predictor, "predict")):
        got = f"the class {predictor.__name__}" if isinstance(predictor, type) else f"a {name}"
        raise ValueError(
            f"predictor= got {got}; pass an object with fit and predict, such as ICLRegressor(), or "
            "predictions='column'."
        )
    n = len(y)
    if not isinstance(folds, (int, np.integer)) or not 2 <= folds <= n:
        raise ValueError(f"folds got {folds!r}; with {n} labeled rows it must be a whole number from 2 to {n}.")
    classifies = is_classifier(predictor)
    if classifies and not np.isin(y, (0, 1)).all():
        raise ValueError(
            f"{name} is a classifier, but the outcome has values other than 0 and 1. Pass a regressor, or "
            "estimate the share of one class with Mean(column, event=...)."
        )
    target = y.astype(int) if classifies else y
    fold_of_row = assign_folds(target, int(folds), seed, stratify=classifies)
    if hasattr(predictor, "predict_folds"):
        f_labeled, by_fold = _seeded(predictor, seed).predict_folds(X_labeled, target, fold_of_row, X_unlabeled)
        f_labeled = _checked(f_labeled, n, name, "labeled")
        by_fold = np.asarray(by_fold, dtype=float)
        if by_fold.shape != (folds, len(X_unlabeled)):
            raise ValueError(
                f"{name}.predict_folds gave unlabeled predictions of shape {by_fold.shape}; expected "
                f"(folds, unlabeled rows) = {(folds, len(X_unlabeled))}."
            )
        f_unlabeled = _checked(by_fold.mean(axis=0), len(X_unlabeled), name, "unlabeled")
    else:
        f_labeled, f_unlabeled = np.empty(n), np.zeros(len(X_unlabeled))
        for fold in range(folds):
            held_out = np.flatnonzero(fold_of_row == fold)
            model = _fresh(predictor, seed)
            rest = np.flatnonzero(fold_of_row != fold)
            model.fit(X_labeled.iloc[rest], target[rest])
            f_labeled[held_out] = _predict(model, X_labeled.iloc[held_out], classifies, "labeled")
            f_unlabeled += _predict(model, X_unlabeled, classifies, "unlabeled") / folds
    return Surrogate(f_labeled, f_unlabeled, f"{name}, cross-fitted inside the call ({folds} folds, seed {seed})")


def assign_folds(y: np.ndarray, folds: int, seed: int, stratify: bool) -> np.ndarray:
    """(n,) fold of each labeled row: shuffled, sizes that differ by at most one, classes spread evenly if asked."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    if stratify:
        # Classes in order of first appearance, so that the folds do not depend on which class is called 1.
        _, first, code = np.unique(y[order], return_index=True, return_inverse=True)
        order = order[np.argsort(first[code], kind="stable")]
    fold_of_row = np.empty(len(y), dtype=int)
    fold_of_row[order] = np.arange(len(y)) % folds
    return fold_of_row


def is_classifier(predictor: Any) -> bool:
    """Whether its surrogate is a predicted probability."""
    from sklearn.base import is_classifier as sklearn_is_classifier

    try:
        return bool(sklearn_is_classifier(predictor))
    except (AttributeError, TypeError):  # not a scikit-learn estimator: it has no tags to read
        return hasattr(predictor, "predict_proba")


def _fresh(predictor: Any, seed: int) -> Any:
    """An unfitted clone that draws from `seed` where the predictor would draw from the global random state."""
    from sklearn.base import clone

    model = clone(predictor, safe=False)
    if ambient := _ambient(model):
        model.set_params(**dict.fromkeys(ambient, seed))
    return model


def _seeded(predictor: Any, seed: int) -> Any:
    """The predictor itself, or a clone where it needs a seed; a clone may copy a large network."""
    return _fresh(predictor, seed) if _ambient(predictor) else predictor


def _ambient(predictor: Any) -> list[str]:
    if not hasattr(predictor, "get_params") or not hasattr(predictor, "set_params"):
        return []
    return [k for k, v in predictor.get_params().items() if k.split("__")[-1] == "random_state" and v is None]


def _predict(model: Any, X: pd.DataFrame, classifies: bool, which: str) -> np.ndarray:
    name = type(model).__name__
    if not classifies:
        return _checked(model.predict(X), len(X), name, which)
    if not hasattr(model, "predict_proba"):
        raise ValueError(
            f"{name} is a classifier without predict_proba; the surrogate of a class is its probability. "
            "Use a classifier that has it."
        )
    probabilities = np.asarray(model.predict_proba(X), dtype=float)
    position = np.flatnonzero(np.asarray(model.classes_) == 1)
    # A fold without the event has no column for it: such a model predicts probability zero.
    return _checked(probabilities[:, position[0]] if len(position) else np.zeros(len(X)), len(X), name, which)


def _checked(values: Any, n_rows: int, name: str, which: str) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (n_rows,):
        raise ValueError(
            f"{name} gave predictions of shape {values.shape} for {n_rows} {which} rows; expected one number "
            "for each row."
        )
    return finite(values, f"{name} gave predictions for {which} rows, of which")


def finite(values: np.ndarray, what: str) -> np.ndarray:
    """`values`, or ValueError with their count if some are NaN or infinite."""
    n_bad = int((~np.isfinite(values)).sum())
    if n_bad:
        raise ValueError(
            f"{what} {n_bad} of {len(values)} are NaN or infinite; every row needs a finite prediction. "
            "Predict those rows again, or leave them out of the analysis."
        )
    return values
