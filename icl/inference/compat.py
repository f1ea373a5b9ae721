"""The published Python implementation's answers, faults included, for people who must reproduce an earlier analysis.

Differences from the default: no small-sample correction and a normal reference; the weight is clipped to [0, 1]; a
regression scores predictions around the coefficients of the outcome, with one Hessian from all rows; the weight is
tuned in two steps, and estimate and interval are those of the second (the peer prints the first as point estimate).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from icl.inference.estimands import Mean
from icl.inference.rectify import Problem, Rectified
from icl.inference.weights import name_of


def solver_like(compat: str) -> Callable[[Problem, str | float], Rectified]:
    """The solver that reproduces the program named by `compat`."""
    return {"ppi_py": solve_like_ppi_py}[compat]


def solve_like_ppi_py(problem: Problem, weight: str | float) -> Rectified:
    """The answer of ppi-python 0.2.3 for a mean or a linear regression; its interval is estimate -+ z std_error."""
    solve = _mean if isinstance(problem.estimand, Mean) else _ols
    estimate, covariance, value = solve(problem, weight)
    return Rectified(name_of(weight), estimate, covariance, np.inf, value, tuned=isinstance(weight, str))


def _mean(problem: Problem, weight: str | float) -> tuple[np.ndarray, np.ndarray, float]:
    y = problem.y
    n = len(y)
    if weight == 0:
        return y.mean(keepdims=True), np.array([[y.var() / n]]), 0.0
    f, g = problem.f_labeled, problem.f_unlabeled
    N = len(g)
    if isinstance(weight, str):
        pooled = np.var(np.concatenate([f, g]), ddof=1)
        weight = np.clip(np.mean((y - y.mean()) * (f - f.mean())) / ((1 + n / N) * pooled), 0, 1) if pooled else 0.0
    rest = y - weight * f
    variance = weight**2 * g.var() / N + rest.var() / n
    return np.array([weight * g.mean() + rest.mean()]), np.array([[variance]]), float(weight)


def _ols(problem: Problem, weight: str | float) -> tuple[np.ndarray, np.ndarray, float]:
    if not isinstance(weight, str):
        theta = _theta(problem, weight)
        return theta, _sandwich(problem, theta, weight), float(weight)
    first = _tune(problem, _theta(problem, 1.0))
    second = _tune(problem, _theta(problem, first))
    theta = _theta(problem, second)
    return theta, _sandwich(problem, theta, second), second


def _theta(problem: Problem, weight: float) -> np.ndarray:
    if weight == 0:
        return problem.labeled_y.estimate
    gap = problem.unlabeled_f.estimate - problem.labeled_f.estimate
    return problem.labeled_y.estimate + weight * gap


def _scores(problem: Problem, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of outcome and predictions on labeled rows (n, P) each, and of predictions on unlabeled rows (N, P)."""
    XL, XU = problem.X_labeled, problem.X_unlabeled
    fitted = XL @ theta
    return (
        XL * (fitted - problem.y)[:, None],
        XL * (fitted - problem.f_labeled)[:, None],
        XU * (XU @ theta - problem.f_unlabeled)[:, None],
    )


def _inverse_hessian(problem: Problem, weight: float) -> np.ndarray:
    XL, XU = problem.X_labeled, problem.X_unlabeled
    if weight == 0:
        return np.linalg.inv(XL.T @ XL / len(XL))
    return np.linalg.inv((XL.T @ XL + XU.T @ XU) / (len(XL) + len(XU)))


def _tune(problem: Problem, theta: np.ndarray) -> float:
    n, N = len(problem.X_labeled), len(problem.X_unlabeled)
    g, g_hat, g_unlabeled = _scores(problem, theta)
    C = (g - g.mean(axis=0)).T @ (g_hat - g_hat.mean(axis=0)) / n
    V = np.cov(np.concatenate([g_hat, g_unlabeled]).T, ddof=1).reshape(C.shape)
    H_inv = _inverse_hessian(problem, 1.0)
    top, bottom = np.trace(H_inv @ (C + C.T) @ H_inv), 2 * (1 + n / N) * np.trace(H_inv @ V @ H_inv)
    return float(np.clip(top / bottom, 0, 1)) if bottom > 0 else 0.0


def _sandwich(problem: Problem, theta: np.ndarray, weight: float) -> np.ndarray:
    n, P = problem.X_labeled.shape
    if weight == 0:
        g = problem.X_labeled * (problem.X_labeled @ theta - problem.y)[:, None]
        meat = np.cov(g.T, ddof=1).reshape(P, P)
    else:
        g, g_hat, g_unlabeled = _scores(problem, theta)
        meat = n / len(g_unlabeled) * weight**2 * np.cov(g_unlabeled.T, ddof=1).reshape(P, P) + np.cov(
            (g - weight * g_hat).T, ddof=1
        ).reshape(P, P)
    H_inv = _inverse_hessian(problem, weight)
    return H_inv @ meat @ H_inv / n
