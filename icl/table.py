"""DataFrame -> float matrix with NaN for missing cells and integer codes for categories, fitted on context rows only.

| column                               | becomes                                                              |
|--------------------------------------|----------------------------------------------------------------------|
| numbers, nullable numbers, timedelta | standardised in float64, then cast: timestamps and 1e300 survive     |
| dates and times                      | days since 1970 (UTC), then as numbers                               |
| text in which every value is a number| as numbers, unless one has a leading zero (post codes, identifiers)  |
| ordered categories                   | their rank, as numbers                                               |
| text, categories, booleans, mixtures | codes 0, 1, ... from the most frequent level on, flagged categorical |
| constant, or missing throughout      | dropped; see `dropped_columns_`                                      |

A level never seen in the context becomes NaN, as a missing cell would: that is what the prior teaches.
"""

from __future__ import annotations

import datetime
import re
import warnings
from dataclasses import dataclass, field
from numbers import Number

import numpy as np
import pandas as pd
from scipy.special import ndtri
from sklearn.exceptions import DataConversionWarning

# A query cell this many context standard deviations away is as far as one can be; float32 squares stay finite.
_FARTHEST = 1e9
_LEADING_ZERO = re.compile(r"[+-]?0\d")


@dataclass
class _Column:
    """How one column is read: its kind, and what the context taught about it."""

    kind: str  # "number", "time", "ordered" or "category"
    is_text: bool  # numbers that came as text or objects: what is no number is missing, as an unseen level is
    levels: dict[str, int] = field(default_factory=dict)
    unit: float = 1.0
    center: float = 0.0
    scale: float = 1.0


class TableEncoder:
    """Reads tables of one layout into float32 matrices for the model.

    Attributes (after `fit`):
        columns_: names of all columns, in the order of `fit`.
        dropped_columns_: those that are constant or missing throughout in the context.
        is_categorical_: (F,) bool for the columns kept.
        n_levels_: (F,) int, number of codes for a categorical column, 0 for others.
    """

    def __init__(self, owner: str = "the estimator"):
        self.owner = owner  # named in messages

    def fit(self, X) -> TableEncoder:
        """Learn levels and scales from context rows.

        Raises:
            ValueError: for an empty table, duplicate names, infinite cells, or no usable column.
        """
        table, self.has_names_ = as_table(X)
        if len(table) == 0:
            raise ValueError(
                f"X has no rows: Found array with 0 sample(s) (shape={table.shape}) while a minimum of 1 is required. "
                f"Pass the rows whose label is known."
            )
        self.columns_ = list(table.columns)
        self.dropped_columns_, self._kept = [], {}
        for position, name in enumerate(self.columns_):
            column, values = _learn(table.iloc[:, position], name)
            seen = values[~np.isnan(values)]
            if len(seen) == 0 or (len(seen) == len(values) and np.all(seen == seen[0])):
                self.dropped_columns_.append(name)
            else:
                self._kept[name] = column
        if not self._kept:
            raise ValueError(
                f"none of the {len(self.columns_)} columns of X can be used: {_names(self.columns_)} are missing "
                f"throughout or hold one value only. Pass at least one column that varies among the labelled rows."
            )
        kept = self._kept.values()
        self.is_categorical_ = np.array([column.kind == "category" for column in kept])
        self.n_levels_ = np.array([len(c.levels) if c.kind == "category" else 0 for c in kept])
        return self

    def transform(self, X) -> np.ndarray:
        """(n, F) float32 matrix, in the column order of `fit` whatever the order in X.

        Raises:
            ValueError: for columns that differ from those of `fit`, infinite cells, or text in a column of numbers.
        """
        table, has_names = as_table(X)
        table = self._align(table, has_names)
        matrix = np.empty((len(table), len(self._kept)), dtype=np.float32)
        for j, (name, column) in enumerate(self._kept.items()):
            matrix[:, j] = _standardise(column, _read(column, table[name], name))
        return matrix

    def _align(self, table: pd.DataFrame, has_names: bool) -> pd.DataFrame:
        if has_names and self.has_names_:
            known = set(self.columns_)
            missing = [name for name in self.columns_ if name not in table.columns]
            extra = [name for name in table.columns if name not in known]
            if missing or extra:
                raise ValueError(
                    f"the columns of X differ from those at fit: missing {_names(missing)}; not seen at fit "
                    f"{_names(extra)}. Pass the same {len(self.columns_)} columns; their order does not matter."
                )
        if table.shape[1] != len(self.columns_):
            raise ValueError(
                f"X has {table.shape[1]} features, but {self.owner} is expecting {len(self.columns_)} features as "
                f"input: pass the columns that fit saw ({_names(self.columns_)})."
            )
        if has_names != self.has_names_:
            has, out = ("has", "out") if has_names else ("does not have valid", "")
            said = f"X {has} feature names, but {self.owner} was fitted with{out} feature names: matched by position."
            warnings.warn(said, UserWarning, stacklevel=4)
            table = table.set_axis(self.columns_, axis=1)
        return table


