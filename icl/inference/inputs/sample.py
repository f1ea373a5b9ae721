"""The rows of one analysis: labeled first, then unlabeled, with the columns that are needed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.frames import as_frame, drop_unused_levels, require_columns, stacked

if TYPE_CHECKING:
    import pandas as pd

    from icl.inference.estimands import Estimand


@dataclass(frozen=True)
class Sample:
    """Labeled and unlabeled rows, and the order that puts an array given in the caller's order labeled-first."""

    labeled: pd.DataFrame
    unlabeled: pd.DataFrame
    order: np.ndarray | range
    """(n + N,) positions in the caller's rows."""
    index: pd.Index
    """(n + N,) names of the rows, in the caller's order."""
    stream: Any = None
    """Unlabeled rows that come in batches, in place of `unlabeled`; see `icl.inference.inputs.stream`."""
    notes: tuple[Diagnostic, ...] = ()

    def in_order_of_rows(self, values: Any, what: str) -> Any:
        """Values (n + N, ...) in the caller's order of rows: a Series or DataFrame with another order is put in it.

        Raises:
            ValueError: for a Series or DataFrame of as many rows that are named otherwise.
        """
        return in_order_of(self.index, values, what)

    def columns(self, names: Sequence[Hashable]) -> pd.DataFrame:
        """The named columns of all rows, labeled first."""
        return stacked(self.labeled, self.unlabeled, names)

    def column(self, name: Hashable) -> np.ndarray:
        """(n + N,) one column of all rows, labeled first."""
        parts = [part[name] for part in (self.labeled, self.unlabeled) if len(part)]
        if isinstance(parts[0].dtype, np.dtype) and all(part.dtype == parts[0].dtype for part in parts):
            return np.concatenate([part.to_numpy() for part in parts])  # a tenth of the time that joining tables takes
        return self.columns([name])[name].to_numpy()

    def frames(self, estimand: Estimand) -> tuple[pd.DataFrame, pd.DataFrame] | None:
        """Labeled and unlabeled rows as tables, for estimands that are computed from tables."""
        if estimand.solver != "bootstrap":
            return None
        covariates = list(estimand.covariate_columns)
        return self.labeled[[*estimand.outcome_columns, *covariates]], self.unlabeled[covariates]


def read_sample(estimand: Estimand, table: Any, labeled: Any, unlabeled: Any) -> Sample:
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
        sample = _split(as_frame(table, "table"), outcome)
    else:
        sample = _pair(as_frame(labeled, "labeled"), unlabeled, outcome)
    for name, frame in (("labeled", sample.labeled), ("unlabeled", sample.unlabeled)):
        if name == "unlabeled" and not len(frame):
            continue
        require_columns(frame, estimand.covariate_columns, f"{name} rows", f"as covariates of {str(estimand)!r}")
        for column in estimand.covariate_columns:
            n_missing = int(frame[column].isna().sum())
            if n_missing:
                raise ValueError(
                    f"covariate {column!r} is missing on {n_missing} of {len(frame)} {name} rows. {str(estimand)!r} "
                    "needs complete covariates. Filled once they would count as observed, and intervals be too short: "
                    "pass table=icl.impute(table), which fills them many times, or missing='patterns', which trusts no "
                    "model of them."
                )
    return sample


def _split(table: pd.DataFrame, outcome: list[str]) -> Sample:
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
    (table,), index = drop_unused_levels(table), table.index
    table = table.reset_index(drop=True)
    if is_labeled[:n_labeled].all():  # in order already: no cell is moved
        return Sample(table.iloc[:n_labeled], table.iloc[n_labeled:], order, index)
    return Sample(table.iloc[order[:n_labeled]], table.iloc[order[n_labeled:]], order, index)


def _has_all(frame: pd.DataFrame, columns: list[str]) -> np.ndarray:
    return np.logical_and.reduce([frame[name].notna().to_numpy() for name in columns])


def _pair(labeled: pd.DataFrame, unlabeled: Any, outcome: list[str]) -> Sample:
    if not len(labeled):
        raise ValueError("labeled= has no rows; label a random sample of rows first.")
    require_columns(labeled, outcome, "labeled rows", "as the outcome")
    n_missing = len(labeled) - int(_has_all(labeled, outcome).sum())
    if n_missing:
        raise ValueError(
            f"{n_missing} of {len(labeled)} rows in labeled= have no value of {outcome}. Move them to unlabeled=, or "
            "pass everything as table=, where a missing outcome marks an unlabeled row."
        )
    stream = unlabeled if is_stream(unlabeled) else None
    unlabeled = labeled.iloc[:0] if unlabeled is None or stream is not None else as_frame(unlabeled, "unlabeled")
    held_out = [name for name in outcome if name in unlabeled.columns]
    n_unused = int(_has_all(unlabeled, held_out).sum()) if held_out else 0
    note = Diagnostic(
        "unused_labels",
        f"{n_unused} rows of unlabeled= carry an outcome; it was not used. Move them to labeled= if they were sampled "
        "at random too.",
    )
    index = labeled.index.append(unlabeled.index)
    labeled, unlabeled = (part.reset_index(drop=True) for part in drop_unused_levels(labeled, unlabeled))
    return Sample(labeled, unlabeled, range(len(index)), index, stream, (note,) * (n_unused > 0))


def in_order_of(index: pd.Index, values: Any, what: str) -> Any:
    """`values` in the order of `index`, if they are a Series or DataFrame; see `Sample.in_order_of_rows`."""
    import pandas as pd

    if not isinstance(values, (pd.Series, pd.DataFrame)) or len(values) != len(index) or values.index.equals(index):
        return values
    if index.is_unique and values.index.is_unique and values.index.isin(index).all():
        return values.reindex(index)
    raise ValueError(
        f"{what} is a {type(values).__name__} whose index is not that of the rows, so which value belongs to which row "
        "is not known. Give it the index of the table, or pass .to_numpy() if it is in the order of the rows."
    )


def in_memory(unlabeled: Any) -> Any:
    """Rows for a predictor, which takes them at once: tables of Arrow and Hugging Face as a frame; Ray's stay there."""
    is_table = hasattr(unlabeled, "to_pandas") and hasattr(unlabeled, "__len__")
    is_far = hasattr(unlabeled, "map_batches")
    return as_frame(unlabeled, "unlabeled") if is_table and not is_far else unlabeled


def is_stream(unlabeled: Any) -> bool:
    """Whether `unlabeled` is something to be read in batches: not a DataFrame, not a dict of columns."""
    import pandas as pd

    if unlabeled is None or isinstance(unlabeled, (pd.DataFrame, dict, np.ndarray, list)):
        return False
    # Of what can become a DataFrame at once, Arrow, Hugging Face and Ray are read in batches, Polars is not.
    by_batches = any(hasattr(unlabeled, method) for method in ("to_batches", "with_format", "map_batches"))
    return by_batches or not hasattr(unlabeled, "to_pandas")
