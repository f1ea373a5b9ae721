"""Measures of a distribution, survival and Cox's regression, with and without predictions, beside lifelines."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from benchmarks.estimands.case import Answers, Case, answer, normal
from icl.inference import Cox, Distribution, Survival

NORMAL_TAIL = 1.7549833
"""Mean of a standard normal above its .9 quantile."""


class Squares:
    """Least squares on columns, their squares and products: fast, and it can learn what pseudo-outcomes look like."""

    def __init__(self) -> None:
        pass

    def fit(self, X, y):
        Z = self._expand(X)
        self.center, self.mean = Z.mean(axis=0), y.mean()
        off = Z - self.center
        self.slopes = np.linalg.solve(off.T @ off + np.diag(off.var(axis=0) * 3 + 1e-9), off.T @ (y - self.mean))
        return self

    def predict(self, X):
        return self.mean + (self._expand(X) - self.center) @ self.slopes

    def _expand(self, X) -> np.ndarray:
        X = np.asarray(X, dtype=float)
        i, j = np.triu_indices(X.shape[1])
        return np.hstack([X, X[:, i] * X[:, j]])


def distribution(rng, n: int, measure: str) -> Answers:
    N = 1000
    x, e = rng.normal(size=(2, n + N))
    at = None
    if measure == "cvar":
        y, at, truth = 0.8 * x + 0.6 * e, 0.9, NORMAL_TAIL
    else:
        from scipy.special import erf

        y, truth = np.exp(0.5 * (0.8 * x + 0.6 * e)), float(erf(0.25))  # Gini of a lognormal: erf(sigma / 2)
    table = pd.DataFrame({"x": x, "y": np.where(np.arange(n + N) < n, y, np.nan)})
    estimand = Distribution("y", measure, at)
    return {
        "with predictions": answer(truth, estimand, table, predictor=Squares()),
        "labels alone": answer(truth, estimand, table),
    }


def times(rng, n: int, N: int) -> pd.DataFrame:
    """Hazard ratio exp(.7 x); m, which all rows show, tells early who goes."""
    x = rng.normal(size=n + N)
    until = rng.exponential(np.exp(-0.7 * x))
    lost = rng.exponential(2.0, size=n + N)
    m = np.log(until) + rng.normal(size=n + N) / 2
    table = pd.DataFrame({"t": np.minimum(until, lost), "d": (until <= lost) * 1.0, "x": x, "m": m})
    table.loc[n:, ["t", "d"]] = np.nan
    return table


def cox(rng, n: int) -> Answers:
    table = times(rng, n, 1000)
    out = {
        "with predictions": answer(0.7, Cox("t", "d", covariates="x"), table, predictor=Squares()),
        "labels alone": answer(0.7, Cox("t", "d", covariates="x"), table),
    }
    try:
        from lifelines import CoxPHFitter
    except ImportError:
        return out
    fit = CoxPHFitter().fit(table[["t", "d", "x"]][:n], "t", "d", robust=True)
    return out | {"lifelines, robust": normal(0.7, fit.params_["x"], fit.standard_errors_["x"])}


def survival(rng, n: int) -> Answers:
    grid = np.sort(np.random.default_rng(1).normal(size=200_000))
    truth = float(np.exp(-0.7 * np.exp(0.7 * grid)).mean())
    table = times(rng, n, 1000)
    estimand = Survival("t", "d", 0.7)
    return {
        "with predictions": answer(truth, estimand, table, predictor=Squares()),
        "labels alone (Kaplan-Meier)": answer(truth, estimand, table),
    }


CASES = [
    Case("Distribution", "CVaR(.9), normal, n = 200", partial(distribution, n=200, measure="cvar")),
    Case("Distribution", "Gini, lognormal, n = 100", partial(distribution, n=100, measure="gini"), 500),
    Case("Survival", "Cox, n = 150", partial(cox, n=150)),
    Case("Survival", "survival at .7, n = 100", partial(survival, n=100), 500),
]
