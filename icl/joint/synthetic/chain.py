"""One order of the columns: p(row) as a product of p(column | columns before it), gaps being part of a column.

A column with gaps is two steps: whether its cell is missing, then what it holds if it is not.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from icl.joint.column import ColumnModel, fit_column
from icl.joint.kinds import Kind, are_single, frame_of, part_of
from icl.joint.marginal import MarginalColumn
from icl.joint.progress import Step, unseen
from icl.tables.roles import reads_as_text, why_unused


def kinds_of(table: pd.DataFrame) -> dict[Hashable, Kind]:
    """The kind of every column.

    Raises:
        ValueError: for a table that is none, or columns that cannot be drawn, saying which and why.
    """
    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"table must be a DataFrame or a table of polars or Arrow, got {type(table).__name__}.")
    if len(table) < 10 or not table.shape[1]:
        raise ValueError(f"table has {len(table)} rows and {table.shape[1]} columns; too few to learn from.")
    if not table.columns.is_unique:
        raise ValueError(f"column names must differ, got {table.columns[table.columns.duplicated()].tolist()} twice.")
    if unfit := unfit_columns(table):
        said = ", ".join(f"{name!r} ({why})" for name, why in unfit.items())
        raise ValueError(f"these columns cannot be drawn: {said}. Leave them out: table.drop(columns={[*unfit]}).")
    return {name: Kind.of(table[name]) for name in table.columns}


def unfit_columns(table: pd.DataFrame) -> dict[Hashable, str]:
    """Columns that cannot be drawn, and why: empty ones, names of rows, free text."""
    unfit: dict[Hashable, str] = {}
    for name in table.columns:
        seen = table[name].dropna()
        if not len(seen):
            unfit[name] = "empty"
        elif not are_single(seen):
            unfit[name] = "lists or records"
        elif why := why_unused(seen.rename(name)):
            unfit[name] = why
        elif reads_as_text(seen):
            unfit[name] = "free text"
    return unfit


class Chain:
    """Models of the columns in one order.

    Args:
        table: rows to learn from.
        order: all columns; those in `fixed` come first and get no model, because they are always given.
        model, options: as for `icl.joint.column.fit_column`.
        step: is told of each column fitted or drawn.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        kinds: Mapping[Hashable, Kind],
        order: Sequence[Hashable],
        fixed: Sequence[Hashable],
        model: str,
        seed: int,
        options: Mapping[str, Any],
        step: Step = unseen,
    ):
        self._step, self._n_rows = step, len(table)
        self.order, self.kinds = list(order), kinds
        self._gaps: dict[Hashable, ColumnModel] = {}
        self._observed: dict[Hashable, np.ndarray] = {}
        self._values: dict[Hashable, ColumnModel] = {}
        settings = {"fit_mode": "low_memory", **options}  # each context is read for few and large blocks of rows
        for j, name in enumerate(self.order):
            if name in fixed:
                continue
            before, own = part_of(table, self.order[:j]), table[name]
            if own.isna().any():
                self._gaps[name] = fit_column(before, _gaps(own), model=model, seed=seed, options=settings)
            self._values[name] = fit_column(before, own, kind=kinds[name], model=model, seed=seed, options=settings)
            step(1)
            if not kinds[name].is_class:
                self._observed[name] = np.sort(kinds[name].numbers(own.dropna()))

    def draw(self, rows: pd.DataFrame, upto: int, rng: np.random.Generator) -> pd.DataFrame:
        """The rows, which have the first columns of the order, with further columns up to the number `upto`."""
        columns: dict[Hashable, Any] = {name: rows[name] for name in rows.columns}
        for j in range(len(columns), upto):
            name = self.order[j]
            before = frame_of(columns, rows.index)
            kind, model = self.kinds[name], self._values[name]
            numbers = kind.numbers(model.draw(before, rng))
            if name in self._observed:
                values, counts = np.unique(self._observed[name], return_counts=True)
                repeated, share = values[counts > 1], counts[counts > 1].sum() / counts.sum()
                if isinstance(model, MarginalColumn):
                    own = ~np.isin(numbers, repeated)
                    numbers[own] = kind.snap(_beside(numbers[own], values, rng))
                numbers = _heaped(numbers, repeated, share, rng)
            if name in self._gaps:
                is_gap = self._gaps[name].draw(before, rng).to_numpy(dtype=bool)
                numbers = np.where(is_gap, np.nan, numbers)
            columns[name] = kind.cells(numbers, rows.index)
            self._step(1)
        return frame_of(columns, rows.index)

    def log_densities(self, rows: pd.DataFrame) -> pd.DataFrame:
        """(n, F) what each column adds to the log density of each row."""
        out: dict[Hashable, Any] = {}
        for j, name in enumerate(self.order):
            before, own = part_of(rows, self.order[:j]), rows[name]
            found, is_gap = self._values[name].log_density(before, own), own.isna().to_numpy()
            unseen = np.log(0.5 / (self._n_rows + 1))
            # A level that the table does not hold is rarer than any that it does; an infinite number is impossible.
            other = np.isnan(found) & ~is_gap
            found[other] = unseen if self.kinds[name].is_class else -np.inf
            found[is_gap] = 0.0 if name in self._gaps else unseen
            if name in self._gaps:
                found = found + self._gaps[name].log_density(before, _gaps(own))
            out[name] = found
        return part_of(frame_of(out, rows.index), self.kinds)


def _gaps(cells: pd.Series) -> pd.Series:
    return pd.Series(cells.isna().to_numpy(), cells.index)


def _heaped(numbers: np.ndarray, repeated: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Numbers of which a share are among those that repeat: people round to what they like, and no grid says which.

    Those that are to be and are not yet become the nearest of these.
    """
    own = np.flatnonzero(~np.isin(numbers, repeated))
    lacking = round(share * len(numbers)) - (len(numbers) - len(own))
    if lacking > 0 and len(repeated):
        moved = rng.choice(own, min(lacking, len(own)), replace=False)
        numbers[moved] = repeated[np.searchsorted((repeated[1:] + repeated[:-1]) / 2, numbers[moved])]
    return numbers


def _beside(numbers: np.ndarray, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each number, which is one of the values, moved at random up to half the way to its neighbours: no copy."""
    middles = (values[1:] + values[:-1]) / 2
    edges = np.concatenate([values[:1], middles, values[-1:]])
    place = np.searchsorted(middles, numbers)
    return edges[place] + rng.random(len(numbers)) * (edges[place + 1] - edges[place])


def draw_orders(
    columns: Sequence[Hashable], first: Sequence[Hashable], n_orders: int, rng: np.random.Generator
) -> list[list[Hashable]]:
    """Orders that begin with the columns `first` and continue at random; no order twice, so there may be fewer."""
    rest = [name for name in columns if name not in first]
    found: list[list[Hashable]] = []
    for _ in range(20 * n_orders):
        if len(found) == n_orders:
            break
        order = [*first, *(rest[j] for j in rng.permutation(len(rest)))]
        if order not in found:
            found.append(order)
    return found
