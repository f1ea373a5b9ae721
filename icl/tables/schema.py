"""Do the rows to predict look like those of fit? What no error stops and no score shows is said: levels never seen,
columns that became constant or empty, numbers in other units.

Rows differ by chance too. Said is only what chance would hardly do: levels that come once at fit tell how often a new
one is to be expected (Good & Turing), extremes at fit how often a number lies beyond them.
"""

from __future__ import annotations

import difflib
import sys
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

# Chance of less than this is none.
_UNLIKELY = 1e-4
_FEWEST_CONSTANT = 20
# Numbers that lie beyond the extremes of fit are only growing; a jump is a factor, or ranges, this large.
_JUMP_FACTOR, _JUMP_RANGES = 5.0, 3.0
_MOST_COMPARED = 2_000


class SchemaWarning(UserWarning):
    """Rows are not what they were at fit, or were not read as they stand; the message names columns, shares, values."""


@dataclass(frozen=True)
class Seen:
    """What the context taught about the cells of a column that is not missing."""

    n: int
    n_missing: int
    n_single: int
    """Values that came once."""
    commonest: float
    """Share of the most frequent value."""
    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> Seen:
        """Of (n,) numbers, codes or days, NaN where missing."""
        known = values[~np.isnan(values)]
        if len(known) == 0:
            return cls(0, len(values), 0, 1.0, np.nan, np.nan, np.nan)
        counts = np.unique(known, return_counts=True)[1]
        with np.errstate(over="ignore"):
            middle = float(np.median(known))
        return cls(
            len(known), len(values) - len(known), int((counts == 1).sum()), float(counts.max() / len(known)),
            float(known.min()), middle, float(known.max()),
        )  # fmt: skip


def never_seen(name, texts: list[str], levels: list[str], n_cells: int, seen: Seen, is_number: bool) -> list[str]:
    """A sentence about cells that fit has never seen.

    Args:
        texts: of these cells.
        levels: known at fit; none for a column of numbers.
        n_cells: that are not missing, these among them.
    """
    if not texts:
        return []
    plain = {_plain(level): level for level in levels[:_MOST_COMPARED]}
    respelt = [text for text in texts if _plain(text) in plain]
    expected = ((0 if is_number else seen.n_single) + 1) / (seen.n + 1)
    if not respelt and _at_least(len(texts), n_cells, expected) >= _UNLIKELY:
        return []
    counts = pd.Series(respelt or texts).value_counts()
    example = counts.index[0]
    near = plain.get(_plain(example)) or next(
        (plain[match] for match in difflib.get_close_matches(_plain(example), list(plain), 1)), None
    )
    hint = "" if near is None else f", did you mean {near!r}?"
    what = "hold no number" if is_number else "hold values never seen at fit"
    return [f"column {name!r}: {len(texts)} of {n_cells} cells {what} ({example!r}{hint}) and count as missing"]


def gone(name, values: np.ndarray, seen: Seen) -> list[str]:
    """A sentence about a column that is missing throughout."""
    m = len(values)
    share = (seen.n_missing + 1) / (seen.n + seen.n_missing + 1)
    if m == 0 or not np.isnan(values).all() or share**m >= _UNLIKELY:
        return []
    at_fit = seen.n_missing / (seen.n + seen.n_missing)
    return [f"column {name!r} is missing in all {m} rows, at fit in {at_fit:.0%}"]


def is_constant(values: np.ndarray, seen: Seen) -> bool:
    """Whether many rows hold one value of a column that varied at fit."""
    known = values[~np.isnan(values)]
    if len(known) < _FEWEST_CONSTANT or np.any(known != known[0]):
        return False
    return seen.commonest ** (len(known) - 1) < _UNLIKELY


def jumped(name, values: np.ndarray, seen: Seen) -> list[str]:
    """A sentence about numbers that moved as a whole, as another unit would move them."""
    known = values[~np.isnan(values)]
    if len(known) == 0 or seen.n < 5:
        return []
    beyond = int(((known < seen.low) | (known > seen.high)).sum())
    if 2 * beyond <= len(known) or _at_least(beyond, len(known), 2 / (seen.n + 1)) >= _UNLIKELY / 100:
        return []
    middle = float(np.median(known))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        ratio = np.divide(middle, seen.median)
        far = abs(middle - seen.median) > _JUMP_RANGES * (seen.high - seen.low)
    if not far and not (ratio > _JUMP_FACTOR or 0 < ratio < 1 / _JUMP_FACTOR):
        return []
    return [
        f"column {name!r}: {beyond} of {len(known)} cells lie beyond what fit saw ({seen.low:.4g} to {seen.high:.4g}), "
        f"half of them at {middle:.4g} or less where it was {seen.median:.4g}; another unit?"
    ]


def one_value(names: list, n_columns: int) -> list[str]:
    """A sentence about columns that hold one value each; none if most do, as in a table made to vary a few."""
    if not names or 2 * len(names) > n_columns:
        return []
    shown = ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return [f"column {shown} holds one value in all rows, and varied at fit"]


def warn(said: list[str], about: str) -> None:
    """One `SchemaWarning` for all that was found, at the line outside of this package that asked."""
    if not said:
        return
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "icl":
        level, frame = level + 1, frame.f_back
    warnings.warn(f"{about}: {'; '.join(said)}.", SchemaWarning, stacklevel=level)


def respelt_labels(classes: np.ndarray, counts: np.ndarray) -> list[str]:
    """Sentences about class labels that differ in case and spaces only, and about empty ones."""
    said: list[str] = []
    of: dict[str, list] = {}
    for label, count in zip(classes.tolist(), counts.tolist()):
        if isinstance(label, str):
            of.setdefault(_plain(label), []).append(label)
            if not label.strip():
                said.append(f"{count} labels are empty text, {label!r}, which is a class of its own")
    for labels in of.values():
        if len(labels) > 1 and labels[0].strip():
            shown = ", ".join(map(repr, labels))
            said.append(f"{shown} differ in case or spaces only, and are {len(labels)} classes")
    return said


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _at_least(k: int, n: int, p: float) -> float:
    """Chance of k or more of n."""
    from scipy.stats import binom

    return float(binom.sf(k - 1, n, min(p, 1.0)))
