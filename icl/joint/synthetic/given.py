"""Conditions on generated rows: a value, a range or several levels of any columns, or a table of values."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from icl.joint.kinds import Kind, frame_of, held_by, zone_of
from icl.tables.dates import AmbiguousDatesError, look_for_dates

# A number this far beyond the observed ones, in ranges of these, is one that the table says nothing about.
_FARTHEST = 0.5
_NO_ZONE = "its dates have no time zone; give dates without one"
_WRITE = "write 2020-03-31 or 2020-03-31 13:00"


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
        cells = {name: _as_column(given[name], table[name], kinds[name]) for name in given}
        return Given(frame_of(cells, given.index))
    index = pd.RangeIndex(rows)
    fixed: dict[Hashable, pd.Series] = {}
    found = Given(pd.DataFrame(index=index))
    for name, asked in given.items():
        kind = kinds[name]
        if isinstance(asked, tuple):
            found.allowed[name] = _between(asked, table[name], kind)
            found.said[name] = f"{name} in {asked}"
        elif isinstance(asked, list | set | frozenset) and len(asked) != 1:
            found.allowed[name] = _among(list(asked), table[name], kind)
            found.said[name] = f"{name} among {list(asked)}"
        else:
            [value] = asked if isinstance(asked, list | set | frozenset) else [asked]
            numbers = kind.numbers(_as_column(pd.Series([value], name=name), table[name], kind))
            fixed[name] = kind.cells(np.repeat(numbers, rows), index)
    return Given(frame_of(fixed, index), found.allowed, found.said)


def _as_column(asked: pd.Series, own: pd.Series, kind: Kind) -> pd.Series:
    """Given cells as cells of the column, refused where the table says nothing about them."""
    name, missing = own.name, asked.isna().to_numpy()
    if missing.any() and not own.isna().any():
        raise ValueError(f"given asks for missing cells of {name!r}, and the table has none.")
    try:
        numbers = np.full(len(asked), np.nan)
        cells = asked[~missing]
        numbers[~missing] = kind.numbers(_moments(cells, kind) if kind.moment else cells.infer_objects())
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"given asks for {asked.tolist()[0]!r} in {name!r}, which holds {own.dtype} ({error})."
        ) from error
    if kind.levels is not None:
        lost = np.isnan(numbers) & ~missing
        if lost.any():
            shown = ", ".join(map(repr, kind.levels[:12].tolist()))
            raise ValueError(f"given asks for {asked[lost].tolist()[0]!r} in {name!r}; its levels are {shown}.")
        return kind.cells(numbers, asked.index)
    observed = kind.numbers(own)
    low, high = np.nanmin(observed), np.nanmax(observed)
    room = _FARTHEST * (high - low)
    beyond = (numbers < low - room) | (numbers > high + room)
    if beyond.any():
        raise ValueError(
            f"given asks for {asked[beyond].tolist()[0]!r} in {name!r}, which lies far beyond the rows at hand "
            f"({own.min()!s} to {own.max()!s}): nothing is known there."
        )
    lost = ~missing & ~_held(numbers, kind)
    if lost.any():
        raise ValueError(
            f"given asks for {asked[lost].tolist()[0]!r} in {name!r}, which holds {_grid(kind)}; name one of "
            f"them, or a range (lowest, highest)."
        )
    return kind.cells(numbers, asked.index)


def _moments(cells: pd.Series, kind: Kind) -> pd.Series:
    """Dates or durations of a column from what somebody wrote; those without a time zone are in the column's own.

    Raises:
        ValueError, TypeError: for what is neither, or may be one of two days.
    """
    if kind.moment == "m":
        return pd.to_timedelta(cells) if cells.dtype.kind != "m" else cells
    if cells.dtype.kind != "M":
        known = _read(list(dict.fromkeys(cell for cell in cells if isinstance(cell, str))), cells.name)
        found = [_in_zone(known[cell] if isinstance(cell, str) else _moment(cell), kind) for cell in cells]
        return pd.Series(found, cells.index, name=cells.name)
    zone = zone_of(cells.dtype)
    if kind.zone is None and zone is not None:
        raise ValueError(_NO_ZONE)
    return cells.dt.tz_localize(kind.zone) if kind.zone is not None and zone is None else cells


def _read(texts: list[str], name: Hashable) -> dict[str, Any]:
    """Dates of texts: those of ISO 8601, and others that are one date only."""
    found: dict[str, Any] = {text: pd.to_datetime(text, format="ISO8601", errors="coerce") for text in texts}
    others = [text for text in texts if pd.isna(found[text])]
    if not others:
        return found
    try:
        dates, odd = look_for_dates(dict.fromkeys(others, 1), name)
    except AmbiguousDatesError:
        raise ValueError(f"{others[0]!r} may be day/month or month/day; {_WRITE}") from None
    if dates is None or odd:
        raise ValueError(f"{(odd or others)[0]!r} is no date; {_WRITE}")
    return found | dict(zip(others, dates.read(pd.Series(others, dtype="str"))[0]))


def _moment(cell: Any) -> pd.Timestamp:
    if not isinstance(cell, date | np.datetime64):
        raise TypeError(f"{cell!r} is no date; {_WRITE}")
    return pd.Timestamp(cell)


def _in_zone(moment: pd.Timestamp, kind: Kind) -> pd.Timestamp:
    if kind.zone is None and moment.tz is not None:
        raise ValueError(_NO_ZONE)
    return moment.tz_localize(kind.zone) if kind.zone is not None and moment.tz is None else moment


def _held(numbers: np.ndarray, kind: Kind) -> np.ndarray:
    """(n,) bool: which numbers a cell of the column can hold as they are; True for those of no grid."""
    if kind.digits != 0:
        return np.ones(len(numbers), dtype=bool)
    low, high = kind.low, kind.high
    if not kind.moment:  # natural bounds are of draws
        low, high = held_by(kind.dtype)
        if kind.wholes is not None:
            low, high = kind.wholes.bound(low, True), kind.wholes.bound(high, False)
    most = np.nextafter(high, np.inf)  # 2**63 - 1 as a float
    return (np.abs(np.round(numbers) - numbers) <= 1e-9) & (numbers >= low) & (numbers <= most)


def _grid(kind: Kind) -> str:
    if kind.moment and kind.wholes is not None:
        step = str(pd.to_timedelta(np.array([kind.wholes.step], f"m8[{kind.tick}]"))[0]).removesuffix(" 00:00:00")
        return f"{'dates' if kind.moment == 'M' else 'durations'} ({kind.dtype}) at steps of {step}"
    low, high = held_by(kind.dtype)
    return "whole numbers" + (f" from {low:.0f} to {high:.0f}" if high < 2**32 else "")


def _between(asked: tuple, own: pd.Series, kind: Kind) -> Callable[[pd.Series], np.ndarray]:
    name = own.name
    if kind.is_class and not (is_numeric_dtype(own.dtype) and not is_bool_dtype(own.dtype)):
        raise ValueError(f"given asks for a range of {name!r}, which holds levels; write a list of them.")
    if len(asked) != 2:
        raise ValueError(f"a range of {name!r} is (lowest, highest), got {asked}; several values are a list.")
    sides = pd.Series(asked, name=name, dtype=object)
    is_open = sides.isna().to_numpy()
    ends = np.array([-np.inf, np.inf])
    try:
        closed = sides[~is_open]
        ends[~is_open] = _ends(_moments(closed, kind) if kind.moment else closed.infer_objects(), kind)
    except (TypeError, ValueError) as error:
        raise ValueError(f"given asks for {asked} in {name!r}, which holds {own.dtype} ({error}).") from error
    low, high = ends
    if not low <= high:
        raise ValueError(f"the range {asked} of {name!r} is empty; write (lowest, highest), None for an open side.")

    def check(cells: pd.Series) -> np.ndarray:
        numbers = _ends(cells, kind)
        return (numbers >= low) & (numbers <= high)

    return check


def _ends(cells: pd.Series, kind: Kind) -> np.ndarray:
    """(n,) numbers to compare with the ends of a range: those of the kind, of two levels the cells themselves."""
    return cells.to_numpy(dtype=np.float64, na_value=np.nan) if kind.is_class else kind.numbers(cells)


def _among(asked: list, own: pd.Series, kind: Kind) -> Callable[[pd.Series], np.ndarray]:
    if not asked:
        raise ValueError(f"given asks for none of the values of {own.name!r}; name at least one.")
    wanted = kind.numbers(_as_column(pd.Series(asked, name=own.name), own, kind))

    def check(cells: pd.Series) -> np.ndarray:
        numbers = kind.numbers(cells)
        return np.isin(numbers, wanted[~np.isnan(wanted)]) | (np.isnan(numbers) & np.isnan(wanted).any())

    return check