def as_table(X) -> tuple[pd.DataFrame, bool]:
    """X as a DataFrame with unique column names, and whether the names are X's own.

    Accepts DataFrames, whatever has `to_pandas` (polars, pyarrow), and 2-D arrays or lists of rows.
    """
    if not isinstance(X, pd.DataFrame) and hasattr(X, "to_pandas"):
        X = X.to_pandas()
    if isinstance(X, pd.DataFrame):
        twice = X.columns[X.columns.duplicated()].unique()
        if len(twice):
            raise ValueError(
                f"X has duplicate column names: {_names(list(twice))}. Rename them; names tell columns apart."
            )
        _check_width(X.shape)
        return X, True
    if hasattr(X, "toarray"):
        raise TypeError("Sparse data was passed for X, but a dense table is required; convert it with X.toarray().")
    array = np.asarray(X)
    if array.ndim != 2:
        raise ValueError(
            f"X must be a table. Expected 2D array, got {type(X).__name__} with {array.ndim} dimension(s). Reshape "
            f"your data with X.reshape(-1, 1) or X.to_frame() if it is a single column."
        )
    if array.dtype.kind == "U" and not isinstance(X, np.ndarray):
        array = np.array(X, dtype=object)  # a list of mixed rows: keep numbers as numbers
    _check_width(array.shape)
    table = pd.DataFrame(array)
    return (table.infer_objects() if array.dtype == object else table), False


def _check_width(shape: tuple[int, ...]) -> None:
    if shape[1] == 0:
        raise ValueError(f"X has no columns: 0 feature(s) (shape={shape}) while a minimum of 1 is required.")


def _learn(series: pd.Series, name) -> tuple[_Column, np.ndarray]:
    """The reader of a context column, and the column as it reads it (before standardising)."""
    column = _Column(_kind(series, name), is_text=not pd.api.types.is_numeric_dtype(series.dtype))
    if column.kind == "ordered":
        column.levels = {_text(level): rank for rank, level in enumerate(series.cat.categories)}
    if column.kind == "category":
        counts = pd.Series(_texts(series)).value_counts()
        # Ties by name: the codes must not depend on the order of the rows.
        order = sorted(counts.index, key=lambda level: (-counts[level], level))
        column.levels = {level: code for code, level in enumerate(order)}
    values = _read(column, series, name)
    seen = values[~np.isnan(values)]
    if column.kind != "category":
        column.unit, column.center, column.scale = units(seen)
    return column, values


def units(values: np.ndarray) -> tuple[float, float, float]:
    """unit, center, scale such that (values / unit - center) / scale has mean 0 and standard deviation 1.

    The unit is a power of two: dividing by it is exact, and then no square overflows, be the values 1e300.
    """
    largest = np.abs(values).max(initial=0.0)
    unit = float(np.ldexp(1.0, min(int(np.frexp(largest)[1]), 1023))) if largest else 1.0
    if len(values) == 0:
        return 1.0, 0.0, 1.0
    return unit, float(np.mean(values / unit)), float(np.std(values / unit)) or 1.0


def view_number(transform: str, context: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """A numeric column of (M,) rows on another scale, learnt from its (N,) context cells; NaN stays NaN.

    Args:
        transform: "quantile" (normal scores of the context ranks) or "power" (logarithmic far from the median).
    """
    seen = context[~np.isnan(context)].astype(np.float64)
    if transform == "quantile":
        values, counts = np.unique(seen, return_counts=True)
        return ndtri(np.interp(rows, values, (counts.cumsum() - counts / 2) / len(seen)))
    low, median, high = np.quantile(seen, [0.25, 0.5, 0.75])
    return np.arcsinh((rows - median) / ((high - low) or 1.0))


def _kind(series: pd.Series, name) -> str:
    dtype = series.dtype
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
    seen = series.dropna()
    if len(seen) and all(isinstance(v, datetime.date | datetime.timedelta | np.datetime64) for v in seen):
        return "time"
    if all(isinstance(v, Number) and not isinstance(v, bool | np.bool_ | complex) for v in seen):
        return "number"
    if all(isinstance(v, str) for v in seen):
        words = [v.strip() for v in seen if v.strip()]
        if words and not any(_LEADING_ZERO.match(w) for w in words) and np.isfinite(_parse(pd.Series(words))).all():
            return "number"
    return "category"


def _read(column: _Column, series: pd.Series, name) -> np.ndarray:
    """(n,) float64: numbers, days or codes; NaN where missing or never seen."""
    if column.kind in ("category", "ordered"):
        return np.array([column.levels.get(text, np.nan) for text in _texts(series)], dtype=np.float64)
    values = _days(series, name) if column.kind == "time" else _numbers(series, name, column.is_text)
    if np.isinf(values).any():
        raise ValueError(
            f"column {name!r} of X contains infinity or a value too large ({int(np.isinf(values).sum())} cells). "
            f"Replace them by NaN (missing) or by a finite bound, e.g. X.replace([np.inf, -np.inf], np.nan)."
        )
    return values


def _numbers(series: pd.Series, name, is_text: bool) -> np.ndarray:
    dtype = series.dtype
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype):
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
        seen = series.dropna()
        if series.dtype.kind == "m" or (len(seen) and isinstance(seen.iloc[0], datetime.timedelta)):
            ticks = pd.to_timedelta(series).to_numpy("timedelta64[us]")
        elif pd.api.types.is_numeric_dtype(series.dtype) and len(seen):
            raise TypeError(f"it is {series.dtype}")
        else:
            ticks = pd.to_datetime(series, utc=True).dt.tz_localize(None).to_numpy("datetime64[us]")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"column {name!r} of X held dates or durations at fit, but not here ({error}). Convert it with "
            f"pd.to_datetime(X[{name!r}]), with NaT where missing."
        ) from error
    return np.where(np.isnat(ticks), np.nan, ticks.view(np.int64) / 86_400e6)


