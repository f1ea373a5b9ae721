"""Labels that are errors as far as one can tell: alone, far from all others, and nothing in their rows is special."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd

from icl.tables.encoder import TableEncoder
from icl.tables.repeats import copies
from icl.tables.strays import APART, FAR, FAR_LOG, FEWEST_ROWS, are_strays, chance_together, distance, logs_of, scaled

SAID = r"y (\('.*'\) )?holds .*, far from all its other numbers"
"""What is said of wild labels, as a regular expression."""
# Different labels on a side: errors come singly, three that lie far out together are a part of the target. But not
# where each is far from the next, such as 999, 9999 and 99999.
_MOST, _MOST_APART = 2, 4
# Rows that share a label from which on it is a part of the target, and their share (as of `icl.prediction.atoms`).
_REPEATS, _REPEATED_SHARE = 5, 0.02
# Of the rows, the share whose left-out prediction is less extreme: above it the row is one of those that point there.
# Of errors at random rows 3 % are kept so; but not if they are more than so many times as far out as any other.
_POINTS_THERE, _MOST_EXPECTED = 0.97, 30.0
_N_TREES = 200
_MOST_ROWS = 2_000  # that trees learn from
# Nearer than this on the scale of all labels, none is far on that of those that do not repeat; 0 is no scale.
_MAY_BE = FAR / 3
# Of the rows that have a cell of their own: this share of errors is kept at most, however many columns there are.
_MOST_SINGLE = 0.05
# By chance two rows of 60 share what none of the others has in 1 of 1,770 columns.
_TOGETHER_BY_CHANCE = 0.05
# Of the rows that share a far value: more are a part of the target.
_MOST_CODED = 0.2
# Shares and percentages end there, and thin out towards 0.
_BOUNDS = (1.0, 100.0)


def wild_labels(X, numbers: np.ndarray, owner: str) -> np.ndarray:
    """(n,) which labels nothing speaks for; copies of a row count once.

    Args:
        X: n labelled rows, as estimators take them.
        numbers: (n,) finite.
        owner: named in messages about X.
    """
    out = np.zeros(len(numbers), dtype=bool)
    if len(numbers) < FEWEST_ROWS or len(np.unique(numbers)) < 3:
        return out
    # Before anything is read; an error that is repeated sets the scale of all labels, not that of the different ones.
    wholes = [distance(sizes, sizes).max() for sizes in (scaled(numbers), np.unique(scaled(numbers)))]
    if 0 < wholes[0] < _MAY_BE and wholes[1] < _MAY_BE:
        return out
    rows, group_N, cells_NF, is_categorical_F = _read(X, numbers, owner)
    if len(rows) < FEWEST_ROWS:  # or none, where X has other rows: `fit` says so
        return out
    far = _Lying(numbers[rows]).alone()
    if far.any():
        far &= ~_explained(cells_NF, is_categorical_F, numbers[rows], far)
        if len(np.unique(numbers[rows][~far])) < 2:
            return out
    return far[group_N]


def far_codes(X, numbers: np.ndarray, owner: str, target: Hashable = None) -> list[str]:
    """What the user is told of a value such as 999 that many rows share, far from all others and not explained."""
    if len(numbers) < FEWEST_ROWS or not _Lying(numbers).codes().any():
        return []
    rows, _, cells_NF, is_categorical_F = _read(X, numbers, owner)
    if len(rows) < FEWEST_ROWS:
        return []
    own = numbers[rows]
    found = _Lying(own).codes()
    if not found.any() or (found & _explained(cells_NF, is_categorical_F, own, found)).any():
        return []
    values, counts = np.unique(own[found], return_counts=True)
    shown = " and ".join(f"{value:.12g} in {n} rows" for value, n in zip(values.tolist(), counts.tolist()))
    return [
        f"{_named(target)} holds {shown}, far from all its other numbers, {own[~found].min():.12g} to "
        f"{own[~found].max():.12g}; they count as they are. If this stands for something else, such as a missing "
        f"label, leave these rows out"
    ]


def _read(X, numbers: np.ndarray, owner: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Different rows, of which of them each is a copy, their cells, and which columns are categories."""
    cells_NF = (encoder := TableEncoder(owner).fit(X)).transform(X).astype(np.float64)
    if len(cells_NF) != len(numbers):
        none = np.zeros(0, dtype=np.int64)
        return none, none, cells_NF[:0], encoder.is_categorical_
    group_N = copies(cells_NF, numbers)
    rows = np.unique(group_N, return_index=True)[1]
    return rows, group_N, cells_NF[rows], encoder.is_categorical_


