"""Numbers that differ beyond the 15 digits that float64 keeps: read exactly, less a common offset."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from numbers import Rational, Real

import numpy as np
import pandas as pd


def exact_offset(series: pd.Series, values: np.ndarray) -> Fraction | None:
    """What to take off each cell so that cells that differ stay apart in float64; None where they do anyway.

    Args:
        values: (n,) the cells in float64, NaN where missing.
    """
    known = ~np.isnan(values)
    # float64 is as exact as it came. Text may be written in two ways (1 and 1.0): then the exact cells are compared.
    if series.dtype.kind in "fb" or series[known].nunique() <= len(np.unique(values[known])):
        return None
    found = [cell for cell, k in zip(exact_cells(series), known) if k]
    cells = [cell for cell in found if cell is not None]
    if len(cells) < len(found) or len(set(cells)) <= len(np.unique(values[known])):
        return None
    return min(cells)


def exact_cells(series: pd.Series) -> list[Fraction | None]:
    """Each cell as a fraction, nanoseconds for times; None where it is no number or missing."""
    if series.dtype.kind in "mM":
        ticks = series.to_numpy(f"{'timedelta' if series.dtype.kind == 'm' else 'datetime'}64[ns]").view(np.int64)
        return [Fraction(tick) if known else None for tick, known in zip(ticks.tolist(), series.notna())]
    return [_fraction(cell) for cell in series.astype(object)]


def _fraction(cell) -> Fraction | None:
    try:
        if isinstance(cell, str):
            return Fraction(Decimal(cell.strip()))
        if isinstance(cell, Rational | Decimal | np.integer):
            return Fraction(int(cell)) if isinstance(cell, np.integer) else Fraction(cell)
        return Fraction(float(cell)) if isinstance(cell, Real) else None
    except (ArithmeticError, ValueError, TypeError):
        return None
