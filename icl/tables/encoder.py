"""DataFrame -> float matrix with NaN for missing cells and integer codes for categories, fitted on context rows only.

| column                               | becomes                                                              |
|--------------------------------------|----------------------------------------------------------------------|
| numbers, nullable numbers, timedelta | standardised in float64, then cast: timestamps and 1e300 survive;    |
|                                      | those that differ beyond its 15 digits are read exactly              |
| dates and times                      | days since 1970 (UTC), then as numbers; of 20 dates or more also the |
|                                      | season, the weekday and the time of day, as far as they vary         |
| text that writes dates or amounts    | as these: 17.02.2023, $1,234.50, 12 %                                |
| sentences, hardly two alike          | a few directions of their letters, see `icl.tables.derived`          |
| names of rows: text that differs in  | dropped, and said so                                                 |
| every row, columns called id         |                                                                      |
| text in which every value is a number| as numbers, unless one has a leading zero (post codes, identifiers);  |
|                                      | a few words among them, such as "?", are missing, and said so        |
| ordered categories                   | their rank, as numbers                                               |
| text, categories, booleans, mixtures | codes 0, 1, ... from the most frequent level on, flagged categorical |
| constant, or missing throughout      | dropped; see `dropped_columns_`                                      |

A level never seen in the context becomes NaN, as a missing cell would: that is what the prior teaches.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from icl.tables.cells import is_text
from icl.tables.column import Column
from icl.tables.derived import DateParts, TextParts, takes_text
from icl.tables.roles import why_unused
from icl.tables.schema import is_constant, one_value
from icl.tables.taken import format_in_text


class TableEncoder:
    """Reads tables of one layout into float32 matrices for the model.

    Attributes (after `fit`):
        columns_: names of all columns, in the order of `fit`.
        dropped_columns_: those that are constant or missing throughout in the context.
        is_categorical_: (F,) bool for the columns kept.
        n_levels_: (F,) int, number of codes for a categorical column, 0 for others.
        sources_: (F,) position in `columns_` of the column that each was made of.
        said_: a sentence for each column that was not read as it stands.
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
        self.dropped_columns_, self.said_ = [], []
        self._kept: dict = {}
        self._more: dict = {}
        self._formats: dict = {}
        unused = []
        for name, cells in table.items():
            if takes_text(cells):
                self._more[name] = TextParts.learn(cells)
                continue
            if not self._learn(cells, name, may_name_rows=True):
                unused.append(name)
        if not self._kept and not self._more:  # better names of rows than nothing
            for name in unused:
                self._learn(table[name], name)
        else:
            self.dropped_columns_ += unused
            self.said_ += [f"column {name!r} names rows and is not used" for name in unused]
        if not self._kept and not self._more:
            raise ValueError(
                f"none of the {len(self.columns_)} columns of X can be used: {_names(self.columns_)} are missing "
                f"throughout or hold one value only. Pass at least one column that varies among the labelled rows."
            )
        kept = self._kept.values()
        more = [(name, n_levels) for name, parts in self._more.items() for n_levels in parts.n_levels]
        self.n_levels_ = np.array([*(column.n_levels for column in kept), *(n_levels for _, n_levels in more)])
        self.is_categorical_ = np.array([*(column.kind == "category" for column in kept), *(n > 0 for _, n in more)])
        self.sources_ = np.array([self.columns_.index(name) for name in [*self._kept, *(name for name, _ in more)]])
        self.said_ += [column.said for column in kept if column.said]
        return self

    def _learn(self, cells: pd.Series, name, may_name_rows: bool = False) -> bool:
        """Keep a column, or drop it as a constant; False if it may only name rows, and does."""
        column, values = Column.learn(cells, name)
        form, said = format_in_text(cells, name) if column.kind == "category" else (None, [])
        is_feature = form is not None or said or (is_text(cells) and column.kind != "category")
        if may_name_rows and not is_feature and why_unused(cells):
            return False
        if form is not None:
            column, values = Column.learn(form.read(cells)[0], name)
        seen = values[~np.isnan(values)]
        if len(seen) == 0 or (len(seen) == len(values) and np.all(seen == seen[0])):
            self.dropped_columns_.append(name)
            return True
        self._kept[name] = column
        self.said_ += said
        if form is not None:
            self._formats[name] = form
        if column.kind == "time" and column.offset is None and (parts := DateParts.learn(values, name)) is not None:
            self._more[name] = parts
        return True

    def transform(self, X, differences: list[str] | None = None) -> np.ndarray:
        """(n, F) float32 matrix, in the column order of `fit` whatever the order in X.

        Args:
            differences: gets a sentence for each way in which the rows are not like those of `fit`.
        Raises:
            ValueError: for columns that differ from those of `fit`, infinite cells, or text in a column of numbers.
        """
        table, has_names = as_table(X)
        table = self._align(table, has_names)
        matrix = np.empty((len(table), len(self.n_levels_)), dtype=np.float32)
        constant, days = [], {}
        for j, (name, column) in enumerate(self._kept.items()):
            cells = table[name]
            if (form := self._formats.get(name)) is not None and is_text(cells):
                cells, wrong = form.read(cells)
                if wrong.any() and differences is not None:
                    example = table[name][wrong].iloc[0]
                    differences.append(
                        f"column {name!r}: {int(wrong.sum())} of {len(wrong)} cells are no {form} ({example!r}) and "
                        f"count as missing"
                    )
            values = days[name] = column.read(cells)
            matrix[:, j] = column.standardise(values)
            if differences is not None:
                differences += column.differences(cells, values)
                constant += [name] * (column.seen is not None and is_constant(values, column.seen))
        j = len(self._kept)
        for name, parts in self._more.items():
            made = parts.read(days[name] if isinstance(parts, DateParts) else table[name])
            matrix[:, j : j + made.shape[1]] = made
            j += made.shape[1]
        if differences is not None:
            differences += one_value(constant, len(self._kept))
        return matrix

    def _align(self, table: pd.DataFrame, has_names: bool) -> pd.DataFrame:
        if has_names and self.has_names_:
            known = set(self.columns_)
            missing = [name for name in self.columns_ if name not in table.columns]
            extra = [name for name in table.columns if name not in known]
            if missing or extra:
                parts = [("missing", missing), ("not seen at fit", extra)]
                told = "; ".join(f"{word} {_names(names)}" for word, names in parts if names)
                raise ValueError(
                    f"the columns of X differ from those at fit: {told}. Pass the same {len(self.columns_)} columns; "
                    f"their order does not matter."
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


def as_pandas(table: Any) -> Any:
    """A table or column of polars, Arrow or Hugging Face as one of pandas; anything else as it is.

    What Hugging Face calls ClassLabel are classes however many they are: categories. The codes stay, so that rows keep
    their fingerprints; -1 is no label.
    """
    if isinstance(table, pd.DataFrame | pd.Series) or not hasattr(table, "to_pandas"):
        return table
    features = getattr(table, "features", None) or {}
    labels = [name for name, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    table = table.to_pandas()
    if not labels:
        return table
    return table.assign(**{name: pd.Categorical(table[name].where(table[name] >= 0)) for name in labels})


def as_table(X) -> tuple[pd.DataFrame, bool]:
    """X as a DataFrame with unique column names, and whether the names are X's own.

    Accepts DataFrames, whatever has `to_pandas` (polars, pyarrow), and 2-D arrays or lists of rows.
    """
    X = as_pandas(X)
    if isinstance(X, pd.DataFrame):
        twice = X.columns[X.columns.duplicated()].unique()
        if len(twice):
            raise ValueError(
                f"X has duplicate column names: {_names(list(twice))}. Rename them; names tell columns apart."
            )
        _check_width(X.shape)
        return X, True
    if hasattr(X, "toarray"):
        raise TypeError(
            "Sparse data was passed for X, but a dense table is required: convert it with X.toarray(), or ask for one "
            "where it is made, OneHotEncoder(sparse_output=False)."
        )
    if hasattr(X, "collect") and not hasattr(X, "__array__"):  # a LazyFrame, a DataFrame of Spark
        raise TypeError(f"X must be a table; {type(X).__name__} is a query that was not run yet. Pass X.collect().")
    if isinstance(X, np.ma.MaskedArray):
        X = np.ma.filled(X.astype(object), np.nan)
    array = _from_rows(X) if isinstance(X, list | tuple) else np.asarray(X)
    if array.ndim != 2:
        raise ValueError(
            f"X must be a table. Expected 2D array, got {type(X).__name__} with {array.ndim} dimension(s). Reshape "
            f"your data with X.reshape(-1, 1) or X.to_frame() if it is a single column."
        )
    _check_width(array.shape)
    table = pd.DataFrame(array)
    return (table.infer_objects() if array.dtype == object else table), False


def _from_rows(X: list | tuple) -> np.ndarray:
    """A list of rows as an object array, cell by cell: numbers beside text stay numbers, a list in a cell stays one."""
    if not X or not all(isinstance(row, list | tuple | np.ndarray) for row in X):
        return np.asarray(X, dtype=object)
    lengths = [len(row) for row in X]
    if min(lengths) != max(lengths):
        short = lengths.index(min(lengths))
        raise ValueError(
            f"X must be a table, but its rows differ in length: row {short} has {min(lengths)} cells, others up to "
            f"{max(lengths)}. Pass rows of equal length, with None where a cell is missing."
        )
    array = np.empty((len(X), lengths[0]), dtype=object)
    for i, row in enumerate(X):
        for j, cell in enumerate(row):
            array[i, j] = cell
    return array


def _check_width(shape: tuple[int, ...]) -> None:
    if shape[1] == 0:
        raise ValueError(
            f"X has no columns: 0 feature(s) (shape={shape}) while a minimum of 1 is required. Pass "
            f"the columns to predict from."
        )


def _names(names: list, limit: int = 8) -> str:
    shown = ", ".join(repr(name) for name in names[:limit])
    return (f"{shown} and {len(names) - limit} more" if len(names) > limit else shown) or "none"
