"""Rubin's rules: analyses of several completed tables become one, whose spread holds what is not known of the gaps.

Dimension key: m tables, P parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icl.inference.engine.hypothesis import t_interval, t_p_value

# Estimates that differ by less than this share of their variance are the same but for rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Pooled:
    """What `pool` returns.

    Attributes:
        estimate: (P,) mean of the estimates.
        covariance: (P, P) T = U + (1 + 1/m) B.
        within: (P, P) U, mean of the covariances.
        between: (P, P) B, covariance of the estimates over tables.
        df: (P,) Barnard and Rubin's degrees of freedom.
        fraction_missing: (P,) fraction of missing information, with the finite-m correction.
        increase: (P,) relative increase of the variance by the gaps, (1 + 1/m) B / U.
        m: tables.
        terms: names of the parameters, or None.
    """

    estimate: np.ndarray
    covariance: np.ndarray
    within: np.ndarray
    between: np.ndarray
    df: np.ndarray
    fraction_missing: np.ndarray
    increase: np.ndarray
    m: int
    terms: tuple[str, ...] | None = None

    @property
    def std_error(self) -> np.ndarray:
        """(P,) roots of the diagonal of `covariance`."""
        return np.sqrt(np.diag(self.covariance))

    def interval(self, level: float = 0.95) -> np.ndarray:
        """(P, 2) lower and upper ends."""
        return np.stack(t_interval(self.estimate, self.std_error, self.df, level), axis=1)

    def p_value(self, null: float = 0.0) -> np.ndarray:
        """(P,) two-sided, of parameter = null."""
        return t_p_value(self.estimate, self.std_error, self.df, np.broadcast_to(null, self.estimate.shape))

    def to_frame(self, level: float = 0.95) -> Any:
        """One row for each parameter, with the column names of R's broom, and the fraction of missing information."""
        import pandas as pd

        lower, upper = self.interval(level).T
        names: Any = self.terms or range(len(self.estimate))
        return pd.DataFrame(
            {
                "term": names,
                "estimate": self.estimate,
                "std.error": self.std_error,
                "p.value": self.p_value(),
                "conf.low": lower,
                "conf.high": upper,
                "df": self.df,
                "fraction.missing": self.fraction_missing,
            }
        )


def pool(analyses: Sequence[Any], df: float | np.ndarray = np.inf) -> Pooled:
    """One answer from the analyses of m completed tables.

    Args:
        analyses: of each table (estimates, covariance or standard errors), or an object with `params` and
            `cov_params()`.
        df: degrees of freedom with no cell missing, a number or (P,); inf for what is asymptotic. Of objects with
            `df_resid` theirs, the smallest, if none are given.
    Raises:
        ValueError: for fewer than two analyses, or such that differ in their parameters.
    Source:
        Rubin (1987), Multiple Imputation for Nonresponse in Surveys; Barnard & Rubin (1999),
        doi:10.1093/biomet/86.4.948.
    """
    if len(analyses) < 2:
        raise ValueError(f"pooling needs at least 2 analyses of completed tables, got {len(analyses)}.")
    read = [_read(one) for one in analyses]
    terms = read[0][2]
    sizes = {len(estimate) for estimate, _, _, _ in read}
    if len(sizes) > 1 or any(names != terms for _, _, names, _ in read):
        raise ValueError(
            f"the analyses differ in their parameters ({sorted(sizes)} of them; the first has {terms}): a level or a "
            "column is in some completed tables only. Merge rare levels before imputing."
        )
    estimates = np.stack([estimate for estimate, _, _, _ in read])
    m = len(estimates)
    if np.isscalar(df) and np.isinf(df):
        df = min(residual for *_, residual in read)
    complete = np.broadcast_to(np.asarray(df, dtype=float), estimates[0].shape)
    within = np.mean([covariance for _, covariance, _, _ in read], axis=0)
    center = estimates.mean(axis=0)
    between = (estimates - center).T @ (estimates - center) / (m - 1)
    total = within + (1 + 1 / m) * between
    U, B, T = np.diag(within), np.diag(between), np.diag(total)
    share = np.divide((1 + 1 / m) * B, T, out=np.zeros_like(T), where=T > 0)
    freedom = barnard_rubin(share, m, complete)
    with np.errstate(divide="ignore", invalid="ignore"):  # NaN where an analysis has no answer
        increase = (1 + 1 / m) * B / U
        missing = np.where(share >= 1, 1.0, (increase + 2 / (freedom + 3)) / (increase + 1))
    missing = np.where(share > _ROUNDING, missing, 0.0)
    return Pooled(center, total, within, between, freedom, missing, increase, m, terms)


def barnard_rubin(share: np.ndarray, m: int, complete: np.ndarray) -> np.ndarray:
    """(P,) degrees of freedom, from the share of the variance that the gaps make up and those without gaps."""
    with np.errstate(divide="ignore", invalid="ignore"):
        old = np.where(share > 0, (m - 1) / share**2, np.inf)
        observed = np.where(np.isinf(complete), np.inf, (complete + 1) / (complete + 3) * complete * (1 - share))
        return 1 / (1 / old + np.where(observed > 0, 1 / observed, np.inf))


def _read(one: Any) -> tuple[np.ndarray, np.ndarray, tuple[str, ...] | None, float]:
    """Estimates, covariance, names and residual degrees of freedom of one analysis."""
    if hasattr(one, "params") and hasattr(one, "cov_params"):
        estimate, covariance = one.params, one.cov_params()
        names = tuple(map(str, estimate.index)) if hasattr(estimate, "index") else None
        df = float(getattr(one, "df_resid", np.inf))
    else:
        estimate, covariance = one
        names, df = (tuple(map(str, estimate.index)) if hasattr(estimate, "index") else None), np.inf
    numbers = np.atleast_1d(np.asarray(estimate, dtype=float))
    spread = np.asarray(covariance, dtype=float)
    if spread.ndim < 2:  # standard errors
        spread = np.diag(np.broadcast_to(spread, numbers.shape) ** 2)
    return numbers, spread, names, df