def _explained(cells_NF, is_categorical_F: np.ndarray, numbers: np.ndarray, far: np.ndarray) -> np.ndarray:
    """(n,) of the far rows, those whose cells are special or point to such labels."""
    special = _special(cells_NF, is_categorical_F, numbers, far)
    return special | _expected(cells_NF, numbers, far)


def nearest(numbers: np.ndarray, far: np.ndarray) -> np.ndarray:
    """(n,) labels as models are told them: in place of a far one the nearest that is not."""
    return np.clip(numbers, numbers[~far].min(), numbers[~far].max())


def names_of_rows(X, y, n: int) -> pd.Index:
    """(n,) as the user finds them: by the index of y or of X, else by position."""
    indexed = [table.index for table in (y, X) if isinstance(table, pd.Series | pd.DataFrame)]
    return indexed[0] if indexed else pd.RangeIndex(n)


def sentences(numbers: np.ndarray, far: np.ndarray, names: pd.Index | None, target: Hashable = None) -> list[str]:
    """What the user is told of wild labels.

    Args:
        names: (n,) of the rows, as the user has them; None if some are left out or repeated.
        target: its name, if it has one.
    """
    if not far.any():
        return []
    others = numbers[~far]
    if names is not None:
        shown = [f"{value:.12g} (row {name!r})" for value, name in zip(numbers[far].tolist(), names[far].tolist())]
    else:
        shown = [f"{value:.12g}" for value in np.unique(numbers[far]).tolist()]
    shown = shown[:4] + ["..."] * (len(shown) > 4)
    one = len(shown) == 1
    log = "; if such numbers do occur, predict a logarithm of y"
    return [
        f"{_named(target)} holds {', '.join(shown)}, far from all its other numbers, {others.min():.12g} to "
        f"{others.max():.12g}, and no cell of {'its row' if one else 'their rows'} tells why; predictions take the "
        f"nearest of these for it. If it is an error, leave the row out"
        f"{log if numbers.min() > 0 and numbers[far].min() > others.max() else ''}"
    ]


def _named(target: Hashable) -> str:
    return "y" if target is None or target == "" else f"y ({target!r})"


class _Lying:
    """How far out labels lie.

    Values that repeat are left out of the measure, where enough others are left: amounts are measured beside amounts.

    Attributes:
        repeats: (n,) labels that many rows share.
        distances: (n,).
        is_far: (n,) bool, on every scale that suits them.
        above: (n,) which side.
    """

    def __init__(self, numbers: np.ndarray):
        sizes = scaled(numbers)
        self.above = sizes > np.median(sizes)
        values, place, counts = np.unique(sizes, return_inverse=True, return_counts=True)
        self.repeats = (counts >= max(_REPEATS, _REPEATED_SHARE * len(sizes)))[place]
        self.measure = ~self.repeats if (~self.repeats).sum() >= FEWEST_ROWS else np.ones_like(self.repeats)
        self.distances = distance(sizes, sizes[self.measure])
        self.is_far = self.distances > FAR
        if sizes.min() >= 0 or sizes.max() <= 0:
            logs = logs_of(sizes)
            self.is_far &= distance(logs, logs[self.measure]) > FAR_LOG
        if numbers.min() >= 0 and numbers.max() <= _BOUNDS[1]:
            left = logs_of(next(bound for bound in _BOUNDS if numbers.max() <= bound) - numbers)
            self.is_far &= (distance(left, left[self.measure]) > FAR_LOG) | self.above

    def alone(self) -> np.ndarray:
        """(n,) which lie far from all others, at most two different ones on a side; what repeats is no error."""
        is_far = self.is_far & ~self.repeats
        steps = np.sort(self.distances[self.measure | is_far])
        for i in np.flatnonzero((steps[1:] > FAR) & (steps[1:] >= APART * steps[:-1])):
            beyond = is_far & (self.distances > steps[i])
            if beyond.any() and all(_are_few(self.distances[beyond & side]) for side in (self.above, ~self.above)):
                return beyond
        return np.zeros_like(is_far)

    def codes(self) -> np.ndarray:
        """(n,) of what repeats, one or two values that lie far from all others."""
        found = self.is_far & self.repeats
        if not found.any() or found.mean() > _MOST_CODED or len(np.unique(self.distances[found])) > _MOST:
            return np.zeros_like(found)
        return found & (self.distances >= APART * self.distances[~self.is_far].max())


