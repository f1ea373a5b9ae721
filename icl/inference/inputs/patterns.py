"""Rows by which of their cells are known, and what known cells say of a row's contribution to an answer.

A pattern is a set of rows that lack the same columns. What a row contributes to the answer from complete rows, its
influence, is regressed on the columns that a pattern knows, among complete rows, cross-fitted.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.inputs.folds import assign_folds

if TYPE_CHECKING:
    import pandas as pd

# Rows below which a pattern is not used: it would say next to nothing.
FEWEST_ROWS = 10
MOST_PATTERNS = 8
# Levels at most of a column that is shown to the regression.
_MOST_LEVELS = 20


@dataclass(frozen=True)
class Pattern:
    """Rows that lack the same columns.

    Attributes:
        lacking: those columns.
        rows: positions in the table.
        known: columns that these rows, and all complete rows, know.
    """

    lacking: tuple[Hashable, ...]
    rows: np.ndarray
    known: list[Hashable]

    def __str__(self) -> str:
        return f"without {', '.join(map(str, self.lacking))} ({len(self.rows):,} rows)"


def patterns_of(
    table: pd.DataFrame, needed: Sequence[Hashable], features: Sequence[Hashable] | None
) -> tuple[np.ndarray, list[Pattern], list[Diagnostic]]:
    """Complete rows, the patterns of the others from the largest on, and what of them is not used.

    Args:
        needed: columns of the estimand.
        features: columns that may be used beside them; None: all of the table.
    Raises:
        ValueError: if no row is complete.
    """
    if unknown := [name for name in features or () if name not in table.columns]:
        raise ValueError(f"features names {unknown}, which the table does not have; it has {list(table.columns)}.")
    missing = table[list(needed)].isna().to_numpy()
    complete = np.flatnonzero(~missing.any(axis=1))
    if not len(complete):
        raise ValueError(
            f"no row knows all of {list(needed)}; missing='patterns' starts from complete rows. icl.impute does not."
        )
    codes, which = np.unique(missing, axis=0, return_inverse=True)
    which = which.ravel()
    found: list[Pattern] = []
    left = 0
    usable = [*needed, *(name for name in (table.columns if features is None else features) if name not in needed)]
    for k in np.argsort(-np.bincount(which), kind="stable"):
        rows = np.flatnonzero(which == k)
        if not codes[k].any():
            continue
        lacking = tuple(name for name, gone in zip(needed, codes[k], strict=True) if gone)
        both = table.iloc[np.concatenate([complete, rows])]
        known = [name for name in usable if name not in lacking and both[name].notna().all() and _is_shown(both[name])]
        if len(rows) < FEWEST_ROWS or len(found) == MOST_PATTERNS or not known:
            left += len(rows)
        else:
            found.append(Pattern(lacking, rows, known))
    notes = []
    if left:
        notes.append(
            Diagnostic(
                "patterns_left_out",
                f"{left} rows with gaps are not used: of patterns of fewer than {FEWEST_ROWS} rows, beyond the "
                f"{MOST_PATTERNS} largest patterns, or of rows that know no usable column.",
            )
        )
    return complete, found, notes


def _is_shown(column: pd.Series) -> bool:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return is_numeric_dtype(column.dtype) or is_bool_dtype(column.dtype) or column.nunique() <= _MOST_LEVELS


def said_of(
    table: pd.DataFrame,
    complete: np.ndarray,
    pattern: Pattern,
    influence: np.ndarray,
    predictor: Any,
    folds: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """What the columns that a pattern knows say of influences.

    Args:
        influence: (n, P) of the complete rows.
        predictor: a regressor, cloned for each term and fold; None for ridge on squares and products.
    Returns:
        (n, P) for complete rows, each from the other folds, and (N, P) for the rows of the pattern, mean over folds.
    """
    from sklearn.base import clone

    X, X_rows = table.iloc[complete][pattern.known], table.iloc[pattern.rows][pattern.known]
    predictor = _ridge_on_products(X) if predictor is None else predictor
    of_row = assign_folds(len(X), min(folds, len(X)), seed)
    here, there = np.zeros_like(influence), np.zeros((len(X_rows), influence.shape[1]))
    for fold in range(of_row.max() + 1):
        out = of_row == fold
        for j, target in enumerate(influence.T):
            if target[~out].std() == 0:
                continue
            model = clone(predictor).fit(X[~out], target[~out])
            here[out, j] = model.predict(X[out])
            there[:, j] += np.asarray(model.predict(X_rows)) / (of_row.max() + 1)
    return here, there


def _ridge_on_products(X: pd.DataFrame) -> Any:
    """Influences of regressions are products of a covariate and a residual: second degree suffices for normal cells."""
    from pandas.api.types import is_numeric_dtype
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler

    numbers = [name for name in X if is_numeric_dtype(X[name].dtype)]
    levels = [name for name in X if name not in numbers]
    parts = [("numbers", StandardScaler(), numbers), ("levels", OneHotEncoder(handle_unknown="ignore"), levels)]
    encode = ColumnTransformer(parts, sparse_threshold=0)
    degree = 2 if len(X.columns) <= 12 else 1
    return make_pipeline(
        encode, PolynomialFeatures(degree, include_bias=False), StandardScaler(), RidgeCV(np.geomspace(1e-2, 1e4, 13))
    )
