"""The softmax temperature under which predictions of labelled rows, made out of context, score best."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from sklearn.base import is_classifier

from icl.estimators.folds import OutOfContext, sklearn_folds, take
from icl.estimators.weights import Worth
from icl.prediction.blend import best_temperature

_N_FOLDS = 5


def choose_temperature(estimator, X, y: pd.Series, values: np.ndarray, worth: Worth) -> float:
    """The temperature under which a fitted estimator's labelled rows score best when predicted from the others.

    Args:
        X, y: the labelled rows, as they came to `fit`.
        values: (n,) codes of the classes, or numbers.
        worth: of the rows; copies of a row speak with one voice.
    Returns:
        that of the estimator, where no part of the rows can be fitted by itself.
    """
    held_out = sklearn_folds(values, _N_FOLDS, is_classifier(estimator), worth.group_n)
    parts = OutOfContext(estimator, X, y, held_out, weight=worth.weight_n, calibrate=False, random_state=0)
    weight = worth.weights(len(y)) / worth.total_and_unit(np.arange(len(y)))[1]
    tables, truth, counts = [], [], []
    for model, rows in zip(parts.models, held_out):
        known, labels = (np.zeros(len(rows), bool), torch.empty(0)) if model is None else _own(model, y.iloc[rows])
        tables.append([take(X, rows[known])])
        truth.append(labels)
        counts.append(weight[rows[known]])
    # A part that knows none of the labels of its rows has nothing to say.
    parts = parts.only([len(labels) > 0 for labels in truth])
    answered = [(m.answering(), l, t) for m, l, t in zip(parts.models, parts.log_probs(tables), truth) if m is not None]
    if not answered:
        return estimator.temperature_

    def log_score(temperature: float) -> np.ndarray:
        scores = [fitted.average(l, temperature).log_prob(labels) for fitted, l, labels in answered]
        return torch.cat(scores).numpy()

    return best_temperature(log_score, np.concatenate(counts))


def _own(model, y: pd.Series) -> tuple[np.ndarray, torch.Tensor]:
    """Which labels a fitted estimator can score, (n,) bool, and these as its distribution takes them."""
    if not is_classifier(model):
        return np.ones(len(y), dtype=bool), torch.from_numpy(y.to_numpy(dtype=np.float64, copy=True))
    code_of = {label: code for code, label in enumerate(model.classes_.tolist())}
    codes = np.array([code_of.get(label, -1) for label in y.tolist()])
    return codes >= 0, torch.from_numpy(codes[codes >= 0])
