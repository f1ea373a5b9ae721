"""Measures of a distribution: expected shortfall, inequality, shares of the total, the share below a line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.estimands.base import Example, as_numbers
from icl.inference.estimands.linearised import Linearised
from icl.inference.estimands.tails import tail_findings

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("cvar", "gini", "share", "below")


@dataclass(frozen=True, eq=False)
class Distribution(Linearised):
    """A measure of the distribution of a numeric column.

        Distribution("loss", "cvar", 0.9)            # mean of the largest tenth
        Distribution("income", "gini")
        Distribution("income", "share", (0.75, 1))   # of the total, what the richest quarter has
        Distribution("income", "below", 12_000)      # share of rows at or below a line

    Args:
        column: the outcome, numbers.
        measure: "cvar" (mean above the quantile `at`), "gini", "share" (of the total, between the quantiles `at`), or
            "below" (share of rows at or below the line `at`).
        at: a fraction, a pair of fractions, or a line; nothing for "gini".
    Thin and heavy tails are said: `icl.inference.estimands.tails`.

    Source:
        Rockafellar & Uryasev (2000), doi:10.21314/JOR.2000.038; influence functions of Gini and Lorenz ordinates:
        Langel & Tille (2013), doi:10.1111/j.1467-985X.2012.01048.x; from the rectified distribution: arXiv:2507.05220.
    """

    column: str
    measure: str = "gini"
    at: float | tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise ValueError(f"measure got {self.measure!r}; known are {', '.join(map(repr, MEASURES))}.")
        if isinstance(self.at, list):
            object.__setattr__(self, "at", tuple(self.at))
        if self.measure == "cvar" and not (isinstance(self.at, (int, float)) and 0 < self.at < 1):
            raise ValueError(f"'cvar' needs a fraction at=, got {self.at!r}; 0.9 is the mean of the largest tenth.")
        if self.measure == "share":
            at = self.at
            if not isinstance(at, tuple) or len(at) != 2 or not 0 <= at[0] < at[1] <= 1:
                raise ValueError(f"'share' needs two fractions at=, got {at!r}; (0.75, 1) is the richest quarter.")
        if self.measure == "below" and not isinstance(self.at, (int, float)):
            raise ValueError(f"'below' needs a line at=, got {self.at!r}; pass a number in the units of the column.")

    def __str__(self) -> str:
        words = {
            "cvar": "mean above quantile {at} of",
            "gini": "Gini coefficient of",
            "below": "share at or below {at} of",
        }
        if self.measure == "share" and isinstance(self.at, tuple):
            return f"share of the total of {self.column} from quantile {self.at[0]:g} to {self.at[1]:g}"
        return f"{words[self.measure].format(at=self.at)} {self.column}"

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        return (self.column,)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (
            Example(cls("y", "cvar", 0.7), "f"),
            Example(cls("count", "gini"), "mu", has_units=False),
            Example(cls("count", "share", (0.5, 1)), "mu", has_units=False),
            Example(cls("y", "below", 0.5), "f", has_units=False),
        )

    def parameters(self, terms: list[str]) -> list[str]:
        at = "" if self.at is None else " " + "-".join(f"{v:g}" for v in np.atleast_1d(self.at))
        return [f"{self.column} {self.measure}{at}"]

    def refer(self, labeled: pd.DataFrame, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Outcomes in increasing order, and their shares of the weight."""
        y = as_numbers(labeled[self.column], "numbers as the outcome of a Distribution")
        if self.measure in ("gini", "share") and (y < 0).any():
            raise ValueError(
                f"{int((y < 0).sum())} values of {self.column!r} are negative; shares of a total, and the Gini "
                "coefficient, are for amounts. Use 'cvar' or 'below', or a column that cannot be negative."
            )
        if self.measure in ("gini", "share") and not y.any():
            raise ValueError(f"all labeled values of {self.column!r} are zero; there is no total to share.")
        order = np.argsort(y, kind="stable")
        return y[order], weights[order] / weights.sum()

    @property
    def limits(self) -> tuple[float, float]:
        return super().limits if self.measure == "cvar" else (0.0, 1.0)

    def findings(self, labeled: pd.DataFrame, unlabeled: pd.DataFrame) -> Iterable[Diagnostic]:
        if self.measure == "below":  # a share, which has exact intervals
            return ()
        parts: dict[str, list[Any]] = {"gini": [], "cvar": [(self.at, 1.0)], "share": [self.at]}
        y, w = self.reference
        return tail_findings(y, w, parts[self.measure], self.column)

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        y = as_numbers(labeled[self.column], "numbers as the outcome of a Distribution")
        return self.of_predictions(y, labeled)

    def of_predictions(self, f: np.ndarray, frame: pd.DataFrame) -> np.ndarray:
        y, w = self.reference
        if self.measure == "below":
            return (f <= self.at).astype(float)
        if self.measure == "cvar":
            q = _quantile(y, w, float(self.at))  # type: ignore[arg-type]  # checked in __post_init__
            return q + np.maximum(f - q, 0) / (1 - self.at)  # type: ignore[operator]
        mean = float(w @ y)
        if self.measure == "gini":
            gap = _mean_gap(y, w, f)  # E|f - Y|
            whole = float(w @ _mean_gap(y, w, y))
            G = whole / (2 * mean)
            return G + (gap - whole) / mean - G * (f - mean) / mean
        low, high = self.at  # type: ignore[misc]
        (L0, psi0), (L1, psi1) = (_lorenz(y, w, p, f) for p in (low, high))
        S = (L1 - L0) / mean
        return S + (psi1 - psi0) / mean - S * (f - mean) / mean


def _quantile(y: np.ndarray, w: np.ndarray, p: float) -> float:
    """The smallest of increasing values y whose cumulated weight reaches p."""
    return float(y[min(int(np.searchsorted(np.cumsum(w), p - 1e-12)), len(y) - 1)])


def _mean_gap(y: np.ndarray, w: np.ndarray, f: np.ndarray) -> np.ndarray:
    """(R,) mean of |f - Y| over Y, which is increasing, with weights that sum to one."""
    below, total = np.r_[0.0, np.cumsum(w)], np.r_[0.0, np.cumsum(w * y)]
    k = np.searchsorted(y, f, side="right")
    return f * (2 * below[k] - 1) + total[-1] - 2 * total[k]


def _lorenz(y: np.ndarray, w: np.ndarray, p: float, f: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean of the outcome up to its p-quantile (ties in part), and the influence (R,) of values f on it."""
    if p in (0, 1):
        L = p * float(w @ y)
        return L, p * f - L
    q = _quantile(y, w, p)
    rise = lambda v: np.minimum(v, q)  # L(p) = E min(Y, q) - q (1 - p), whose derivative by q is zero
    L = float(w @ rise(y)) - q * (1 - p)
    return L, rise(f) - q * (1 - p) - L
