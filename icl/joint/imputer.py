"""`ICLImputer`: one completed table inside a scikit-learn pipeline."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from icl.joint.impute import ImputationWarning, impute
from icl.joint.kinds import part_of
from icl.tables.encoder import as_pandas, as_table

FILLS = ("mean", "draw")


class ICLImputer(TransformerMixin, BaseEstimator):
    """Fills gaps for models that cannot take them, in the manner of scikit-learn's imputers.

    One filled table, not several: to predict from. Estimates with intervals come from `icl.impute` and
    `infer(..., table=imputed)`; from what this class gives they would be too sure of themselves.

    Args:
        fill: "mean" of m draws (or the most frequent level), the best single guess; or "draw", a single draw, which
            keeps the spread and the relations of the columns.
        m: draws that a mean is of.
        random_state: seed.
        checkpoint: as of `ICLRegressor`.
        budget: as of `icl.impute`, for one call of `transform`.

    Attributes:
        table_: the rows of `fit`, from which `transform` fills others.
    """

    def __init__(self, fill="mean", m=5, random_state=0, checkpoint=None, budget=4e6):
        self.fill = fill
        self.m = m
        self.random_state = random_state
        self.checkpoint = checkpoint
        self.budget = budget

    def fit(self, X, y=None) -> ICLImputer:
        """Keep the rows; nothing is trained. y is not used: an imputation for prediction must not see it."""
        if self.fill not in FILLS:
            raise ValueError(f"fill must be one of {', '.join(map(repr, FILLS))}, got {self.fill!r}.")
        self.table_, self._has_names = as_table(X)
        self.n_features_in_ = self.table_.shape[1]
        if self._has_names and all(isinstance(name, str) for name in self.table_.columns):
            self.feature_names_in_ = np.array(self.table_.columns, dtype=object)
        return self

    def fit_transform(self, X, y=None, **fit_params):
        """The rows of X, each filled from all of them."""
        self.fit(X)
        return self._filled(self.table_, len(self.table_), 0, X)

    def transform(self, X):
        """The rows of X, filled from the rows of `fit` and from one another; X keeps its type and order of columns."""
        check_is_fitted(self, "table_")
        rows, has_names = as_table(X)
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {rows.shape[1]} features, but ICLImputer is expecting {self.n_features_in_} features as input."
            )
        if not (has_names and self._has_names):
            rows = rows.set_axis(self.table_.columns, axis=1)
        elif unknown := [name for name in rows.columns if name not in self.table_.columns]:
            raise ValueError(f"X has the columns {unknown}, which fit did not see; it saw {list(self.table_.columns)}.")
        wanted = list(rows.columns)
        rows = part_of(rows, self.table_.columns)
        both = pd.concat([self.table_, rows], ignore_index=True)
        # Together, categoricals of different levels would become text.
        levels = {name: dtype for name, dtype in self.table_.dtypes.items() if isinstance(dtype, pd.CategoricalDtype)}
        if levels:
            for name, dtype in levels.items():
                if new := [level for level in rows[name].dropna().unique() if level not in dtype.categories]:
                    levels[name] = pd.CategoricalDtype([*dtype.categories, *new], dtype.ordered)
            both = both.astype(levels)
        return self._filled(part_of(both, wanted), len(rows), len(self.table_), X)

    def _filled(self, table: pd.DataFrame, n: int, start: int, like: Any):
        own = slice(start, start + n)
        if table.iloc[own].notna().all(axis=None):
            return like
        m = self.m if self.fill == "mean" else 2  # the least that there is
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            imputed = impute(table, m, self.random_state, budget=self.budget, checkpoint=self.checkpoint)
        for said in imputed.stray_notes():
            warnings.warn(said, ImputationWarning, stacklevel=3)
        whole = imputed.mean() if self.fill == "mean" else imputed[0]
        rows = whole.iloc[own]
        if gaps := int(rows.isna().any(axis=1).sum()):
            warnings.warn(
                f"{gaps} of {n} rows keep gaps: nothing of such a row, or nothing of such a column, is observed.",
                ImputationWarning,
                stacklevel=3,
            )
        if not isinstance(like, np.ndarray | list | tuple):
            return rows.set_axis(as_pandas(like).index, axis=0)
        return rows.to_numpy()

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """The names of the columns, which stay as they are."""
        check_is_fitted(self, "table_")
        return np.array([str(name) for name in self.table_.columns], dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags
