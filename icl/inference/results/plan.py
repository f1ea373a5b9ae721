"""Before labeling: how many labels an interval of a given width needs.

Sources: the variance of a control variate, arXiv:2311.01453; cost-optimal labels and predictions, Broska, Howes, van
Loon (2025), doi:10.1177/00491241251326865.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from icl.inference.checks import check_level
from icl.pages.escape import visible

if TYPE_CHECKING:
    from icl.inference.results.result import InferenceResult


@dataclass(frozen=True)
class Plan:
    """How many labels to buy.

    Attributes:
        n_labeled, n_unlabeled: rows to label, and rows to predict only.
        n_classical: labels that the same width would need without predictions.
        width: expected width of the interval.
        cost: of labels and predictions, in the unit of the costs that were given.
        correlation: of outcome and predictions, which the plan takes as known.
        feasible: False if no number of labels among these rows reaches the width.
    """

    term: str
    n_labeled: int
    n_unlabeled: int
    n_classical: int
    width: float
    level: float
    cost: float
    correlation: float
    feasible: bool = True

    @property
    def n_effective(self) -> float:
        """Labels that would give the same precision without predictions."""
        return effective_size(self.n_labeled, self.n_unlabeled, self.correlation)

    def __str__(self) -> str:
        name = visible(self.term)
        if not self.feasible:
            return (
                f"{name}: no number of labels among these {self.n_labeled + self.n_unlabeled:,} rows gives a "
                f"{100 * self.level:g}% interval that narrow; all labels would give {self.width:.4g}."
            )
        return (
            f"{name}: {self.n_labeled:,} labels and {self.n_unlabeled:,} predictions give a "
            f"{100 * self.level:g}% interval of width {self.width:.4g} (correlation {self.correlation:.2f}); "
            f"without predictions {self.n_classical:,} labels would be needed."
        )


def effective_size(n: float, N: float, correlation: float) -> float:
    """Labels worth n labels and N predictions: n (n + N) / (n + (1 - rho^2) N)."""
    return n * (n + N) / (n + (1 - correlation**2) * N)


def labels_needed(
    n_classical: float, correlation: float, *, n_rows: float | None = None, cost_ratio: float = 0.0
) -> tuple[float, float]:
    """Labels n and predictions N that are worth `n_classical` labels, at the lowest cost.

    Args:
        n_classical: labels that would do without predictions.
        correlation: of outcome and predictions (for a coefficient: of their influences).
        n_rows: n + N, if the number of rows is given; otherwise N is chosen by cost.
        cost_ratio: cost of one prediction (with its covariates) over the cost of one label; ignored if `n_rows` is
            given.
    Returns:
        n, N: not rounded. N = 0 where predictions do not pay.
    Raises:
        ValueError: for a correlation outside [-1, 1] or negative costs, and for free predictions without `n_rows`,
            of which there would be no end.
    """
    if not -1 <= correlation <= 1:
        raise ValueError(f"correlation must lie in [-1, 1], got {correlation}.")
    if not cost_ratio >= 0:
        raise ValueError(f"cost_ratio must be at least 0, got {cost_ratio}.")
    rho2 = min(correlation**2, 1 - 1e-12)
    if n_rows is not None:
        # n (n + N) = m (n + (1 - rho^2) N) at n + N = R is linear in n.
        n = n_classical * (1 - rho2) * n_rows / (n_rows - n_classical * rho2) if n_rows > n_classical else n_classical
        return min(n, n_classical), max(n_rows - n, 0.0)
    if cost_ratio == 0:
        raise ValueError("predictions that cost nothing have no best number; say how many rows there are with n_rows=.")
    # Each labeled row needs a prediction too, hence the price 1 + gamma of a label against gamma of a prediction.
    n = n_classical * (1 - rho2 + np.sqrt(cost_ratio * rho2 * (1 - rho2)))
    if n >= n_classical:
        return n_classical, 0.0
    N = n * (n_classical - n) / (n - (1 - rho2) * n_classical)
    if n + cost_ratio * (n + N) >= n_classical:
        return n_classical, 0.0
    return n, N


def plan(
    result: InferenceResult,
    width: float,
    *,
    term: str | None = None,
    level: float | None = None,
    n_rows: int | None = None,
    cost_label: float = 1.0,
    cost_prediction: float = 0.0,
) -> Plan:
    """Labels needed for a `level` interval of total `width`, judged from the labels that are there already.

    Takes the spread of the outcome and the correlation of outcome and predictions from `result`, as if known, and
    a weight that is tuned. An interval of half the width needs about four times the labels.

    Args:
        result: an analysis of a first batch of labels.
        width: upper minus lower bound wanted, in the units of the estimate.
        term: parameter to plan for; needed where there are several.
        level: coverage; default: that of `result`.
        n_rows: labeled and unlabeled rows together; default: those of `result`, unless predictions cost something.
        cost_label: of one label.
        cost_prediction: of one prediction with its covariates, in the same unit; labeled rows need one too. If
            it is positive and `n_rows` is not given, the cheapest pair of labels and predictions is planned.
    Raises:
        ValueError: for a width or a cost that is not positive, an unknown term.
    """
    if not width > 0:
        raise ValueError(f"width must be positive, got {width}; it is the upper bound minus the lower one.")
    if not cost_label > 0 or not cost_prediction >= 0:
        raise ValueError(
            f"cost_label must be positive and cost_prediction at least 0, got {cost_label} and {cost_prediction}."
        )
    level = check_level(result.level if level is None else level)
    term = read_term(result, term)
    rho = float(result.correlation[term])
    lower, upper = result.interval(level).loc[term]
    if not np.isfinite(upper - lower):
        raise ValueError(f"the interval of {term!r} is open, so the spread is not known; label more rows first.")
    # Of one label, without predictions; from the interval, because that of a quantile has no standard error of its own.
    sigma = float((upper - lower) / (2 * _quantile(level, result.df)) * np.sqrt(result.n_effective[term]))
    spent = result.n_labeled - result.df if np.isfinite(result.df) else 0.0
    if n_rows is None and cost_prediction == 0:
        n_rows = result.n_labeled + result.n_unlabeled

    sampling = result.problem.sampling
    is_even = sampling.weights_labeled is None and sampling.clusters_labeled is None

    def width_of(n: float, N: float) -> float:
        # Parameters cost as many degrees of freedom whatever n is; uneven weights and clusters cost a share of them.
        df = np.inf if np.isinf(result.df) else n - spent if is_even else max(n * result.df / result.n_labeled, 1)
        return 2 * _quantile(level, df) * sigma / np.sqrt(effective_size(n, N, rho))

    def allocation(m: int) -> tuple[int, int]:
        n, N = labels_needed(m, rho, n_rows=n_rows, cost_ratio=cost_prediction / cost_label)
        return int(np.ceil(n - 1e-9)), int(np.ceil(N - 1e-9))

    def price(n: int, N: int) -> float:
        return n * cost_label + ((n + N) * cost_prediction if N else 0.0)

    fewest = int(spent) + 2 if is_even else 2
    n_classical = _smallest(lambda m: width_of(m, 0) <= width, fewest)
    if n_rows is not None and width_of(n_rows, 0) > width:
        return Plan(term, n_rows, 0, n_classical, width_of(n_rows, 0), level, price(n_rows, 0), rho, feasible=False)

    def reaches(m: int) -> bool:
        n, N = allocation(m)
        return n >= fewest and width_of(n, N) <= width

    n, N = allocation(_smallest(reaches, fewest))
    if n_rows is not None:
        N = n_rows - n
    return Plan(term, n, N, n_classical, width_of(n, N), level, price(n, N), rho)


def read_term(result: InferenceResult, term: str | None) -> str:
    known = list(result.estimate.index)
    if term is None and len(known) == 1:
        return known[0]
    if term not in known:
        raise ValueError(f"term= got {term!r}; say which of {known} is to be estimated well.")
    return term


def _quantile(level: float, df: float) -> float:
    from scipy.special import ndtri, stdtrit

    tail = (1 - level) / 2
    return float(-(stdtrit(df, tail) if np.isfinite(df) else ndtri(tail)))


def _smallest(holds: Callable[[int], bool], start: int) -> int:
    """The smallest whole number from `start` on for which `holds` turns true (and stays true)."""
    high = start
    while not holds(high):
        if high > 10**15:
            return high
        start, high = high + 1, 2 * high
    while start < high:
        middle = (start + high) // 2
        start, high = (start, middle) if holds(middle) else (middle + 1, high)
    return high
