"""What a column holds, so that draws look like what was observed: levels, whole numbers, bounds, dates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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
# Of a second. A column of dates is counted in its own: nanoseconds hold no date before 1678 or after 2262.
_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# The years 1 and 10000, in seconds since 1970, but for a day in any time zone: beyond them a date cannot be written.
_YEARS = -62_135_596_800 + 86_400, 253_402_300_800 - 86_400
# The largest float below 2**63.
_MOST = 2**63 - 1024


@dataclass(frozen=True)
class Kind:
    """How a column's cells become numbers or codes, and back.

    Args:
        name: of the column.
        dtype: that completed columns have.
        levels: the values of a column of levels, in order; None for numbers.
        digits: after the point, to which all observed numbers are rounded; None if they are not.
        low, high: bounds that no draw crosses, those of the dtype among them; infinite if there are none.
        moment: "M" for dates, "m" for durations, counted in steps of `unit`; "" otherwise.
        unit: ticks of one such count.
        tick: what the column itself counts in: "s", "ms", "us" or "ns".
    """

    name: object
    dtype: object
    levels: np.ndarray | None = field(default=None, compare=False)
    digits: int | None = None
    low: float = -np.inf
    high: float = np.inf
    moment: str = ""
    unit: int = 1
    tick: str = "ns"

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
            ticks, tick = _ticks(seen)
            unit = int(np.gcd.reduce(np.abs(ticks))) or 1
            low, high = _moments_held(kind, ticks, tick, unit)
            return cls(column.name, column.dtype, None, 0, low, high, kind, unit, tick)
        if not pd.api.types.is_numeric_dtype(column.dtype) or kind == "b" or kind == "c":
            return cls(column.name, column.dtype, levels=_levels(column, seen))
        numbers = seen.to_numpy(dtype=np.float64)
        if not np.all(np.isfinite(numbers)):
            raise ValueError(f"column {column.name!r} has infinite cells; make them missing or finite.")
        values = np.unique(numbers)
        if len(values) <= _FEW_VALUES:
            return cls(column.name, column.dtype, levels=values)
        digits = 0 if kind in "iu" else _digits(values)
        return cls(column.name, column.dtype, None, digits, *_bounds(numbers, column.dtype))

    def numbers(self, column: pd.Series) -> np.ndarray:
        """(n,) float64: the numbers, or codes of `levels`; NaN where a cell is missing or of an unknown level."""
        missing = column.isna().to_numpy()
        out = np.full(len(column), np.nan)
        if self.levels is not None:
            codes = pd.Index(self.levels).get_indexer(pd.Index(column[~missing].to_numpy(dtype=self.levels.dtype)))
            out[~missing] = np.where(codes < 0, np.nan, codes)
        elif self.moment:
            out[~missing] = self._counts(column[~missing])
        else:
            out[~missing] = column[~missing].to_numpy(dtype=np.float64)
        return out

    def _counts(self, seen: pd.Series) -> np.ndarray:
        """Dates or durations, whatever they themselves are counted in, in steps of `unit`."""
        ticks, tick = _ticks(seen)
        more, fewer = _TICKS[self.tick], _TICKS[tick]
        if more >= fewer:
            whole = ticks if more == fewer else ticks.astype(np.float64) * (more // fewer)  # no int64 holds all
            return _quotients(whole, self.unit)
        return _quotients(ticks, self.unit * (fewer // more))

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
            ticks = np.full(len(numbers), np.iinfo(np.int64).min)  # NaT
            most = float(_MOST // self.unit)  # a float just below 2**63 is 2**63, and no int64
            ticks[found] = np.clip(np.round(numbers[found]), -most, most).astype(np.int64) * self.unit
            series = pd.Series(ticks.astype(f"{self.moment}8[{self.tick}]"), index, name=self.name)
            if self.zone is not None:
                series = series.dt.tz_localize("UTC")
        else:
            series = pd.Series(np.clip(numbers, *held_by(self.dtype)), index, dtype=np.float64, name=self.name)
        return self.typed(series, bool(found.all()))

    def typed(self, series: pd.Series, is_complete: bool = True) -> pd.Series:
        """The series in the column's own dtype, as far as that one can hold gaps."""
        if not is_complete and getattr(self.dtype, "kind", "O") in "iub" and isinstance(self.dtype, np.dtype):
            return series
        return series.astype(self.dtype)  # type: ignore[call-overload]  # any dtype of pandas

    @property
    def zone(self) -> Any:
        """The time zone of a column of dates, None without one."""
        return zone_of(self.dtype)

    @property
    def half_step(self) -> float:
        """Half the distance between neighbours on the column's grid; 0 without one."""
        return 0.0 if self.digits is None else 0.5 * 10.0**-self.digits


def _ticks(seen: pd.Series) -> tuple[np.ndarray, str]:
    """(n,) whole numbers: dates since 1970 (UTC), or durations, and what they are counted in."""
    if zone_of(seen.dtype) is not None:
        seen = seen.dt.tz_convert("UTC").dt.tz_localize(None)
    kind = "m" if seen.dtype.kind == "m" else "M"
    moments = seen.to_numpy()
    tick = np.datetime_data(moments.dtype)[0] if moments.dtype.kind in "mM" else "us"
    tick = tick if tick in _TICKS else "s" if tick in ("D", "h", "m") else "us"
    return moments.astype(f"{kind}8[{tick}]").astype("int64"), tick


def zone_of(dtype: Any) -> Any:
    """The time zone of a column of dates, None without one."""
    return getattr(dtype, "tz", None) or getattr(getattr(dtype, "pyarrow_dtype", None), "tz", None)


def _quotients(ticks: np.ndarray, step: int) -> np.ndarray:
    """Whole numbers divided, exact where they are multiples: as floats, ticks of 1 ns would lose their last digits."""
    whole, rest = np.divmod(ticks, step)
    return whole + rest / step


def _moments_held(kind: str, ticks: np.ndarray, tick: str, unit: int) -> tuple[float, float]:
    """The first and the last date or duration that a column can hold, and write, in counts."""
    low, high = -_MOST, _MOST
    if kind == "M":
        low, high = max(low, _YEARS[0] * _TICKS[tick]), min(high, _YEARS[1] * _TICKS[tick] - 1)
    low, high = min(low, int(ticks.min())), max(high, int(ticks.max()))
    return float(-(-low // unit)), float(high // unit)


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


def _bounds(numbers: np.ndarray, dtype: Any) -> tuple[float, float]:
    """Bounds that the values respect although a normal of their mean and spread would not, or those of the dtype."""
    least, most = held_by(dtype)
    n, mean, std = len(numbers), numbers.mean(), numbers.std()
    if not std > 0:
        return least, most
    low = [b for b in _NATURAL if numbers.min() >= b and n * ndtr((b - mean) / std) >= _EXPECTED_BEYOND]
    high = [b for b in _NATURAL if numbers.max() <= b and n * ndtr((mean - b) / std) >= _EXPECTED_BEYOND]
    return max([*low, least]), min([*high, most])


def held_by(dtype: Any) -> tuple[float, float]:
    """The least and the largest number that a dtype holds; infinite for float64."""
    plain = getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", dtype))  # of pandas, Arrow, sparse columns
    kind = getattr(plain, "kind", "O")
    if kind in "iu":
        limits = np.iinfo(plain)
        most = float(limits.max)
        return float(limits.min), most if most <= limits.max else float(np.nextafter(most, 0))
    if kind == "f" and plain.itemsize < 8:
        return float(np.finfo(plain).min), float(np.finfo(plain).max)
    return -np.inf, np.inf
