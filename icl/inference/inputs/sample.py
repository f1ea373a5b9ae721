"""The rows of one analysis: labeled first, then unlabeled, with the columns that are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import as_frame, require_columns

if TYPE_CHECKING:
    import pandas as pd

    from icl.inference.estimands import Estimand


@dataclass(frozen=True)
class Rows:
    """Labeled and unlabeled rows, and the order that puts an array given in the caller's order labeled-first."""

    labeled: pd.DataFrame
    unlabeled: pd.DataFrame
    order: np.ndarray | range
    """(n + N,) positions in the caller's rows."""
    n_unused_labels: int = 0
    """Unlabeled rows that carry an outcome, which nothing here looks at."""

    def columns(self, names: Sequence[str]) -> pd.DataFrame:
        """The named columns of all rows, labeled first."""
        import pandas as pd

        if not names:
            return pd.DataFrame(index=range(len(self.order)))
        if not len(self.unlabeled):
            return self.labeled[list(names)]
        return pd.concat([self.labeled[list(names)], self.unlabeled[list(names)]], ignore_index=True)


def read_rows(estimand: Estimand, table: Any, labeled: Any, unlabeled: Any) -> Rows:
    """Split `table` by missing outcome, or take `labeled` and `unlabeled` as they are.

    Raises:
        ValueError: for both or neither of the two ways, empty tables, missing columns, labeled rows without an
            outcome, and missing values in covariates.
    """
    if (table is None) == (labeled is None):
        got = "both" if table is not None else "neither"
        raise ValueError(
            f"got {got} of table= and labeled=; pass table=df (missing outcome = unlabeled row) or "
            "labeled=df1, unlabeled=df2."
        )
    outcome = list(estimand.outcome_columns)
    if table is not None:
        if unlabeled is not None:
            raise ValueError("got table= and unlabeled=; a table already holds its unlabeled rows. Pass one of them.")
        rows = _split(as_frame(table, "table"), outcome)
    else:
        rows = _pair(
            as_frame(labeled, "labeled"), None if unlabeled is None else as_frame(unlabeled, "unlabeled"), outcome
        )
    for name, frame in (("labeled", rows.labeled), ("unlabeled", rows.unlabeled)):
        if name == "unlabeled" and not len(frame):
            continue
        require_columns(frame, estimand.covariate_columns, f"{name} rows", f"as covariates of {str(estimand)!r}")
        for column in estimand.covariate_columns:
            n_missing = int(frame[column].isna().sum())
            if n_missing:
                raise ValueError(
                    f"covariate {column!r} is missing on {n_missing} of {len(frame)} {name} rows. {str(estimand)!r} "
                    "needs complete covariates: fill them, add an indicator of missingness, or drop those rows."
                )
    return rows


def _split(table: pd.DataFrame, outcome: list[str]) -> Rows:
    if not len(table):
        raise ValueError("table= has no rows; pass the labeled rows and the unlabeled ones (missing outcome).")
    require_columns(table, outcome, "rows of table=", "as the outcome")
    is_labeled = _has_all(table, outcome)
    order = np.concatenate([np.flatnonzero(is_labeled), np.flatnonzero(~is_labeled)])
    n_labeled = int(is_labeled.sum())
    if not n_labeled:
        raise ValueError(
            f"none of the {len(table)} rows has a value of {outcome}; without one real label there is nothing to "
            "correct the predictions with. Label a random sample of rows first."
        )
    return Rows(table.iloc[order[:n_labeled]], table.iloc[order[n_labeled:]], order)


def _has_all(frame: pd.DataFrame, columns: list[str]) -> np.ndarray:
    return np.logical_and.reduce([frame[name].notna().to_numpy() for name in columns])


def _pair(labeled: pd.DataFrame, unlabeled: pd.DataFrame | None, outcome: list[str]) -> Rows:
    if not len(labeled):
        raise ValueError("labeled= has no rows; label a random sample of rows first.")
    require_columns(labeled, outcome, "labeled rows", "as the outcome")
    n_missing = len(labeled) - int(_has_all(labeled, outcome).sum())
    if n_missing:
        raise ValueError(
            f"{n_missing} of {len(labeled)} rows in labeled= have no value of {outcome}. Move them to unlabeled=, or "
            "pass everything as table=, where a missing outcome marks an unlabeled row."
        )
    if unlabeled is None:
        unlabeled = labeled.iloc[:0]
    held_out = [name for name in outcome if name in unlabeled.columns]
    n_unused = int(_has_all(unlabeled, held_out).sum()) if held_out else 0
    return Rows(labeled, unlabeled, range(len(labeled) + len(unlabeled)), n_unused)
