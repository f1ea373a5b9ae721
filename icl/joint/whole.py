"""Whole numbers as float64 and back without losing digits: integers beyond 2**53, dates counted in nanoseconds.

What is computed with are floats. Of wholes beyond 2**53 the least is taken off first; where their range is as wide as
that, a float that stands for an observed whole becomes that one again, and others the nearest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

# Up to here every whole number is a float64.
_EXACT = 2**53


@dataclass(frozen=True)
class Wholes:
    """How wholes become floats.

    Args:
        step: wholes that one float counts, which all observed ones are multiples of.
        origin: taken off first, a multiple of the step.
        known: (floats, wholes) in order, what each float of an observed whole stands for, if it is not that whole.
    """

    step: int = 1
    origin: int = 0
    known: tuple[np.ndarray, np.ndarray] | None = field(default=None, compare=False)

    @classmethod
    def of(cls, seen: np.ndarray, step: int = 1) -> Wholes:
        """Args:
        seen: (n,) int64 or uint64, the observed ones.
        """
        low, high = int(seen.min()), int(seen.max())
        if max(-low, high) // step <= _EXACT:
            return cls(step)
        if (high - low) // step <= _EXACT:
            return cls(step, low)
        wholes = np.unique(seen).astype(object)
        floats, first = np.unique(cls(step, low).floats(wholes), return_index=True)
        return cls(step, low, (floats, wholes[first]))

    @property
    def is_plain(self) -> bool:
        """Whether floats of the wholes themselves say all."""
        return self.origin == 0 and self.known is None

    def floats(self, wholes: Iterable[int]) -> np.ndarray:
        """(n,) float64."""
        if self.origin:  # as integers of Python: no int64 holds all differences
            wholes = np.array([int(whole) - self.origin for whole in wholes], dtype=object)
        found = np.asarray(wholes)
        return np.asarray(found // self.step + found % self.step / self.step, dtype=np.float64)

    def wholes(self, floats: np.ndarray, low: int, high: int) -> np.ndarray:
        """(n,) the nearest multiples of the step between two bounds, which int64 holds or integers of Python."""
        if self.is_plain:
            most = float(high // self.step)  # a float just below 2**63 is 2**63, and no int64
            return np.clip(np.round(floats), -most, most).astype(np.int64) * self.step
        found = np.array([int(number) * self.step + self.origin for number in np.round(floats)], dtype=object)
        if self.known is not None:
            known, wholes = self.known
            place = np.searchsorted(known, floats).clip(max=len(known) - 1)
            found = np.where(known[place] == floats, wholes[place], found)
        return np.array([min(max(whole, low), high) for whole in found], dtype=object)

    def bound(self, value: float, up: bool) -> float:
        """A bound of the wholes as one of their floats, which lets none beyond it through.

        Args:
            up: whether it is the lower one, and rounds up.
        """
        if not np.isfinite(value) or self.is_plain:
            return value / self.step
        number = float((int(value) - self.origin) / self.step)
        whole = int(number) * self.step + self.origin
        is_beyond = whole < value if up else whole > value
        return float(np.nextafter(number, np.inf if up else -np.inf)) if is_beyond else number


def whole_cell(cell: object) -> int:
    """A cell of any type of number as the nearest integer of Python, without losing digits."""
    return int(cell) if isinstance(cell, int | np.integer) else round(float(cell))  # type: ignore[arg-type]
