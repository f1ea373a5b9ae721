"""The grid on which the numbers of a column lie: digits after the point, and multiples of those."""

from __future__ import annotations

from typing import Any

import numpy as np

# Digits after the point up to which a column counts as rounded.
_MOST_DIGITS = 6
# That floats of few bits all lie on a grid although nobody has rounded them.
_CHANCE = 1e-6
# That all of some whole numbers are multiples although nobody has rounded them.
_CHANCE_OF_STRIDE = 1e-4


def digits_of(values: np.ndarray, held: Any = None) -> int | None:
    """Digits after the point, to which all numbers are rounded; None if they are not.

    Args:
        values: the different numbers.
        held: the dtype of NumPy that holds them.
    """
    size = np.abs(values).max()
    if size > 1e15:
        return None
    if getattr(held, "kind", "O") == "f" and held.itemsize < 8:
        return _of_narrow(values.astype(held))
    for digits in range(_MOST_DIGITS + 1):
        # What computing leaves of a rounded number, and of large ones far less than a step: any would fit else.
        off = min(1e-12 * size, 1e-3 * 10.0**-digits)
        if np.all(np.abs(np.round(values, digits) - values) <= off):
            # Of few values, those of a measurement may lie on a fine grid by chance of having few digits only.
            return digits
    return None


def _of_narrow(values: np.ndarray) -> int | None:
    """The same of single and half precision, where 1.65 is 1.64999998: the float nearest to a rounded number."""
    apart, numbers = np.spacing(np.abs(values)).astype(float), values.astype(float)
    for digits in range(_MOST_DIGITS + 1):
        if np.all(np.round(numbers, digits).astype(values.dtype) == values):
            # Where floats lie nearly as far apart as the grid, any would fit.
            by_chance = np.log(np.minimum(apart * 10.0**digits, 1.0)).sum()
            return digits if by_chance < np.log(_CHANCE) else None
    return None


def stride_of(values: np.ndarray, digits: int | None) -> int:
    """Of what all numbers are multiples, counted in their last digit; 1 if so many may be multiples by chance.

    Args:
        values: the different numbers.
    """
    if digits is None:
        return 1
    counts = np.abs(np.round(values.astype(np.float64) * 10.0**digits))
    if counts.max() > 2.0**53:
        return 1
    stride, n = int(np.gcd.reduce(counts.astype(np.int64))), int((counts > 0).sum())
    return stride if stride > 1 and n * np.log(stride) > -np.log(_CHANCE_OF_STRIDE) else 1
