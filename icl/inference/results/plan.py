"""Before labeling: how many labels an interval of a given width needs, and which rows to label next.

Sources: the variance of a control variate, arXiv:2311.01453; cost-optimal labels and predictions, Broska, Howes, van
Loon (2025), doi:10.1177/00491241251326865; labels where the error is expected, Zrnic & Candes (2024), arXiv:2403.03208.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from icl.inference.checks import check_level

if TYPE_CHECKING:
    from icl.inference.inputs.design import Design
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
        if not self.feasible:
            return (
                f"{self.term}: no number of labels among these {self.n_labeled + self.n_unlabeled:,} rows gives a "
                f"{100 * self.level:g}% interval that narrow; all labels would give {self.width:.4g}."
            )
        return (
            f"{self.term}: {self.n_labeled:,} labels and {self.n_unlabeled:,} predictions give a "
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
    term = _term(result, term)
    rho = float(result.correlation[term])
    lower, upper = result.interval(level).loc[term]
    if not np.isfinite(upper - lower):
        raise ValueError(f"the interval of {term!r} is open, so the spread is not known; label more rows first.")
    # Of one label, without predictions; from the interval, because that of a quantile has no standard error of its own.
    sigma = float((upper - lower) / (2 * _quantile(level, result.df)) * np.sqrt(result.n_effective[term]))
    spent = result.n_labeled - result.df if np.isfinite(result.df) else 0.0
    if n_rows is None and cost_prediction == 0:
        n_rows = result.n_labeled + result.n_unlabeled

    is_even = result._problem.sampling.weights_labeled is None and result._problem.sampling.clusters_labeled is None

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


@dataclass(frozen=True, eq=False)
class Choice:
    """Which rows to label next.

    Attributes:
        rows: (budget,) positions of the chosen rows in the table that was analysed (in `labeled`, then `unlabeled`, if
            it came as two).
        probability: (n + N,) of each row of that table to be labeled by the end, first batch included. With
            `design` it makes the next analysis valid, although the chosen rows are no random sample.
    """

    rows: np.ndarray
    probability: np.ndarray

    @property
    def design(self) -> Design:
        """What to pass as `design=` once the chosen rows have their labels, with the rows in the same order."""
        from icl.inference.inputs.design import Design

        return Design(probability=self.probability)


def choose(
    result: InferenceResult,
    budget: int,
    seed: int,
    *,
    term: str | None = None,
    uncertainty: np.ndarray | None = None,
    uniform: float = 0.25,
) -> Choice:
    """Which `budget` unlabeled rows to label next: more often those whose predictions may be wrong, and matter.

    The variance is least if a row is drawn with probability proportional to its expected error times its pull on the
    estimate, |h_j' x|, cut off at one. The rows are then drawn, not picked: exactly `budget` of them.

    Args:
        result: an analysis of a first batch of labels, with predictions.
        budget: rows to label, 1 to the number of unlabeled rows.
        seed: of the draw.
        term: parameter to be estimated well; needed where there are several.
        uncertainty: (n + N,) expected error of each prediction, in the order of the table; default:
            sqrt(f (1 - f)) for probabilities of a 0/1 outcome, otherwise the errors seen on labeled rows with similar
            predictions.
        uniform: share of the budget that is spread evenly, so that no weight explodes where errors were misjudged.
    Raises:
        ValueError: without predictions or unlabeled rows, or for arguments out of range.
    Source:
        Zrnic & Candes (2024), arXiv:2403.03208; the bound by one is met by water-filling, in closed form.
    """
    problem = result._problem
    n, N = result.n_labeled, result.n_unlabeled
    if not problem.has_predictions:
        raise ValueError("this result used no predictions, so no row is more worth labeling than another.")
    if not isinstance(budget, (int, np.integer)) or not 1 <= budget <= N:
        raise ValueError(f"budget got {budget!r}; it must be a whole number from 1 to {N}, the unlabeled rows.")
    if not 0 < uniform <= 1:
        raise ValueError(f"uniform must lie in (0, 1], got {uniform}; at 0 some rows could never be drawn.")
    order = np.asarray(result._order)
    if uncertainty is None:
        error = _expected_error(result)
    else:
        error = np.asarray(uncertainty, dtype=float)
        if error.shape != (n + N,) or not np.isfinite(error).all() or (error < 0).any():
            raise ValueError(f"uncertainty= must hold {n + N} finite numbers of at least 0, one for each row.")
        error = error[order]
    value = error * _pull(result, _term(result, term))
    value = np.maximum(value, 1e-3 * value[n:].mean()) if value[n:].any() else np.ones(n + N)
    # Labeled rows get the probability that they would have had, were they unlabeled: the same price for their value.
    share = (1 - uniform) * np.minimum(water_level(value[n:], budget) * value, 1) + uniform * budget / N
    chosen = n + _systematic(share[n:], np.random.default_rng(seed))
    probability = np.empty(n + N)
    probability[order] = result._inclusion + (1 - result._inclusion) * share
    return Choice(np.sort(order[chosen]), probability)


def water_level(value: np.ndarray, total: float) -> float:
    """c with sum(min(c value, 1)) = total, which minimises sum(value^2 / p) over probabilities p with that sum."""
    descending = np.sort(value)[::-1]
    rest = np.cumsum(descending[::-1])[::-1]  # sum of this value and all smaller ones
    full = np.arange(len(value))  # rows above this one, all at probability one
    level = (total - full) / rest
    fits = level * descending <= 1 + 1e-12
    return float(level[fits.argmax()]) if fits.any() else float(1 / descending[-1])


def _systematic(probability: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Positions of a sample of fixed size with these inclusion probabilities, from a random order and start."""
    order = rng.permutation(len(probability))
    edges = np.cumsum(probability[order])
    size = int(round(edges[-1]))
    picks = (rng.random() + np.arange(size)) * (edges[-1] / size)
    return order[np.searchsorted(edges, picks, side="right").clip(max=len(order) - 1)]


