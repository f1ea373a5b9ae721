"""Does a simpler model serve this table better? All are scored on labelled rows out of context.

The linear model is fitted for the purpose; the simplest answer of all is the mean, or the shares of the classes. The
companions (kernel, trees, ...) are there anyway: what they say alone of the rows of a fold costs nothing more than to
ask.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from icl.estimators.calibrated import Calibration
from icl.estimators.host import Host
from icl.network.metrics import log_losses

N_FOLDS = 5
# Standard errors by which the baseline must be ahead, and the share of the loss that it must save.
_CLEAR = 2.0
_LEAST_GAIN = 0.02


class BetterBaselineWarning(UserWarning):
    """A linear model, a companion alone, or one answer for all rows is clearly better on the labelled rows."""


@dataclass(frozen=True)
class BaselineCheck:
    """Mean loss of both on the labelled rows, each predicted from contexts without it; lower is better."""

    baseline: str
    """"ridge regression" or "logistic regression", or of `companions` the name."""
    metric: str
    """"squared error" (as a share of the variance of y) or "log loss"."""
    loss: float
    """Of the estimator."""
    baseline_loss: float
    std_error: float
    """Of the difference of the two, over rows."""
    n_rows: int
    companions: tuple[BaselineCheck, ...] = ()
    """The same for each companion alone (ridge is what the baseline is), best first."""
    constant: BaselineCheck | None = None
    """The same for one answer for all rows: "the mean", or "the shares of the classes"."""

    @property
    def gain(self) -> float:
        """Share of the estimator's loss that the baseline saves; negative if the baseline is worse."""
        return 1 - self.baseline_loss / self.loss if self.loss > 0 else 0.0

    @property
    def baseline_is_better(self) -> bool:
        """Whether the baseline is better by more than noise and by enough to matter."""
        return self.loss - self.baseline_loss > _CLEAR * self.std_error and self.gain > _LEAST_GAIN

    def __str__(self) -> str:
        same = "" if self.constant is None else f"; {self.constant.baseline} alone {self.constant.baseline_loss:.4g}"
        return (
            f"{self.metric} {self.loss:.4g}, {self.baseline} {self.baseline_loss:.4g} (difference "
            f"{self.loss - self.baseline_loss:+.2g}, standard error {self.std_error:.2g}; {self.n_rows} labelled rows, "
            f"{N_FOLDS} folds{same})"
        )


