"""Intervals, p-values and Wald tests from an estimate, its covariance and the degrees of freedom of its reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icl.inference.checks import check_alternative, check_level

RANK = 1e-13
"""Eigenvalue of a correlation matrix, as a share of the largest, that is rounding."""


@dataclass(frozen=True)
class WaldTest:
    """Joint test of linear restrictions: the quadratic form, its degrees of freedom, and the p-value.

    `p_value` refers statistic / df to F(df, df_residual), or statistic to chi-squared(df) if df_residual is inf.
    """

    statistic: float
    df: int
    df_residual: float
    p_value: float


def t_interval(
    estimate: np.ndarray,
    std_error: np.ndarray,
    df: float | np.ndarray,
    level: float,
    alternative: str = "two-sided",
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds; `larger` leaves the upper side open, `smaller` the lower. `df` = inf: normal."""
    from scipy.special import ndtri, stdtrit

    check_level(level)
    check_alternative(alternative)
    tail = (1 - level) / 2 if alternative == "two-sided" else 1 - level
    reach = -(stdtrit(df, tail) if np.isfinite(df).all() else ndtri(tail)) * std_error
    endless = np.full_like(reach, np.inf)
    lower = -endless if alternative == "smaller" else estimate - reach
    upper = endless if alternative == "larger" else estimate + reach
    return lower, upper


def t_p_value(
    estimate: np.ndarray,
    std_error: np.ndarray,
    df: float | np.ndarray,
    null: np.ndarray,
    alternative: str = "two-sided",
) -> np.ndarray:
    """p-values of parameter = null: below 1 - level exactly where `t_interval` at `level` excludes null."""
    from scipy.special import ndtr, stdtr

    check_alternative(alternative)
    t = (estimate - null) / std_error
    below = (lambda x: stdtr(df, x)) if np.isfinite(df).all() else ndtr
    if alternative == "two-sided":
        return 2 * below(-np.abs(t))
    return below(-t) if alternative == "larger" else below(t)


def restrictions(R: Any, terms: Sequence[str]) -> np.ndarray:
    """(Q, P) matrix from a matrix, a term, or a list of terms.

    Raises:
        ValueError: for unknown terms, a wrong shape, or rows that repeat one another.
    """
    terms = list(terms)
    if isinstance(R, str):
        R = [R]
    if len(R) and all(isinstance(row, str) for row in R):
        unknown = [name for name in R if name not in terms]
        if unknown:
            raise ValueError(f"R names {unknown}, which are no terms; the terms are {terms}.")
        R = np.eye(len(terms))[[terms.index(name) for name in R]]
    R = np.atleast_2d(np.asarray(R, dtype=float))
    if R.shape[1] != len(terms):
        raise ValueError(f"R has shape {R.shape}; expected {len(terms)} columns, one for each term.")
    if np.linalg.matrix_rank(R) < len(R):
        raise ValueError(f"the {len(R)} restrictions of R repeat one another; leave out those that follow.")
    return R


def wald_test(
    estimate: np.ndarray, covariance: np.ndarray, df: float, terms: Sequence[str], R: Any, r: Any = 0.0
) -> WaldTest:
    """Joint test of R theta = r; `df` = inf refers to chi-squared instead of F."""
    from scipy.special import chdtrc, fdtrc

    R = restrictions(R, terms)
    Q = len(R)
    shift = R @ estimate - np.broadcast_to(np.asarray(r, dtype=float), Q)
    V = R @ covariance @ R.T
    unit = np.sqrt(np.diag(V))
    unit = np.where(unit > 0, unit, 1)
    size, axes = np.linalg.eigh(V / np.outer(unit, unit))
    known = size > RANK * size.max()  # shares that add up to one say one thing less than there are shares
    along = axes.T @ (shift / unit)
    off = np.abs(along[~known]).max(initial=0.0) > np.sqrt(RANK) * max(np.abs(along).max(), 1)
    Q, statistic = int(known.sum()), np.inf if off else float((along[known] ** 2 / size[known]).sum())
    p = fdtrc(Q, df, statistic / Q) if np.isfinite(df) else chdtrc(Q, statistic)
    return WaldTest(statistic, Q, df, float(p))


def adjust_p_values(p: np.ndarray, how: str) -> np.ndarray:
    """p-values (Q,) adjusted for their number: "none", "bonferroni", or "holm" (Holm 1979, uniformly better)."""
    Q = len(p)
    if how == "none":
        return p
    if how == "bonferroni":
        return np.minimum(Q * p, 1)
    if how != "holm":
        raise ValueError(f"adjust got {how!r}; known are 'none', 'bonferroni', 'holm'.")
    order = np.argsort(p)
    out = np.empty(Q)
    out[order] = np.minimum(np.maximum.accumulate((Q - np.arange(Q)) * p[order]), 1)
    return out
