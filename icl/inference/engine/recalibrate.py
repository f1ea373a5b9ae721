"""RePPI: predictions of the score are learned from labeled rows, cross-fitted in three folds, before they are compared.

Three folds A, B, C rotate: coefficients from A; a linear regression of the outcome on covariates and prediction from
B; on C and all unlabeled rows the score at those coefficients with the regression in place of the outcome, under the
optimal matrix. The answer is the average over rotations. Source: Ji, Lei, Zrnic (2025), arXiv:2501.09731. Each rotation
uses a third of the labels for each purpose, so it needs many of them.
"""

from __future__ import annotations

import numpy as np

from icl.inference.engine.answer import Rectified
from icl.inference.engine.contributions import Contributions
from icl.inference.engine.fit import inverse, solve
from icl.inference.engine.freedom import degrees_of_freedom
from icl.inference.engine.problem import Problem, as_columns
from icl.inference.engine.rows import Rows
from icl.inference.estimands.equations import EstimatingEquation

FOLDS = 3
LEAST_SLACK = 0.05
ROWS_PER_PARAMETER = 10
"""Labeled rows in a fold for each coefficient, below which the matrix of a fold is noise."""


def solve_recalibrated(parts: Contributions, order: np.ndarray | None = None) -> Rectified:
    """The RePPI answer of a model with one response and independent rows that count alike.

    Args:
        order: (n,) permutation of labeled rows whose thirds are the folds; default: drawn from `problem.seed`.
    """
    problem = parts.problem
    model, n, P = problem.model, len(problem.y), len(problem.terms)
    if not problem.sampling.is_plain or problem.unlabeled_source is not None or problem.rows_y.Y.shape[1] != 1:
        raise ValueError(
            "weight='recalibrated' is for one outcome, independent rows that count alike, and unlabeled rows in "
            "memory; use 'auto'."
        )
    if parts.residual_f is None:
        raise ValueError(f"weight='recalibrated' needs residuals, which {problem.estimand} has not; use 'matrix'.")
    if n < FOLDS * ROWS_PER_PARAMETER * P:
        raise ValueError(
            f"weight='recalibrated' splits {n} labeled rows into {FOLDS} folds, too few for {P} coefficients; "
            f"{FOLDS * ROWS_PER_PARAMETER * P} are needed. Use 'auto'."
        )
    if order is None:
        order = np.random.default_rng(problem.seed).permutation(n)
    cut = n // FOLDS
    folds = [order[:cut], order[cut : 2 * cut], order[2 * cut :]]
    X, y, f = problem.X_labeled, problem.rows_y.Y, problem.rows_f.Y
    XU, g = problem.X_unlabeled, as_columns(problem.f_unlabeled)
    N = len(XU)
    estimates, rest, imputed = [], np.empty((n, P)), np.zeros((N, P))
    labeled, unlabeled = np.empty((n, P)), np.zeros((N, P))
    for j in range(FOLDS):
        A, B, C = folds[j], folds[(j + 1) % FOLDS], folds[(j + 2) % FOLDS]
        theta = _solve(problem, A)
        both: np.ndarray = np.hstack([X[B], f[B]])
        slopes = np.linalg.lstsq(both, y[B], rcond=None)[0]
        s = -model.scores(X[C], y[C], theta)
        s_hat = -model.scores(X[C], np.hstack([X[C], f[C]]) @ slopes, theta)
        s_u = -model.scores(XU, np.hstack([XU, g]) @ slopes, theta)
        centered = s_hat - s_hat.mean(axis=0)
        M = (s - s.mean(axis=0)).T @ centered @ np.linalg.pinv(centered.T @ centered, rcond=1e-10, hermitian=True)
        M /= 1 + len(C) / N
        own = _solve(problem, C)
        hessian = model.sums(X[C], y[C], None, own)[1]
        gap = s_hat.mean(axis=0) - s_u.mean(axis=0)
        estimates.append(own + len(C) * inverse(hessian) @ M @ gap)
        labeled[C] = _left_out(model, Rows(X[C], y[C]), own, inverse(hessian), s, centered, M, gap, 1 + len(C) / N)
        unlabeled -= len(C) / N * (s_u - s_u.mean(axis=0)) @ (inverse(hessian) @ M).T
        rest[C] = s_hat @ M.T
        imputed += s_u @ M.T / FOLDS
    estimate = np.mean(estimates, axis=0)
    rest = -model.scores(X, y, estimate) - rest
    hessian = model.sums(X, y, None, estimate)[1] + model.sums(XU, g, None, estimate)[1]
    bread = inverse(hessian) * (n + N)
    spread = n / N * np.cov(imputed.T).reshape(P, P) + np.cov(rest.T).reshape(P, P)
    covariance = bread @ spread @ bread / n
    if problem.std_error_kind in ("HC2", "HC3", "jackknife"):
        covariance = (labeled.T @ labeled + unlabeled.T @ unlabeled) / FOLDS**2
    return Rectified("recalibrated", estimate, covariance, degrees_of_freedom(parts, True), float("nan"), True)


def _left_out(
    model: EstimatingEquation,
    rows: Rows,
    own: np.ndarray,
    bread: np.ndarray,
    s: np.ndarray,
    centered: np.ndarray,
    M: np.ndarray,
    gap: np.ndarray,
    shrinks: float,
) -> np.ndarray:
    """(n_C, P) what each row of a fold adds to the estimate of the fold: through its coefficients, its gap and M.

    The published variance takes M for known and residuals at the size to which both fits shrank them. Nominal .90,
    heavy-tailed predictions exp(.4 y) plus noise, 400 repetitions, P = 2, n = 60, 120, 240: .738, .782, .807.
    """
    root = np.linalg.pinv(centered.T @ centered, rcond=1e-10, hermitian=True)
    lever = centered @ root
    rest = (s - s.mean(axis=0)) - centered @ (M * shrinks).T
    fitted = model.leverage(rows.X, None, own, bread)
    moved = model.scores(rows.X, rows.Y, own) + centered @ M.T + len(s) / shrinks * rest * (lever @ gap)[:, None]
    slack = 1 - (0 if fitted is None else fitted) - np.einsum("np,np->n", lever, centered)
    return moved / np.maximum(slack, LEAST_SLACK)[:, None] @ bread


def _solve(problem: Problem, rows: np.ndarray) -> np.ndarray:
    part = Rows(problem.X_labeled[rows], problem.rows_y.Y[rows])
    return solve(problem.model, part, str(problem.estimand), problem.terms, None, "labeled (one fold)").estimate