class BaselineMixin(Host):
    """`check_baseline` for an estimator that keeps its labelled rows and folds (see `icl.estimators.conformal`)."""

    def check_baseline(self) -> BaselineCheck:
        """Compare with ridge or logistic regression, each companion alone, and one answer for all, in five folds.

        Costs five contexts with four fifths of the rows each, kept for `predict_interval(..., folds=5)`. Warns with
        `BetterBaselineWarning` where the linear model, a companion alone, or the mean (the shares of the classes) for
        every row is clearly better.

        Source:
            Standard error of the difference: Nadeau & Bengio (2003), doi:10.1023/A:1024068626366, eq. 9, with the
            variance over rows in place of that over folds.
        """
        calibration = self._calibration("cv+", N_FOLDS)
        table, _, y = self._labeled
        classify = is_classifier(self)
        ours, theirs, same = np.empty(len(y)), np.empty(len(y)), np.empty(len(y))
        alone: dict[str, list] = {}
        parts = calibration.parts
        for rows, predicted, context, model in zip(
            calibration.held_out, calibration.predicted, parts.contexts, parts.models
        ):
            ours[rows] = self._losses(predicted.probs if classify else predicted.mean, rows)
            theirs[rows], same[rows] = self._baseline_losses(context, rows), self._constant_losses(context, rows)
            said = {} if model is None else model.companions_alone(table.iloc[rows])
            for name, (answers, classes) in said.items():
                if classify:
                    answers = _over(answers, classes, len(self.classes_))
                alone.setdefault(name, []).append((rows, self._losses(answers, rows)))
        check = self._compare("logistic regression" if classify else "ridge regression", ours, theirs, calibration)
        others = []
        for name, found in alone.items():
            if len(found) == len(parts.models):  # what explains nothing in some fold is no rival
                losses = np.empty(len(y))
                for rows, of_rows in found:
                    losses[rows] = of_rows
                others.append(self._compare(name, ours, losses, calibration))
        constant = self._compare("the shares of the classes" if classify else "the mean", ours, same, calibration)
        others.sort(key=lambda other: other.baseline_loss)
        check = replace(check, companions=tuple(others), constant=constant)
        best = min((check, *check.companions, constant), key=lambda one: one.baseline_loss)
        if best.baseline_is_better:
            linear = f"{check.baseline} (one-hot categories, standardised numbers)"
            who = linear if best is check else f"the companion {best.baseline} alone"
            who = f"{constant.baseline}, the same for every row," if best is constant else who
            warnings.warn(
                f"this table is better served by {who}: {best}. Use it, or label more rows.",
                BetterBaselineWarning,
                stacklevel=2,
            )
        return check

    def _compare(self, name: str, ours: np.ndarray, theirs: np.ndarray, calibration: Calibration) -> BaselineCheck:
        """Means of losses of labelled rows, and the error of their difference."""
        n_folds, n_units = len(calibration.held_out), calibration.n_rows()
        weight = self._worth.weights(len(ours))
        mean = lambda losses: float(np.average(losses, weights=weight))
        difference = ours - theirs
        spread = mean((difference - mean(difference)) ** 2) * n_units / max(n_units - 1, 1)
        # Contexts share most of their rows, so 1/n alone would promise too much.
        std_error = math.sqrt(spread * (1 + n_folds / (n_folds - 1)) / n_units)
        metric = "log loss" if is_classifier(self) else "squared error"
        return BaselineCheck(name, metric, mean(ours), mean(theirs), std_error, len(ours))

    def _losses(self, answers, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) losses of probabilities, or of numbers in the units of y."""
        _, _, y = self._labeled
        if is_classifier(self):
            return log_losses(np.asarray(answers), y[rows])
        # As the model was told them: one wild label would be all of a mean of squares.
        return ((np.asarray(answers) - self._loc) / self._scale - self._y_N[rows]) ** 2

    def _baseline_losses(self, context: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) losses of the linear model fitted on the rows `context`."""
        _, _, y = self._labeled
        X, is_categorical = self._context_NF.astype(np.float64), self._encoder.is_categorical_
        seen, weight = np.unique(y[context]), self._worth.weight_n
        if not is_classifier(self):
            z = np.asarray(self._y_N, dtype=np.float64)
            predicted = _linear(RidgeCV(np.logspace(-2, 4, 13)), X, z, weight, is_categorical, context, rows)
            return (predicted - z[rows]) ** 2
        probs = np.zeros((len(rows), len(self.classes_)))
        if len(seen) < 2:
            probs[:, seen] = 1
        else:
            probs[:, seen] = _linear(LogisticRegression(max_iter=500), X, y, weight, is_categorical, context, rows)
        return log_losses(probs, y[rows])

    def _constant_losses(self, context: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) losses of one answer for all rows, from the rows `context`; half a row more of each class."""
        _, _, y = self._labeled
        weight = self._worth.weights(len(y))[context]
        if not is_classifier(self):
            z = np.asarray(self._y_N, dtype=np.float64)
            return (np.average(z[context], weights=weight) - z[rows]) ** 2
        counts = np.bincount(y[context], weight, len(self.classes_)) * len(context) / weight.sum() + 0.5
        return log_losses(np.broadcast_to(counts / counts.sum(), (len(rows), len(counts))), y[rows])


def _over(probs: np.ndarray, classes: np.ndarray, n_classes: int) -> np.ndarray:
    """(n, n_classes) probabilities of all classes, of which a context may lack some."""
    out = np.zeros((len(probs), n_classes))
    out[:, classes] = probs
    return out


def _linear(model, X: np.ndarray, y: np.ndarray, weight, is_categorical: np.ndarray, context, rows) -> np.ndarray:
    """Predictions for `rows` from `context`; X holds codes for categories and NaN for gaps, `weight` may be None."""
    numbers = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    levels = OneHotEncoder(handle_unknown="ignore", max_categories=30, sparse_output=False)
    table = ColumnTransformer(
        [("numbers", numbers, np.flatnonzero(~is_categorical)), ("levels", levels, np.flatnonzero(is_categorical))]
    )
    pipeline = Pipeline([("table", table), ("model", model)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a baseline that stops early is a baseline
        own = {} if weight is None else {"model__sample_weight": weight[context]}
        pipeline.fit(X[context], y[context], **own)
    return pipeline.predict_proba(X[rows]) if hasattr(model, "predict_proba") else pipeline.predict(X[rows])
