"""Tables as people have them -> pandas with NumPy's types: the one place where dtypes are made alike.

Numbers become float64, int64 or bool, text becomes `str` objects, categories keep only the levels that occur; whatever
stood for a missing value is NaN. Nothing below this file needs to know of Arrow, nullable types, decimals or Polars.
"""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def as_pandas(data: Any) -> Any:
    """A table or column of Arrow, polars or Hugging Face as one of pandas; anything else as it is."""
    import pandas as pd

    is_other = hasattr(data, "to_pandas") and not isinstance(data, (pd.DataFrame, pd.Series))
    return data.to_pandas() if is_other else data


def as_frame(data: Any, name: str) -> pd.DataFrame:
    """`data` as a DataFrame with unique column names and plain types.

    Args:
        data: a DataFrame, a mapping of columns, or anything with `to_pandas` (Hugging Face, Arrow, Polars).
    """
    import pandas as pd

    data = as_pandas(data)
    if isinstance(data, Mapping) and not hasattr(data, "column_names"):
        data = pd.DataFrame(dict(data))
    if not isinstance(data, pd.DataFrame):
        raise ValueError(
            f"{name}= got a {type(data).__name__}; pass a pandas DataFrame, a dict of columns, or a table of Arrow, "
            "Polars or Hugging Face datasets (one split)."
        )
    if data.columns.nlevels > 1:
        raise ValueError(
            f"{name}= has column names of {data.columns.nlevels} levels; join them first: "
            "df.columns = ['_'.join(map(str, c)) for c in df.columns]."
        )
    if not data.columns.is_unique:
        twice = sorted({str(c) for c in data.columns[data.columns.duplicated()]})
        raise ValueError(f"{name}= has several columns named {twice}; rename them.")
    return plain_frame(data)


def plain_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table with plain types; the table itself where it has them already."""
    import pandas as pd

    if all(_is_plain(kind) for kind in frame.dtypes):
        return frame
    columns = [frame.iloc[:, j] for j in range(frame.shape[1])]
    plain = [plain_column(column) for column in columns]
    if all(new is old for new, old in zip(plain, columns, strict=True)):
        return frame
    out = pd.concat(plain, axis=1) if plain else frame
    return out.set_axis(frame.columns, axis=1)


def _is_plain(kind: Any) -> bool:
    """Whether a column's type alone says that it is plain: numbers and dates of NumPy, text whose gaps are NaN."""
    import pandas as pd

    if isinstance(kind, np.dtype):
        return not kind.hasobject
    return isinstance(kind, pd.StringDtype) and kind.na_value is np.nan


def plain_column(column: pd.Series) -> pd.Series:
    """One column with a plain type; itself if it has one."""
    import pandas as pd
    from pandas.api.types import is_bool_dtype, is_float_dtype, is_integer_dtype

    kind = column.dtype
    if isinstance(kind, pd.CategoricalDtype):
        levels = pd.Series(kind.categories)
        alike = plain_column(levels)
        return column if alike is levels else column.cat.rename_categories(list(alike))
    if isinstance(kind, pd.SparseDtype):
        return plain_column(cast(Any, column).sparse.to_dense())
    if isinstance(kind, np.dtype):
        return _plain_objects(column) if kind.hasobject else column
    if isinstance(kind, pd.StringDtype):
        return column if kind.na_value is np.nan else _missing_as_nan(column)
    if is_bool_dtype(kind):
        return column.astype(bool) if not column.isna().any() else _missing_as_nan(column)
    if is_integer_dtype(kind) and not column.isna().any():
        return column.astype(np.dtype(str(cast(Any, kind).numpy_dtype)))
    if is_integer_dtype(kind) or is_float_dtype(kind):
        values = column.to_numpy(dtype=float, na_value=np.nan)
        return pd.Series(values, column.index, name=column.name)
    if isinstance(kind, pd.ArrowDtype):
        return _plain_objects(_missing_as_nan(column))
    return column


def stacked(labeled: pd.DataFrame, unlabeled: pd.DataFrame, names: Sequence[Hashable]) -> pd.DataFrame:
    """The named columns of labeled and unlabeled rows, labeled first."""
    import pandas as pd

    if not names:
        return pd.DataFrame(index=range(len(labeled) + len(unlabeled)))
    if not len(unlabeled):
        return labeled[list(names)]
    return pd.concat([labeled[list(names)], unlabeled[list(names)]], ignore_index=True)


def levels_of(labels: np.ndarray) -> tuple[list, np.ndarray]:
    """The distinct labels in order (of one type by value, else by type first), and the place of each label in them."""
    try:
        names, codes = np.unique(labels, return_inverse=True)
        return names.tolist(), codes
    except TypeError:  # numbers beside text: '<' knows no order between them
        listed = sorted(dict.fromkeys(labels.tolist()), key=lambda v: (type(v).__name__, str(v)))
        place = {name: k for k, name in enumerate(listed)}
        return listed, np.array([place[label] for label in labels.tolist()])