def _expected_error(result: InferenceResult) -> np.ndarray:
    """(n + N,) root mean squared error of outcome minus weighted prediction, from labeled rows with similar f."""
    problem = result._problem
    f = np.concatenate([np.ravel(problem.f_labeled), np.ravel(problem.f_unlabeled)])
    y, n = np.ravel(problem.y), result.n_labeled
    if np.isin(y, (0, 1)).all() and f.min() >= 0 and f.max() <= 1:
        return np.sqrt(f * (1 - f))
    weight = float(np.mean(result.weight))
    squared = (y - weight * f[:n] - np.mean(y - weight * f[:n])) ** 2
    order = np.argsort(f[:n])
    ranked, sorted_f = squared[order], f[:n][order]
    reach = max(int(np.ceil(np.sqrt(n))), 5)
    sums = np.r_[0, np.cumsum(ranked)]
    place = np.searchsorted(sorted_f, f)
    low, high = np.maximum(place - reach, 0), np.minimum(place + reach, n)
    total, count = sums[high] - sums[low], (high - low).astype(float)
    # A labeled row must not look at its own error: the probability would depend on its label.
    own = np.empty(n, dtype=int)
    own[order] = np.arange(n)
    inside = (low[:n] <= own) & (own < high[:n])
    total[:n] -= squared * inside
    count[:n] -= inside
    # Shrunk to the overall error, as if by five more rows: a handful of neighbours says little.
    return np.sqrt((total + 5 * squared.mean()) / (count + 5))


def _pull(result: InferenceResult, term: str) -> np.ndarray:
    """(n + N,) |h_j' x|: how far a unit of error in this row moves the coefficient, up to a constant."""
    problem = result._problem
    X = np.concatenate([problem.X_labeled, problem.X_unlabeled])
    terms = list(result.estimate.index)
    if X.shape[1] != len(terms):
        return np.ones(len(X))
    h = np.linalg.pinv(X.T @ X / len(X))[terms.index(term)]
    return np.abs(X @ h)


def _term(result: InferenceResult, term: str | None) -> str:
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
