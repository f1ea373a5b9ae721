"""Explanations of a fitted estimator: Shapley values, partial dependence, the labelled rows that were attended to.

Shapley values leave cells missing, which the network was trained to live with: no background data are needed, and the
context is read once for all coalitions. They say what the answer rests on, not what causes the outcome.

Dimension key: M rows, F columns of the encoded table, P columns of the table that are in use, K coalitions, C outputs.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student
from sklearn.base import is_classifier

from icl.estimators.conformity import check_coverage
from icl.estimators.embedded import Embedded
from icl.explaining.attended import attended
from icl.explaining.explanation import Dependence, Explanation
from icl.explaining.shapley import shapley
from icl.prediction.together import distributions
from icl.tables.encoder import as_table

_ROWS_AT_ONCE = 65_536


class Explained(Embedded):
    """An estimator with `explain`, `partial_dependence` and `nearest_rows`; conformal mixins bring the folds."""

    _labeled: Any
    _calibration: Any
    _query_blocks: Any

    def explain(self, X, *, budget: int = 512, seed: int = 0) -> Explanation:
        """Shapley values: what each column adds to the prediction of each row.

        Exact, by all subsets of columns, if these are at most `budget` (9 columns by default); beyond that from random
        orders of the columns, each with its reverse, and standard errors say how well.

        Args:
            X: rows to explain, with the columns of `fit`; cost is about `budget` predictions for each.
            budget: sets of known columns asked for each row.
            seed: of the orders.
        Returns:
            Values of the mean for a regressor, of every class's probability for a classifier; see
            `icl.explaining.explanation.Explanation`.
        """
        if isinstance(budget, bool) or not isinstance(budget, Integral) or budget < 2:
            raise ValueError(f"budget must be a whole number of at least 2, got {budget!r}.")
        rows_MF = self._encode_rows(X)
        players, player_F = np.unique(self._encoder.sources_, return_inverse=True)
        fitted = self.answering()

        def game(masks_KP: np.ndarray) -> np.ndarray:
            step = max(1, _ROWS_AT_ONCE // max(len(rows_MF), 1))
            parts = []
            for start in range(0, len(masks_KP), step):
                known_KF = masks_KP[start : start + step][:, player_F]
                asked = np.where(known_KF, rows_MF[:, None], np.float32(np.nan)).reshape(-1, rows_MF.shape[1])
                found = np.concatenate([self._points(d) for [d] in distributions([fitted], [asked])])
                parts.append(found.reshape(len(rows_MF), len(known_KF), -1))
            return np.concatenate(parts, axis=1)

        shares = shapley(game, len(players), int(budget), seed)
        table = self._named(X)
        shape = (len(rows_MF), table.shape[1], shares.values.shape[2])
        values, errors = np.zeros(shape), np.zeros(shape)
        values[:, players] = shares.values
        if shares.std_errors is not None:
            errors[:, players] = shares.std_errors
        parts = [values, shares.empty, shares.whole, errors]
        names = None
        if is_classifier(self):
            names = self.classes_.tolist()
        else:
            parts = [part[..., 0] for part in parts]
        return Explanation(*parts, table, names, shares.std_errors is None, shares.n_coalitions)

    def partial_dependence(
        self,
        X,
        column: Any,
        *,
        output: Any = None,
        grid: int = 12,
        rows: int = 50,
        folds: int = 10,
        coverage: float | None = 0.9,
    ) -> Dependence:
        """Average prediction over the rows of X as one column takes the values of a grid.

        The average is that of `sklearn.inspection.partial_dependence`, asked in one pass. The band says how it varies
        with the labelled rows: a jackknife over contexts that each lack one of `folds` parts of them.

        Args:
            column: a name; of an array, a position.
            output: the class whose probability it is; default the last. Of a regressor None.
            grid: values at most: quantiles of the labelled rows between .025 and .975, or the most frequent levels.
            rows: of X, taken evenly, at most.
            coverage: nominal, of the band; None for none, which saves the passes of the folds.
        """
        context, had_names, _ = self._labeled_rows()
        table = self._named(X)
        if column not in table.columns:
            raise ValueError(f"column must be one of {list(map(str, table.columns[:12]))}, got {column!r}.")
        code = self._code_of(output)
        values = _grid_of(context[column], grid)
        if len(table) > rows:
            table = table.iloc[np.linspace(0, len(table) - 1, rows).round().astype(int)]
        asked = table.iloc[np.tile(np.arange(len(table)), len(values))].reset_index(drop=True)
        asked[column] = values.iloc[np.repeat(np.arange(len(values)), len(table))].to_numpy()
        asked = asked.astype({column: context[column].dtype})

        def curves(found: np.ndarray) -> np.ndarray:
            return found[:, code].reshape(len(values), len(table))

        given = asked if had_names else asked.to_numpy(dtype=object)
        found = [self._points(d) for [d] in distributions([self.answering()], [self._encode_rows(given)])]
        own = curves(np.concatenate(found))
        average = own.mean(1)
        reach = np.full(len(values), np.nan)
        if coverage is not None:
            check_coverage(coverage)
            blocks = list(self._query_blocks(given, self._calibration("cv+", folds)))
            of_folds = [np.concatenate([self._points(block[k]) for block in blocks]) for k in range(len(blocks[0]))]
            reach = _jackknife_reach(np.stack([curves(found).mean(1) for found in of_folds]), coverage)
        low_rows, high_rows = np.quantile(own, [0.05, 0.95], axis=1)
        frame = pd.DataFrame(
            {
                "value": values.to_numpy(),
                "average": average,
                "lower": average - reach,
                "upper": average + reach,
                "low_rows": low_rows,
                "high_rows": high_rows,
            }
        )
        named = self.classes_.tolist()[code] if is_classifier(self) else None
        return Dependence(column, frame, named, coverage)

    def nearest_rows(self, X, n: int = 5) -> pd.DataFrame:
        """The labelled rows that the network attended to most, for each row of X.

        Attention says what was read, not what decided. With `fast_queries` it is that of the whole network.

        Returns:
            One row for each pair, largest share first: `row` (index in X), `labeled` (index at fit), `share` (of all
            attention to labelled rows), `label`, and the cells of the labelled row.
        """
        context, _, y = self._labeled_rows()
        rows_MF = self._encode_rows(X)
        model = self._model() if not self.fast_queries else self._base_model()
        shares_MN = attended(model, self._members, self._y_N, rows_MF)
        n = min(n, shares_MN.shape[1])
        best = np.argsort(-shares_MN, axis=1, kind="stable")[:, :n].ravel()
        asked = np.repeat(np.arange(len(rows_MF)), n)
        labels = self.classes_[y] if is_classifier(self) else y
        head = pd.DataFrame(
            {
                "row": self._named(X).index[asked],
                "labeled": context.index[best],
                "share": shares_MN[asked, best],
                "label": np.asarray(labels)[best],
            }
        )
        return pd.concat([head, context.iloc[best].reset_index(drop=True)], axis=1)

    def _labeled_rows(self):
        self.answering()  # says so if nothing was fitted
        return self._labeled

    def _named(self, X) -> pd.DataFrame:
        """X as a table whose columns stand and are called as at fit."""
        table, has_names = as_table(X)
        context, had_names, _ = self._labeled_rows()
        return table[list(context.columns)] if has_names and had_names else table.set_axis(context.columns, axis=1)

    def _code_of(self, output: Any) -> int:
        if not is_classifier(self):
            if output is not None:
                raise ValueError(f"output names a class, and this predicts a number; leave it out, got {output!r}.")
            return 0
        classes = self.classes_.tolist()
        if output is None:
            return len(classes) - 1
        if output not in classes:
            raise ValueError(f"output must be one of the classes {classes}, got {output!r}.")
        return classes.index(output)

    @staticmethod
    def _points(distribution) -> np.ndarray:
        """(n, C) probabilities, or (n, 1) means."""
        found = distribution.probs if hasattr(distribution, "entropy") else distribution.mean[:, None]
        return found.numpy()


def _jackknife_reach(averages_KG: np.ndarray, coverage: float) -> np.ndarray:
    """(G,) half widths, from estimates that each lack one of K equal parts of the data."""
    n = len(averages_KG)
    std_error_G = np.sqrt((n - 1) / n * np.square(averages_KG - averages_KG.mean(0)).sum(0))
    return student.ppf((1 + coverage) / 2, n - 1) * std_error_G


def _grid_of(column: pd.Series, most: int) -> pd.Series:
    """Values that are there: quantiles of what has an order of its own, else the most frequent levels."""
    known = column.dropna()
    if isinstance(most, bool) or not isinstance(most, Integral) or most < 2:
        raise ValueError(f"grid must be a whole number of at least 2, got {most!r}.")
    if pd.api.types.is_bool_dtype(known) or not (
        pd.api.types.is_numeric_dtype(known) or pd.api.types.is_datetime64_any_dtype(known)
    ):
        levels = known.value_counts().index[:most]
        return pd.Series(levels.to_numpy(dtype=object))
    ordered = known.sort_values(ignore_index=True)
    unique = ordered.drop_duplicates(ignore_index=True)
    if len(unique) <= most:
        return unique
    places = np.linspace(0.025, 0.975, most) * (len(ordered) - 1)
    return ordered.iloc[places.round().astype(int)].drop_duplicates().reset_index(drop=True)
