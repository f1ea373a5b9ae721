"""Can a model learn from synthetic rows what it learns from real ones? Both are asked about the same real rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone, is_classifier

from icl.estimators.classifier import ICLClassifier
from icl.estimators.regressor import ICLRegressor
from icl.network.metrics import auc, log_losses
from icl.tables.target import choose_task

MOST_ROWS = 1_000
"""Rows that either model learns from, and that both are asked about, at most."""


@dataclass(frozen=True)
class Usefulness:
    """Scores on the same real rows of a model of real rows and of one of as many synthetic rows.

    Attributes:
        loss: "log loss", or "squared error" in variances of the target.
        real, synthetic: mean losses; lower is better.
        lower, upper: interval of what the synthetic rows cost, synthetic minus real.
        auc_real, auc_synthetic: of classes; NaN of numbers.
    """

    target: object
    loss: str
    real: float
    synthetic: float
    lower: float
    upper: float
    auc_real: float
    auc_synthetic: float
    n_learnt: int
    n_asked: int

    @property
    def cost(self) -> float:
        return self.synthetic - self.real


def train_on_synthetic(
    train: pd.DataFrame,
    synthetic: pd.DataFrame,
    asked: pd.DataFrame,
    target: Any,
    predictor: Any,
    rng: np.random.Generator,
    level: float,
) -> Usefulness:
    """Models of `train` and of `synthetic`, as many rows of each, compared on the rows `asked`."""
    parts = [table[table[target].notna()] for table in (train, synthetic, asked)]
    for name, part in zip(("real", "synthetic", "asked"), parts):
        if part[target].dtype.kind in "mM":
            raise ValueError(f"target {target!r} holds dates; name a column of numbers or classes to be predicted.")
        if not len(part) or (name == "real" and part[target].nunique() < 2):
            raise ValueError(
                f"target {target!r} has {part[target].nunique()} different values in the {name} rows, so there is "
                f"nothing to predict; name another column."
            )
    n = min(len(parts[0]), len(parts[1]), MOST_ROWS)
    learnt = [part.iloc[np.sort(rng.permutation(len(part))[:n])] for part in parts[:2]]
    asked = parts[2].iloc[np.sort(rng.permutation(len(parts[2]))[:MOST_ROWS])]
    if predictor is None:
        task = choose_task(parts[0][target], "auto")[0]
        predictor = (ICLClassifier if task == "classification" else ICLRegressor)(quality="fast")
    of_classes = is_classifier(predictor)
    losses, aucs = [], []
    for rows in learnt:
        loss, area = _losses(predictor, rows, asked, target, of_classes, parts[0][target])
        losses.append(loss)
        aucs.append(area)
    gap = losses[1] - losses[0]
    reach = NormalDist().inv_cdf((1 + level) / 2) * gap.std(ddof=1) / np.sqrt(len(gap))
    name = "log loss" if of_classes else "squared error"
    return Usefulness(
        target,
        name,
        float(losses[0].mean()),
        float(losses[1].mean()),
        gap.mean() - reach,
        gap.mean() + reach,
        aucs[0],
        aucs[1],
        n,
        len(asked),
    )


def _losses(
    predictor: Any, rows: pd.DataFrame, asked: pd.DataFrame, target: Any, of_classes: bool, all_labels: pd.Series
) -> tuple[np.ndarray, float]:
    X, X_asked = rows.drop(columns=target), asked.drop(columns=target)
    y, truth = rows[target], asked[target]
    if not of_classes:
        numbers, spread = truth.to_numpy(dtype=float), float(all_labels.to_numpy(dtype=float).std())
        predicted = _fit(predictor, X, y).predict(X_asked) if y.nunique() > 1 else np.full(len(asked), y.iloc[0])
        return np.square((predicted - numbers) / spread), np.nan
    classes = np.array(sorted(_words(all_labels).unique()))
    probs = np.zeros((len(asked), len(classes)))
    y = _words(y)
    if y.nunique() == 1:
        probs[:, classes == y.iloc[0]] = 1.0
    else:
        model = _fit(predictor, X, y)
        place = pd.Index(classes).get_indexer(model.classes_)
        # A class that only synthetic rows have is never right.
        probs[:, place[place >= 0]] = model.predict_proba(X_asked)[:, place >= 0]
    codes = pd.Index(classes).get_indexer(_words(truth))
    known = codes >= 0
    # A class that was not learnt at all costs what one row in a hundred would.
    return log_losses(probs[known], codes[known], 0.01), auc(probs[known], codes[known])


def _words(labels: pd.Series) -> pd.Series:
    """Labels as text; a whole number reads alike as int and as float, which a gap made of it."""
    whole = labels.map(lambda label: int(label) if isinstance(label, float) and label.is_integer() else label)
    return whole.astype(object).map(str)


def _fit(predictor: Any, X: pd.DataFrame, y: pd.Series) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of columns that differ: the audit says so itself
        return clone(predictor).fit(X, y)
