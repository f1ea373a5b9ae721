"""Several targets of one table: a chain of estimators, each of which sees what those before it predict.

The labelled rows show these predictions out of context, so that they are as wrong there as they will be at new rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from icl.prediction.timing import LongWorkWarning
from icl.tables.encoder import as_pandas, as_table

_FOLDS = 5


def targets_of(y: Any) -> pd.DataFrame | None:
    """The targets, if `y` holds several columns; None if it is one."""
    if y is None or isinstance(y, pd.Series) or getattr(y, "ndim", None) == 1:
        return None
    if isinstance(y, np.ndarray):
        return pd.DataFrame(y).infer_objects() if y.ndim == 2 and y.shape[1] > 1 else None
    table = as_pandas(y)
    if isinstance(y, list | tuple) and len(y) and isinstance(y[0], list | tuple | np.ndarray):
        table = pd.DataFrame(list(y))
    return table if isinstance(table, pd.DataFrame) and table.shape[1] > 1 else None


class Chain:
    """Fitted estimators, one for each target, in the order of the columns of y.

    Attributes:
        names: of the targets.
        models: estimators of one target each; all but the first take the columns `<target>, predicted` too.
    """

    def __init__(self, names: list, models: list):
        self.names, self.models = names, models

    @classmethod
    def fit(cls, estimator: Any, X: Any, targets: pd.DataFrame, weight: Any = None) -> Chain:
        """Fit a clone of the estimator to each target; rows that lack a target are left out of its context."""
        table = as_table(X)[0]
        if len(table) != len(targets):
            raise ValueError(f"X has {len(table)} rows, but y has {len(targets)}: pass a row of targets for each.")
        if weight is not None:
            raise ValueError("sample_weight is for one target; fit one estimator per target with it.")
        table = table.reset_index(drop=True)
        models = []
        # A budget is for all of it: a fit for each target, and for all but the last the fits by folds beside it.
        n_fits = targets.shape[1] + (targets.shape[1] - 1) * _FOLDS
        share = estimator.shared(n_fits)
        for j, name in enumerate(targets):
            y = targets.iloc[:, j].reset_index(drop=True).infer_objects()
            known = np.flatnonzero(y.notna().to_numpy())
            try:
                with warnings.catch_warnings():
                    if j:  # told of the first
                        warnings.filterwarnings("ignore", "time_budget: ", LongWorkWarning)
                    model = clone(estimator).set_params(**share).fit(table.iloc[known], y.iloc[known])
            except ValueError as error:
                raise ValueError(f"target {name!r}: {error}") from error
            models.append(model)
            if j < targets.shape[1] - 1:
                table = _with(table, name, _out_of_context(model, table, known))
        return cls(list(targets.columns), models)

    def ask(self, method: str, X: Any, args: tuple, options: dict) -> Any:
        """Answers for every target: columns of one array for `predict`, a list for other methods."""
        answers = [getattr(model, method)(table, *args, **options) for model, table in self._tables(X)]
        return np.column_stack(answers) if method == "predict" else answers

    def _tables(self, X: Any) -> Iterator[tuple[Any, pd.DataFrame]]:
        table = as_table(X)[0]
        for model, name in zip(self.models, self.names):
            yield model, table
            if model is not self.models[-1]:
                table = _with(table, name, model.predict(table))


def _with(table: pd.DataFrame, name: Any, predicted: np.ndarray) -> pd.DataFrame:
    new = f"{name}, predicted"
    while new in table.columns:
        new += "'"
    return table.assign(**{new: predicted})


def _out_of_context(model: Any, table: pd.DataFrame, known: np.ndarray) -> np.ndarray:
    """(n,) predictions of all rows of fit, each from a context without it."""
    found = np.asarray(model.predict(table), dtype=object)  # right for rows without a label
    classes = getattr(model, "classes_", None)
    calibration = model.out_of_context(min(_FOLDS, len(known)))
    for rows, d in zip(calibration.held_out, calibration.predicted):
        found[known[rows]] = d.mean.numpy() if classes is None else classes[d.probs.numpy().argmax(axis=1)]
    return np.array(found.tolist())


def check_one_target(estimator: Any, attribute: str) -> None:
    """Raise unless `fit` saw one target and set `attribute`; that of an earlier `fit` is no answer for several.

    Raises:
        ValueError: for several targets; as scikit-learn's NotFittedError before `fit`.
    """
    if vars(estimator).get("chain_") is not None:
        raise ValueError("this estimator was fitted to several targets; ask those of model.chain_.models one by one.")
    check_is_fitted(estimator, attribute)


def for_each_target(method: Callable) -> Callable:
    """A method of an estimator that answers for every target if `fit` saw several."""

    @wraps(method)
    def answer(self, X, *args, **options):
        chain = self.__dict__.get("chain_")
        if chain is None:
            return method(self, X, *args, **options)
        return chain.ask(method.__name__, X, args, options)

    return answer