def _texts(series: pd.Series) -> list[str | None]:
    return [_text(value) for value in series.astype(object)]


def _text(value) -> str | None:
    """A level as text, the same for 1, 1.0 and "1" (a missing cell turns integers into floats); None if missing."""
    if isinstance(value, str):
        return value.strip() or None
    if not np.isscalar(value) and not isinstance(value, datetime.date | datetime.timedelta | tuple):
        return None if value is None or value is pd.NA or value is pd.NaT else repr(value)
    if not isinstance(value, tuple) and pd.isna(value):
        return None
    return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() else str(value)


def _standardise(column: _Column, values: np.ndarray) -> np.ndarray:
    if column.kind == "category":
        return values
    with np.errstate(over="ignore"):  # a query cell may be that far from every context cell; it is clipped
        z = (values / column.unit - column.center) / column.scale
    return np.clip(z, -_FARTHEST, _FARTHEST)


def _names(names: list, limit: int = 8) -> str:
    shown = ", ".join(repr(name) for name in names[:limit])
    return (f"{shown} and {len(names) - limit} more" if len(names) > limit else shown) or "none"


def as_column(y) -> pd.Series | np.ndarray:
    """y as one column without missing values."""
    if y is None:
        raise ValueError("fit requires y to be passed, but the target y is None: pass one label per row.")
    if not isinstance(y, pd.Series):
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            said = "A column-vector y was passed when a 1d array was expected; pass y.ravel()."
            warnings.warn(said, DataConversionWarning, stacklevel=3)
            y = y.ravel()
        if y.ndim != 1:
            raise ValueError(
                f"y should be a 1d array, got an array of shape {y.shape} instead. Fit one estimator per target."
            )
    if y.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: y is {y.dtype}. Fit one estimator per real part.")
    n_missing = int(pd.isna(y).sum())
    if n_missing:
        raise ValueError(
            f"Input y contains NaN: {n_missing} of {len(y)} labels are missing. Drop these rows before fit "
            f"(X[y.notna()], y.dropna()); to use unlabelled rows as well, see icl.inference."
        )
    return y


def class_codes(y: pd.Series | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted classes (C,), and the code (n,) int64 of each label among them."""
    values = y
    if isinstance(y, pd.Series):
        extension = pd.api.types.is_extension_array_dtype(y.dtype)
        values = np.asarray(y.astype(object).infer_objects() if extension else y)
    if values.dtype.kind == "f" and not np.all(np.mod(values, 1) == 0):
        example = values[np.mod(values, 1) != 0][0]
        raise ValueError(
            f"Unknown label type: continuous. y holds {example}, which names no class; use ICLRegressor for amounts, "
            f"or turn the values into text if they are labels."
        )
    try:
        classes, codes = np.unique(values, return_inverse=True)
    except TypeError as error:
        kinds = sorted({type(v).__name__ for v in values})
        raise ValueError(
            f"Unknown label type: y mixes {' and '.join(kinds)}, which have no common order; use y.astype(str)."
        ) from error
    if len(classes) < 2:
        held = f"the one class {classes.tolist()[0]!r}" if len(classes) else "no labels"
        raise ValueError(
            f"y holds {held}; a classifier needs at least 2 classes among the labelled rows. Add rows of another class."
        )
    return classes, codes.astype(np.int64)


def as_numbers(y: pd.Series | np.ndarray) -> np.ndarray:
    """(n,) float64 targets, finite and not all equal."""
    strange = [v for v in y if not isinstance(v, Number)] if y.dtype == object else list(y[:1])
    try:
        if y.dtype.kind in "mM" or any(isinstance(v, str) for v in strange):
            raise TypeError
        values = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        example = repr(getattr(strange[0], "item", lambda: strange[0])()) if strange else "a value out of range"
        raise ValueError(
            f"y holds {example} ({y.dtype}), but a regressor needs numbers. Use ICLClassifier for labels, or convert "
            f"y, dates for instance to days."
        ) from error
    if np.isinf(values).any():
        raise ValueError(
            f"Input y contains infinity ({int(np.isinf(values).sum())} of {len(values)} values). Drop these rows, or "
            f"replace the values by a finite bound."
        )
    if len(values) < 2 or np.all(values == values[0]):
        held = f"the one value {values[0]:g}" if len(values) else "no values"
        raise ValueError(
            f"y holds {held} (n_samples = {len(values)}): there is nothing to predict from a constant target. Pass at "
            f"least 2 labelled rows with different values."
        )
    return values
