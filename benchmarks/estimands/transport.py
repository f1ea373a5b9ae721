"""Labels from one population, an answer about another; prediction intervals there."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression, LogisticRegression

from benchmarks.estimands.case import Answers, Case, answer
from icl.inference import Mean, Shares, Transport

SHIFTS = {"1": 0.0, ".5": 0.83, ".2": 1.27, ".05": 1.73}
"""Effective n over n, and the distance of two normal populations that gives it: exp(-d^2)."""


def draw(rng, n: int, N: int, d: float) -> tuple[pd.DataFrame, float]:
    X = rng.normal(size=(n + N, 2))
    X[n:, 0] += d
    y = X[:, 0] + 0.3 * X[:, 0] ** 2 + X[:, 1] + rng.normal(size=n + N)
    table = pd.DataFrame(X, columns=["a", "b"]).assign(y=y)
    table.loc[n:, "y"] = np.nan
    return table, d + 0.3 * (1 + d**2)


def covariate(rng, d: float, predictor, n: int = 300) -> Answers:
    table, truth = draw(rng, n, 1500, d)
    ratio = Transport(propensity=LogisticRegression())
    return {
        "Transport()": answer(truth, Mean("y"), table, predictor=predictor, design=ratio, folds=2),
        "as if at random (invalid)": answer(truth, Mean("y"), table, predictor=predictor, folds=2),
    }


def label(rng, source: float, target: float, n: int = 200, N: int = 1000) -> Answers:
    y = np.r_[rng.random(n) < source, rng.random(N) < target] * 1.0
    x = rng.normal(size=n + N) + 1.5 * y
    table = pd.DataFrame({"y": y, "f": 1 / (1 + np.exp(-1.5 * x + 1))})
    table.loc[n:, "y"] = np.nan
    options = {"predictions": "f"}
    return {
        "Transport(shift='label')": answer(target, Mean("y"), table, design=Transport(shift="label"), **options),
        "as if at random (invalid)": answer(target, Mean("y"), table, **options),
    }


def classes(rng, source: list[float], target: list[float], n: int = 200, N: int = 1000) -> Answers:
    """Predicted classes that are right three times in four; the share of the last class."""
    names = np.array(list("abcde"))[: len(source)]
    y = np.r_[rng.choice(names, n, p=source), rng.choice(names, N, p=target)]
    table = pd.DataFrame({"y": y, "f": np.where(rng.random(n + N) < 0.75, y, rng.choice(names, n + N))})
    table.loc[n:, "y"] = None
    options = {"predictions": "f", "term": len(source) - 1}
    return {
        "Transport(shift='label')": answer(target[-1], Shares("y"), table, design=Transport(shift="label"), **options),
        "as if at random (invalid)": answer(target[-1], Shares("y"), table, **options),
    }


def _cases():
    group = "Transport, 300 labels"
    models = (("linear (wrong)", LinearRegression(), 1000),)
    for name, predictor, n_reps in models:
        for worth, d in SHIFTS.items():
            case = partial(covariate, d=d, predictor=predictor)
            yield Case(group, f"effective n / n {worth}, {name}", case, n_reps)
    for source, target in ((0.3, 0.6),):
        case = partial(label, source=source, target=target)
        yield Case("Label shift, 200 labels", f"share {source} -> {target}", case)
    for source, target in (([0.5, 0.3, 0.2], [0.2, 0.3, 0.5]), ([0.2] * 5, [0.1, 0.1, 0.2, 0.2, 0.4])):
        case = partial(classes, source=source, target=target)
        yield Case("Label shift, 200 labels", f"{len(source)} classes, {source[-1]} -> {target[-1]}", case)


CASES = [*_cases()]
