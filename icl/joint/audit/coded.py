"""Two tables as numbers on one scale: ranks among the real rows, and codes of levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from icl.joint.kinds import Kind


@dataclass(frozen=True)
class Coder:
    """Reads tables in the columns and kinds of the real one."""

    kinds: tuple[Kind, ...]
    columns: tuple
    reference: tuple[np.ndarray, ...]
    """Sorted observed numbers of each column, against which ranks are taken; empty for levels."""

    @classmethod
    def of(cls, real: pd.DataFrame) -> Coder:
        kinds = tuple(Kind.of(real[name]) for name in real.columns)
        numbers = [kind.numbers(real[kind.name]) for kind in kinds]
        sorted_ = tuple(np.sort(v[~np.isnan(v)]) if not k.is_class else np.empty(0) for k, v in zip(kinds, numbers))
        return cls(kinds, tuple(real.columns), sorted_)

    @property
    def is_level(self) -> np.ndarray:
        return np.array([kind.is_class for kind in self.kinds])

    def numbers(self, table: pd.DataFrame) -> np.ndarray:
        """(n, F) float64: numbers, or codes of levels with the count of levels for an unknown one; NaN is missing."""
        out = np.full((len(table), len(self.kinds)), np.nan)
        for j, kind in enumerate(self.kinds):
            try:
                values = kind.numbers(table[kind.name])
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"column {kind.name!r} holds {table[kind.name].dtype}, where the real rows hold {kind.dtype} "
                    f"({error}). Convert it first."
                ) from error
            if kind.levels is not None:
                unknown = np.isnan(values) & table[kind.name].notna().to_numpy()
                values = np.where(unknown, len(kind.levels), values)
            out[:, j] = values
        return out

    def ranks(self, numbers: np.ndarray) -> np.ndarray:
        """The same with numbers as shares of the real ones that lie below: no unit, and no tail counts too much."""
        out = numbers.copy()
        for j, reference in enumerate(self.reference):
            if len(reference):
                seen = ~np.isnan(numbers[:, j])
                sides = (np.searchsorted(reference, numbers[seen, j], side) for side in ("left", "right"))
                out[seen, j] = sum(sides) / (2 * len(reference))
        return out


def check_tables(real: pd.DataFrame, synthetic: pd.DataFrame, holdout: pd.DataFrame | None) -> None:
    """Raises ValueError unless the tables have the same columns and enough rows."""
    for name, table in (("real", real), ("synthetic", synthetic), ("holdout", holdout)):
        if table is None:
            continue
        if not isinstance(table, pd.DataFrame):
            raise ValueError(f"{name} must be a DataFrame or a table of polars or Arrow, got {type(table).__name__}.")
        if not table.shape[1]:
            raise ValueError(f"{name} has no columns; pass the columns to compare.")
        if len(table) < 20:
            raise ValueError(f"{name} has {len(table)} rows; an audit says nothing below 20.")
        if not table.columns.is_unique:
            twice = table.columns[table.columns.duplicated()].unique().tolist()
            raise ValueError(f"{name} has several columns named {twice}; rename them.")
        lacking = [column for column in real.columns if column not in table.columns]
        extra = [column for column in table.columns if column not in real.columns]
        if lacking or extra:
            raise ValueError(
                f"{name} lacks the columns {lacking} of the real rows and has {extra} beside them; pass tables with "
                f"the same columns."
            )