def _are_few(distances: np.ndarray) -> bool:
    """Of labels on one side."""
    steps = np.unique(distances)
    return len(steps) <= _MOST or (len(steps) <= _MOST_APART and bool((steps[1:] >= APART * steps[:-1]).all()))


def _special(cells_NF: np.ndarray, is_categorical_F: np.ndarray, numbers: np.ndarray, far: np.ndarray) -> np.ndarray:
    """(n,) of the far rows, those that a cell tells from all others: what it means is for models to say.

    One row by a cell that is far out or the only one of its value in a column whose values repeat; several on a side by
    what they share and hardly another row has: a level, a gap, an end of a column.
    """
    n, n_columns = cells_NF.shape
    own = [_alone_in(cells, cat) for cells, cat in zip(cells_NF.T, is_categorical_F, strict=True)]
    out = np.zeros(n, dtype=bool)
    for rows in sorted(own, key=np.sum):
        if (out | rows).sum() > max(_MOST_SINGLE * n, 1):
            break
        out |= rows
    out &= far
    for side in (numbers > np.median(numbers), numbers < np.median(numbers)):
        group = far & side
        if group.sum() > 1:
            columns = (
                pd.Series(pd.Categorical(cells) if cat else cells)
                for cells, cat in zip(cells_NF.T, is_categorical_F, strict=True)
            )
            if min(chance_together(column, group) for column in columns) * 4 * n_columns < _TOGETHER_BY_CHANCE:
                out |= group
    return out


def _alone_in(cells: np.ndarray, is_categorical: bool) -> np.ndarray:
    """(n,) which cells of a column are far out, or the only ones of their value where few are."""
    out = np.zeros(len(cells), dtype=bool) if is_categorical else are_strays(cells)
    known = ~np.isnan(cells)
    place, counts = np.unique(cells[known], return_inverse=True, return_counts=True)[1:]
    single = known.copy()
    single[known] = (counts == 1)[place]
    return out | single if single.sum() <= max(_MOST_SINGLE * len(cells), 1) else out


def _expected(cells_NF: np.ndarray, numbers: np.ndarray, far: np.ndarray) -> np.ndarray:
    """(n,) of the far rows, for which left-out trees say numbers as extreme as for few others, on the same side.

    The trees predict ranks, so that an error weighs no more than any label.
    """
    from sklearn.ensemble import ExtraTreesRegressor  # takes a while, and is seldom needed

    rng = np.random.default_rng(0)
    others = np.flatnonzero(~far)
    rows = np.sort(np.r_[np.flatnonzero(far), rng.permutation(others)[: _MOST_ROWS - far.sum()]])
    ranks = np.searchsorted(np.sort(numbers[rows]), numbers[rows], side="left") / len(rows)
    trees = ExtraTreesRegressor(_N_TREES, bootstrap=True, oob_score=True, min_samples_leaf=2, random_state=0)
    said = np.full(len(numbers), np.nan)
    said[rows] = trees.fit(cells_NF[rows], ranks).oob_prediction_
    out = np.zeros(len(numbers), dtype=bool)
    sizes = scaled(numbers)
    distances = distance(sizes, sizes[others])
    for row in np.flatnonzero(far & (distances <= _MOST_EXPECTED * distances[others].max())):
        side = 1 if numbers[row] > np.median(numbers) else -1
        out[row] = (side * said[others] < side * said[row]).sum() >= _POINTS_THERE * np.isfinite(said[others]).sum()
    return out
