"""Labelled rows predicted from contexts without them: how folds are dealt, and the estimators that answer for them.

Temperatures, cross-fitting, conformal intervals and the comparison with a linear model all start here.

Dimension key: n labelled rows, K folds.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import KFold, StratifiedKFold

from icl.estimators.wild_labels import SAID, nearest
from icl.prediction.timing import LongWorkWarning
from icl.prediction.together import BLOCK_ROWS, Fitted, distributions, log_probs_of
from icl.tables.encoder import as_pandas
from icl.tables.repeats import Units
from icl.tables.schema import SchemaWarning


def deal(y: np.ndarray, n_folds: int, seed: int, stratify: bool, group: np.ndarray | None = None) -> list[np.ndarray]:
    """Positions of the rows of each fold: at random, as many units each; with `stratify` of each class too."""
    units = Units(group, len(y))
    order = _shuffled(y[units.first], seed, stratify)
    n_folds = min(n_folds, len(units))
    return [units.rows(order[k::n_folds]) for k in range(n_folds)]


def deal_share(y: np.ndarray, share: float, seed: int, stratify: bool, group: np.ndarray | None = None) -> np.ndarray:
    """Positions of a share of the units, at least one held out and one left; with `stratify` of each class alike."""
    units = Units(group, len(y))
    order = _shuffled(y[units.first], seed, stratify)
    n = len(units)
    n_held = min(max(round(n * share), 1), n - 1)
    return units.rows(order[np.linspace(0, n - 1, n_held).round().astype(int)])


def _shuffled(y: np.ndarray, seed: int, stratify: bool) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(len(y))
    return order[np.argsort(y[order], kind="stable")] if stratify else order


def sklearn_folds(y: np.ndarray, n_folds: int, classify: bool, group: np.ndarray | None = None) -> list[np.ndarray]:
    """Positions of the rows of each fold, as scikit-learn deals them; stratified if a class has rows to share."""
    units = Units(group, len(y))
    y = y[units.first]
    counts = np.bincount(y) if classify else np.array([1])
    stratify = classify and counts.min() >= 2
    n_folds = min(n_folds, counts.max() if stratify else len(y))
    dealer = (StratifiedKFold if stratify else KFold)(n_folds, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer rows than folds
        return [units.rows(held_out) for _, held_out in dealer.split(np.zeros(len(y)), y)]


@contextlib.contextmanager
def _said_once() -> Iterator[None]:
    """Warnings that several parts give alike are given once, at the end; of seconds, which no two share, the first."""
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            yield
    finally:
        told: dict[tuple, warnings.WarningMessage] = {}
        for each in caught:
            said = str(each.message)
            told.setdefault((each.category, "" if issubclass(each.category, LongWorkWarning) else said), each)
        for each in told.values():
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


class OutOfContext:
    """An estimator for each fold, fitted on the other rows, asked together.

    Args:
        estimator: whose kind and parameters the parts have; it stays as it was.
        X: n labelled rows, a DataFrame or array.
        y: (n,) their labels.
        folds: per fold, the positions of the rows that it holds out.
        names: of the folds. If given, a part that cannot be fitted though its labels vary is an error that names its
            fold. Else the place of a part that cannot be fitted is None among `models`: nothing varies in this part of
            a whole that was fitted (one class, one value of y, or no column that differs), and what then stands in for
            an answer is the caller's to say.
        weight: (n,) `sample_weight` of the rows.
        far: (n,) labels that no part is told, but the nearest of its others.
        changes: parameters of the parts that differ from the estimator's.

    Attributes:
        models: the fitted parts, None where there is none.
        contexts: per fold, the positions of the rows that its part was fitted on.
    """

    def __init__(
        self,
        estimator,
        X,
        y: pd.Series,
        folds: Sequence[np.ndarray],
        names: Sequence | None = None,
        weight: np.ndarray | None = None,
        far: np.ndarray | None = None,
        **changes,
    ):
        # Not sklearn's clone, which would copy a network. A budget was spent by the fit of the whole, if there was one.
        parameters = {**estimator.get_params(deep=False), **estimator.settled(len(folds)), **changes}
        self.models, self.contexts = [], []
        with warnings.catch_warnings() if names is None else _said_once():
            if names is None:
                warnings.simplefilter("ignore", UserWarning)  # fit has said it of the whole context
            for k, held_out in enumerate(folds):
                context = np.delete(np.arange(len(y)), held_out)
                self.contexts.append(context)
                try:
                    part, own = type(estimator)(**parameters), None if weight is None else weight[context]
                    told = y.iloc[context]
                    if far is not None and far[context].any():
                        told = pd.Series(nearest(told.to_numpy(dtype=np.float64), far[context]), told.index)
                    self.models.append(part.fit(take(X, context), told, sample_weight=own))
                except ValueError as error:
                    if names is not None and y.iloc[context].nunique() > 1:
                        said = f"fold {names[k]} leaves a context of {len(context)} rows: {error}"
                        raise ValueError(said) from error
                    self.models.append(None)

    def only(self, wanted: Sequence[bool]) -> OutOfContext:
        """The same parts, without those that are not wanted."""
        kept = copy.copy(self)
        kept.models = [model if keep else None for model, keep in zip(self.models, wanted)]
        return kept

    def predict(self, tables: Sequence[Sequence], block_rows: int | None = None) -> Iterator[list]:
        """What each part says about the rows of its own tables, `block_rows` rows at a time (default: all at once).

        Args:
            tables: per fold, one or more tables whose rows its part answers one after the other.
        Yields:
            the predictive distributions of a block, a list entry for each fold; None where there is no part.
        """
        fitted, rows = self._asked(tables)
        if not fitted:
            yield [None] * len(self.models)
            return
        for block in distributions(fitted, rows, block_rows or max(1, *map(len, rows))):
            answers = iter(block)
            yield [None if model is None else next(answers) for model in self.models]

    def log_probs(self, tables: Sequence[Sequence]) -> list[list[torch.Tensor] | None]:
        """Per fold, the members' log-probabilities for the rows of its own tables; None where there is no part."""
        fitted, rows = self._asked(tables)
        answers = iter(log_probs_of(fitted, rows)) if fitted else iter(())
        return [None if model is None else next(answers) for model in self.models]

    def _asked(self, tables: Sequence[Sequence]) -> tuple[list[Fitted], list[np.ndarray]]:
        asked = [(model.answering(), own) for model, own in zip(self.models, tables) if model is not None]
        rows = [np.concatenate([fitted.encoder.transform(table) for table in own]) for fitted, own in asked]
        return [fitted for fitted, _ in asked], rows


