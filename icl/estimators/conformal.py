"""Prediction intervals and sets with a finite-sample guarantee, from out-of-context predictions of the labelled rows.

The labelled rows are dealt into folds. Each is predicted from the context of the other folds, its score says how badly
that went, and a new row is answered by every fold's context, widened by the scores of the rows which that context has
not seen: CV+ of Barber et al. (2021), with the conformity score of Romano et al. (2019) for numbers and those of
Sadinle et al. (2019) or Romano et al. (2020) for classes.

What holds, for rows that are exchangeable (alike and in no order; not for a time series or a shifted population), on
average over the draw of the n labelled rows and of the new one, whatever the quality of the model:

| method  | coverage at nominal 1 - a, K folds                                            | contexts asked |
|---------|-------------------------------------------------------------------------------|----------------|
| "cv+"   | at least 1 - 2a - min(2 (1 - 1/K) / (n/K + 1), (1 - K/n) / (K + 1));          | K              |
|         | 1 - a or little above it wherever it was measured (benchmarks/conformal.md)   |                |
| "split" | at least 1 - a, and at most 1 - a + 1/(n_held + 1) if scores have no ties     | 1              |

Scores tie where many rows hold one value (zeros, whole numbers). Coverage may then lie above 1 - a by as much as the
share of rows whose score is the limit, on top of the 1/(n_held + 1): an interval holds such a value for all of these
rows or for none. At nominal .90, half zeros beside amounts covered .93, numbers capped at both ends .95, five grades
.97, and half zeros in the middle of the others .91 (200 labelled rows, the nano checkpoint).

Neither promises coverage for each kind of row by itself; `by_class=True` does so for each class.

Rows that are there several times lie in one fold and are one of the n rows. With `sample_weight` the promise is for a
new row from where the weights point: one that meets this population w(row) times as often as that of the labelled rows.
Ranks are then weighted, and the new row counts as much as a labelled row of typical weight, that is, 1 in n when n is
Kish's number of rows; exact for equal weights, and otherwise as measured (benchmarks/repeats.md).

Dimension key: n labelled rows, m query rows, C classes, K folds.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import torch

from icl.estimators.calibrated import CalibratedMixin, Calibration
from icl.estimators.chain import for_each_target
from icl.estimators.conformity import (
    SCORES,
    check_coverage,
    class_scores,
    most_better,
    n_better,
    n_labels_needed,
    plus_interval,
)
from icl.estimators.shifted import check_shift, density_ratios
from icl.network.distribution import CategoricalPredictive, HistogramPredictive
from icl.tables.encoder import as_table


class ConformalRegressorMixin(CalibratedMixin):
    """`predict_interval` for an estimator whose predictive distribution has quantiles."""

    @for_each_target
    def predict_interval(
        self,
        X,
        coverage: float = 0.9,
        *,
        method: str = "cv+",
        folds: int = 10,
        as_frame: bool = False,
        shift: str | None = None,
    ) -> np.ndarray | pd.DataFrame:
        """Intervals that hold the target of a new row with the wanted probability, be the model right or wrong.

        The guarantee of each method stands at the head of `icl.estimators.conformal`. The first call predicts the
        labelled rows
        out of context and keeps that; a later one, at any coverage, costs the passes over X only, one for each fold.

        Args:
            X: m rows, with the columns of `fit`.
            coverage: share of new rows whose target lies inside, a fraction.
            method: "cv+" uses every labelled row as context and for calibration; "split" holds half of them out.
            folds: of "cv+"; no more than there are labelled rows, in which case it is the jackknife+.
            as_frame: whether to give a DataFrame, with columns "lower" and "upper" and the index of X.
            shift: "covariate" where the rows of X are drawn from another population than the labelled ones, in which
                the target depends on the columns as it does there: labelled rows then count with the density ratio
                that a classifier learns from them and from X, all rows of which belong together
                (`icl.estimators.shifted`). A row far from all labelled ones gets an infinite interval.
        Returns:
            (m, 2) lower and upper end, in the units of y; infinite, with a warning, if there are too few labelled rows
            for the coverage.
        Raises:
            ValueError: for an argument out of range, or rows that `predict` would refuse.
        """
        check_coverage(coverage)
        check_shift(shift)
        calibration = self._calibration(method, folds)
        ratios = None
        if shift is not None:
            table = self._query_table(X)
            ratios = density_ratios(self.as_classifier(), self._labeled[0], table, self._seed())
        n = float(calibration.n_rows())
        if n < n_labels_needed(coverage):
            _warn_too_few(n, coverage, method, "the intervals are infinite", stacklevel=4)
            ends = np.tile([-np.inf, np.inf], (len(self._query_table(X)), 1))
        else:
            blocks, start = [], 0
            for b in self._query_blocks(X, calibration):
                part = None if ratios is None else (ratios[0], ratios[1][start : start + len(b[0].mean)])
                blocks.append(self._interval(calibration, b, coverage, part))
                start += len(blocks[-1])
            ends = np.concatenate(blocks)
        return pd.DataFrame(ends, as_table(X)[0].index, ["lower", "upper"]) if as_frame else ends

    @staticmethod
    def _interval(
        calibration: Calibration,
        block: list[HistogramPredictive],
        coverage: float,
        ratios: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> np.ndarray:
        """(m, 2), from what the context of each fold says about m rows; ratios of labelled (n,) and these (m,)."""
        scores = []
        for d, y in zip(calibration.predicted, calibration.y_held):
            low, high = _ends(d, coverage)
            scores.append(np.maximum(low - y, y - high))
        lower, upper = zip(*(_ends(d, coverage) for d in block))
        unit, weights = calibration.total_and_unit()[1], calibration.weights
        if ratios is not None:
            own = [ratios[0][rows] for rows in calibration.held_out]
            weights = own if weights is None else [a * b for a, b in zip(own, weights)]
            unit = unit * ratios[1]
        return np.column_stack(plus_interval(lower, upper, scores, coverage, weights, unit))

    @staticmethod
    def _in_full(model, distribution: HistogramPredictive) -> HistogramPredictive:
        return distribution

    @staticmethod
    def _marginal(y_context: np.ndarray, n_rows: int) -> HistogramPredictive:
        """All mass on the mean of the context."""
        point = torch.full((n_rows,), float(y_context.mean()), dtype=torch.double)
        scores, edges = torch.zeros(n_rows, 2, dtype=torch.double), torch.zeros(1, dtype=torch.double)
        return HistogramPredictive(scores, edges, point, 0.0)


class ConformalClassifierMixin(CalibratedMixin):
    """`predict_set` for an estimator whose predictive distribution has class probabilities."""

    _stratify = True

    @for_each_target
    def predict_set(
        self,
        X,
        coverage: float = 0.9,
        *,
        method: str = "cv+",
        folds: int = 10,
        score: str = "lac",
        by_class: bool = False,
        allow_empty: bool = False,
        as_frame: bool = False,
    ) -> np.ndarray | pd.DataFrame:
        """Sets of classes that hold the class of a new row with the wanted probability, be the model right or wrong.

        The guarantee of each method stands at the head of `icl.estimators.conformal`; folds are stratified by class,
        which its theorem does not speak of and the measured coverage includes. Costs are those of `predict_interval`.

        Args:
            X: m rows, with the columns of `fit`.
            coverage: share of new rows whose class is in their set, a fraction.
            method: "cv+" uses every labelled row as context and for calibration; "split" holds half of them out.
            folds: of "cv+"; no more than there are labelled rows.
            score: "lac" gives the smallest sets on average, "aps" sets whose size follows how hard a row is.
            by_class: whether the coverage shall hold in each class by itself; needs `n_labels_needed(coverage)`
                labelled rows of a class to ever leave it out.
            allow_empty: whether a row that is strange to every class gets the empty set. If not, the class that fits
                best and the likeliest, which folds may see otherwise, are always in, at the cost of one more
                prediction, and coverage is above nominal where the model is better than nominal.
            as_frame: whether to give a DataFrame, with a column for each class and the index of X.
        Returns:
            (m, C) bool, columns in the order of `classes_`; all true, with a warning, if there are too few labelled
            rows for the coverage.
        Raises:
            ValueError: for an argument out of range, or rows that `predict_proba` would refuse.
        """
        check_coverage(coverage)
        if score not in SCORES:
            raise ValueError(f"score must be one of {', '.join(map(repr, SCORES))}, got {score!r}.")
        calibration = self._calibration(method, folds)
        self._warn_of_classes(calibration.n_rows(len(self.classes_) if by_class else None), coverage, method)
        settings = (coverage, score, by_class, allow_empty)
        likeliest = None if allow_empty else self._predict_blocks(X, lambda d: d.probs.numpy()).argmax(axis=1)
        blocks = self._query_blocks(X, calibration, is_checked=likeliest is not None)
        sets = np.concatenate([self._set(calibration, b, *settings) for b in blocks])
        if likeliest is not None:
            sets[np.arange(len(sets)), likeliest] = True
        return pd.DataFrame(sets, as_table(X)[0].index, self.classes_) if as_frame else sets

    @staticmethod
    def _set(
        calibration: Calibration,
        block: list[CategoricalPredictive],
        coverage: float,
        score: str,
        by_class: bool,
        allow_empty: bool,
    ) -> np.ndarray:
        """(m, C) bool, from what the context of each fold says about m rows."""
        y, weights = calibration.y_held, calibration.weights
        of_class = [class_scores(d.probs.numpy(), score) for d in calibration.predicted]
        scores = [s[np.arange(len(codes)), codes] for s, codes in zip(of_class, y)]
        probs = [d.probs.numpy() for d in block]
        query = [class_scores(p, score) for p in probs]
        n_classes = probs[0].shape[1]
        if by_class:
            own = [[codes == c for codes in y] for c in range(n_classes)]
            in_class = [
                n_better(
                    [s[:, c] for s in query],
                    [e[k] for e, k in zip(scores, own[c])],
                    weights and [w[k] for w, k in zip(weights, own[c])],
                )
                for c in range(n_classes)
            ]
            better = np.stack(in_class, axis=1)
        else:
            better = n_better(query, scores, weights)
        total, unit = calibration.total_and_unit(n_classes if by_class else None)
        limit = most_better(total, unit, coverage)
        inside = better < limit
        if not allow_empty:
            # The least contradicted class; of several, the likeliest.
            margin = better - limit
            least = np.isclose(margin, margin.min(axis=1, keepdims=True), rtol=0, atol=1e-9)
            best = np.where(least, np.mean(probs, axis=0), -1.0).argmax(axis=1)
            inside[np.arange(len(inside)), best] = True
        return inside

    def _warn_of_classes(self, n_rows: float | np.ndarray, coverage: float, method: str) -> None:
        needed = n_labels_needed(coverage)
        if not isinstance(n_rows, np.ndarray):
            if n_rows < needed:
                _warn_too_few(n_rows, coverage, method, "the sets hold every class", stacklevel=5)
        elif (rare := self.classes_[n_rows < needed].tolist()) != []:
            shown = ", ".join(map(repr, rare[:5])) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
            warnings.warn(
                f"a coverage of {coverage:.6g} in each class needs {needed} labelled rows of it to calibrate with; "
                f"{shown} {'has' if len(rare) == 1 else 'have'} fewer and will be in every set.",
                UserWarning,
                stacklevel=4,
            )

    def _in_full(self, model, distribution: CategoricalPredictive) -> CategoricalPredictive:
        """Over all classes, of which the context of a fold may lack some."""
        scores = torch.full((len(distribution.log_probs), len(self.classes_)), -torch.inf, dtype=torch.double)
        scores[:, torch.as_tensor(model.classes_)] = distribution.log_probs.double()
        return CategoricalPredictive(scores)

    def _marginal(self, y_context: np.ndarray, n_rows: int) -> CategoricalPredictive:
        """Shares of the classes in the context."""
        shares = torch.from_numpy(np.bincount(y_context, minlength=len(self.classes_)) / len(y_context))
        return CategoricalPredictive(shares.log().expand(n_rows, -1))


def _ends(d: HistogramPredictive, coverage: float) -> tuple[np.ndarray, np.ndarray]:
    """Interval that the model predicts."""
    low, high = d.ends(coverage)
    return low.numpy(), high.numpy()


def _warn_too_few(n: float, coverage: float, method: str, what: str, stacklevel: int) -> None:
    held = " (half of the labelled rows)" if method == "split" else ""
    needed = n_labels_needed(coverage)
    more = 2 * needed if method == "split" else needed
    instead = (n / (n + 1)) if n else 0
    warnings.warn(
        f"{what}: {n:.4g} rows to calibrate with{held} cannot vouch for a coverage of {coverage:.6g}, which needs "
        f"{needed}. Label {more} rows or more, or ask for a coverage of {math.floor(instead * 100) / 100:g} or less.",
        UserWarning,
        stacklevel=stacklevel,
    )
