"""The scale on which a column has a straight part: its own, or that of logarithms.

Incomes, counts of people, areas and times are skewed, and what scatters about a line in them grows with the line. One
spread for all rows is then far too wide for most of them; in logarithms it is not. Which scale a column has is decided
by its likelihood under either, as the power of Box and Cox is, of which these are 1 and 0.

Source:
    Box & Cox (1964), doi:10.1111/j.2517-6161.1964.tb00553.x.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.stats import skew

from icl.joint.linear import LinearPart
from icl.tables.encoder import TableEncoder

# Skewness from which on a column is tried, and read as a predictor, in logarithms: an exponential one has 2.
_SKEWED = 1.0
# Log-likelihood that logarithms must gain. A normal column is not skewed, so few columns are ever asked.
_PRICE = 3.0
# Of the smallest number seen: what lies below counts as so much, a zero too that no sample of the rows had shown.
_LEAST = 1e-3


@dataclass(frozen=True)
class Warp:
    """Numbers as they are, or their logarithms.

    Args:
        is_log: of the column.
        floor: what has no logarithm, or hardly one, counts as this.
        most: the largest logarithm whose number is drawn.
        least: of each other column that is read in logarithms, by its place, the smallest number that was seen.
    """

    is_log: bool = False
    floor: float = 0.0
    most: float = np.inf
    least: dict[int, float] = field(default_factory=dict)

    def there(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers on the scale; what has no logarithm lies below all that were seen."""
        return np.log(np.maximum(numbers, self.floor)) if self.is_log else numbers

    def back(self, found: np.ndarray) -> np.ndarray:
        """The numbers of what lies on the scale."""
        return np.exp(np.minimum(found, self.most)) if self.is_log else found

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
    """A column's straight part, and all that it takes to read rows for it."""

    warp: Warp
    encoder: TableEncoder
    part: LinearPart
    ends: tuple[float, float]

    def encoded(self, X: pd.DataFrame) -> np.ndarray:
        """(n, F)."""
        return self.encoder.transform(self.warp.shown(X))

    def __call__(self, cells: np.ndarray) -> np.ndarray:
        """(n,) the straight part for encoded rows, on the column's scale.

        Of logarithms no farther than a standard deviation beyond what was seen: a line that is continued a little too
        far multiplies there, and the next round of a chain would continue it from what was drawn.
        """
        return np.clip(self.part(cells), *self.ends)


def straight_part(
    X: pd.DataFrame,
    known: np.ndarray,
    weight: np.ndarray,
    reach: pd.DataFrame | None,
    rng: np.random.Generator | None = None,
) -> Straight:
    """The straight part of a column on the scale that suits it.

    Args:
        X: (n, ...) the other columns of the rows that know it.
        known, weight: (n,) their numbers, and how many copies there are of each.
        reach: rows that will be asked about among others; None: X.
        rng: if given, the part is a draw, of all rows; see `LinearPart`.
    """
    plain = _on(Warp(), X, known, weight, reach, rng)
    if known.min() <= 0 or skew(np.repeat(known, weight.astype(np.int64))) < _SKEWED:
        return plain
    floor = max(_LEAST * float(known.min()), np.finfo(float).tiny)
    # By so much a normal sample's next largest would exceed its largest on average; a tail that few rows have shown
    # would reach multiples of what was seen.
    most = np.log(known.max()) + np.log(known).std() / np.sqrt(2 * np.log(max(weight.sum(), 2.0)))
    logs = _on(Warp(True, floor, float(most), _skewed(X)), X, known, weight, reach, rng)
    spread = plain.part.variance / max(logs.part.variance, np.finfo(float).tiny)
    gain = 0.5 * np.log(max(spread, np.finfo(float).tiny)) - weight @ np.log(known) / weight.sum()
    return logs if len(known) * gain > _PRICE else plain


def _on(
    warp: Warp,
    X: pd.DataFrame,
    known: np.ndarray,
    weight: np.ndarray,
    reach: pd.DataFrame | None,
    rng: np.random.Generator | None,
) -> Straight:
    shown = warp.shown(X)
    encoder = TableEncoder("the column's model").fit(shown)
    cells = encoder.transform(shown)
    wide = cells if reach is None else encoder.transform(warp.shown(reach))
    there = warp.there(known)
    part = LinearPart(encoder, cells, there, weight, wide, rng)
    room = float(there.std()) if warp.is_log else np.inf
    return Straight(warp, encoder, part, (float(there.min()) - room, float(there.max()) + room))


def _skewed(X: pd.DataFrame) -> dict[int, float]:
    """The columns of positive, skewed numbers, and the smallest of each."""
    found = {}
    for j in range(X.shape[1]):
        cells = X.iloc[:, j]
        if not pd.api.types.is_numeric_dtype(cells.dtype) or pd.api.types.is_bool_dtype(cells.dtype):
            continue
        numbers = _floats(cells)
        numbers = numbers[np.isfinite(numbers)]
        if len(numbers) > 1 and numbers.min() > 0 and np.ptp(numbers) > 0 and skew(numbers) >= _SKEWED:
            found[j] = float(numbers.min())
    return found


def _floats(cells: pd.Series) -> np.ndarray:
    return cells.to_numpy(dtype=np.float64, na_value=np.nan)
