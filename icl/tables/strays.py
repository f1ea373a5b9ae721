"""Numbers far from all others of their column: typing errors, codes such as 999 for "unknown", one rich man.

Least squares, means and standard deviations believe one such number as much as a hundred others. A rare group with
numbers of its own, which another column tells from the others, is no error.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import hypergeom

# Distance from the median, in widths of the wider half between the median and the 5 % and 95 % points of a normal
# distribution with the column's quartiles: 25 standard deviations of a normal one. Of Student's t with two degrees of
# freedom one number in 900 lies farther out, of three one in 10,000.
FAR = 15.0
# The same on the scale of logarithms, for numbers of one sign, which must lie far out on both: 5.8 of their standard
# deviations.
FAR_LOG = 3.5
# How many times as far out as the farthest number that does not stray: between the two farthest of Student's t with two
# degrees of freedom this lies in 1 of 16 samples, of a normal column never.
APART = 4.0
# Of the rows; where more lie far out they are a part of the column, not strays. But for codes, of which there are few.
_MOST, _MOST_CODED, _MOST_CODES = 0.03, 0.2, 2
FEWEST_ROWS = 10
# Of spreads: what is rare and so far out lies farther from the mean, a fifth of the rows at one place too.
_QUICK = 1.8
# By chance one column in a thousand tells strays from others; of a single one nobody knows.
_BY_CHANCE = 1e-3
# The 95 % point of a normal distribution over its upper quartile.
_OUTER = 2.4387


def are_strays(numbers: np.ndarray) -> np.ndarray:
    """(n,) whether each number strays; missing ones do not."""
    out = np.zeros(len(numbers), dtype=bool)
    rows = np.flatnonzero(np.isfinite(numbers))
    seen = scaled(numbers[rows])
    if len(seen) < FEWEST_ROWS or np.abs(seen - seen.mean()).max() <= _QUICK * seen.std():
        return out
    far = _apart(distance(seen, seen))
    if far.any() and (seen.min() >= 0 or seen.max() <= 0):
        logs = logs_of(seen)
        far &= distance(logs, logs) > FAR_LOG
    is_coded = len(np.unique(seen[far])) <= _MOST_CODES
    if far.sum() <= max(1, (_MOST_CODED if is_coded else _MOST) * len(seen)):
        out[rows] = far
    return out


def scaled(numbers: np.ndarray) -> np.ndarray:
    """(n,) over the largest of them, whose square may overflow."""
    return numbers / max(np.abs(numbers).max(initial=0.0), np.finfo(float).tiny)


def logs_of(numbers: np.ndarray) -> np.ndarray:
    """(n,) logarithms of sizes, not all 0; a few zeros count as half of the least that is none."""
    sizes = np.abs(numbers)
    return np.log(np.maximum(sizes, sizes[sizes > 0].min() / 2))


def _apart(distances: np.ndarray) -> np.ndarray:
    """(n,) which lie far out, and far beyond all that do not: a long tail thins out, an error is somewhere else."""
    steps = np.sort(distances)
    is_gap = (steps[1:] > FAR) & (steps[1:] >= APART * steps[:-1])
    return distances >= steps[1:][is_gap][0] if is_gap.any() else np.zeros(len(distances), dtype=bool)


def strays_beside(X: pd.DataFrame, numbers: np.ndarray) -> np.ndarray:
    """(n,) which numbers stray, none missing, and no other column tells them from the rest, which vary.

    Args:
        X: (n, F) the other columns.
    """
    far = are_strays(numbers)
    if not far.any():
        return far
    rest = X[~far]
    is_group = far.sum() > 1 and any(
        chance_together(X.iloc[:, j], far) * 4 * X.shape[1] < _BY_CHANCE for j in range(X.shape[1])
    )
    if is_group or len(np.unique(numbers[~far])) < 2 or not varies(rest):
        return np.zeros_like(far)
    return far


def varies(X: pd.DataFrame) -> bool:
    """Whether any column holds more than one value, or gaps beside it."""
    return any(X.iloc[:, j].nunique(dropna=False) > 1 for j in range(X.shape[1]))


def chance_together(column: pd.Series, far: np.ndarray) -> float:
    """The chance that far rows, were they drawn at random, lay as close together in a column as they do.

    By the exact distribution of how many of them lie in some part of it: one level, or beyond the nearest or the middle
    one of them.
    """
    missing = column.isna().to_numpy()
    parts = [missing]
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        cells = column.to_numpy(dtype=np.float64, na_value=np.nan)
        own = cells[far & ~missing]
        if len(own):
            parts += [cells >= end for end in (own.min(), np.median(own))]
            parts += [cells <= end for end in (own.max(), np.median(own))]
    else:
        # Gaps of a category stay gaps in `astype(str)`, and cannot be sorted among names.
        names = column.astype(object).map(str).to_numpy(dtype=object)
        level, counts = np.unique(names[far & ~missing], return_counts=True)
        if len(level):
            parts.append(~missing & (names == level[counts.argmax()]))
    return float(min(hypergeom.sf((part & far).sum() - 1, len(far), far.sum(), part.sum()) for part in parts))


def distance(numbers: np.ndarray, among: np.ndarray) -> np.ndarray:
    """(n,) distances from the median of other numbers, in widths of their wider half; 0 where these hardly differ."""
    low, middle, high = np.quantile(among, (0.25, 0.5, 0.75))
    half = _OUTER * max(high - middle, middle - low)
    return np.abs(numbers - middle) / half if half > 0 else np.zeros(len(numbers))
