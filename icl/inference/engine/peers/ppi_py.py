"""ppi-python 0.2.3.

Differences from the default: no small-sample correction and a normal reference; the weight is clipped to [0, 1]; a
regression scores predictions around the coefficients of the outcome, with one Hessian from all rows; the weight is
tuned in two steps, and estimate and interval are those of the second (the peer prints the first as point estimate);
weights of rows multiply outcomes, so that a weighted mean has the variance of a product; quantiles are not tuned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from icl.inference.checks import OptionalArray, check_alternative
from icl.inference.engine.answer import Rectified, name_of
from icl.inference.engine.contributions import Contributions
from icl.inference.engine.fit import inverse, solve
from icl.inference.engine.problem import Problem, as_columns
from icl.inference.engine.quantile import labeled_moments, share_below
from icl.inference.engine.rows import Rows, Together
from icl.inference.estimands import Mean, MEstimand, Multinomial, Quantile


def solve_like_ppi_py(parts: Contributions, weight: str | float) -> Rectified:
    """The answer of ppi-python 0.2.3; its interval is estimate -+ z std_error."""
    problem = parts.problem
    if problem.sampling.is_grouped or problem.sampling.pools:
        raise ValueError("compat='ppi_py' knows no clusters, strata or unequal probabilities; drop compat or design.")
    if problem.estimand.surrogate == "distribution":
        return _quantile(problem, weight)
    if isinstance(problem.estimand, (MEstimand, Multinomial)) or getattr(problem.estimand, "by", None) is not None:
        raise ValueError(f"compat='ppi_py' has no {problem.estimand}; drop compat.")
    if isinstance(problem.estimand, Mean):
        estimate, covariance, value = _mean(problem, weight)
    else:
        estimate, covariance, value = _regression(parts, weight)
    return Rectified(name_of(weight), estimate, covariance, np.inf, value, tuned=isinstance(weight, str))


def _row_weights(weights: np.ndarray | None, n: int) -> np.ndarray:
    return np.ones(n) if weights is None else weights * (n / weights.sum())


def _mean(problem: Problem, weight: Any) -> tuple[np.ndarray, np.ndarray, float | np.ndarray]:
    y = problem.rows_y.Y
    n = len(y)
    w = _row_weights(problem.sampling.weights_labeled, n)[:, None]
    if not problem.has_predictions:
        return (w * y).mean(axis=0), np.atleast_2d(np.cov((w * y).T, ddof=0)) / n, 0.0
    f, g = problem.rows_f.Y, as_columns(problem.f_unlabeled)
    N = len(g)
    wu = _row_weights(problem.sampling.weights_unlabeled, N)[:, None]
    if isinstance(weight, str):
        first = (wu * g).mean(axis=0) + (w * (y - f)).mean(axis=0)
        weight = _tuned(w * (y - first), w * (f - first), wu * (g - first), np.eye(y.shape[1]), weight)
    rest, imputed = w * (y - weight * f), wu * (weight * g)
    covariance = np.atleast_2d(np.cov(imputed.T, ddof=0)) / N + np.atleast_2d(np.cov(rest.T, ddof=0)) / n
    return imputed.mean(axis=0) + rest.mean(axis=0), covariance, weight


def _regression(parts: Contributions, weight: Any) -> tuple[np.ndarray, np.ndarray, float]:
    problem = parts.problem
    if weight == "coordinate":
        raise ValueError("ppi-python tunes single coordinates of means only; use weight='ppi++', or drop compat.")
    if isinstance(weight, str):
        first = _tuned(*_scores(problem, _theta(parts, 1.0)), _inverse_hessian(problem, _theta(parts, 1.0), 1.0))
        theta = _theta(parts, first)
        weight = _tuned(*_scores(problem, theta), _inverse_hessian(problem, theta, 1.0))
    theta = _theta(parts, weight)
    return theta, _sandwich(problem, theta, weight), float(weight)


def _theta(parts: Contributions, weight: Any) -> np.ndarray:
    problem = parts.problem
    if weight == 0:
        return parts.labeled_y.estimate
    if problem.model.is_linear:
        gap = parts.unlabeled_f.estimate - parts.labeled_f.estimate
        return parts.labeled_y.estimate + weight * gap
    # One loss: that of outcomes, plus `weight` times the loss of unlabeled less that of labeled predictions.
    n, N = len(problem.y), problem.n_unlabeled
    w, wu = _row_weights(problem.sampling.weights_labeled, n), _row_weights(problem.sampling.weights_unlabeled, N)
    rows = problem.rows_y
    together = Together(
        [
            Rows(rows.X, rows.Y, w / n),
            Rows(rows.X, problem.rows_f.Y, -weight * w / n),
            Rows(problem.X_unlabeled, as_columns(problem.f_unlabeled), weight * wu / N),
        ]
    )
    return solve(
        problem.model, together, str(problem.estimand), problem.terms, parts.labeled_y.estimate, "all"
    ).estimate


def _scores(problem: Problem, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of outcome and predictions on labeled rows (n, P) each, and of predictions on unlabeled rows (N, P)."""
    model, XL, XU = problem.model, problem.X_labeled, problem.X_unlabeled
    w = _row_weights(problem.sampling.weights_labeled, len(XL))[:, None]
    wu = _row_weights(problem.sampling.weights_unlabeled, len(XU))[:, None]
    return (
        -w * model.scores(XL, problem.rows_y.Y, theta),
        -w * model.scores(XL, problem.rows_f.Y, theta),
        -wu * model.scores(XU, as_columns(problem.f_unlabeled), theta),
    )


