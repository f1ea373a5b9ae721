"""One column of a table: what kind it is, and its cells as numbers or codes; learnt from context rows only."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, field
from fractions import Fraction
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd

from icl.tables.exact import exact_cells, exact_offset
from icl.tables.scaling import PowerScale, long_tails, units
from icl.tables.schema import Seen, gone, jumped, never_seen

# A query cell this many context standard deviations away is as far as one can be; float32 squares stay finite.
_FARTHEST = 1e9
_LEADING_ZERO = re.compile(r"[+-]?0\d")
_CODE = re.compile(r"\d+[eE]\d+")
# Words among numbers that stand for no value, in lower case; and the share of other words that is taken for mistakes.
NO_VALUE = frozenset({"?", "-", "--", ".", "na", "n/a", "#n/a", "nan", "null", "none", "missing", "unknown"})
_FEW_WORDS = 0.05
# Levels from which on numbers with decimals are measurements that some file or database called a category.
_MANY_LEVELS = 20


@dataclass
class Column:
    """How one column is read: its kind, and what the context taught about it."""

    name: object
    kind: str  # "number", "time", "ordered" or "category"
    is_text: bool  # numbers that came as text or objects: what is no number is missing, as an unseen level is
    levels: dict[str, int] = field(default_factory=dict)
    n_levels: int = 0  # codes of a category; 0 for other kinds
    tails: PowerScale | None = None
    offset: Fraction | None = None  # taken off exactly, of numbers that differ beyond the digits of float64
    seen: Seen | None = None
    said: str = ""  # what was not read as it stands
    unit: float = 1.0
    center: float = 0.0
    scale: float = 1.0

    @classmethod
    def learn(cls, series: pd.Series, name) -> tuple[Column, np.ndarray]:
        """The reader of a context column, and its cells (n,) float64 as it reads them, before standardising."""
        kind, said = _kind(series, name)
        column = cls(name, kind, is_text=not pd.api.types.is_numeric_dtype(series.dtype), said=said)
        if column.kind == "ordered":
            column.levels = {str(_text(level)): rank for rank, level in enumerate(series.cat.categories)}
        if column.kind == "category":
            texts = _texts(series)
            counts = pd.Series(texts[[t is not None for t in texts]], dtype=object).value_counts()
            # Ties by name: the codes must not depend on the order of the rows.
            order = sorted(counts.index, key=lambda level: (-counts[level], level))
            column.levels = {level: code for code, level in enumerate(order)}
            column.n_levels = len(order)
            if set(order) <= {"True", "False"}:  # written to a file and read again, they may be 1 and 0
                written = {"1": "True", "0": "False"}
                column.levels |= {
                    digit: column.levels[word] for digit, word in written.items() if word in column.levels
                }
        values = column.read(series)
        if kind in ("number", "time"):
            column.offset = exact_offset(series, values)
            values = values if column.offset is None else column.read(series)
        column.seen = Seen.of(values)
        if column.kind != "category":
            seen = values[~np.isnan(values)]
            column.tails = long_tails(seen)
            column.unit, column.center, column.scale = units(seen if column.tails is None else column.tails(seen))
        return column, values

    def read(self, series: pd.Series) -> np.ndarray:
        """(n,) float64: numbers, days or codes; NaN where missing or never seen.

        Raises:
            ValueError: for infinite cells, or cells of another kind than at fit.
        """
        if self.kind in ("category", "ordered"):
            return np.array([self.levels.get(text, np.nan) for text in _texts(series)], dtype=np.float64)
        if self.offset is not None:
            return self._read_exactly(series)
        values = _days(series, self.name) if self.kind == "time" else _numbers(series, self.name, self.is_text)
        if np.isinf(values).any():
            raise ValueError(
                f"column {self.name!r} of X contains infinity or a value too large ({int(np.isinf(values).sum())} "
                f"cells). Replace them by NaN (missing) or by a finite bound, e.g. X.replace([np.inf, -np.inf], "
                f"np.nan)."
            )
        return values

    def _read_exactly(self, series: pd.Series) -> np.ndarray:
        """(n,) distances from the offset, in nanoseconds for times."""
        rounded = _days(series, self.name) if self.kind == "time" else _numbers(series, self.name, self.is_text)
        exact: list = exact_cells(series)  # a Fraction wherever `rounded` is a number
        return np.array([np.nan if np.isnan(r) else float(e - self.offset) for r, e in zip(rounded, exact)])

    def differences(self, series: pd.Series, values: np.ndarray) -> list[str]:
        """How cells to predict differ from those of fit; `values` as `read` gives them."""
        missing = np.isnan(values)
        assert self.seen is not None, "learnt from a context"
        unseen: list[str] = []
        is_number = self.kind in ("number", "time")
        if missing.any() and (not is_number or (self.is_text and self.kind == "number")):
            unseen = [text for text in _texts(series[missing]) if text is not None]
            if is_number:
                unseen = [text for text in unseen if text.casefold() not in NO_VALUE]
        n_cells = int((~missing).sum()) + len(unseen)
        levels = [] if is_number else list(self.levels)
        said = never_seen(self.name, unseen, levels, n_cells, self.seen, is_number)
        if not unseen:
            said += gone(self.name, values, self.seen)
        if self.kind == "number":
            said += jumped(self.name, values, self.seen)
        return said

    def standardise(self, values: np.ndarray) -> np.ndarray:
        """(n,) cells as `read` gives them -> mean 0 and standard deviation 1 over the context; codes stay codes."""
        if self.kind == "category":
            return values
        if self.tails is not None:
            values = self.tails(values)
        with np.errstate(over="ignore"):  # a query cell may be that far from every context cell; it is clipped
            z = (values / self.unit - self.center) / self.scale
        return np.clip(z, -_FARTHEST, _FARTHEST)


def _kind(series: pd.Series, name) -> tuple[str, str]:
    """The kind of a column, and what is to be said of how it is read."""
    kind = _kind_of_dtype(series.dtype, name)
    if kind == "category" and isinstance(series.dtype, pd.CategoricalDtype):
        cells = [text for text in _texts(series) if text is not None]
        if n_levels := _n_measured(cells):
            read_as, said = _kind_of_words(cells, name)  # as a column of text is read: "?" among numbers is missing
            if read_as == "number":
                as_number = f"column {name!r} is a category of {n_levels} numbers with decimals, read as numbers"
                return read_as, f"{as_number}; {said}" if said else as_number
    if kind:
        return kind, ""
    seen = series.dropna()
    times = seen[~_say_no_value(seen)]
    if len(times) and all(isinstance(v, datetime.date | datetime.timedelta | np.datetime64) for v in times):
        words = seen[seen.map(lambda v: isinstance(v, str) and bool(v.strip())).astype(bool)]
        shown = ", ".join(map(repr, sorted(set(words))[:3]))
        said = f"column {name!r} holds {len(times)} dates and {shown} ({len(words)} cells), read as missing"
        return "time", said if shown else ""
    if all(isinstance(v, Number) and not isinstance(v, bool | np.bool_ | complex) for v in seen):
        return "number", ""
    if all(isinstance(v, str | Number) and not isinstance(v, bool | np.bool_ | complex) for v in seen):
        return _kind_of_words([v.strip() if isinstance(v, str) else str(v) for v in seen], name)
    return "category", ""


def _kind_of_words(words: list[str], name) -> tuple[str, str]:
    """Numbers, if every word is one, or all but a few that stand for no value or come once in twenty."""
    words = [word for word in words if word]
    numbers = _parse(pd.Series(words, dtype=object))
    known = ~np.isnan(numbers)
    n_known, n_other = int(known.sum()), int((~known).sum())
    if n_known == 0 or np.isinf(numbers).any() or any(_LEADING_ZERO.match(w) for w, k in zip(words, known) if k):
        return "category", ""
    # 1e5 and 10e4 are codes, if both come: as numbers they would be one.
    codes = {word for word in words if _CODE.fullmatch(word)}
    if len(codes) > len({float(code) for code in codes}):
        return "category", ""
    if n_other == 0:
        return "number", ""
    others = sorted({word for word, k in zip(words, known) if not k})
    n_distinct = len(set(numbers[known].tolist()))
    stand_for_none = all(word.casefold() in NO_VALUE for word in others) and n_distinct >= 3
    if not stand_for_none and not (n_other <= _FEW_WORDS * len(words) and n_distinct >= 10):
        return "category", ""
    shown = ", ".join(map(repr, others[:3])) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    return "number", f"column {name!r} holds {n_known} numbers and {shown} ({n_other} cells), read as missing"


def _n_measured(words: list[str]) -> int:
    """How many different numbers there are among the cells of a category; 0 if they may be grades or codes."""
    numbers = _parse(pd.Series(sorted(set(words)), dtype=object))
    numbers = numbers[np.isfinite(numbers)]
    return len(numbers) if len(numbers) >= _MANY_LEVELS and (numbers % 1 != 0).any() else 0


def _kind_of_dtype(dtype, name) -> str:
    """The kind that the type of a column decides; empty if its cells do."""
    if isinstance(dtype, pd.CategoricalDtype):
        return "ordered" if dtype.ordered else "category"
    if pd.api.types.is_bool_dtype(dtype):
        return "category"
    if pd.api.types.is_complex_dtype(dtype):
        raise ValueError(f"Complex data not supported: column {name!r} is {dtype}. Split it into real columns.")
    if pd.api.types.is_numeric_dtype(dtype):
        return "number"
    if isinstance(dtype, pd.DatetimeTZDtype | pd.PeriodDtype) or dtype.kind in "mM":
        return "time"
    return ""


def _numbers(series: pd.Series, name, is_text: bool) -> np.ndarray:
    dtype = series.dtype
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype):
        with np.errstate(over="ignore"):  # a long double beyond float64 becomes infinity, which is refused
            return series.to_numpy(dtype=np.float64, na_value=np.nan)
    if isinstance(dtype, pd.DatetimeTZDtype | pd.PeriodDtype) or dtype.kind in "mM":
        raise ValueError(f"column {name!r} of X holds {dtype}, but held numbers at fit; convert it to the same type.")
    cells = series.astype(object)
    blank = cells.isna() | cells.map(lambda v: isinstance(v, str) and not v.strip()).astype(bool)
    values = np.full(len(cells), np.nan)
    values[~blank.to_numpy()] = _parse(cells[~blank])
    wrong = ~blank.to_numpy() & np.isnan(values)
    if wrong.any() and not is_text:
        raise ValueError(
            f"column {name!r} of X held numbers at fit, now {cells[wrong].iloc[0]!r} ({int(wrong.sum())} such cells). "
            f"Replace it by NaN if it means missing, or make the column categorical before fit: "
            f'X[{name!r}].astype("category").'
        )
    return values


def _say_no_value(cells: pd.Series) -> np.ndarray:
    """(n,) which cells are words for a missing one."""
    return cells.map(lambda v: isinstance(v, str) and v.strip().casefold() in {"", *NO_VALUE}).to_numpy(bool)


def _parse(cells: pd.Series) -> np.ndarray:
    return np.array([_float(cell) for cell in cells], dtype=np.float64)


def _float(cell) -> float:
    """The cell as a number, NaN if it is none, infinity if it is too large to be one."""
    if isinstance(cell, str) and "_" in cell:
        return np.nan  # Python reads 1_000 as a number; people do not
    try:
        return float(cell)
    except OverflowError:
        return np.inf
    except (TypeError, ValueError):
        return np.nan


def _days(series: pd.Series, name) -> np.ndarray:
    """Dates as days since 1970 in UTC, durations as days."""
    try:
        if isinstance(series.dtype, pd.PeriodDtype):
            series = series.dt.to_timestamp()
        series = series.mask(_say_no_value(series)) if series.dtype == object else series
        seen = series.dropna()
        if series.dtype.kind == "m" or (len(seen) and isinstance(seen.iloc[0], datetime.timedelta)):
            ticks: np.ndarray = pd.to_timedelta(series).to_numpy("timedelta64[us]")
        elif pd.api.types.is_numeric_dtype(series.dtype) and len(seen):
            raise TypeError(f"it is {series.dtype}")
        else:
            # Text is read cell by cell: guessing one format for all would warn, or refuse the others.
            text: dict[str, Any] = {"format": "mixed"} if series.dtype.kind in "OU" else {}
            ticks = pd.to_datetime(series, utc=True, **text).dt.tz_localize(None).to_numpy("datetime64[us]")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"column {name!r} of X held dates or durations at fit, but not here ({error}). Convert it with "
            f"pd.to_datetime(X[{name!r}]), with NaT where missing."
        ) from error
    return np.where(np.isnat(ticks), np.nan, ticks.view(np.int64) / 86_400e6)


def _texts(series: pd.Series) -> np.ndarray:
    """(n,) object: the text of each cell, None where missing."""
    dtype = series.dtype
    distinct: pd.Index | pd.Series
    if isinstance(dtype, pd.CategoricalDtype):
        codes, distinct = series.cat.codes.to_numpy(), series.cat.categories
    elif isinstance(dtype, pd.StringDtype) or pd.api.types.infer_dtype(series, skipna=True) == "string":
        codes, distinct = pd.factorize(series)
    else:  # not by distinct value: 1, 1.0 and True are equal, but True is no number here
        codes, distinct = np.arange(len(series)), series.astype(object)
    known = np.array([*map(_text, distinct), None], dtype=object)  # code -1, missing, finds the last
    return known[codes]


def _text(value) -> str | None:
    """A level as text, the same for 1, 1.0 and "1" (a missing cell turns integers into floats); None if missing."""
    if isinstance(value, str):
        return value.strip() or None
    is_scalar = bool(np.isscalar(value))  # apart, because it would narrow the type too far
    if not is_scalar and not isinstance(value, datetime.date | datetime.timedelta | tuple):
        return None if value is None or value is pd.NA or value is pd.NaT else repr(value)
    if not isinstance(value, tuple) and pd.isna(value):
        return None
    return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() else str(value)
