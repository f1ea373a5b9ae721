"""Out-of-context predictions: no labeled row is predicted by a model that saw its label.

Cross-fitting (Zrnic & Candes 2024, arXiv:2309.16598): labeled rows are predicted by a clone fitted on the other folds,
unlabeled rows by the average over the fold models. What is predicted follows the estimand: a number, the probability of
a class, or, for quantiles, the probability of lying below a threshold.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import sum_is_finite
from icl.inference.engine.surrogate import Surrogate
from icl.inference.inputs.folds import assign_folds, check_folds, fold_shares

if TYPE_CHECKING:
    import pandas as pd

BLOCK_ROWS = 16_384
"""Rows whose predictive distributions are alive at once."""
N_THRESHOLDS = 25
"""Where a predictive distribution is read off for a quantile; between them it is taken to be linear."""


def cross_fit(
    predictor: Any,
    X_labeled: pd.DataFrame,
    y: np.ndarray,
    X_unlabeled: pd.DataFrame,
    folds: int = 5,
    seed: int = 0,
    *,
    groups: np.ndarray | None = None,
    groups_unlabeled: np.ndarray | None = None,
    strata: np.ndarray | None = None,
    thresholds: np.ndarray | None = None,
) -> Surrogate:
    """Cross-fitted predictions of any scikit-learn style predictor; a classifier gives probabilities.

    A predictor that can batch its folds may offer
    `predict_folds(X_labeled, y, fold_of_row, X_unlabeled) -> (f_labeled (n,), f_unlabeled_by_fold (folds, N))`,
    where `fold_of_row` (n,) numbers the fold whose model must not see the row. It must leave the predictor as it was.

    Args:
        predictor: unfitted or fitted; it is cloned, so what it has learned so far is not used.
        X_labeled, X_unlabeled: columns that the predictor may see.
        y: (n,) outcome; 0 and 1 if the predictor is a classifier. Or (n, K): with a classifier, indicators of K classes
            (a row of zeros belongs to one more class); with a regressor, K outcomes, each fitted by itself.
        folds: number of folds, 2 to n (or to the number of groups).
        seed: of the folds, and of the predictor where its `random_state` is None.
        groups: (n,) labels; rows that share one are never split between folds.
        groups_unlabeled: (N,) labels of unlabeled rows. Where labeled rows share one, only the model that did not see
            those predicts the unlabeled ones: else they would be predicted better than labeled rows ever are.
        strata: (n,) labels that are spread evenly over the folds; default: the classes, for a classifier.
        thresholds: (T,) values at which the predictive distribution is wanted too; ignored by predictors that have no
            `predict_distribution(X).cdf(t)`.
    Raises:
        ValueError: for a predictor without fit and predict, too many folds, a classifier of something that is no class,
            or predictions of the wrong shape or not finite.
    """
    _check_predictor(predictor)
    classifies = is_classifier(predictor)
    if y.ndim == 2 and not classifies:
        columns = [
            cross_fit(
                predictor,
                X_labeled,
                y[:, k],
                X_unlabeled,
                folds,
                seed,
                groups=groups,
                groups_unlabeled=groups_unlabeled,
                strata=strata,
            )
            for k in range(y.shape[1])
        ]
        stack = lambda name: np.column_stack([getattr(c, name) for c in columns])
        return replace(columns[0], f_labeled=stack("f_labeled"), f_unlabeled=stack("f_unlabeled"))
    name = type(predictor).__name__
    target = _classes(y, name) if classifies else y
    check_folds(
        folds, len(y) if groups is None else len(np.unique(groups)), "labeled rows" if groups is None else "clusters"
    )
    if strata is None and classifies:
        strata = target
    fold_of_row = assign_folds(len(y), int(folds), seed, strata=strata, groups=groups)
    share = fold_shares(fold_of_row, groups, groups_unlabeled, int(folds), len(X_unlabeled))
    source = f"{name}, cross-fitted inside the call ({folds} folds, seed {seed})"
    if thresholds is not None and hasattr(predictor, "predict_distribution") and not classifies:
        return _cross_fit_distribution(
            predictor, X_labeled, y, X_unlabeled, fold_of_row, share, seed, thresholds, source
        )
    if hasattr(predictor, "predict_folds") and y.ndim == 1:
        f_labeled, f_unlabeled = _batched(predictor, X_labeled, target, X_unlabeled, fold_of_row, share, seed)
        return Surrogate(f_labeled, f_unlabeled, source, is_cross_fitted=True)
    n_classes = y.shape[1] if y.ndim == 2 else None
    f_labeled = np.empty(y.shape, dtype=float)
    f_unlabeled = np.zeros((len(X_unlabeled), *y.shape[1:]))
    for k in range(folds):
        held_out = fold_of_row == k
        model = _fit(predictor, X_labeled[~held_out], target[~held_out], seed, k)
        f_labeled[held_out] = _predict(model, X_labeled[held_out], classifies, "labeled", n_classes)
        if len(X_unlabeled):
            f = _predict(model, X_unlabeled, classifies, "unlabeled", n_classes)
            f_unlabeled += f * (share[k] if y.ndim == 1 else share[k][:, None])
    return Surrogate(f_labeled, f_unlabeled, source, is_cross_fitted=True)


def quantile_thresholds(y: np.ndarray, q: float, n_thresholds: int = N_THRESHOLDS) -> np.ndarray:
    """(T,) increasing values of y: around its q-quantile, as far as an interval may reach, and the two ends."""
    reach = 6 * np.sqrt(q * (1 - q) / len(y))
    levels = np.clip(np.linspace(q - reach, q + reach, n_thresholds - 2), 0, 1)
    return np.unique(np.quantile(y, np.r_[0, levels, 1]))


def is_classifier(predictor: Any) -> bool:
    """Whether its surrogate is a predicted probability."""
    from sklearn.base import is_classifier as sklearn_is_classifier

    try:
        return bool(sklearn_is_classifier(predictor))
    except (AttributeError, TypeError):  # not a scikit-learn estimator: it has no tags to read
        return hasattr(predictor, "predict_proba")


def finite(values: np.ndarray, what: str) -> np.ndarray:
    """`values`, or ValueError with the count of rows that are NaN or infinite."""
    if sum_is_finite(values):
        return values
    bad = ~np.isfinite(values)
    n_bad = int((bad.any(axis=1) if values.ndim == 2 else bad).sum())
    if n_bad:
        raise ValueError(
            f"{what} {n_bad} of {len(values)} are NaN or infinite; every row needs a finite prediction. "
            "Predict those rows again, or leave them out of the analysis."
        )
    return values


def _check_predictor(predictor: Any) -> None:
    if isinstance(predictor, type) or not (hasattr(predictor, "fit") and hasattr(predictor, "predict")):
        is_class = isinstance(predictor, type)
        got = f"the class {predictor.__name__}" if is_class else f"a {type(predictor).__name__}"
        raise ValueError(
            f"predictor= got {got}; pass an object with fit and predict, such as ICLRegressor(), or "
            "predictions='column'."
        )


def _classes(y: np.ndarray, name: str) -> np.ndarray:
    """(n,) whole numbers: 0 and 1, or the column that holds a 1 (K where none does)."""
    if not np.isin(y, (0, 1)).all() or (y.ndim == 2 and (y.sum(axis=1) > 1).any()):
        raise ValueError(
            f"{name} is a classifier, but the outcome has values other than 0 and 1. Pass a regressor, or "
            "estimate the share of one class with Mean(column, event=...)."
        )
    if y.ndim == 1:
        return y.astype(int)
    return np.where(y.any(axis=1), y.argmax(axis=1), y.shape[1])


def _batched(
    predictor: Any,
    X_labeled: pd.DataFrame,
    y: np.ndarray,
    X_unlabeled: pd.DataFrame,
    fold_of_row: np.ndarray,
    share: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    name, folds = type(predictor).__name__, int(fold_of_row.max()) + 1
    f_labeled, by_fold = _seeded(predictor, seed).predict_folds(X_labeled, y, fold_of_row, X_unlabeled)
    by_fold = np.asarray(by_fold, dtype=float)
    if by_fold.shape != (folds, len(X_unlabeled)):
        raise ValueError(
            f"{name}.predict_folds gave unlabeled predictions of shape {by_fold.shape}; expected "
            f"(folds, unlabeled rows) = {(folds, len(X_unlabeled))}."
        )
    return (
        _checked(f_labeled, (len(y),), name, "labeled"),
        _checked((share * by_fold).sum(axis=0), (len(X_unlabeled),), name, "unlabeled"),
    )


def _cross_fit_distribution(
    predictor: Any,
    X_labeled: pd.DataFrame,
    y: np.ndarray,
    X_unlabeled: pd.DataFrame,
    fold_of_row: np.ndarray,
    share: np.ndarray,
    seed: int,
    thresholds: np.ndarray,
    source: str,
) -> Surrogate:
    folds, T = int(fold_of_row.max()) + 1, len(thresholds)
    parts = {"labeled": np.empty((len(y), T + 1)), "unlabeled": np.zeros((len(X_unlabeled), T + 1))}
    for k in range(folds):
        held_out = fold_of_row == k
        model = _fit(predictor, X_labeled[~held_out], y[~held_out], seed, k)
        parts["labeled"][held_out] = _read_off(model, X_labeled[held_out], thresholds, "labeled")
        if len(X_unlabeled):
            parts["unlabeled"] += share[k][:, None] * _read_off(model, X_unlabeled, thresholds, "unlabeled")
    L, U = parts["labeled"], parts["unlabeled"]
    edges = np.asarray(thresholds, dtype=float)
    return Surrogate(L[:, 0], U[:, 0], source, edges, L[:, 1:], U[:, 1:], is_cross_fitted=True)


def _read_off(model: Any, X: pd.DataFrame, thresholds: np.ndarray, which: str) -> np.ndarray:
    """(R, 1 + T) predictive mean, then P(Y <= threshold)."""
    out = np.empty((len(X), 1 + len(thresholds)))
    for start in range(0, len(X), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        distribution = model.predict_distribution(X.iloc[block])
        out[block, 0] = np.asarray(distribution.mean)
        for j, t in enumerate(thresholds):
            out[block, j + 1] = np.asarray(distribution.cdf(float(t)))
    return finite(out, f"{type(model).__name__} gave predictive distributions for {which} rows, of which")


def _fit(predictor: Any, X: pd.DataFrame, y: np.ndarray, seed: int, fold: int) -> Any:
    try:
        return fresh(predictor, seed).fit(X, y)
    except ValueError as reason:
        raise ValueError(
            f"{type(predictor).__name__} could not be fitted on the {len(y)} labeled rows outside fold {fold}: {reason}"
        ) from reason


def fresh(predictor: Any, seed: int) -> Any:
    """An unfitted clone that draws from `seed` where the predictor would draw from the global random state."""
    from sklearn.base import clone

    if hasattr(predictor, "predict_distribution") and hasattr(predictor, "get_params"):
        model = type(predictor)(**predictor.get_params(deep=False))  # clone would copy a network given as parameter
    else:
        model = clone(predictor, safe=False)
    if ambient := _ambient(model):
        model.set_params(**dict.fromkeys(ambient, seed))
    return model


def _seeded(predictor: Any, seed: int) -> Any:
    """The predictor itself, or a clone where it needs a seed; a clone may copy a large network."""
    return fresh(predictor, seed) if _ambient(predictor) else predictor


def _ambient(predictor: Any) -> list[str]:
    if not hasattr(predictor, "get_params") or not hasattr(predictor, "set_params"):
        return []
    return [k for k, v in predictor.get_params().items() if k.split("__")[-1] == "random_state" and v is None]


def _predict(model: Any, X: pd.DataFrame, classifies: bool, which: str, n_classes: int | None = None) -> np.ndarray:
    """(R,) predictions, or (R, n_classes) probabilities of the classes 0, 1, ..."""
    name = type(model).__name__
    if not classifies:
        return _checked(model.predict(X), (len(X),), name, which)
    if not hasattr(model, "predict_proba"):
        raise ValueError(
            f"{name} is a classifier without predict_proba; the surrogate of a class is its probability. "
            "Use a classifier that has it."
        )
    probabilities = np.asarray(model.predict_proba(X), dtype=float)
    # A fold without a class has no column for it: such a model predicts probability zero.
    wanted = np.zeros((len(X), 2 if n_classes is None else n_classes))
    for column, label in zip(probabilities.T, np.asarray(model.classes_).astype(int), strict=True):
        if label < wanted.shape[1]:
            wanted[:, label] = column
    if n_classes is None:
        return _checked(wanted[:, 1], (len(X),), name, which)
    return _checked(wanted, (len(X), n_classes), name, which)


def _checked(values: Any, shape: tuple[int, ...], name: str, which: str) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.ndim == len(shape) + 1 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.shape != shape:
        raise ValueError(
            f"{name} gave predictions of shape {values.shape} for {shape[0]} {which} rows; expected one number "
            "for each row."
        )
    return finite(values, f"{name} gave predictions for {which} rows, of which")
