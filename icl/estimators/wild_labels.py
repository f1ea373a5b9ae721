"""Labels that are errors as far as one can tell: alone, far from all others, and not where their row points."""

from __future__ import annotations

import numpy as np

from icl.tables.encoder import TableEncoder
from icl.tables.repeats import copies
from icl.tables.strays import APART, FAR, FAR_LOG, FEWEST_ROWS, are_strays, distance, logs_of, scaled

SAID = "y holds "
"""How what is said of wild labels begins."""
# Different labels on a side: errors come singly, three that lie far out together are a part of the target.
_MOST = 2
# Rows that share a label from which on it is a part of the target, and their share (as of `icl.prediction.atoms`).
_REPEATS, _REPEATED_SHARE = 5, 0.02
# Of the rows, the share whose left-out prediction is less extreme: above it the row is one of those that point there.
# Of errors at random rows 3 % are kept so.
_POINTS_THERE = 0.97
_N_TREES = 200
_MOST_ROWS = 2_000  # that trees learn from
# Nearer than this on the scale of all labels, none is far on that of those that do not repeat; 0 is no scale.
_MAY_BE = FAR / 3
# Levels seen once say nothing where most levels are.
_MOST_SINGLE = 0.1


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
    sizes = scaled(numbers)
    whole = distance(sizes, sizes)
    if 0 < whole.max(initial=0.0) < _MAY_BE:  # before anything is read
        return out
    cells_NF = (encoder := TableEncoder(owner).fit(X)).transform(X).astype(np.float64)
    if len(cells_NF) != len(numbers):
        return out  # `fit` says so
    group_N = copies(cells_NF, numbers)
    rows = np.unique(group_N, return_index=True)[1]
    far = _alone(numbers[rows])
    if far.any():
        far &= ~_far_cells(cells_NF[rows], encoder.is_categorical_, far)
        far &= ~_expected(cells_NF[rows], numbers[rows], far)
        if len(np.unique(numbers[rows][~far])) < 2:
            return out
    return far[group_N]


def sentences(numbers: np.ndarray, far: np.ndarray, names_rows: bool) -> list[str]:
    """What the user is told of wild labels; `names_rows`: rows are the user's, none left out and none repeated."""
    if not far.any():
        return []
    others = numbers[~far]
    if names_rows:
        shown = [f"{numbers[row]:.12g} (row {row})" for row in np.flatnonzero(far).tolist()]
    else:
        shown = [f"{value:.12g}" for value in np.unique(numbers[far]).tolist()]
    shown = shown[:4] + ["..."] * (len(shown) > 4)
    return [
        f"{SAID}{', '.join(shown)}, far from all its other numbers, {others.min():.12g} to {others.max():.12g}, and "
        f"nothing in X points there; predictions take the nearest of these for it. If it is an error, leave the row "
        f"out; if such numbers do occur, predict a logarithm of y"
    ]


def _alone(numbers: np.ndarray) -> np.ndarray:
    """(n,) which lie far from all others, at most two different ones on a side; what repeats is no error.

    Values that repeat are left out of the measure, where enough others are left: amounts are measured beside amounts.
    """
    none = np.zeros(len(numbers), dtype=bool)
    if len(numbers) < FEWEST_ROWS:
        return none
    sizes = scaled(numbers)
    values, place, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    repeats = (counts >= max(_REPEATS, _REPEATED_SHARE * len(sizes)))[place]
    measure = ~repeats if (~repeats).sum() >= FEWEST_ROWS else ~none
    distances = distance(sizes, sizes[measure])
    if sizes.min() >= 0 or sizes.max() <= 0:
        logs = logs_of(sizes)
        is_far = (distances > FAR) & (distance(logs, logs[measure]) > FAR_LOG)
    else:
        is_far = distances > FAR
    is_far &= ~repeats
    steps = np.sort(distances[measure | is_far])
    for i in np.flatnonzero((steps[1:] > FAR) & (steps[1:] >= APART * steps[:-1])):
        beyond = is_far & (distances > steps[i])
        above = sizes > np.median(sizes)
        if beyond.any() and all(len(np.unique(sizes[beyond & side])) <= _MOST for side in (above, ~above)):
            return beyond
    return none


def _far_cells(cells_NF: np.ndarray, is_categorical_F: np.ndarray, far: np.ndarray) -> np.ndarray:
    """(n,) of the far rows, which hold a cell that is far out or alone itself: what it means is for models to say."""
    out = np.zeros(len(cells_NF), dtype=bool)
    for cells, is_categorical in zip(cells_NF.T, is_categorical_F, strict=True):
        if is_categorical:
            known = ~np.isnan(cells)
            place, counts = np.unique(cells[known], return_inverse=True, return_counts=True)[1:]
            single = known.copy()
            single[known] = (counts == 1)[place]
            if single.sum() <= _MOST_SINGLE * len(cells):
                out |= single
        else:
            out |= are_strays(cells)
    return out & far


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
    for row in np.flatnonzero(far):
        side = 1 if numbers[row] > np.median(numbers) else -1
        out[row] = (side * said[others] < side * said[row]).sum() >= _POINTS_THERE * np.isfinite(said[others]).sum()
    return out
