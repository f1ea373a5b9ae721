"""Predictions as columns of a table: what `icl predict` and `predict_dataset` write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import is_classifier


@dataclass(frozen=True)
class Wanted:
    """Which columns."""

    proba: bool = False
    """The probability of each class."""
    quantiles: Sequence[float] = ()
    interval: float | None = None
    """Coverage of conformal intervals, or of sets of classes."""

    def check(self, estimator: Any) -> None:
        """ValueError for what an estimator of this kind does not say."""
        given, kind = ("quantiles", "regressors") if is_classifier(estimator) else ("proba", "classifiers")
        if getattr(self, given):
            raise ValueError(f"{given}= is for {kind}, got {type(estimator).__name__}.")


@dataclass
class Answers:
    """Columns for the rows of X, and what scores are made of."""

    columns: dict[str, np.ndarray | list] = field(default_factory=dict)
    predicted: Any = None
    """(n,) numbers, or (n, C) probabilities."""
    inside: Any = None
    """(n, 2) ends of intervals, or (n, C) members of sets."""


def answers(estimator: Any, X: Any, wanted: Wanted) -> Answers:
    """What a fitted estimator says of rows, as columns: prediction, then what is wanted beside it."""
    found, percent = Answers(), f"{100 * (wanted.interval or 0):g}"
    columns = found.columns
    if not is_classifier(estimator):
        distribution = estimator.predict_distribution(X)
        columns["prediction"] = found.predicted = distribution.mean.numpy()
        for q in wanted.quantiles:
            columns[f"q{q:g}"] = distribution.icdf(q).numpy()
        if wanted.interval is not None:
            found.inside = estimator.predict_interval(X, wanted.interval)
            columns[f"lower_{percent}"], columns[f"upper_{percent}"] = found.inside.T
        return found
    found.predicted = probs = estimator.predict_proba(X)
    labels = estimator.classes_
    columns["prediction"] = labels[probs.argmax(axis=1)]
    if wanted.proba:
        columns |= {f"p_{label}": probs[:, c] for c, label in enumerate(labels.tolist())}
    if wanted.interval is not None:
        found.inside = estimator.predict_set(X, wanted.interval)
        names = np.array([str(label) for label in labels.tolist()])
        columns[f"set_{percent}"] = ["|".join(names[row]) for row in found.inside]
    return found


def names_beside(there: Sequence, names: Iterable[str]) -> dict[str, str]:
    """What columns of answers are called beside others: icl_NAME where there is one of that name."""
    taken, named = set(there), {}
    for name in names:
        free = name
        while free in taken:
            free = f"icl_{free}"
        named[name] = free
        taken.add(free)
    return named


def beside(shown: Any, columns: dict[str, Any]) -> Any:
    """A table and columns beside it, renamed to icl_NAME where it has one of that name."""
    import pandas as pd

    named = names_beside(list(shown), columns)
    answers = pd.DataFrame({named[name]: values for name, values in columns.items()}, index=shown.index)
    return pd.concat([shown, answers], axis=1)
