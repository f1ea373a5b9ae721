"""Out-of-context predictions: no labeled row is predicted by a model that saw its label.

Cross-fitting (Zrnic & Candes 2024, arXiv:2309.16598): labeled rows are predicted by a clone fitted on the other folds,
unlabeled rows by the average over the fold models. What is predicted follows the estimand: a number, the probability of
a class, or, for quantiles, the probability of lying below a threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import sum_is_finite
from icl.inference.engine.surrogate import Surrogate
from icl.inference.frames import as_pandas
from icl.inference.inputs.copies import repeated
from icl.inference.inputs.folds import Folds, deal

if TYPE_CHECKING:
    import pandas as pd

LabeledAndNot = tuple["pd.DataFrame", np.ndarray, "pd.DataFrame"]
"""Features of labeled rows, what is to be predicted of them, features of unlabeled rows."""
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
    weights_unlabeled: np.ndarray | None = None,
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
        groups: (n,) labels; rows that share one are never split between folds. Default: copies of a row, with its
            outcome, share one; a model that has seen a copy of a row has seen its label.
        groups_unlabeled: (N,) labels of unlabeled rows. Where labeled rows share one, only the model that did not see
            those predicts the unlabeled ones: else they would be predicted better than labeled rows ever are.
        strata: (n,) labels that are spread evenly over the folds; default: the classes, for a classifier.
        thresholds: (T,) values at which the predictive distribution is wanted too. Predictors that have no
            `predict_distribution(X).cdf(t)` say 0 or 1: each fold model for itself, because the average prediction lies
            below t at another rate than the predictions it averages.
        weights_unlabeled: (N,) with which unlabeled rows stand for the population, where it is not evenly.
    Raises:
        ValueError: for a predictor without fit and predict, too many folds, a classifier of something that is no class,
            or predictions of the wrong shape or not finite.
    """
    X_labeled, y, X_unlabeled = as_pandas(X_labeled), np.asarray(as_pandas(y)), as_pandas(X_unlabeled)
    check_predictor(predictor)
    classifies = is_classifier(predictor)
    if groups is None:
        groups = _copies(X_labeled, y, X_unlabeled)
    if y.ndim == 2 and not classifies:
        options = {"groups": groups, "groups_unlabeled": groups_unlabeled, "strata": strata}
        columns = [cross_fit(predictor, X_labeled, column, X_unlabeled, folds, seed, **options) for column in y.T]
        stack = lambda name: np.column_stack([getattr(c, name) for c in columns])
        by_fold = columns[0].by_fold[0], np.stack([c.by_fold[1] for c in columns], axis=-1)
        return replace(columns[0], f_labeled=stack("f_labeled"), f_unlabeled=stack("f_unlabeled"), by_fold=by_fold)
    name = _name_of(predictor)
    target = _classes(y, name) if classifies else y
    if strata is None and classifies:
        strata = target
    dealt = deal(len(y), len(X_unlabeled), folds, seed, strata=strata, groups=groups, groups_unlabeled=groups_unlabeled)
    source = f"{name}, cross-fitted inside the call ({folds} folds, seed {seed})"
    rows = (X_labeled, target, X_unlabeled)
    if thresholds is not None and not classifies:
        edges = np.asarray(thresholds, dtype=float)
        return _of_distributions(predictor, rows, dealt, seed, edges, weights_unlabeled, source)
    # Whatever batches its folds may refuse one class; in the loop a fold of one class predicts that class.
    knows_all = not classifies or all(len(np.unique(target[~held_out])) > 1 for _, held_out in dealt)
    if hasattr(predictor, "predict_folds") and y.ndim == 1 and knows_all:
        f_labeled, by_model = _batched(predictor, rows, dealt, seed)
        f_unlabeled = _checked((dealt.share * by_model).sum(axis=0), (len(X_unlabeled),), name, "unlabeled")
    else:
        n_classes = y.shape[1] if y.ndim == 2 else None
        ask = partial(_predict, classifies=classifies, n_classes=n_classes)
        by_model = np.empty((dealt.number, len(X_unlabeled), *y.shape[1:]))
        watch = by_model.__setitem__
        f_labeled, f_unlabeled = _out_of_fold(predictor, rows, dealt, seed, ask, y.shape[1:], watch)
    by_fold = dealt.of_row, _unseen(by_model, dealt)
    return Surrogate(f_labeled, f_unlabeled, source, by_fold=by_fold, is_cross_fitted=True)


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


def _copies(X_labeled: pd.DataFrame, y: np.ndarray, X_unlabeled: pd.DataFrame) -> np.ndarray | None:
    """(n,) labels of distinct rows, if some are there again that cannot be alike by chance; else None."""
    import pandas as pd

    outcome = pd.DataFrame(y).add_prefix("outcome ").reset_index(drop=True)
    features = pd.DataFrame(X_labeled).reset_index(drop=True)
    return repeated(pd.concat([features, outcome], axis=1), pd.DataFrame(X_unlabeled))


def check_predictor(predictor: Any) -> None:
    """ValueError for a class in place of an object, and for anything without fit and predict."""
    if isinstance(predictor, type) or not (hasattr(predictor, "fit") and hasattr(predictor, "predict")):
        is_class = isinstance(predictor, type)
        got = f"the class {predictor.__name__}" if is_class else f"an object of type {type(predictor).__name__}"
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


def _out_of_fold(
    predictor: Any,
    rows: LabeledAndNot,
    folds: Folds,
    seed: int,
    ask: Callable,
    shape: tuple[int, ...],
    watch: Callable[[int, np.ndarray], None],
) -> tuple[np.ndarray, np.ndarray]:
    """What `ask(model, X, which) -> (R, *shape)` answers: labeled rows out of fold, unlabeled rows on average.

    `watch(k, answers)` is shown those of the k-th model for unlabeled rows, which are not kept.
    """
    X_labeled, target, X_unlabeled = rows
    f_labeled, f_unlabeled = np.empty((len(X_labeled), *shape)), np.zeros((len(X_unlabeled), *shape))
    for k, held_out in folds:
        seen = target[~held_out]
        if is_classifier(predictor) and len(np.unique(seen)) == 1:
            model = _OneClass(seen[0])
        else:
            model = _fit(predictor, X_labeled[~held_out], seen, seed, k)
        f_labeled[held_out] = ask(model, X_labeled[held_out], "labeled")
        if len(X_unlabeled):
            answers = ask(model, X_unlabeled, "unlabeled")
            f_unlabeled += folds.share[k].reshape(-1, *[1] * len(shape)) * answers
            watch(k, answers)
    return f_labeled, f_unlabeled


class _OneClass:
    """Predicts the only class that it was shown, surely; most classifiers refuse to be fitted on one."""

    def __init__(self, label: int) -> None:
        self.classes_ = np.array([label])

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        return np.ones((len(X), 1))


def _unseen(by_model: np.ndarray, folds: Folds) -> np.ndarray:
    """(K, N, ...) answers of the models, NaN where a model has seen the cluster of a row."""
    return np.where(folds.share.reshape(*folds.share.shape, *[1] * (by_model.ndim - 2)) > 0, by_model, np.nan)


def _of_distributions(
    predictor: Any,
    rows: LabeledAndNot,
    folds: Folds,
    seed: int,
    edges: np.ndarray,
    weights: np.ndarray | None,
    source: str,
) -> Surrogate:
    w = np.ones(len(rows[2])) if weights is None else weights
    K, N = folds.share.shape
    means, levels = np.empty((K, N)), np.zeros((K, len(edges)))

    def watch(k: int, answers: np.ndarray) -> None:
        means[k], own = answers[:, 0], w * (folds.share[k] > 0)
        levels[k] = np.average(answers[:, 1:], axis=0, weights=own if own.any() else w)

    read = partial(_read_off, thresholds=edges)
    L, U = _out_of_fold(predictor, rows, folds, seed, read, (1 + len(edges),), watch)
    if N:
        levels -= np.average(U[:, 1:], axis=0, weights=w)
    of_models = folds.of_row, _unseen(means, folds)
    return Surrogate(L[:, 0], U[:, 0], source, edges, L[:, 1:], U[:, 1:], of_models, levels, is_cross_fitted=True)


def _name_of(predictor: Any) -> str:
    """Of its class; of the last step of a pipeline."""
    from sklearn.pipeline import Pipeline

    return type(predictor.steps[-1][1] if isinstance(predictor, Pipeline) else predictor).__name__


def _batched(predictor: Any, rows: LabeledAndNot, folds: Folds, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n,) out of fold, and (K, N) of unlabeled rows by each model."""
    X_labeled, target, X_unlabeled = rows
    name = _name_of(predictor)
    f_labeled, by_fold = _seeded(predictor, seed).predict_folds(X_labeled, target, folds.of_row, X_unlabeled)
    by_fold = np.asarray(by_fold, dtype=float)
    if by_fold.shape != folds.share.shape:
        raise ValueError(
            f"{name}.predict_folds gave unlabeled predictions of shape {by_fold.shape}; expected "
            f"(folds, unlabeled rows) = {folds.share.shape}."
        )
    return _checked(f_labeled, (len(target),), name, "labeled"), by_fold


def _read_off(model: Any, X: pd.DataFrame, which: str, thresholds: np.ndarray) -> np.ndarray:
    """(R, 1 + T) predictive mean, then P(Y <= threshold)."""
    out = np.empty((len(X), 1 + len(thresholds)))
    has_distribution = hasattr(model, "predict_distribution")
    for start in range(0, len(X), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        if not has_distribution:
            part = X.iloc[block]
            out[block, 0] = _checked(model.predict(part), (len(part),), type(model).__name__, which)
            out[block, 1:] = out[block, :1] <= thresholds
            continue
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


def _predict(model: Any, X: pd.DataFrame, which: str, classifies: bool, n_classes: int | None) -> np.ndarray:
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
