"""What of a table is imputed, by which model, in which order; and what is left as it is, with the reason."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from icl.joint.column import FEWEST_ROWS
from icl.joint.kinds import Kind, are_single
from icl.tables.encoder import as_table
from icl.tables.roles import reads_as_text, why_unused

# Levels up to which the network is asked; beyond, its tree of questions takes longer than a forest is worse.
_MOST_LEVELS = 60


@dataclass(frozen=True)
class Layout:
    """The plan of an imputation.

    Attributes:
        kinds: of the columns that take part, by position.
        incomplete: positions of the columns to impute, those with the fewest gaps first.
        models: "network" or "quick" for each of them.
        left: columns whose gaps stay, and why.
        empty_rows: positions of rows without any observed cell, which stay as they are.
    """

    kinds: dict[int, Kind]
    incomplete: tuple[int, ...]
    models: dict[int, str]
    left: dict[Hashable, str]
    empty_rows: np.ndarray
    missing: np.ndarray
    """(n, F) bool, the gaps that are filled."""

    @classmethod
    def of(cls, table: pd.DataFrame, m: int, rounds: int | None, budget: float) -> Layout:
        """Look at a table.

        Args:
            m, rounds: of chains; None for what suits.
            budget: cells that the network may read in all.
        """
        missing = table.isna().to_numpy()
        left: dict[Hashable, str] = {}
        kinds: dict[int, Kind] = {}
        for j, name in enumerate(table.columns):
            cells = table.iloc[:, j]
            n_seen = int((~missing[:, j]).sum())
            if n_seen == 0:
                left[name] = "no cell of it is observed"
            elif not are_single(cells.dropna()):
                left[name] = "its cells are no single values"
            elif why_unused(cells.dropna().rename(name)):
                left[name] = "it names rows"
            elif reads_as_text(cells):
                left[name] = "it holds sentences"
            else:
                kinds[j] = Kind.of(cells)
                if missing[:, j].any() and n_seen < FEWEST_ROWS:
                    left[name] = f"only {n_seen} cell{'s' * (n_seen > 1)} of it observed"
        left = {name: why for name, why in left.items() if missing[:, table.columns.get_loc(name)].any()}
        used = list(kinds)
        # Of a row that shows nothing, nothing can be learnt or said.
        empty = np.flatnonzero(missing[:, used].all(axis=1)) if used else np.arange(len(table))
        missing = missing.copy()
        missing[empty] = False
        gaps = missing.sum(axis=0)
        todo = [j for j in used if gaps[j] and table.columns[j] not in left]
        missing[:, [j for j in range(table.shape[1]) if j not in todo]] = False
        order = tuple(sorted(todo, key=lambda j: (gaps[j], j)))
        turns = n_rounds(order, rounds)
        models, spent = {}, 0.0
        for j in sorted(order, key=lambda j: (-gaps[j], j)):
            kind = kinds[j]
            shown = min(int((~missing[:, j]).sum()), MOST_SHOWN)
            cost = float(m * turns * (shown + gaps[j]) * (len(used) - 1))
            if kind.levels is not None and len(kind.levels) > 10:
                cost *= 2 if len(kind.levels) <= _MOST_LEVELS else np.inf
            is_network = spent + cost <= budget
            models[j] = "network" if is_network else "quick"
            spent += cost if is_network else 0.0
        return cls(kinds, order, models, left, empty, missing)


MOST_SHOWN = 600
"""Context rows that the network is shown of a longer table, another sample for every draw."""


def n_rounds(incomplete: Sequence[int], rounds: int | None) -> int:
    """Rounds of the chains: one is enough where a single column has gaps."""
    if rounds is not None:
        return rounds
    return 1 if len(incomplete) <= 1 else 5


def read_table(table) -> pd.DataFrame:
    """The table as a DataFrame with unique names of columns.

    Raises:
        ValueError: for a table without rows, or with names that repeat.
    """
    frame, _ = as_table(table)
    if not len(frame):
        raise ValueError("impute got a table without rows; pass the rows whose gaps are to be filled.")
    return frame


def read_shift(
    shift: Mapping[Hashable, object] | None, table: pd.DataFrame, layout: Layout
) -> tuple[dict[int, float], dict[int, np.ndarray]]:
    """Sensitivity shifts as numbers to add to draws, in the column's units, and as log odds of levels, by position.

    Raises:
        ValueError: for a column that is not imputed, a number for a column of levels, or an unknown level.
    """
    if shift is not None and not isinstance(shift, Mapping):
        raise ValueError(f"shift got {shift!r}; pass a dictionary, such as {{'income': -0.2}}.")
    added: dict[int, float] = {}
    tilted: dict[int, np.ndarray] = {}
    names = {table.columns[j]: j for j in layout.incomplete}
    for name, amount in (shift or {}).items():
        if name not in names:
            raise ValueError(f"shift names {name!r}, of which no cell is imputed; those imputed are {list(names)}.")
        kind = layout.kinds[names[name]]
        if kind.levels is None:
            if not isinstance(amount, Real) or not np.isfinite(float(amount)):
                raise ValueError(
                    f"shift[{name!r}] got {amount!r}; it is a column of numbers: give a number of standard deviations."
                )
            spread = float(np.nanstd(kind.numbers(table[name])))
            added[names[name]] = float(amount) * spread
            continue
        levels = list(kind.levels)
        if not isinstance(amount, Mapping) or not set(amount) <= set(levels) or not _all_finite(amount):
            raise ValueError(
                f"shift[{name!r}] got {amount!r}; it is a column of levels: give log odds to add to some of them, "
                f"such as {{{levels[0]!r}: 0.5}}."
            )
        tilted[names[name]] = np.array([float(amount.get(level, 0.0)) for level in levels])
    return added, tilted


def _all_finite(amounts: Mapping[Any, Any]) -> bool:
    return all(isinstance(amount, Real) and np.isfinite(float(amount)) for amount in amounts.values())
