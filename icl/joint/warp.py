"""The scale on which a column has a straight part: its own, or that of logarithms.

Incomes, counts of people, areas and times are skewed, and what scatters about a line in them grows with the line. One
spread for all rows is then far too wide for most of them; in logarithms it is not. Which scale a column has is decided
by its likelihood under either, as the power of Box and Cox is, of which these are 1 and 0.

Source:
    Box & Cox (1964), doi:10.1111/j.2517-6161.1964.tb00553.x.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.stats import skew

from icl.joint.linear import LinearPart
from icl.joint.strays import Limits
from icl.tables.encoder import TableEncoder
from icl.tables.strays import FAR, are_strays, distance

# Skewness from which on a column is tried, and read as a predictor, in logarithms: an exponential one has 2.
_SKEWED = 1.0
# Log-likelihood that logarithms must gain. A normal column is not skewed, so few columns are ever asked.
_PRICE = 3.0
# Of the smallest number seen: what lies below counts as so much, a zero too that no sample of the rows had shown.
_LEAST = 1e-3
# Share of zeros that do not keep a column from having logarithms.
_FEW_ZEROS = 0.05
# The largest logarithm whose number a float holds.
_MOST = 700.0
# Standard deviations, at most, that a line of logarithms goes on by; one of which nothing is known goes on by one.
_FURTHEST = 20.0
# Share of the variance that a line leaves over which is taken to hold everywhere.
_EXACT = 0.05
_TINY = 1e-12
# Of a stray number's distance from the middle, what the line of the others misses it by at least.
_UNREACHED = 0.5


@dataclass(frozen=True)
class Warp:
    """Numbers as they are, or their logarithms.

    Args:
        is_log: of the column.
        floor: what has no logarithm, or hardly one, counts as this.
        least: of each other column that is read in logarithms, by its place, the smallest number that was seen.
    """

    is_log: bool = False
    floor: float = 0.0
    least: dict[int, float] = field(default_factory=dict)

    def there(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers on the scale; what has no logarithm lies below all that were seen."""
        return np.log(np.maximum(numbers, self.floor)) if self.is_log else numbers

    def back(self, found: np.ndarray) -> np.ndarray:
        """The numbers of what lies on the scale."""
        return np.exp(np.minimum(found, _MOST)) if self.is_log else found

    def log_slope(self, numbers: np.ndarray) -> np.ndarray | float:
        """Log of the derivative of the scale by the numbers: what a log density on the scale lacks."""
        return -self.there(numbers) if self.is_log else 0.0

    def shown(self, X: pd.DataFrame) -> pd.DataFrame:
        """The other columns as the straight part reads them."""
        if not self.least:
            return X
        X = X.copy(deep=False)
        for j, low in self.least.items():  # by place: names may be anything
            X.isetitem(j, np.log(np.maximum(_floats(X.iloc[:, j]), low)))
        return X


@dataclass(frozen=True)
class Straight:
    """A column's straight part, and all that it takes to read rows for it.

    Attributes:
        ends: between which the part answers.
        aside: (n,) which of the rows it was made from stray (`icl.joint.strays`); the part knows nothing of them.
        most: how far beyond its part a number is drawn.
    """

    warp: Warp
    encoder: TableEncoder
    part: LinearPart
    ends: tuple[float, float]
    aside: np.ndarray
    most: float = np.inf

    def encoded(self, X: pd.DataFrame) -> np.ndarray:
        """(n, F)."""
        return self.encoder.transform(self.warp.shown(X))

    def __call__(self, cells: np.ndarray) -> np.ndarray:
        """(n,) the straight part for encoded rows, on the column's scale.

        Of logarithms not far beyond what was seen, by as much as is sure: a line that is continued a little too far
        multiplies there, and the next round of a chain would continue it from what was drawn.
        """
        return np.clip(self.part(cells), *self.ends)


def straight_part(
    X: pd.DataFrame,
    known: np.ndarray,
    weight: np.ndarray,
    reach: pd.DataFrame | None,
    rng: np.random.Generator | None = None,
    far: np.ndarray | None = None,
) -> Straight:
    """The straight part of a column on the scale that suits it.

    Args:
        X: (n, ...) the other columns of the rows that know it.
        known, weight: (n,) their numbers, and how many copies there are of each.
        reach: rows that will be asked about among others; None: X.
        rng: if given, the part is a draw, of all rows; see `LinearPart`.
        far: (n,) which numbers stray, unless a line reaches them; None: none.
    """
    far = np.zeros(len(known), dtype=bool) if far is None else far
    plain = _on(Warp(), X, known, weight, reach, rng, far)
    aside = plain.aside
    if aside.any():
        X, known, weight, far = X[~aside], known[~aside], weight[~aside], far[~aside]
    least = _least(known)
    if least <= 0 or skew(np.repeat(known, weight.astype(np.int64))) < _SKEWED:
        return plain
    floor = max(_LEAST * least if known.min() > 0 else least, np.finfo(float).tiny)
    warp = Warp(True, floor, _skewed(X))
    logs = _on(warp, X, known, weight, reach, rng, far, may_aside=False)
    spread = plain.part.variance / max(logs.part.variance, np.finfo(float).tiny)
    gain = 0.5 * np.log(max(spread, np.finfo(float).tiny)) - weight @ warp.there(known) / weight.sum()
    return replace(logs, aside=aside) if len(known) * gain > _PRICE else plain


