"""Conditions on generated rows: a value, a range or several levels of any columns, or a table of values."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from icl.joint.kinds import Kind

# A number this far beyond the observed ones, in ranges of these, is one that the table says nothing about.
_FARTHEST = 0.5


@dataclass(frozen=True)
class Given:
    """Conditions, read.

    Attributes:
        fixed: cells of columns whose value is given, a row for each row to draw.
        allowed: of other columns, which cells satisfy the condition.
        said: the conditions of `allowed` in words.
    """

    fixed: pd.DataFrame
    allowed: dict[Hashable, Callable[[pd.Series], np.ndarray]] = field(default_factory=dict)
    said: dict[Hashable, str] = field(default_factory=dict)

    @property
    def columns(self) -> list[Hashable]:
        """Those that come first in every order."""
        return [*self.fixed.columns, *self.allowed]

    def holds(self, rows: pd.DataFrame) -> np.ndarray:
        """(n,) bool."""
        out = np.ones(len(rows), dtype=bool)
        for name, check in self.allowed.items():
            out &= check(rows[name])
        return out


def read_given(
    given: Mapping[Hashable, Any] | pd.DataFrame | None, table: pd.DataFrame, kinds: Mapping[Hashable, Kind], rows: int
) -> Given:
    """Conditions of `icl.generate` on this table, checked.

    Raises:
        ValueError: for columns and levels that the table has not, values beyond what it holds, and empty ranges.
    """
    if given is None:
        return Given(pd.DataFrame(index=pd.RangeIndex(rows)))
    if not isinstance(given, Mapping | pd.DataFrame):
        raise ValueError(
            f"given must be a dictionary such as {{'sex': 'F', 'age': (60, 80)}} or a DataFrame with a row for each "
            f"row to draw, got {type(given).__name__}."
        )
    unknown = [name for name in given if name not in kinds]
    if unknown:
        raise ValueError(f"given names {unknown}, and the table has no such column; it has {[*kinds][:12]}.")
    if isinstance(given, pd.DataFrame):
        if len(given) != rows:
            raise ValueError(f"given has {len(given)} rows, and {rows} are to be drawn; pass as many.")
        return Given(pd.DataFrame({name: _as_column(given[name], table[name], kinds[name]) for name in given}))
    index = pd.RangeIndex(rows)
    fixed: dict[Hashable, pd.Series] = {}
    found = Given(pd.DataFrame(index=index))
    for name, asked in given.items():
        kind = kinds[name]
        if isinstance(asked, tuple):
            found.allowed[name] = _between(asked, name, kind)
            found.said[name] = f"{name} in {asked}"
        elif isinstance(asked, list | set | frozenset):
            found.allowed[name] = _among(list(asked), table[name], kind)
            found.said[name] = f"{name} among {list(asked)}"
        else:
            [cell] = _as_column(pd.Series([asked], name=name), table[name], kind).to_numpy(dtype=object)[:1]
            numbers = kind.numbers(pd.Series([cell], name=name)) if not pd.isna(cell) else np.array([np.nan])
            fixed[name] = kind.cells(np.repeat(numbers, rows), index)
    return Given(pd.DataFrame(fixed, index=index), found.allowed, found.said)


def _as_column(asked: pd.Series, own: pd.Series, kind: Kind) -> pd.Series:
    """Given cells as cells of the column, refused where the table says nothing about them."""
    name, missing = own.name, asked.isna().to_numpy()
    if missing.any() and not own.isna().any():
        raise ValueError(f"given asks for missing cells of {name!r}, and the table has none.")
    try:
        numbers = np.full(len(asked), np.nan)
        cells = asked[~missing]
        if kind.moment and cells.dtype.kind not in "mM":
            cells = (pd.to_datetime if kind.moment == "M" else pd.to_timedelta)(cells)
        numbers[~missing] = kind.numbers(cells.infer_objects())
    except (TypeError, ValueError) as error:
        raise ValueError(f"given asks for {asked.iloc[0]!r} in {name!r}, which holds {own.dtype} ({error}).") from error
    if kind.levels is not None:
        lost = np.isnan(numbers) & ~missing
        if lost.any():
            shown = ", ".join(map(repr, kind.levels[:12].tolist()))
            raise ValueError(f"given asks for {asked[lost].iloc[0]!r} in {name!r}; its levels are {shown}.")
        return kind.cells(numbers, asked.index)
    observed = kind.numbers(own)
    low, high = np.nanmin(observed), np.nanmax(observed)
    room = _FARTHEST * (high - low)
    beyond = (numbers < low - room) | (numbers > high + room)
    if beyond.any():
        raise ValueError(
            f"given asks for {asked[beyond].iloc[0]!r} in {name!r}, which lies far beyond the rows at hand "
            f"({own.min()!s} to {own.max()!s}): nothing is known there."
        )
    return kind.cells(numbers, asked.index)


def _between(asked: tuple, name: Hashable, kind: Kind) -> Callable[[pd.Series], np.ndarray]:
    if kind.is_class and not (kind.levels is not None and np.issubdtype(np.asarray(kind.levels).dtype, np.number)):
        raise ValueError(f"given asks for a range of {name!r}, which holds levels; write a list of them.")
    if len(asked) != 2:
        raise ValueError(f"a range of {name!r} is (lowest, highest), got {asked}; several values are a list.")
    sides = []
    for side in asked:
        if side is None:
            sides.append(np.nan)
        elif kind.moment:
            moment = (pd.Timestamp if kind.moment == "M" else pd.Timedelta)(side)
            sides.append(kind.numbers(pd.Series([moment]))[0])
        else:
            sides.append(float(side))
    low, high = np.nan_to_num(sides[0], nan=-np.inf), np.nan_to_num(sides[1], nan=np.inf)
    if not low <= high:
        raise ValueError(f"the range {asked} of {name!r} is empty; write (lowest, highest), None for an open side.")

    def check(cells: pd.Series) -> np.ndarray:
        numbers = kind.numbers(cells)
        if kind.levels is not None:
            values = np.asarray(kind.levels, dtype=float)
            numbers = np.where(np.isnan(numbers), np.nan, values[np.nan_to_num(numbers).astype(int)])
        return (numbers >= low) & (numbers <= high)

    return check


def _among(asked: list, own: pd.Series, kind: Kind) -> Callable[[pd.Series], np.ndarray]:
    if not asked:
        raise ValueError(f"given asks for none of the values of {own.name!r}; name at least one.")
    wanted = kind.numbers(_as_column(pd.Series(asked, name=own.name), own, kind))

    def check(cells: pd.Series) -> np.ndarray:
        numbers = kind.numbers(cells)
        return np.isin(numbers, wanted[~np.isnan(wanted)]) | (np.isnan(numbers) & np.isnan(wanted).any())

    return check
