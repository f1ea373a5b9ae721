"""What becomes of numbers far from all others of their column (`icl.tables.strays`) when columns are drawn.

Whatever is drawn from a straight part that believes one of them is spoilt. In a column that is drawn they are set
aside, and drawn as often as they were seen. In a column that is read they count as the nearest number that is not one
of them, as a gap, or as they are: what suits the rows that have them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Limits:
    """How far cells are believed.

    Args:
        low, high: (F,) infinite where there is no limit.
        is_gap: (F,) bool, of columns whose cells beyond are gaps; of others they count as the limit.
    """

    low: np.ndarray
    high: np.ndarray
    is_gap: np.ndarray

    def __call__(self, cells: np.ndarray) -> np.ndarray:
        """(n, F)."""
        held = np.clip(cells, self.low, self.high)
        return np.where(self.is_gap & (held != cells), np.nan, held)


@dataclass(frozen=True)
class Strays:
    """Numbers set aside, and how often they come.

    Args:
        values: (k,) of a column, in its numbers.
        weight: (k,) how often each counts.
        share: of all rows, by weight.
        middle: the median of the others.
        ends: the least and the largest number of the column, the strays among them.
    """

    values: np.ndarray
    weight: np.ndarray
    share: float
    middle: float
    ends: tuple[float, float]

    @classmethod
    def of(cls, known: np.ndarray, weight: np.ndarray, aside: np.ndarray) -> Strays | None:
        """None where nothing is set aside."""
        if not aside.any():
            return None
        share = float(weight[aside].sum() / weight.sum())
        ends = float(known.min()), float(known.max())
        return cls(known[aside], weight[aside], share, float(np.median(known[~aside])), ends)

    def mixed(self, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draws of the others, some moved to where a stray is: as far beside it as they are beside the middle."""
        out = numbers.copy()
        rows = np.flatnonzero(rng.random(len(numbers)) < self.share)
        if len(rows):
            chosen = rng.choice(self.values, size=len(rows), p=self.weight / self.weight.sum())
            # One that comes up again is a code, not a measurement.
            values, counts = np.unique(self.values, return_counts=True)
            beside = np.where(np.isin(chosen, values[counts > 1]), 0.0, numbers[rows] - self.middle)
            out[rows] = chosen + beside
        return out

    def log_mixed(self, found: np.ndarray, numbers: np.ndarray, width: float) -> np.ndarray:
        """(n,) log densities, or log masses of steps of a width, of the others, mixed with those of the strays.

        Where a stray will lie is anybody's guess within the column's ends.
        """
        inside = (self.ends[0] <= numbers) & (numbers <= self.ends[1])
        flat = np.log(width / (self.ends[1] - self.ends[0]))
        share = max(self.share, 1e-12)
        with_stray = np.where(inside, np.log(share) + flat, -np.inf)
        return np.logaddexp(np.log1p(-share) + found, with_stray)
