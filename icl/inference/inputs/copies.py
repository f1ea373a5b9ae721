"""Rows that are there more than once."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

FINE = 0.9
"""A column with this many different values, for each different row, tells rows apart: equal rows are one row."""
SOME = 0.1
"""Share of rows that are there again, from which it is no slip."""


def repeated(L: pd.DataFrame, U: pd.DataFrame) -> np.ndarray | None:
    """(n,) which distinct row each labeled row is, if rows are there again that cannot be alike by chance; else None.

    By chance are alike rows of rounded numbers and few classes: then unlabeled rows are alike as often, and rows occur
    at different rates.

    Args:
        L, U: labeled rows with all that is known of them, and unlabeled rows.
    """
    import pandas as pd

    if len(L) < 4 or not L.shape[1]:
        return None
    least = max(3, SOME * len(L))
    if any(len(pd.unique(x)) > len(L) - least for _, x in plain_numbers(L)):
        return None
    code = pd.factorize(row_keys(L))[0]
    counts = np.bincount(code)
    again = len(L) - len(counts)
    if again < least or len(counts) < 4 or not telling(L, len(counts)):
        return None
    shared = [name for name in L.columns if name in U.columns]
    if counts.min() < counts.max() and len(U) and shared:
        theirs = len(U) - len(np.unique(row_keys(U[shared])))
        if theirs / len(U) > again / len(L) / 2:
            return None
    return code


def plain_numbers(frame: pd.DataFrame) -> Iterator[tuple[Hashable, np.ndarray]]:
    """Columns of numbers without a missing one: their cells can be compared as they are, in no time."""
    for name, column in frame.items():
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiu":
            x = column.to_numpy()
            if not (x != x).any():
                yield name, x


def row_keys(frame: pd.DataFrame) -> np.ndarray:
    """(R,) 64 bits of each row, the same for equal rows."""
    import pandas as pd

    return pd.util.hash_pandas_object(comparable(frame), index=False).to_numpy()


def comparable(frame: pd.DataFrame) -> pd.DataFrame:
    """Cells that pandas can compare and hash: objects of any kind but text as their `repr`, columns numbered."""
    import pandas as pd

    columns = {}
    for j in range(frame.shape[1]):
        column = frame.iloc[:, j]
        is_odd = column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) not in ("string", "empty")
        columns[j] = column.map(repr) if is_odd else column
    return pd.DataFrame(columns)


def telling(frame: pd.DataFrame, n_distinct: int) -> list:
    """Columns that tell nearly all of the distinct rows apart."""
    counts = comparable(frame).nunique().to_numpy()
    return [name for name, count in zip(frame.columns, counts, strict=True) if count >= FINE * n_distinct]
