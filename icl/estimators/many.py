"""Many small tables at once: each is fitted, and all are answered in shared forward passes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone, is_classifier

from icl.estimators.classifier import ICLClassifier
from icl.estimators.regressor import ICLRegressor
from icl.prediction.together import distributions
from icl.tables import schema
from icl.tables.target import as_column, choose_task

OUTPUTS = ("predict", "predict_proba", "predict_distribution")
_TABLES_AT_ONCE = 64  # fitted and in memory; their contexts already fill every pass


def predict_many(tables: Iterable, estimator: Any = None, output: str = "predict") -> list:
    """Predictions for many tables, equal to `fit` and `predict` of each by itself.

    Contexts of equal shape share forward passes. That pays where passes are short of work, on a GPU above all; on a
    CPU a single table of 100 rows nearly fills it (benchmarks/many.md).

    Args:
        tables: triples (X, y, X_new); they may differ in everything.
        estimator: `ICLRegressor(...)` or `ICLClassifier(...)`, cloned for each; None for one with default settings,
            of the kind that each y calls for.
        output: "predict", "predict_proba" (classifiers) or "predict_distribution".
    Returns:
        for each table what that method gives.

    Examples:
        >>> import icl, numpy as np
        >>> X = np.arange(40.0).reshape(20, 2)
        >>> low, high = icl.predict_many([(X, X[:, 0], X[:3]), (X, X[:, 0] > 20, X[:3])], output="predict")
        >>> high.tolist()
        [False, False, False]
    """
    if output not in OUTPUTS:
        raise ValueError(f"output must be one of {', '.join(map(repr, OUTPUTS))}, got {output!r}.")
    if estimator is not None and not isinstance(estimator, ICLClassifier | ICLRegressor):
        raise ValueError(f"estimator must be an ICLRegressor or ICLClassifier, got {type(estimator).__name__}.")
    if output == "predict_proba" and estimator is not None and not is_classifier(estimator):
        raise ValueError("predict_proba needs classes; pass an ICLClassifier, or output='predict_distribution'.")
    found: list[Any] = []
    several: list[tuple] = []
    for number, table in enumerate(tables):
        several.append(_fitted(table, number, estimator, output))
        if len(several) == _TABLES_AT_ONCE:
            found += _answered(several, output)
            several = []
    return found + (_answered(several, output) if several else [])


def _fitted(table: Any, number: int, estimator: Any, output: str):
    try:
        X, y, X_new = table
    except (TypeError, ValueError) as error:
        raise ValueError(f"table {number} must be three things, (X, y, X_new), got {type(table).__name__}.") from error
    model = clone(estimator) if estimator is not None else _suited(y, output)
    try:
        fitted = model.fit(X, y).answering()
        differences: list[str] = []
        rows_MF = fitted.encoder.transform(X_new, differences)
        schema.warn(differences, f"X_new of table {number} differs from its X")
        return model, fitted, rows_MF
    except ValueError as error:
        raise ValueError(f"table {number}: {error}") from error


def _suited(y: Any, output: str):
    if output == "predict_proba":
        return ICLClassifier()
    return ICLClassifier() if choose_task(pd.Series(as_column(y)), "auto")[0] == "classification" else ICLRegressor()


def _answered(several: list, output: str) -> list:
    models, fitted, rows = zip(*several)
    [found] = distributions(list(fitted), list(rows), max(1, *map(len, rows)))
    if output == "predict_distribution":
        return found
    if output == "predict_proba":
        return [d.probs.numpy() for d in found]
    return [
        model.classes_[d.probs.numpy().argmax(1)] if is_classifier(model) else np.asarray(d.mean.numpy())
        for model, d in zip(models, found)
    ]
