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
        width: of the interval, at the median of what the next analysis may give.
        cost, cost_predictions: of labels and predictions together, and of the predictions, in the unit of the costs
            that were given.
        correlation: of outcome and predictions, which the plan takes as known.
        feasible: False if no number of labels among these rows reaches the width.
        wanted, chance: the width that was asked for, and the probability that the next analysis reaches it.
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
    wanted: float = np.nan
    chance: float = np.nan
    cost_predictions: float = 0.0

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
            f"{100 * self.level:g}% interval of width {self.width:.4g} at the median (correlation "
            f"{self.correlation:.2f}); the chance that it is no wider than {self.wanted:.4g} is {self.chance:.0%}. "
            f"Without predictions {self.n_classical:,} labels would be needed."
            + (
                f" It costs {self.cost:,.6g}, of which predictions {self.cost_predictions:,.6g}."
                if self.cost_predictions
                else ""
            )
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
    chance: float | None = None,
) -> Plan:
    """Labels needed for a `level` interval of total `width`, judged from the labels that are there already.

    Takes the spread of the outcome and the correlation of outcome and predictions from `result`, as if known, and
    a weight that is tuned. An interval of half the width needs about four times the labels.

    The spread is not known, neither from the first batch nor from the next: the width is reached in about half of the
    draws, unless `chance` asks for more. Measured (benchmarks/planned_width.md, Monte Carlo error .03): in .47 to .49
    of draws by default, in .79 to .83 with `chance=0.8`, for means and slopes after 60 and 200 labels.

    Args:
        result: an analysis of a first batch of labels.
        width: upper minus lower bound wanted, in the units of the estimate.
        term: parameter to plan for; needed where there are several.
        level: coverage; default: that of `result`.
        n_rows: labeled and unlabeled rows together; default: those of `result`, unless predictions cost something.
        cost_label: of one label.
        cost_prediction: of one prediction with its covariates, in the same unit; labeled rows need one too. If
            it is positive and `n_rows` is not given, the cheapest pair of labels and predictions is planned. In money
            for time: `model.time_estimate(n_rows, n_columns, n_queries=N).seconds`, over N, times what a second costs.
        chance: probability that the next interval is no wider than `width`, such as 0.8; default: its median is.
    Raises:
        ValueError: for a width or a cost that is not positive, a chance outside (0, 1), an unknown term.
    """
    if not width > 0:
        raise ValueError(f"width must be positive, got {width}; it is the upper bound minus the lower one.")
    if not cost_label > 0 or not cost_prediction >= 0:
        raise ValueError(
            f"cost_label must be positive and cost_prediction at least 0, got {cost_label} and {cost_prediction}."
        )
    if chance is not None and not 0 < chance < 1:
        raise ValueError(f"chance must lie in (0, 1), got {chance}; write 0.8 for 80%.")
    pilot = _Pilot.of(result, read_term(result, term), check_level(result.level if level is None else level))
    if n_rows is None and cost_prediction == 0:
        n_rows = result.n_labeled + result.n_unlabeled

    def allocation(m: int) -> tuple[int, int]:
        n, N = labels_needed(m, pilot.correlation, n_rows=n_rows, cost_ratio=cost_prediction / cost_label)
        n = int(np.ceil(n - 1e-9))
        return n, int(np.ceil(N - 1e-9)) if n_rows is None else max(n_rows - n, 0)

    def is_reached(n: int, N: int) -> bool:
        return pilot.width(n, N) <= width if chance is None else pilot.chance(n, N, width) >= chance

    def made(n: int, N: int, feasible: bool = True) -> Plan:
        predicted = (n + N) * cost_prediction if N else 0.0
        cost = n * cost_label + predicted
        median, chance_of_it = pilot.width(n, N), pilot.chance(n, N, width)
        return Plan(
            pilot.term,
            n,
            N,
            n_classical,
            median,
            pilot.level,
            cost,
            pilot.correlation,
            feasible,
            width,
            chance_of_it,
            predicted,
        )

    def reaches(m: int) -> bool:
        n, N = allocation(m)
        return n >= pilot.fewest and is_reached(n, N)

    n_classical = _smallest(lambda m: is_reached(m, 0), pilot.fewest)
    if n_rows is not None and not is_reached(n_rows, 0):
        return made(n_rows, 0, feasible=False)
    return made(*allocation(_smallest(reaches, pilot.fewest)))


@dataclass(frozen=True)
class _Pilot:
    """What a first batch of labels says about the width of later intervals.

    Attributes:
        sigma: standard error from one label, without predictions.
        df: degrees of freedom of the t reference from n labels; inf for the normal one.
        spent: degrees of freedom that parameters cost, whatever n is; 0 where uneven weights and clusters cost a share.
        worth: degrees of freedom of the estimated variance, for each label.
    """

    term: str
    level: float
    correlation: float
    sigma: float
    n: int
    df: float
    spent: float
    is_even: bool
    worth: float

    @classmethod
    def of(cls, result: InferenceResult, term: str, level: float) -> _Pilot:
        ends: np.ndarray = result.interval(level).loc[[term]].to_numpy(dtype=float)
        width = float(np.ptp(ends))
        if not np.isfinite(width):
            raise ValueError(f"the interval of {term!r} is open, so the spread is not known; label more rows first.")
        # From the interval, because that of a quantile has no standard error of its own.
        sigma = width / (2 * _quantile(level, result.df)) * np.sqrt(result.n_effective[term])
        spent = result.n_labeled - result.df if np.isfinite(result.df) else 0.0
        sampling = result.problem.sampling
        is_even = sampling.weights_labeled is None and sampling.clusters_labeled is None
        worth = float(result.df_of_variance[term]) / result.n_labeled
        if result.problem.arms is not None:  # labeled rows of one arm are what predictions of the other stand beside
            sigma = sigma * np.sqrt(result.n_labeled / result.n_effective[term])
            return cls(term, level, 0.0, float(sigma), result.n_labeled, result.df, 0.0, False, worth)
        rho, n = float(result.correlation[term]), result.n_labeled
        return cls(term, level, rho, float(sigma), n, result.df, spent, is_even, worth)

    @property
    def fewest(self) -> int:
        """Labels without which there is no interval."""
        return int(self.spent) + 2 if self.is_even else 2

    def width(self, n: float, N: float) -> float:
        """Median width from n labels and N predictions."""
        df = self.df
        if np.isfinite(df):
            df = n - self.spent if self.is_even else max(n * self.df / self.n, 1)
        return 2 * _quantile(self.level, df) * self.sigma / np.sqrt(effective_size(n, N, self.correlation))

    def chance(self, n: float, N: float, width: float) -> float:
        """Probability of a width of at most `width`: both variances, of now and then, scatter like chi-squared."""
        from scipy.special import fdtr

        return float(fdtr(self.worth * n, self.worth * self.n, (width / self.width(n, N)) ** 2))


def read_term(result: InferenceResult, term: str | None) -> str:
    known = list(result.estimate.index)
    if term is None and len(known) == 1:
        return known[0]
    if term is None or term not in known:
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