def _on(
    warp: Warp,
    X: pd.DataFrame,
    known: np.ndarray,
    weight: np.ndarray,
    reach: pd.DataFrame | None,
    rng: np.random.Generator | None,
    far: np.ndarray,
    may_aside: bool = True,
) -> Straight:
    """On one scale.

    Args:
        far: (n,) which numbers lie far out.
        may_aside: those of them that no line reaches are left out.
    """
    shown = warp.shown(X)
    encoder = TableEncoder("the column's model").fit(shown)
    cells = encoder.transform(shown)
    wide = cells if reach is None else encoder.transform(warp.shown(reach))
    there = warp.there(known)
    aside, limits = _set_aside(encoder, cells, there, weight, wide, far)
    if not may_aside:
        aside = np.zeros_like(aside)
    if aside.any():
        cells, there, weight = cells[~aside], there[~aside], weight[~aside]
    part = LinearPart(encoder, cells, there, weight, wide, rng, limits)
    room, most = np.inf, np.inf
    if warp.is_log:
        room = float(there.std()) * min(float(there.var() / max(part.variance, _TINY)), _FURTHEST)
        # By so much a normal sample's next largest would exceed its largest on average; a tail that few rows have shown
        # would reach multiples of what was seen.
        most = part.residuals.max() + part.residuals.std() / np.sqrt(2 * np.log(max(weight.sum(), 2.0)))
    return Straight(warp, encoder, part, (float(there.min()) - room, float(there.max()) + room), aside, float(most))


def _set_aside(
    encoder: TableEncoder, cells: np.ndarray, there: np.ndarray, weight: np.ndarray, wide: np.ndarray, far: np.ndarray
) -> tuple[np.ndarray, Limits | None]:
    """(n,) which rows stray, and limits of cells, if any, as the line of all other rows has it.

    A number far out is one of its column all the same if that line, continued to its row, comes near it; and cells that
    lie far out are taken as they are if the numbers of their rows say that the line goes on so far.
    """
    both = np.concatenate([cells, wide])
    far_cells = np.zeros(both.shape, dtype=bool)
    for j in np.flatnonzero(~encoder.is_categorical_):
        far_cells[:, j] = are_strays(both[:, j].astype(np.float64))
    of_cells = far_cells.any(axis=0)
    if not far.any() and not of_cells.any():
        return far, None
    known_far = far_cells[: len(cells)]
    main = ~far & ~known_far.any(axis=1) & (weight > 0)
    if main.sum() < 2:
        return np.zeros_like(far), None
    part = LinearPart(encoder, cells[main], there[main], weight[main], wide)
    n_cells, is_exact = cells.shape[1], bool(part.variance < _EXACT * there[main].var())
    low, high, is_gap = np.full(n_cells, -np.inf), np.full(n_cells, np.inf), np.zeros(n_cells, dtype=bool)
    for j in np.flatnonzero(of_cells):
        believed = np.where(far_cells[:, j], np.nan, both[:, j])
        ends, rows = (np.nanmin(believed), np.nanmax(believed)), cells[known_far[:, j]]
        held, gone = rows.copy(), rows.copy()
        held[:, j], gone[:, j] = np.clip(held[:, j], *ends), np.nan
        off = [np.median(np.abs(there[known_far[:, j]] - part(of))) for of in (held, gone, rows) if len(rows)]
        # A line that hardly errs goes on where nothing is known.
        best = int(np.argmin(off)) if off else 2 * is_exact
        if best < 2:
            (low[j], high[j]), is_gap[j] = ends, best == 1
    limits = Limits(low, high, is_gap)
    residuals = there - part(limits(cells))
    # A line continued so far misses by more than its noise.
    off_line = np.abs(residuals) > _UNREACHED * np.abs(there - np.median(there[main]))
    return far & off_line & (distance(residuals, residuals[main]) > FAR), limits if of_cells.any() else None


def _skewed(X: pd.DataFrame) -> dict[int, float]:
    """The columns of positive, skewed numbers, and the smallest of each."""
    found = {}
    for j in range(X.shape[1]):
        cells = X.iloc[:, j]
        if not pd.api.types.is_numeric_dtype(cells.dtype) or pd.api.types.is_bool_dtype(cells.dtype):
            continue
        numbers = _floats(cells)
        numbers = numbers[np.isfinite(numbers)]
        if len(numbers) > 1 and np.ptp(numbers) > 0 and (least := _least(numbers)) > 0 and skew(numbers) >= _SKEWED:
            found[j] = least
    return found


def _least(numbers: np.ndarray) -> float:
    """The smallest number; with a few zeros, half of the smallest other one; 0 for numbers without logarithm."""
    low, positive = float(numbers.min()), numbers[numbers > 0]
    if low != 0:
        return max(low, 0.0)
    return float(positive.min()) / 2 if len(positive) >= (1 - _FEW_ZEROS) * len(numbers) else 0.0


def _floats(cells: pd.Series) -> np.ndarray:
    return cells.to_numpy(dtype=np.float64, na_value=np.nan)
