"""The softmax temperature under which predictions of labelled rows, made out of context, score best."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from sklearn.base import is_classifier

from icl.estimators.folds import OutOfContext, sklearn_folds, take
from icl.estimators.weights import Worth

# A temperature this far from 1, either way, costs half a nat in total: a few rows do not move the temperature far.
# On five tables bundled with scikit-learn (nano, 1 member, 3 splits each) that changed the mean negative log score by
# -0.006 with 30 context rows (worse by 0.047 at most) and by -0.003 with 75 (0.006); 1.5 in its place, by -0.005
# (0.090) and -0.002 (0.009).
_TYPICAL = 1.25
_FURTHEST = 4.0
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


def best_temperature(log_score: Callable[[float], np.ndarray], weight: np.ndarray | float = 1.0) -> float:
    """The softmax temperature that maximises the weighted sum of log scores, held back towards 1.

    Args:
        log_score: temperature -> (n,) log-probabilities or log densities of the labels of n rows that were predicted
            from contexts without them.
        weight: (n,) how much each counts.
    Returns:
        between 1/4 and 4.
    Source:
        Temperature scaling, Guo et al. (2017), arXiv:1706.04599; here on cross-validated answers and with a
        log-normal prior in place of a validation set.
    """

    def loss(log_temperature: float) -> float:
        # One row may be impossible under every temperature; it shall not decide.
        total = (weight * np.maximum(log_score(float(np.exp(log_temperature))), -50.0)).sum()
        return 0.5 * (log_temperature / np.log(_TYPICAL)) ** 2 - total

    reach = np.log(_FURTHEST)
    found = minimize_scalar(loss, bounds=(-reach, reach), method="bounded", options={"xatol": 0.01})
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0