def _inverse_hessian(problem: Problem, theta: np.ndarray, weight: float) -> np.ndarray:
    n = len(problem.X_labeled)
    w = _row_weights(problem.sampling.weights_labeled, n)
    hessian, total = problem.model.sums(problem.X_labeled, problem.rows_y.Y, w, theta)[1], n
    if weight != 0:
        N = len(problem.X_unlabeled)
        wu = _row_weights(problem.sampling.weights_unlabeled, N)
        hessian, total = (
            hessian + problem.model.sums(problem.X_unlabeled, as_columns(problem.f_unlabeled), wu, theta)[1],
            n + N,
        )
    return inverse(hessian) * total


def _tuned(
    g: np.ndarray, g_hat: np.ndarray, g_unlabeled: np.ndarray, H_inv: np.ndarray, mode: str = "ppi++"
) -> float | np.ndarray:
    n, N = len(g), len(g_unlabeled)
    C = (g - g.mean(axis=0)).T @ (g_hat - g_hat.mean(axis=0)) / n
    V = np.cov(np.concatenate([g_hat, g_unlabeled]).T, ddof=1).reshape(C.shape)
    top, bottom = np.diag(H_inv @ (C + C.T) @ H_inv), 2 * (1 + n / N) * np.diag(H_inv @ V @ H_inv)
    if mode != "coordinate":
        top, bottom = top.sum(), bottom.sum()
    value = np.clip(np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0), 0, 1)
    return value if mode == "coordinate" else float(value)


def _sandwich(problem: Problem, theta: np.ndarray, weight: float) -> np.ndarray:
    n, P = len(problem.y), len(theta)
    H_inv = _inverse_hessian(problem, theta, weight)
    if weight == 0:
        w = _row_weights(problem.sampling.weights_labeled, n)[:, None]
        g = w * problem.model.scores(problem.X_labeled, problem.rows_y.Y, theta)
        meat = np.cov(g.T, ddof=1).reshape(P, P)
    else:
        g, g_hat, g_unlabeled = _scores(problem, theta)
        meat = n / len(g_unlabeled) * weight**2 * np.cov(g_unlabeled.T, ddof=1).reshape(P, P) + np.cov(
            (g - weight * g_hat).T, ddof=1
        ).reshape(P, P)
    return H_inv @ meat @ H_inv / n


@dataclass(frozen=True)
class _PeerQuantile(Rectified):
    """Points t (G,), rectified share there and its standard error: accepted points are those within z of q."""

    t: OptionalArray = None
    share: OptionalArray = None
    spread: OptionalArray = None
    q: float = 0.5

    def interval(self, level: float, alternative: str = "two-sided") -> tuple[np.ndarray, np.ndarray]:
        if alternative != "two-sided":
            raise ValueError("ppi-python has two-sided intervals of quantiles only; drop compat.")
        accepted = self.t[self._p() > 1 - level]
        if not len(accepted):
            raise ValueError("ppi-python accepts no point here (it raises IndexError); drop compat for an interval.")
        return accepted[:1], accepted[-1:]

    def p_value(self, null: np.ndarray, alternative: str = "two-sided") -> np.ndarray:
        check_alternative(alternative)
        if alternative != "two-sided":
            raise ValueError("ppi-python has two-sided tests of quantiles only; drop compat.")
        at = np.maximum(np.searchsorted(self.t, np.atleast_1d(null), side="right") - 1, 0)
        return self._p()[at]

    def _p(self) -> np.ndarray:
        from scipy.special import ndtr

        gap = self.share - self.q
        z = np.divide(gap, self.spread, out=np.where(gap == 0, 0.0, np.inf), where=self.spread > 0)
        return 2 * ndtr(-np.abs(z))


def _quantile(problem: Problem, weight: str | float) -> Rectified:
    """Weight 1 on the grid of all outcomes and predictions (`exact_grid=True`)."""
    if problem.has_predictions and problem.predicted.has_distribution:
        raise ValueError("compat='ppi_py' counts predictions at or below t; it knows no predictive distributions.")
    if weight not in ("ppi++", 0.0, 1.0):
        raise ValueError("ppi-python does not tune quantiles; use weight=1 (or 'auto'), or drop compat.")
    q, y, n = cast(Quantile, problem.estimand).q, problem.y, len(problem.y)
    w = _row_weights(problem.sampling.weights_labeled, n) / n
    if weight == 0 or not problem.has_predictions:
        t, value = np.unique(y), 0.0
        f, above, var_u = np.full(n, np.inf), np.zeros(()), np.zeros(())
    else:
        f, g, value = problem.f_labeled, problem.f_unlabeled, 1.0
        N = len(g)
        wu = _row_weights(problem.sampling.weights_unlabeled, N) / N
        t = np.unique(np.concatenate([y, f, g]))
        above = share_below(t, g, wu)
        var_u = share_below(t, g, wu**2) - above**2 / N
    m = labeled_moments(t, y, f, w)
    # A product of weight and indicator varies around its mean, not around the weighted mean of the indicator.
    Y2, B2, both2 = (share_below(t, v, w**2) for v in (y, f, np.maximum(y, f)))
    rest = Y2 - 2 * value * both2 + value**2 * B2 - (m.y - value * m.f) ** 2 / n
    share = m.y + value * (above - m.f)
    spread = np.sqrt(np.maximum(rest, 0) + value**2 * var_u)
    at = int(np.argmin(np.abs(share - q)))
    return _PeerQuantile(
        name_of(value), t[at : at + 1], np.array([[np.nan]]), np.inf, value, t=t, share=share, spread=spread, q=q
    )
