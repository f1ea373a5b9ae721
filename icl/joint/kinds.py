"""What a column holds, so that draws look like what was observed: levels, whole numbers, bounds, dates."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr

from icl.joint.grid import digits_of, stride_of
from icl.joint.whole import Wholes, whole_cell
from icl.tables.strays import are_strays

# A normal of the column's mean and spread would put so many of the observed values beyond a natural bound, and none
# lies beyond. Of a column without a bound that is chance in every third such case, and costs the draws so few.
_EXPECTED_BEYOND = 1.0
_NATURAL_LOW, _NATURAL_HIGH = (0.0, 1.0), (0.0, 1.0, 100.0)
# The same of the first and the last date, which are no natural bounds: by chance once in twenty columns.
_EXPECTED_DATES = 3.0
# Numbers within a scale of which they cover so much: shares, percentages.
_SCALES, _COVERED = ((0.0, 1.0), (0.0, 100.0)), 0.5
# Whole numbers of so few values that this many rows hold the first, or the last, go no farther: grades, answers 1 to 5.
_FEW_WHOLES, _AT_END = 12, 2
# Numbers of so few different values are levels.
_FEW_VALUES = 2
# Of a second. A column of dates is counted in its own: nanoseconds hold no date before 1678 or after 2262.
_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# The years 1 and 10000, in seconds since 1970, but for a day in any time zone: beyond them a date cannot be written.
_YEARS = -62_135_596_800 + 86_400, 253_402_300_800 - 86_400
# The largest float below 2**63.
_MOST = 2**63 - 1024
# Numbers whose spread lies between these powers of two are taken as they are. Squares of others get lost beside 1, or
# are infinite.
_COMMON_POWERS = (-10, 10)


@dataclass(frozen=True)
class Kind:
    """How a column's cells become numbers or codes, and back.

    Args:
        name: of the column.
        dtype: that completed columns have.
        levels: the values of a column of levels, in order; None for numbers.
        digits: after the point, to which all observed numbers are rounded; None if they are not.
        stride: of which, on that grid, all are multiples: 1000 of rounded incomes, 25 of prices that end in .00 or .75.
        low, high: bounds that no draw crosses, those of the dtype among them; infinite if there are none. As numbers.
        moment: "M" for dates, "m" for durations; "" otherwise.
        tick: what these themselves count in: "s", "ms", "us" or "ns".
        wholes: how dates, durations and whole numbers are counted; None for others.
        power: numbers are counted in 2**power, so that the units of a column do not matter.
        grid_power: the same, of the grid of `digits`; working copies, whose cells are such numbers, have only this one.
    """

    name: object
    dtype: object
    levels: np.ndarray | None = field(default=None, compare=False)
    digits: int | None = None
    low: float = -np.inf
    high: float = np.inf
    moment: str = ""
    tick: str = "ns"
    wholes: Wholes | None = None
    power: int = 0
    grid_power: int = 0
    stride: int = 1

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
            wholes = Wholes.of(ticks, int(np.gcd.reduce(np.abs(ticks))) or 1)
            low, high = _moments_held(kind, ticks, tick, wholes)
            low, high = _moments_seen(kind, wholes, ticks, low, high)
            digits = 0 if wholes.known is None else None  # else the floats themselves are farther apart
            return cls(column.name, column.dtype, None, digits, low, high, kind, tick, wholes)
        if not are_single(seen):
            raise ValueError(f"column {column.name!r} holds lists or records; leave it out, or make columns of them.")
        if not pd.api.types.is_numeric_dtype(column.dtype) or kind == "b" or kind == "c":
            return cls(column.name, column.dtype, levels=_levels(column, seen))
        if kind in "iu":
            return cls._of_whole(column, seen.to_numpy(dtype="uint64" if kind == "u" else "int64"))
        numbers = seen.to_numpy(dtype=np.float64)
        if not np.all(np.isfinite(numbers)):
            raise ValueError(f"column {column.name!r} has infinite cells; make them missing or finite.")
        values = np.unique(numbers)
        if len(values) <= _FEW_VALUES:
            return cls(column.name, column.dtype, levels=values)
        main = numbers[~are_strays(numbers)]
        power = _power(np.unique(main))
        low, high = _bounds(np.ldexp(numbers, -power), column.dtype, power)
        common = np.unique(main)
        digits = digits_of(common, _plain(column.dtype))
        stride = stride_of(common, digits)
        if digits == 0 and power == 0:
            low, high = _within_ends(main, low, high)
        return cls(column.name, column.dtype, None, digits, low, high, power=power, grid_power=power, stride=stride)

    @classmethod
    def _of_whole(cls, column: pd.Series, seen: np.ndarray) -> Kind:
        values, wholes = np.unique(seen), Wholes.of(seen)
        if len(values) <= _FEW_VALUES:
            levels = values.astype(np.float64 if wholes.is_plain else object)
            return cls(column.name, column.dtype, levels=levels)
        low, high = _bounds(seen.astype(np.float64), column.dtype)
        ends = wholes.floats([int(values[0]), int(values[-1])])
        low, high = min(wholes.bound(low, True), ends[0]), max(wholes.bound(high, False), ends[1])
        digits = 0 if wholes.known is None else None
        if wholes.is_plain:
            low, high = _within_ends(seen[~are_strays(seen.astype(np.float64))].astype(np.float64), low, high)
        stride = stride_of(values, digits) if wholes.is_plain else 1
        return cls(column.name, column.dtype, None, digits, low, high, wholes=wholes, stride=stride)

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
            numbers = column[~missing].to_numpy(dtype=np.float64)
            if self.wholes is not None and not self.wholes.is_plain:
                numbers = self._exact(column[~missing], numbers)
            out[~missing] = np.ldexp(numbers, -self.power) if self.power else numbers
        return out

    def _exact(self, seen: pd.Series, numbers: np.ndarray) -> np.ndarray:
        """Whole numbers less their origin; what is none, or is infinite, as a float less the origin."""
        assert self.wholes is not None
        is_whole = np.isfinite(numbers) & (numbers % 1 == 0)
        out = numbers - self.wholes.origin
        out[is_whole] = self.wholes.floats([whole_cell(cell) for cell in seen[is_whole]])
        return out

    def _counts(self, seen: pd.Series) -> np.ndarray:
        """Dates or durations, whatever they themselves are counted in, in steps."""
        assert self.wholes is not None
        ticks, tick = _ticks(seen)
        more, fewer = _TICKS[self.tick], _TICKS[tick]
        if more >= fewer:
            if more > fewer:  # no int64 holds all
                ticks = ticks.astype(np.float64 if self.wholes.is_plain else object) * (more // fewer)
            return self.wholes.floats(ticks)
        finer = Wholes(self.wholes.step * (fewer // more), self.wholes.origin * (fewer // more))
        return finer.floats(ticks)

    def snap(self, numbers: np.ndarray) -> np.ndarray:
        """Draws moved to the column's grid and inside its bounds; codes stay as they are."""
        if self.is_class:
            return numbers
        if self.digits is not None:
            power, stride = self.grid_power, self.stride
            real = np.ldexp(numbers, power)
            if stride > 1:
                step = stride / 10.0**self.digits
                # The least and the most that draws may be are not always multiples: 1, or 127 of eight bits.
                ends = np.ldexp((self.low, self.high), power) / step
                real = np.clip(np.round(real / step), np.ceil(ends[0]), np.floor(ends[1])) * step
            numbers = np.ldexp(np.round(real, self.digits), -power)
        return np.clip(numbers, self.low, self.high)

    def measured(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers in the column's own units, as for a picture; dates and durations in steps, and codes stay."""
        origin = 0 if self.wholes is None else self.wholes.origin / self.wholes.step
        return np.ldexp(numbers, self.power) + origin

    def cells(self, numbers: np.ndarray, index: pd.Index | None = None) -> pd.Series:
        """Numbers or codes as cells of the column; NaN stays missing."""
        found = np.isfinite(numbers)
        if self.levels is not None:
            values = np.full(len(numbers), None, dtype=object)
            values[found] = self.levels[numbers[found].astype(np.int64)]
            series = pd.Series(values, index, dtype=object, name=self.name)
        elif self.wholes is not None and (self.moment or not self.wholes.is_plain):
            series = self._whole_cells(numbers, found, index)
        else:
            with np.errstate(over="ignore"):  # what is beyond the largest number becomes that
                values = np.nan_to_num(np.ldexp(numbers, self.power), nan=np.nan) if self.power else numbers
            series = pd.Series(np.clip(values, *held_by(self.dtype)), index, dtype=np.float64, name=self.name)
        return self.typed(series, bool(found.all()))

    def _whole_cells(self, numbers: np.ndarray, found: np.ndarray, index: pd.Index | None) -> pd.Series:
        assert self.wholes is not None
        if self.moment:
            ticks = np.full(len(numbers), np.iinfo(np.int64).min)  # NaT
            ticks[found] = self.wholes.wholes(numbers[found], -_MOST, _MOST).astype(np.int64)
            series = pd.Series(ticks.astype(f"{self.moment}8[{self.tick}]"), index, name=self.name)
            return series if self.zone is None else series.dt.tz_localize("UTC")
        limits = np.iinfo(_plain(self.dtype))
        dtype: Any = "UInt64" if limits.min == 0 else "Int64"
        cells = pd.array(np.zeros(len(numbers)), dtype=dtype)
        cells[found] = self.wholes.wholes(numbers[found], int(limits.min), int(limits.max))
        cells[~found] = pd.NA
        return pd.Series(cells, index, name=self.name)

    def typed(self, series: pd.Series, is_complete: bool = True) -> pd.Series:
        """The series in the column's own dtype, as far as that one can hold gaps."""
        if not is_complete and getattr(self.dtype, "kind", "O") in "iub" and isinstance(self.dtype, np.dtype):
            return series.astype(np.float64) if series.dtype in ("Int64", "UInt64") else series
        return series.astype(self.dtype)  # type: ignore[call-overload]  # any dtype of pandas

    @property
    def zone(self) -> Any:
        """The time zone of a column of dates, None without one."""
        return zone_of(self.dtype)

    @property
    def half_step(self) -> float:
        """Half the distance between neighbours on the column's grid; 0 without one."""
        return 0.0 if self.digits is None else float(np.ldexp(0.5 * self.stride * 10.0**-self.digits, -self.grid_power))

    @property
    def log_unit(self) -> float:
        """To take off the log density of a number, so that it is one of the column's own units."""
        return self.power * np.log(2.0) if self.digits is None else 0.0


def _ticks(seen: pd.Series) -> tuple[np.ndarray, str]:
    """(n,) whole numbers: dates since 1970 (UTC), or durations, and what they are counted in."""
    if zone_of(seen.dtype) is not None:
        seen = seen.dt.tz_convert("UTC").dt.tz_localize(None)
    kind = "m" if seen.dtype.kind == "m" else "M"
    moments = seen.to_numpy()
    tick = np.datetime_data(moments.dtype)[0] if moments.dtype.kind in "mM" else "us"
    tick = tick if tick in _TICKS else "s" if tick in ("D", "h", "m") else "us"
    return moments.astype(f"{kind}8[{tick}]").astype("int64"), tick


def are_single(cells: pd.Series) -> bool:
    """Whether cells are single values, which can be levels: no lists, dictionaries or tuples."""
    return cells.dtype != object or all(isinstance(cell, Hashable) and not isinstance(cell, tuple) for cell in cells)


def part_of(table: pd.DataFrame, names: Iterable[Hashable]) -> pd.DataFrame:
    """Columns of a table in some order, whatever their names: lists of True or None would mean other things."""
    places: dict[Any, int] = {name: j for j, name in enumerate(table.columns)}
    return table.iloc[:, [places[name] for name in names]]


def frame_of(columns: Mapping[Hashable, Any], index: pd.Index) -> pd.DataFrame:
    """A table of columns, whatever their names: pandas itself makes NaN of None, and levels of tuples."""
    names = pd.Index(list(columns), dtype=object, tupleize_cols=False)
    return pd.DataFrame(dict(enumerate(columns.values())), index=index).set_axis(names, axis=1)


def zone_of(dtype: Any) -> Any:
    """The time zone of a column of dates, None without one."""
    return getattr(dtype, "tz", None) or getattr(getattr(dtype, "pyarrow_dtype", None), "tz", None)


def _moments_held(kind: str, ticks: np.ndarray, tick: str, wholes: Wholes) -> tuple[float, float]:
    """The first and the last date or duration that a column can hold, and write, in counts."""
    low, high = -_MOST, _MOST
    if kind == "M":
        low, high = max(low, _YEARS[0] * _TICKS[tick]), min(high, _YEARS[1] * _TICKS[tick] - 1)
    low, high = min(low, int(ticks.min())) - wholes.origin, max(high, int(ticks.max())) - wholes.origin
    return float(-(-low // wholes.step)), float(high // wholes.step)


def _moments_seen(kind: str, wholes: Wholes, ticks: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Bounds, in counts: no duration below 0 if none was, no date beyond the others where these end at once."""
    counts = wholes.floats(ticks)
    main = counts[~are_strays(counts)]
    n, mean, std = len(main), main.mean(), main.std()
    if not std > 0:
        return low, high
    if kind == "m":
        zero = float(wholes.floats(np.array([0]))[0])
        bounded = counts.min() >= zero and n * ndtr((zero - mean) / std) >= _EXPECTED_BEYOND
        return (max(low, zero) if bounded else low), high
    if n * ndtr((counts.min() - mean) / std) >= _EXPECTED_DATES:
        low = max(low, float(counts.min()))
    if n * ndtr((mean - counts.max()) / std) >= _EXPECTED_DATES:
        high = min(high, float(counts.max()))
    return low, high


def _within_ends(main: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Bounds of whole numbers that are but a few, where the first or the last of them is not rare."""
    values, counts = np.unique(main, return_counts=True)
    if len(values) > _FEW_WHOLES:
        return low, high
    return (
        max(low, float(values[0])) if counts[0] >= _AT_END else low,
        min(high, float(values[-1])) if counts[-1] >= _AT_END else high,
    )


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


def _power(values: np.ndarray) -> int:
    """The power of two that the spread of values has; 0 where it is common enough."""
    largest = int(np.frexp(np.abs(values).max())[1])
    spread = np.std(np.ldexp(values, -largest))
    power = largest + int(np.frexp(spread)[1])
    return 0 if spread == 0 or _COMMON_POWERS[0] <= power <= _COMMON_POWERS[1] else power


def _bounds(numbers: np.ndarray, dtype: Any, power: int = 0) -> tuple[float, float]:
    """Bounds that the values respect although a normal of their mean and spread would not, or those of the dtype.

    Args:
        numbers, and what is returned: counted in 2**power.
    """
    with np.errstate(over="ignore"):  # 100 among numbers of 1e-307
        (least, most), lows, highs = (np.ldexp(ends, -power) for ends in (held_by(dtype), _NATURAL_LOW, _NATURAL_HIGH))
    main = numbers[~are_strays(numbers)]
    n, mean, std = len(main), main.mean(), main.std()
    if not std > 0:
        return least, most
    low = [b for b in lows if numbers.min() >= b and n * ndtr((b - mean) / std) >= _EXPECTED_BEYOND]
    high = [b for b in highs if numbers.max() <= b and n * ndtr((mean - b) / std) >= _EXPECTED_BEYOND]
    for start, end in np.ldexp(_SCALES, -power) if -1000 < power < 1000 else ():
        if start <= numbers.min() and numbers.max() <= end and np.ptp(numbers) >= _COVERED * (end - start):
            low, high = [*low, start], [*high, end]
    return float(max([*low, least])), float(min([*high, most]))


def held_by(dtype: Any) -> tuple[float, float]:
    """The least and the largest number that a dtype holds."""
    plain = _plain(dtype)
    kind = getattr(plain, "kind", "O")
    if kind in "iu":
        limits = np.iinfo(plain)
        most = float(limits.max)
        return float(limits.min), most if most <= limits.max else float(np.nextafter(most, 0))
    if kind == "f" and plain.itemsize < 8:
        return float(np.finfo(plain).min), float(np.finfo(plain).max)
    return -np.inf, np.inf


def _plain(dtype: Any) -> Any:
    """The dtype of numpy that columns of pandas, Arrow and sparse ones hold."""
    return getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", dtype))
