"""What a column holds, so that draws look like what was observed: levels, whole numbers, bounds, dates."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.special import ndtr

# Digits after the point up to which a column counts as rounded.
_MOST_DIGITS = 6
# A normal of the column's mean and spread would put so many of the observed values beyond a natural bound that none
# lies beyond: by chance less than once in a hundred columns.
_EXPECTED_BEYOND = 5.0
_NATURAL = (0.0, 1.0, 100.0)
# Numbers of so few different values are levels.
_FEW_VALUES = 2


@dataclass(frozen=True)
class Kind:
    """How a column's cells become numbers or codes, and back.

    Args:
        name: of the column.
        dtype: that completed columns have.
        levels: the values of a column of levels, in order; None for numbers.
        digits: after the point, to which all observed numbers are rounded; None if they are not.
        low, high: bounds that no draw crosses; infinite if there are none.
        moment: "M8" for dates, "m8" for durations, counted in units of `unit`; "" otherwise.
        unit: nanoseconds of one such count.
    """

    name: object
    dtype: object
    levels: np.ndarray | None = field(default=None, compare=False)
    digits: int | None = None
    low: float = -np.inf
    high: float = np.inf
    moment: str = ""
    unit: int = 1

    @property
    def is_class(self) -> bool:
        return self.levels is not None

    @classmethod
    def of(cls, column: pd.Series) -> Kind:
        """The kind of a column, from its observed cells.

        Raises:
            ValueError: for a column without an observed cell, or with cells that are no scalars.
        """
        seen = column.dropna()
        if not len(seen):
            raise ValueError(f"column {column.name!r} has no observed cell; leave it out.")
        kind = getattr(column.dtype, "kind", "O")
        if kind in "Mm":
            unit = int(np.gcd.reduce(np.abs(_nanos(seen)))) or 1
            return cls(column.name, column.dtype, digits=0, moment=kind, unit=unit)
        if not pd.api.types.is_numeric_dtype(column.dtype) or kind == "b" or kind == "c":
            return cls(column.name, column.dtype, levels=_levels(column, seen))
        numbers = seen.to_numpy(dtype=np.float64)
        if not np.all(np.isfinite(numbers)):
            raise ValueError(f"column {column.name!r} has infinite cells; make them missing or finite.")
        values = np.unique(numbers)
        if len(values) <= _FEW_VALUES:
            return cls(column.name, column.dtype, levels=values)
        return cls(column.name, column.dtype, None, _digits(values), *_bounds(numbers))

    def numbers(self, column: pd.Series) -> np.ndarray:
        """(n,) float64: the numbers, or codes of `levels`; NaN where a cell is missing or of an unknown level."""
        missing = column.isna().to_numpy()
        out = np.full(len(column), np.nan)
        if self.levels is not None:
            codes = pd.Index(self.levels).get_indexer(pd.Index(column[~missing].to_numpy(dtype=self.levels.dtype)))
            out[~missing] = np.where(codes < 0, np.nan, codes)
        elif self.moment:
            out[~missing] = _nanos(column[~missing]) / self.unit
        else:
            out[~missing] = column[~missing].to_numpy(dtype=np.float64)
        return out

    def snap(self, numbers: np.ndarray) -> np.ndarray:
        """Draws moved to the column's grid and inside its bounds; codes stay as they are."""
        if self.is_class:
            return numbers
        rounded = numbers if self.digits is None else np.round(numbers, self.digits)
        return np.clip(rounded, self.low, self.high)

    def cells(self, numbers: np.ndarray, index: pd.Index | None = None) -> pd.Series:
        """Numbers or codes as cells of the column; NaN stays missing."""
        found = np.isfinite(numbers)
        if self.levels is not None:
            values = np.full(len(numbers), None, dtype=object)
            values[found] = self.levels[numbers[found].astype(np.int64)]
            series = pd.Series(values, index, dtype=object, name=self.name)
        elif self.moment:
            nanos = np.full(len(numbers), np.iinfo(np.int64).min)  # NaT
            nanos[found] = np.round(numbers[found]).astype(np.int64) * self.unit
            series = pd.Series(nanos.astype(f"{self.moment}8[ns]"), index, name=self.name)
            if getattr(self.dtype, "tz", None) is not None:
                series = series.dt.tz_localize("UTC")
        else:
            series = pd.Series(numbers, index, dtype=np.float64, name=self.name)
        return self.typed(series, bool(found.all()))

    def typed(self, series: pd.Series, is_complete: bool = True) -> pd.Series:
        """The series in the column's own dtype, as far as that one can hold gaps."""
        if not is_complete and getattr(self.dtype, "kind", "O") in "iub" and isinstance(self.dtype, np.dtype):
            return series
        return series.astype(self.dtype)  # type: ignore[call-overload]  # any dtype of pandas

    @property
    def half_step(self) -> float:
        """Half the distance between neighbours on the column's grid; 0 without one."""
        return 0.0 if self.digits is None else 0.5 * 10.0**-self.digits


def _nanos(seen: pd.Series) -> np.ndarray:
    """(n,) nanoseconds since 1970 (UTC) of dates, or of durations."""
    if getattr(seen.dtype, "tz", None) is not None:
        seen = seen.dt.tz_convert("UTC").dt.tz_localize(None)
    kind = "m" if seen.dtype.kind == "m" else "M"
    return seen.to_numpy().astype(f"{kind}8[ns]").astype("int64")


def _levels(column: pd.Series, seen: pd.Series) -> np.ndarray:
    if isinstance(column.dtype, pd.CategoricalDtype):
        held = set(seen.unique())
        return np.array([level for level in column.cat.categories if level in held], dtype=object)
    values = seen.unique()
    values = np.asarray(values, dtype=object)
    try:
        return np.array(sorted(values), dtype=object)
    except TypeError:
        return np.array(sorted(values, key=lambda v: (type(v).__name__, str(v))), dtype=object)


def _digits(values: np.ndarray) -> int | None:
    size = np.abs(values).max()
    if size > 1e15:
        return None
    for digits in range(_MOST_DIGITS + 1):
        if np.all(np.abs(np.round(values, digits) - values) <= 1e-12 * max(size, 1e-300)):
            # Of few values, those of a measurement may lie on a fine grid by chance of having few digits only.
            return digits
    return None


def _bounds(numbers: np.ndarray) -> tuple[float, float]:
    """Bounds that the values respect although a normal of their mean and spread would not."""
    n, mean, std = len(numbers), numbers.mean(), numbers.std()
    if not std > 0:
        return -np.inf, np.inf
    low = [b for b in _NATURAL if numbers.min() >= b and n * ndtr((b - mean) / std) >= _EXPECTED_BEYOND]
    high = [b for b in _NATURAL if numbers.max() <= b and n * ndtr((mean - b) / std) >= _EXPECTED_BEYOND]
    return max(low, default=-np.inf), min(high, default=np.inf)
