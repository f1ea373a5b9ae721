"""How much each column tells about the target by itself: a cheap score to rank columns by, from context rows only."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

_GROUPS = 12


def relevance(context_NF: np.ndarray, is_categorical_F: np.ndarray, y_N: np.ndarray, n_classes: int | None):
    """(F,) adjusted share of the target's variance that lies between groups of rows with alike cells.

    Groups are quantile bins of a numeric column, the most frequent levels of a categorical one, and missing cells.
    The target is its ranks, or the indicators of its classes. Blind to monotone units and to the direction of an
    effect; sees effects that are not monotone; does not see interactions. About 0 for a column that tells nothing.

    Source:
        Correlation ratio, corrected for its degrees of freedom: Kelley (1935), doi:10.1073/pnas.21.9.554.
    """
    n = len(y_N)
    if n_classes is None:
        targets_NK = (rankdata(y_N) - (n + 1) / 2)[:, None]
    else:
        targets_NK = np.eye(n_classes)[y_N]
        targets_NK -= targets_NK.mean(axis=0)
    total = float(np.square(targets_NK).sum())
    n_bins = int(np.clip(np.sqrt(n), 2, _GROUPS))
    out_F = np.empty(context_NF.shape[1])
    for j, cells_N in enumerate(context_NF.T):
        groups_N = _groups(cells_N, bool(is_categorical_F[j]), n_bins)
        sizes_G = np.bincount(groups_N)
        sums_GK = np.stack([np.bincount(groups_N, weights=t) for t in targets_NK.T], axis=1)
        between = float((np.square(sums_GK).sum(axis=1) / np.maximum(sizes_G, 1)).sum())
        n_groups = int(np.count_nonzero(sizes_G))
        out_F[j] = 1 - (1 - between / total) * (n - 1) / max(n - n_groups, 1)
    return out_F


def _groups(cells_N: np.ndarray, is_categorical: bool, n_bins: int) -> np.ndarray:
    missing_N = np.isnan(cells_N)
    if is_categorical:  # codes are by frequency: the rare levels share the last group
        groups_N = np.minimum(np.nan_to_num(cells_N), n_bins - 1).astype(np.int64)
    else:
        inner = np.unique(np.quantile(cells_N[~missing_N], np.arange(1, n_bins) / n_bins))
        groups_N = np.searchsorted(inner, np.nan_to_num(cells_N), side="left")
    groups_N[missing_N] = n_bins
    return groups_N
