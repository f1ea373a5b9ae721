"""What a fitted estimator says about its labelled rows out of context, worked out once for all intervals and sets.

Dimension key: n labelled rows, m query rows, K folds.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd

from icl.estimators.chain import check_one_target
from icl.estimators.folds import OutOfContext, deal, deal_share
from icl.estimators.host import Host
from icl.estimators.weights import Worth
from icl.prediction.together import BLOCK_ROWS
from icl.tables.encoder import as_table

METHODS = ("cv+", "split")
# Held out by "split". Half is the textbook's; narrower intervals want a longer context (benchmarks/conformal.md).
SPLIT_SHARE = 0.5


@dataclass(frozen=True)
class Calibration:
    """What every interval and set of one fitted estimator starts from; a list entry for each fold."""

    parts: OutOfContext
    held_out: list[np.ndarray]
    """Positions of the fold's own rows."""
    y_context: list[np.ndarray]
    """The labels that its part was fitted on."""
    y_held: list[np.ndarray]
    """The labels of the fold's own rows."""
    predicted: list
    """The predictive distribution of the fold's own rows."""
    worth: Worth
    """Of all labelled rows."""

    @property
    def weights(self) -> list[np.ndarray] | None:
        """Of the fold's own rows; None if all rows count alike, and each for itself."""
        if self.worth.is_plain:
            return None
        return [self.worth.weights(int(rows.max()) + 1)[rows] for rows in self.held_out]

    def total_and_unit(self, n_classes: int | None = None) -> tuple:
        """Weight of the rows there are to calibrate with, and of a typical one; of each class, if given how many."""
        rows = np.concatenate(self.held_out)
        if n_classes is None:
            return self.worth.total_and_unit(rows)
        y = np.concatenate(self.y_held)
        of_class = [self.worth.total_and_unit(rows[y == c]) for c in range(n_classes)]
        return tuple(np.array(part) for part in zip(*of_class))

    def n_rows(self, n_classes: int | None = None) -> float | np.ndarray:
        """How many rows there are to calibrate with, copies counted once; with weights, as many as they are worth."""
        total, unit = self.total_and_unit(n_classes)
        return total / unit


class CalibratedMixin(Host):
    """Folds, their models, and what these say about rows they have not seen; worked out once for each fit."""

    _stratify = False
    _far: np.ndarray | None = None  # labels that are not believed

    def _keep_labeled(self, X, y: np.ndarray) -> None:
        """To be called at the end of `fit`; `y` are numbers, or codes of `classes_`."""
        table, has_names = as_table(X)
        self._labeled = (table.copy(), has_names, np.array(y))
        self._calibrations: dict[tuple, Calibration] = {}

    def __getstate__(self):
        # The contexts of ten folds would make a pickle ten times as large; one forward pass brings them back.
        state: dict = super().__getstate__()  # type: ignore[assignment]  # of scikit-learn, which comes next
        return {**state, "_calibrations": {}} if "_calibrations" in state else state

    def _calibration(self, method: str, folds: int) -> Calibration:
        check_one_target(self, "_labeled")
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}.")
        if not isinstance(folds, Integral) or folds < 2:
            raise ValueError(f"folds must be a whole number of at least 2, got {folds!r}.")
        key = (method, min(folds, len(self._labeled[2])) if method == "cv+" else 1)
        if key not in self._calibrations:
            self._calibrations[key] = self._calibrate(self._deal(*key))
        return self._calibrations[key]

    def out_of_context(self, folds: int) -> Calibration:
        """What folds of the labelled rows are predicted to be by the others."""
        return self._calibration("cv+", folds)

    def _deal(self, method: str, n_folds: int) -> list[np.ndarray]:
        """Positions of the rows of each fold: at random, but every fold gets its share of every class."""
        y, seed = self._labeled[2], self._seed()
        if method == "split":
            return [deal_share(y, SPLIT_SHARE, seed, self._stratify, self._worth.group_n)]
        return deal(y, n_folds, seed, self._stratify, self._worth.group_n)

    def _seed(self) -> int:
        state = self.random_state
        if isinstance(state, np.random.RandomState):
            return copy.deepcopy(state).randint(2**31)  # the caller's own does not move
        return int(np.random.default_rng().integers(2**31)) if state is None else int(state)

    def _calibrate(self, held_out: list[np.ndarray]) -> Calibration:
        table, _, y = self._labeled
        weight = self._worth.weight_n
        seed = self._seed()
        parts = OutOfContext(self, table, pd.Series(y), held_out, weight=weight, far=self._far, random_state=seed)
        y_context, y_held = [y[rows] for rows in parts.contexts], [y[rows] for rows in held_out]
        predicted = self._ask(parts, y_context, [table.iloc[rows] for rows in held_out])
        return Calibration(parts, held_out, y_context, y_held, predicted, self._worth)

    def _ask(self, parts: OutOfContext, y_context: list[np.ndarray], tables: list[pd.DataFrame]) -> list:
        """Per fold, what its context says about the rows of its table; its marginal where nothing could be fitted."""
        answers = next(parts.predict([[table] for table in tables]))
        return [
            self._marginal(y, len(t)) if d is None else self._in_full(model, d)
            for model, d, y, t in zip(parts.models, answers, y_context, tables)
        ]

    def _query_blocks(self, X, calibration: Calibration, is_checked: bool = False) -> Iterator[list]:
        table = self._named_table(X) if is_checked else self._query_table(X)
        for start in range(0, max(len(table), 1), BLOCK_ROWS):
            block = table.iloc[start : start + BLOCK_ROWS]
            yield self._ask(calibration.parts, calibration.y_context, [block] * len(calibration.held_out))

    def _query_table(self, X) -> pd.DataFrame:
        """X with the column names of the context; says what is wrong with it as `predict` would."""
        check_one_target(self, "_labeled")
        self._encode_rows(X)
        return self._named_table(X)

    def _named_table(self, X) -> pd.DataFrame:
        context, has_names, _ = self._labeled
        table, named = as_table(X)
        return table if named and has_names else table.set_axis(context.columns, axis=1)
