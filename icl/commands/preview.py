"""Cells of a few rows as a person writes them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def cells_of(column: pd.Series) -> list[str]:
    """Cells of one column with one number of decimals; days without a time of midnight, gaps empty."""
    if column.dtype.kind == "M":
        form = "%Y-%m-%d" if (column.dropna() == column.dropna().dt.normalize()).all() else "%Y-%m-%d %H:%M:%S"
        return column.dt.strftime(form).fillna("").tolist()
    if column.dtype.kind != "f":
        return ["" if missing else str(value) for value, missing in zip(column, column.isna())]
    largest = float(column.abs().max())
    decimals = max(0, 3 - math.floor(math.log10(largest))) if 1 < largest < 1e7 else 3
    form = f".{decimals}f" if 1e-3 <= largest < 1e7 else ".4g"
    return ["" if math.isnan(value) else f"{value:{form}}" for value in column]