def with_text_names(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as scikit-learn takes it: names that are text on some columns and not on others become text on all."""
    names = list(frame.columns)
    if len({isinstance(name, str) for name in names}) < 2:
        return frame
    text = [str(name) for name in names]
    return frame.set_axis([t if text.count(t) == 1 else repr(n) for t, n in zip(text, names, strict=True)], axis=1)


def with_column(frame: pd.DataFrame, name: Hashable, values: Any) -> pd.DataFrame:
    """The table with one column replaced or added; names of any type (`assign` takes text only)."""
    out = frame.copy(deep=False)
    out[name] = values
    return out


def drop_unused_levels(*frames: pd.DataFrame) -> tuple[pd.DataFrame, ...]:
    """The tables without the levels of categorical columns that occur in none of them; the order of levels stays."""
    import pandas as pd

    for name, kind in zip(frames[0].columns, frames[0].dtypes, strict=True):
        if not isinstance(kind, pd.CategoricalDtype):
            continue
        parts = [frame[name] for frame in frames if name in frame.columns]
        if any(part.dtype != kind for part in parts):
            continue
        used = np.unique(np.concatenate([part.cat.codes.to_numpy() for part in parts]))
        if (used >= 0).sum() < len(kind.categories):
            levels = pd.CategoricalDtype(kind.categories[used[used >= 0]], kind.ordered)
            frames = tuple(with_column(f, name, f[name].astype(levels)) if name in f else f for f in frames)
    return frames


def require_columns(frame: pd.DataFrame, names: Sequence[Hashable], where: str, purpose: str) -> None:
    """ValueError that lists the columns `frame` lacks and those it has."""
    absent = [name for name in names if name not in frame.columns]
    if absent:
        have = ", ".join(map(str, frame.columns[:12])) + (", ..." if len(frame.columns) > 12 else "")
        folded = {str(name).casefold(): str(name) for name in frame.columns}
        close = difflib.get_close_matches(str(absent[0]).casefold(), folded, n=1, cutoff=0.75)
        near = f" (did you mean {folded[close[0]]!r}?)" if close else ""
        raise ValueError(
            f"the {where} have no column {', '.join(map(repr, absent))}, needed {purpose}{near}; they have: "
            f"{have or 'no column'}."
        )


def is_name(value: Any) -> TypeGuard[str]:
    """`value` may be the name of a column: hashable, and no pair of arrays."""
    if value is None or isinstance(value, tuple):
        return False
    try:
        hash(value)
    except TypeError:
        return False
    return not hasattr(value, "__array__") or np.ndim(value) == 0


def _missing_as_nan(column: pd.Series) -> pd.Series:
    values = column.astype(object)
    return values.where(column.notna(), np.nan)


def _plain_objects(column: pd.Series) -> pd.Series:
    """Objects that are all numbers as numbers, all truth values as those; others as they are."""
    import pandas as pd
    from pandas.api.types import infer_dtype

    kind = infer_dtype(column, skipna=True)
    missing = column.isna().to_numpy()
    if kind == "boolean" and not missing.any():
        return column.astype(bool)
    if kind in ("integer", "floating", "mixed-integer-float", "decimal"):
        numbers = np.array([np.nan if gone else float(v) for v, gone in zip(column, missing, strict=True)])
        if kind == "integer" and not missing.any():
            try:
                return column.astype(np.int64)
            except OverflowError:  # beyond 64 bits
                pass
        return pd.Series(numbers, column.index, name=column.name)
    if kind in ("datetime", "datetime64"):
        return pd.to_datetime(column)
    return column if kind == "string" or not missing.any() else column.where(~missing, np.nan)


AS_A_NUMBER = (
    "Count from a day of your choice first, in a column of its own, such as "
    "table['days'] = (table['when'] - pd.Timestamp('2020-01-01')).dt.days; of spans .dt.days will do."
)
"""What to do with points in time and spans where a number is wanted."""


def holds_times(column: pd.Series) -> bool:
    """Whether its values are dates, times, periods or spans, whatever the type of the column."""
    import pandas as pd

    if column.dtype.kind in "mM" or isinstance(column.dtype, pd.PeriodDtype | pd.DatetimeTZDtype):
        return True
    if isinstance(column.dtype, pd.CategoricalDtype):
        return holds_times(pd.Series(column.cat.categories))
    kinds = ("date", "datetime", "datetime64", "time", "timedelta", "timedelta64", "period")
    return column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) in kinds


def said_times(column: pd.Series) -> str:
    """What a column of times holds, with one of its values."""
    seen = column.dropna()
    return f"dates, times or spans (such as {seen.iloc[0]})" if len(seen) else "dates, times or spans"


def refuse_times(values: Any, what: str) -> None:
    """ValueError where a column, or an array of one or two axes, that is to hold numbers holds points in time."""
    import pandas as pd

    if isinstance(values, pd.DataFrame):
        columns = [values.iloc[:, j] for j in range(values.shape[1])]
    else:
        array = values if isinstance(values, pd.Series) else np.asarray(values)
        columns = [pd.Series(column) for column in (array.T if array.ndim == 2 else [array])] if array.ndim else []
    for column in columns:
        if holds_times(column):
            raise ValueError(f"{what} holds {said_times(column)}, not numbers. {AS_A_NUMBER}")
