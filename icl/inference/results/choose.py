"""Which rows to label next: where the error is expected, and matters.

Source: Zrnic & Candes (2024), arXiv:2403.03208.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from icl.inference.results.plan import read_term

if TYPE_CHECKING:
    from icl.inference.inputs.design import Design
    from icl.inference.results.result import InferenceResult


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
    problem = result.problem
    n, N = result.n_labeled, result.n_unlabeled
    if not problem.has_predictions:
        raise ValueError("this result used no predictions, so no row is more worth labeling than another.")
    if not isinstance(budget, (int, np.integer)) or not 1 <= budget <= N:
        raise ValueError(f"budget got {budget!r}; it must be a whole number from 1 to {N}, the unlabeled rows.")
    if not 0 < uniform <= 1:
        raise ValueError(f"uniform must lie in (0, 1], got {uniform}; at 0 some rows could never be drawn.")
    order = np.asarray(result.order)
    if uncertainty is None:
        error = _expected_error(result)
    else:
        error = np.asarray(uncertainty, dtype=float)
        if error.shape != (n + N,) or not np.isfinite(error).all() or (error < 0).any():
            raise ValueError(f"uncertainty= must hold {n + N} finite numbers of at least 0, one for each row.")
        error = error[order]
    value = error * _pull(result, read_term(result, term))
    value = np.maximum(value, 1e-3 * value[n:].mean()) if value[n:].any() else np.ones(n + N)
    # Labeled rows get the probability that they would have had, were they unlabeled: the same price for their value.
    share = (1 - uniform) * np.minimum(water_level(value[n:], budget) * value, 1) + uniform * budget / N
    chosen = n + _systematic(share[n:], np.random.default_rng(seed))
    probability = np.empty(n + N)
    probability[order] = result.inclusion + (1 - result.inclusion) * share
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
    problem = result.problem
    assert problem.f_labeled is not None and problem.f_unlabeled is not None
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
    problem = result.problem
    X = np.concatenate([problem.X_labeled, problem.X_unlabeled])
    terms = list(result.estimate.index)
    if X.shape[1] != len(terms):
        return np.ones(len(X))
    h = np.linalg.pinv(X.T @ X / len(X))[terms.index(term)]
    return np.abs(X @ h)
