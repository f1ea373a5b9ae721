"""Tables from files, DataFrames or Hugging Face datasets, checked in full before any training starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icl.tables.column import Column
from icl.tables.files import did_you_mean
from icl.tables.roles import why_unused
from icl.tables.target import as_numbers, choose_task, class_codes

if TYPE_CHECKING:
    import pandas as pd

    from icl.finetuning.config import FinetuneConfig

MIN_ROWS = 32
"""Labelled rows of a table at least: fewer make no context and query that teach anything."""
MIN_ROWS_PER_CLASS = 4
"""Rows of a table for each of its classes at least."""
_MOST_PROBLEMS = 10


@dataclass(frozen=True)
class Target:
    """A column to predict: (n,) int64 codes and how many classes, or float64 numbers and None."""

    name: str
    y: np.ndarray
    n_classes: int | None


@dataclass(frozen=True)
class EncodedTable:
    """A table as arrays: cells (n, F) float32 with NaN for gaps, categories as codes, and its possible targets.

    `n_levels_F` is 0 for a number. A target that is also a column stands in `cells` too; drawing a task leaves it out.
    """

    name: str
    columns: Sequence[object]
    cells: np.ndarray
    n_levels_F: np.ndarray
    targets: list[Target]
    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.cells)

    def take(self, rows: np.ndarray) -> EncodedTable:
        """The same table with some of its rows."""
        targets = [replace(t, y=t.y[rows]) for t in self.targets]
        return replace(self, cells=self.cells[rows], targets=targets, frame=self.frame.iloc[rows])


def encode_tables(
    frames: dict[str, pd.DataFrame], config: FinetuneConfig, max_classes: int, min_rows: int = MIN_ROWS
) -> list[EncodedTable]:
    """Every table as arrays, or one error that names every bad file and column.

    Args:
        max_classes: of the checkpoint.
        min_rows: labelled rows of a table at least.
    Raises:
        ValueError: for a target that is absent, missing throughout, constant, infinite or has too many classes, for a
            column that is missing throughout or infinite, and for tables with too few rows.
    """
    encoded, problems = [], []
    for name, frame in frames.items():
        found: list[str] = []
        table = _encode(name, frame, config, max_classes, min_rows, found)
        problems += [f"{name}: {said}" for said in found]
        if table is not None and not found:
            encoded.append(table)
    if problems:
        more = f"\n  and {len(problems) - _MOST_PROBLEMS} more" if len(problems) > _MOST_PROBLEMS else ""
        raise ValueError(
            f"{len(problems)} problem(s) in {len(frames)} table(s); nothing was trained. Mend them, or leave a column "
            f"out with ignore= (--ignore).\n  " + "\n  ".join(problems[:_MOST_PROBLEMS]) + more
        )
    return encoded


def _encode(
    name: str, frame: pd.DataFrame, config: FinetuneConfig, max_classes: int, min_rows: int, problems: list[str]
) -> EncodedTable | None:
    frame = frame.drop(columns=[c for c in config.ignore if c in frame.columns])
    twice = frame.columns[frame.columns.duplicated()].unique().tolist()
    if twice:
        problems.append(f"several columns are called {twice[0]!r}; rename them")
        return None
    if config.target is not None:
        if config.target not in frame.columns:
            names = [str(c) for c in frame.columns]
            hint = did_you_mean(config.target, names)
            shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            problems.append(f"there is no target column {config.target!r}{hint or f'; it has {shown}'}")
            return None
        known = frame[config.target].notna()
        if len(frame) and not known.any():
            problems.append(f"target column {config.target!r} is missing in all {len(frame)} rows")
            return None
        frame = frame[known.to_numpy()]
    if len(frame) < min_rows:
        rows = "labelled rows" if config.target is not None else "rows"
        problems.append(f"{len(frame)} {rows} are too few; at least {min_rows} are needed")
        return None
    # As in every command: what only names rows is no feature, nor a target of self-supervision.
    features = [c for c in frame.columns if c != config.target and not why_unused(frame[c])]
    cells, n_levels, kept = [], [], []
    for column in frame.columns:
        if said := _nested(frame[column]):
            what = "target column" if column == config.target else "column"
            problems.append(f"{what} {column!r} holds {said} in its cells, not numbers or text")
    if problems:
        return None
    for column in features:
        said, values, levels = _cells(frame[column], column)
        if said:
            problems.append(said)
        elif levels >= 0:
            cells.append(values)
            n_levels.append(levels)
            kept.append(column)
    if problems:
        return None
    if config.target is None:
        targets = [t for c in kept if (t := _any_target(frame[c], c, max_classes)) is not None]
        if len(kept) < 2 or not targets:
            problems.append("no column can serve as target beside another that varies; name one with target=")
            return None
    else:
        target = _target(frame[config.target], config, max_classes, problems)
        if target is None:
            return None
        targets = [target]
    if not kept:
        problems.append(f"no column beside target {config.target!r} varies")
        return None
    return EncodedTable(name, kept, np.column_stack(cells).astype(np.float32), np.array(n_levels), targets, frame)


def _nested(series: pd.Series) -> str:
    """What the cells are if they are lists, mappings, arrays or bytes (an embedding, an image), else ""."""
    if series.dtype.kind != "O":
        return ""
    known = series.dropna()
    first = known.iloc[0] if len(known) else None
    return type(first).__name__ if isinstance(first, Mapping | list | tuple | set | np.ndarray | bytes) else ""


def _cells(series: pd.Series, name) -> tuple[str, np.ndarray, int]:
    """What is wrong with a column, its standardised cells or codes, and how many levels; -1 if it holds one value."""
    if len(series) and series.isna().all():
        return f"column {name!r} is missing in all {len(series)} rows", np.empty(0), -1
    try:
        column, values = Column.learn(series, name)
    except ValueError as error:
        return str(error).replace(" of X", ""), np.empty(0), -1
    seen = values[~np.isnan(values)]
    if len(seen) == 0 or (len(seen) == len(values) and np.all(seen == seen[0])):
        return "", values, -1
    return "", column.standardise(values), column.n_levels if column.kind == "category" else 0


def _target(series: pd.Series, config: FinetuneConfig, max_classes: int, problems: list[str]) -> Target | None:
    name = str(config.target)
    series = series.reset_index(drop=True)
    if series.dtype.kind == "f" and np.isinf(series.to_numpy()).any():
        problems.append(f"target column {name!r} holds {int(np.isinf(series.to_numpy()).sum())} infinite numbers")
        return None
    task, _ = choose_task(series, config.task)
    try:
        if task == "regression":
            return Target(name, as_numbers(series), None)
        classes, codes = class_codes(series.astype(str) if series.dtype.kind == "f" else series)
    except ValueError as error:
        problems.append(f"target column {name!r}: {str(error).replace('y holds', 'it holds')}")
        return None
    if len(classes) > max_classes:
        problems.append(
            f"target column {name!r} has {len(classes)} classes, the checkpoint takes {max_classes}; merge rare ones"
        )
        return None
    if len(codes) < MIN_ROWS_PER_CLASS * len(classes):
        problems.append(f"target column {name!r} has {len(classes)} classes in {len(codes)} rows")
        return None
    return Target(name, codes, len(classes))


def _any_target(series: pd.Series, name: str, max_classes: int) -> Target | None:
    """The column as a target of self-supervision if all its cells are known and it is of use, else None."""
    series = series.reset_index(drop=True)
    if series.isna().any() or series.dtype.kind in "mM" or series.nunique() < 2:
        return None
    task, _ = choose_task(series, "auto")
    try:
        if task == "regression":
            return Target(name, as_numbers(series), None)
        classes, codes = class_codes(series)
    except ValueError:
        return None
    fits = len(classes) <= max_classes and len(codes) >= MIN_ROWS_PER_CLASS * len(classes)
    return Target(name, codes, len(classes)) if fits else None


def select(tables: Sequence[EncodedTable], names: Sequence[str]) -> list[EncodedTable]:
    """Those called `names`, with or without the ending of their file.

    Raises:
        ValueError: for a name that no table has.
    """
    chosen = []
    for name in names:
        match = [t for t in tables if name in (t.name, Path(t.name).stem)]
        if not match:
            known = [t.name for t in tables]
            raise ValueError(f"held_out names {name!r}, which is no table{did_you_mean(name, known)} ({known[:8]}).")
        chosen += match
    return chosen