def cross_fitted_points(
    estimator, X, y: pd.Series, folds: np.ndarray, X_unlabeled, point: Callable, of_label: Callable
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) predictions of labelled rows by the part that did not see them, and (K, m) of unlabelled rows by each.

    Args:
        folds: (n,) number of each row's fold.
        point: a predictive distribution -> a number for each row.
        of_label: a label -> the number that a part predicts whose rows all have it.
    """
    numbers = np.unique(folds)
    held_out = [np.flatnonzero(folds == number) for number in numbers]
    with warnings.catch_warnings():
        # Rows of a fold are not the caller's, estimates use labels as they are, and `infer` names rows that weigh much.
        warnings.filterwarnings("ignore", f"fit: .*{SAID}", SchemaWarning)
        parts = OutOfContext(estimator, X, y, held_out, names=numbers.tolist())
    tables = [[take(X, rows), X_unlabeled] for rows in held_out]
    if all(model is None for model in parts.models):
        raise ValueError("no fold leaves a context whose labels vary. Label more rows, or use fewer folds.")
    blocks = [[None if d is None else point(d) for d in block] for block in parts.predict(tables, BLOCK_ROWS)]
    constants = [of_label(y.iloc[context[0]]) for context in parts.contexts]
    lengths = [sum(map(len, own)) for own in tables]
    points = [
        np.full(length, constant) if pieces[0] is None else np.concatenate(pieces)
        for pieces, constant, length in zip(zip(*blocks), constants, lengths)
    ]
    labeled = np.empty(len(folds))
    for rows, own in zip(held_out, points):
        labeled[rows] = own[: len(rows)]
    return labeled, np.stack([own[len(rows) :] for rows, own in zip(held_out, points)])


def take(X, rows: np.ndarray):
    """The rows of a table, of whatever kind `fit` takes, at these positions."""
    X = as_pandas(X)
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    return [X[i] for i in rows] if isinstance(X, list | tuple) else np.asanyarray(X)[rows]
