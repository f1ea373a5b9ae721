"""The arithmetic of conformal prediction: scores of strangeness, ranks among them, and intervals from both.

What is guaranteed, and by which method, stands at the head of `icl.estimators.conformal`.

Dimension key: n labelled rows, n_k of them in fold k, m query rows, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

import numpy as np

SCORES = ("lac", "aps")
# Cells of the (query row, labelled row) matrix that are sorted at once: 32 MB.
_BLOCK_CELLS = 4_000_000
# 1 - 0.9 is 0.0999...: ranks must not fall short by that.
_ROUNDING = 1e-9


def n_labels_needed(coverage: float) -> int:
    """Fewest labelled rows for which an interval of this coverage is finite; 9 for 90 %, 19 for 95 %, 99 for 99 %."""
    check_coverage(coverage)
    return math.ceil(1 / (1 - coverage) - 1 - _ROUNDING)


def check_coverage(coverage: float) -> None:
    """Raises ValueError unless `coverage` is a fraction in (0, 1)."""
    if not isinstance(coverage, Real) or not 0 < coverage < 1:
        raise ValueError(f"coverage must be a fraction in (0, 1), got {coverage!r}; write 0.9 for 90%.")


def plus_interval(
    lower: Sequence[np.ndarray],
    upper: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    coverage: float,
    weights: Sequence[np.ndarray] | None = None,
    unit: float | np.ndarray = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Interval that widens each fold's own by the scores of the rows held out from it.

    Args:
        lower, upper: per fold, (m,) ends of the interval that its context predicts for the query rows.
        scores: per fold, (n_k,) how far outside of their predicted interval its held-out rows lie; negative inside.
        coverage: nominal, a fraction.
        weights: per fold, (n_k,) how much each score counts; None if all count 1.
        unit: the weight of the new row, whose score is not known; or (m,) of each, with weights.
    Returns:
        lower, upper: (m,), infinite if there are fewer than `n_labels_needed(coverage)` scores.
    Source:
        Barber, Candes, Ramdas & Tibshirani (2021), doi:10.1214/20-AOS1965, eq. 3.1, with the score of Romano,
        Patterson & Candes (2019), arXiv:1905.03222, eq. 6. One fold gives the latter's split conformal interval. With
        weights: Tibshirani, Barber, Candes & Ramdas (2019), arXiv:1904.06019, lemma 3.
    """
    n = sum(map(len, scores))
    rank: int = min(int(n_outside(n, coverage)), n)
    m = len(lower[0])
    # What may lie beyond, less the new row's own share of it.
    beyond: float | np.ndarray = 0.0
    if weights is not None:
        weight_n = np.concatenate(weights)
        total = weight_n.sum()
        beyond = (1 - coverage) * (total + unit) - unit + _ROUNDING * total
    if rank < 1 or np.all(beyond < 0):
        return np.full(m, -np.inf), np.full(m, np.inf)
    beyond_m = np.broadcast_to(beyond, m)
    low, high = np.empty(m), np.empty(m)
    step = max(1, _BLOCK_CELLS // n)
    for start in range(0, m, step):
        rows = slice(start, start + step)
        lows = np.concatenate([a[rows, None] - e for a, e in zip(lower, scores)], axis=1)
        highs = np.concatenate([b[rows, None] + e for b, e in zip(upper, scores)], axis=1)
        if weights is None:
            low[rows] = np.partition(lows, rank - 1, axis=1)[:, rank - 1]
            high[rows] = np.partition(highs, n - rank, axis=1)[:, n - rank]
        else:
            low[rows] = _first_beyond(lows, weight_n, beyond_m[rows])
            high[rows] = -_first_beyond(-highs, weight_n, beyond_m[rows])
    low, high = np.where(beyond_m < 0, -np.inf, low), np.where(beyond_m < 0, np.inf, high)
    # Where the model was far too wide, scores are so negative that the ends may pass each other: nothing is needed
    # there, and the middle is the least that is still an interval.
    with np.errstate(invalid="ignore"):
        middle = low / 2 + high / 2
    crossed = low > high
    return np.where(crossed, middle, low), np.where(crossed, middle, high)


def _first_beyond(values_mn: np.ndarray, weight_n: np.ndarray, beyond_m: np.ndarray) -> np.ndarray:
    """(m,) the least value up to which the weights of a row's values add up to more than its `beyond_m`."""
    order = np.argsort(values_mn, axis=1, kind="stable")
    place = (np.cumsum(weight_n[order], axis=1) > beyond_m[:, None]).argmax(axis=1)
    rows = np.arange(len(values_mn))
    return values_mn[rows, order[rows, place]]


def n_better(
    scores_mC: Sequence[np.ndarray], scores: Sequence[np.ndarray], weights: Sequence[np.ndarray] | None = None
) -> np.ndarray:
    """(m, C) labelled rows, or their weight, that conform strictly better than the query row would with each class.

    Args:
        scores_mC: per fold, (m, C) score of each class for the query rows in that fold's context; high is strange.
        scores: per fold, (n_k,) scores of its held-out rows.
    """
    if weights is None:
        return np.asarray(sum(np.searchsorted(np.sort(e), s, side="left") for s, e in zip(scores_mC, scores)))
    better = np.zeros(())
    for s, e, w in zip(scores_mC, scores, weights):
        order = np.argsort(e, kind="stable")
        better = better + np.append(0.0, np.cumsum(w[order]))[np.searchsorted(e[order], s, side="left")]
    return better


def class_scores(probs: np.ndarray, score: str) -> np.ndarray:
    """(m, C) strangeness of each class, from (m, C) probabilities.

    "lac" is one less the probability: the smallest sets on average (Sadinle, Lei & Wasserman 2019,
    doi:10.1080/01621459.2017.1395341). "aps" is the probability of all likelier classes and half of its own: sets
    whose size follows how hard a row is (Romano, Sesia & Candes 2020, arXiv:2006.02544, eq. 5-7; with a half in place
    of their uniform draw, so that a row's set is no matter of luck. Any fixed score keeps the guarantee.)
    """
    if score == "lac":
        return 1 - probs
    order = np.argsort(-probs, axis=1, kind="stable")
    sorted_probs = np.take_along_axis(probs, order, axis=1)
    out = np.empty_like(probs)
    np.put_along_axis(out, order, np.cumsum(sorted_probs, axis=1) - sorted_probs / 2, axis=1)
    return out


def most_better(total: np.ndarray | float, unit: np.ndarray | float, coverage: float) -> np.ndarray:
    """A class is in a set unless labelled rows of this weight, of `total`, conform better than the row would with it.

    `unit` is the weight of the new row; with all weights 1, the count that `n_outside` leaves.
    """
    total, unit = np.asarray(total, dtype=float), np.asarray(unit, dtype=float)
    if np.all(unit == 1) and np.all(total % 1 == 0):
        return total + 1 - n_outside(total, coverage)
    return total + unit - (1 - coverage) * (total + unit) - _ROUNDING * total


def n_outside(n: int | np.ndarray, coverage: float) -> np.ndarray:
    """How many of n + 1 exchangeable scores may lie beyond."""
    return np.floor((1 - coverage) * (np.asarray(n) + 1) + _ROUNDING).astype(int)
