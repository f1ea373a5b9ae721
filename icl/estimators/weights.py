"""`sample_weight`: how much each labelled row counts, in the context and in everything that is learnt from it.

The network attends to rows, it takes no weights. Weights are therefore shown: whole numbers as that many copies of a
row (ratios count, so 2 and 4 are 1 and 2); others by drawing, for each member by itself, as many rows as there are with
chances in proportion, systematically, so that a row of weight 2.5 is drawn two or three times. A weight of 0 leaves a
row out. Copies of a row, shown or given, are one unit: they lie in one fold (`icl.tables.repeats`).

Ridge columns, temperatures, conformal ranks and the baseline take weights as they are. Fine-tuning does not.

Dimension key: n labelled rows, n_k of them in a group.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from icl.estimators.folds import take
from icl.tables.repeats import copies

_MOST_ROWS = 10_000


@dataclass(frozen=True)
class Worth:
    """How much rows count, and which are one unit."""

    weight_n: np.ndarray | None
    """Weight of each row, 1 on average; None if all are alike."""
    group_n: np.ndarray | None
    """Number of the unit of each row; None if each is its own."""

    def weights(self, n: int) -> np.ndarray:
        return np.ones(n) if self.weight_n is None else self.weight_n

    def total_and_unit(self, rows: np.ndarray) -> tuple[float, float]:
        """Weight of some rows, and that of a typical unit among them: the mean, weighted by weight itself.

        Their ratio is Kish's effective number of units. Without weights and copies: the number of rows, and 1.
        """
        weight_k = self.weights(rows.max(initial=-1) + 1)[rows]
        unit_of = rows if self.group_n is None else self.group_n[rows]
        of_unit = np.bincount(unit_of, weight_k)
        total = float(of_unit.sum())
        return total, float(np.square(of_unit).sum() / total) if total else 1.0

    @property
    def is_plain(self) -> bool:
        return self.weight_n is None and self.group_n is None


def shown_rows(X, y, sample_weight, most_rows: int | str):
    """The rows that weights make of a labelled table.

    Args:
        y: (n,) Series or array.
        sample_weight: (n,) or None.
        most_rows: whole numbers that add up to more are not written out; "auto" is 10,000.
    Returns:
        X, y: without rows of weight 0, rows of whole-number weights repeated.
        weight: of the rows returned, 1 on average; None if they count alike.
        origin: of which row of the caller each is a copy; None if none was repeated.
    Raises:
        ValueError: for weights of another number than labels, negative or not finite, or all 0.
    """
    if sample_weight is None:
        return X, y, None, None
    weight = _checked(sample_weight, len(y))
    rows = np.flatnonzero(weight > 0)
    weight = weight[rows]
    origin = None
    if np.all(weight % 1 == 0) and weight.max() < 2**53:
        counts = weight.astype(np.int64)
        counts //= np.gcd.reduce(counts)
        most = _MOST_ROWS if isinstance(most_rows, str) else most_rows
        if counts.sum() <= max(most, len(rows)):
            rows, origin = np.repeat(rows, counts), np.repeat(np.arange(len(rows)), counts)
            weight = np.ones(len(rows))
            origin = None if counts.max() == 1 else origin
    if len(rows) != len(y) or origin is not None:
        X, y = take(X, rows), y.iloc[rows] if isinstance(y, pd.Series) else y[rows]
    return X, y, None if np.all(weight == weight[0]) else weight / weight.mean(), origin


def worth_of(context_NF: np.ndarray, y: np.ndarray, weight: np.ndarray | None, origin: np.ndarray | None) -> Worth:
    """What the rows of an encoded context are worth; the last two as `shown_rows` gives them."""
    group = copies(context_NF, y)
    return Worth(weight, origin if group.max(initial=0) + 1 == len(y) else group)


def _checked(sample_weight, n: int) -> np.ndarray:
    try:
        weight = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"sample_weight must be {n} numbers, one per label, got {type(sample_weight).__name__}."
        ) from error
    if weight.ndim == 0:
        weight = np.full(n, float(weight))
    if weight.shape != (n,):
        raise ValueError(
            f"sample_weight must have shape ({n},), one weight per label; got sample_weight.shape == {weight.shape}."
        )
    if not np.all(np.isfinite(weight)) or np.any(weight < 0):
        bad = weight[~np.isfinite(weight) | (weight < 0)]
        raise ValueError(
            f"sample_weight must be finite and not negative, got {bad[0]:g} ({len(bad)} such weights). Leave out a row "
            f"by a weight of 0."
        )
    if not weight.any():
        raise ValueError(
            "sample_weight is zero for every row, so no row is left to learn from; pass a positive weight."
        )
    return weight
