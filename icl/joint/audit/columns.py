"""Single columns and pairs of columns of synthetic rows beside those of real ones, and what chance alone would show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from icl.joint.audit.coded import Coder

_DRAWS = 200
_BINS, _MOST_GROUPS = 5, 8
MOST_PAIRED = 30
"""Columns whose pairs are compared; the first ones."""


def compare_columns(coder: Coder, real: np.ndarray, synthetic: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """One row for each column.

    Returns:
        columns `column`, `kind`, `distance` (Kolmogorov-Smirnov of numbers, total variation of levels), `by_chance`
        (its 95th percentile between two samples of one population), `missing_real`, `missing_synthetic` (shares),
        `strange` (share of synthetic cells that no real column would hold: unknown levels, numbers off the grid or
        beyond the range by more than half of it) and `levels_lost` (levels of the real rows that no synthetic row
        has).
    """
    rows = []
    for j, kind in enumerate(coder.kinds):
        a, b = (column[~np.isnan(column)] for column in (real[:, j], synthetic[:, j]))
        lost = 0
        if not len(b):
            distance, chance, strange = 1.0, 0.0, 0.0
        elif kind.levels is not None:
            n_levels = len(kind.levels)
            shares = [np.bincount(c.astype(int), minlength=n_levels + 1) / len(c) for c in (a, b)]
            distance = 0.5 * float(np.abs(shares[0] - shares[1]).sum())
            chance = _chance_of_levels((len(a), len(b)), shares, rng)
            strange, lost = float(shares[1][n_levels]), int(np.sum((shares[0] > 0) & (shares[1] == 0)))
        else:
            distance = float(ks_2samp(a, b).statistic)
            chance = 1.358 * np.sqrt(1 / len(a) + 1 / len(b))
            room = 0.5 * np.ptp(a)
            off = np.abs(kind.snap(b) - b) > 1e-9 * np.maximum(np.abs(b), 1)
            strange = float(np.mean(off | (b < a.min() - room) | (b > a.max() + room)))
        gaps = [float(np.isnan(table[:, j]).mean()) for table in (real, synthetic)]
        name = "levels" if kind.is_class else "numbers"
        rows.append([kind.name, name, distance, chance, *gaps, strange, lost])
    names = ["column", "kind", "distance", "by_chance", "missing_real", "missing_synthetic", "strange", "levels_lost"]
    return pd.DataFrame(rows, columns=names)


def _chance_of_levels(sizes: tuple[int, int], shares: list[np.ndarray], rng: np.random.Generator) -> float:
    pooled = (sizes[0] * shares[0] + sizes[1] * shares[1]) / sum(sizes)
    draws = [rng.multinomial(n, pooled / pooled.sum(), size=_DRAWS) / n for n in sizes]
    return float(np.quantile(0.5 * np.abs(draws[0] - draws[1]).sum(1), 0.95))


@dataclass(frozen=True, eq=False)
class Pairs:
    """How strongly columns go together (Cramer's V of their groups, 0 to 1), in real and in synthetic rows.

    Attributes:
        real, synthetic: (F, F) with the names of the columns.
        difference: mean absolute difference over pairs, between as many synthetic and real rows; `by_chance` the same
            between two halves of the real rows.
    """

    real: pd.DataFrame
    synthetic: pd.DataFrame
    difference: float
    by_chance: float


def compare_pairs(coder: Coder, real: np.ndarray, synthetic: np.ndarray, rng: np.random.Generator) -> Pairs | None:
    """Arguments are `Coder.ranks`; None for a single column."""
    F = min(len(coder.kinds), MOST_PAIRED)
    if F < 2:
        return None
    groups = [_groups(coder, real, table, F) for table in (real, synthetic)]
    order = rng.permutation(len(real))
    half = min(len(real) // 2, len(synthetic))
    one, other = groups[0][order[:half]], groups[0][order[half : 2 * half]]
    drawn = groups[1][rng.permutation(len(synthetic))[:half]]
    upper = np.triu_indices(F, 1)
    of_half = _associations(one)[upper]
    names = [str(kind.name) for kind in coder.kinds[:F]]
    found, drawn_all = (pd.DataFrame(_associations(g), names, names) for g in groups)
    return Pairs(
        found,
        drawn_all,
        float(np.abs(_associations(drawn)[upper] - of_half).mean()),
        float(np.abs(_associations(other)[upper] - of_half).mean()),
    )


def _groups(coder: Coder, real: np.ndarray, table: np.ndarray, n_columns: int) -> np.ndarray:
    """(n, F) whole numbers: fifths of the real numbers, the most frequent levels, gaps as a group of their own."""
    out = np.zeros((len(table), n_columns), dtype=np.intp)
    for j in range(n_columns):
        column, own = table[:, j], real[:, j]
        gap = np.isnan(column)
        if coder.kinds[j].is_class:
            values, counts = np.unique(own[~np.isnan(own)], return_counts=True)
            shown = values[np.argsort(-counts, kind="stable")][: _MOST_GROUPS - 1]
            place = np.full(len(column), len(shown))
            for k, value in enumerate(shown):
                place[column == value] = k
        else:
            edges = np.unique(np.nanquantile(own, np.arange(1, _BINS) / _BINS))
            place = np.searchsorted(edges, np.where(gap, 0.0, column))
        out[:, j] = np.where(gap, _MOST_GROUPS, place)
    return out


def _associations(groups: np.ndarray) -> np.ndarray:
    """(F, F) Cramer's V, corrected for what chance adds (Bergsma 2013, doi:10.1016/j.jkss.2012.10.002)."""
    n, F = groups.shape
    dummies = [(groups[:, j][:, None] == np.unique(groups[:, j])).astype(float) for j in range(F)]
    out = np.eye(F)
    for i in range(F):
        for j in range(i):
            observed = dummies[i].T @ dummies[j] / n
            rows, columns = observed.sum(1), observed.sum(0)
            expected = np.outer(rows, columns)
            phi2 = float(np.sum((observed - expected) ** 2 / expected))
            r, k = observed.shape
            phi2 = max(phi2 - (r - 1) * (k - 1) / (n - 1), 0.0)
            r_, k_ = r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)
            least = min(r_, k_) - 1
            out[i, j] = out[j, i] = min(np.sqrt(phi2 / least), 1.0) if least > 0 else 0.0
    return out
