"""Does a ridge or logistic regression serve this table better? Both are scored on labelled rows out of context."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from icl.estimators.host import Host
from icl.network.metrics import log_losses

N_FOLDS = 5
# Standard errors by which the baseline must be ahead, and the share of the loss that it must save.
_CLEAR = 2.0
_LEAST_GAIN = 0.02


class BetterBaselineWarning(UserWarning):
    """A linear model predicts the labelled rows clearly better than this estimator does."""


@dataclass(frozen=True)
class BaselineCheck:
    """Mean loss of both on the labelled rows, each predicted from contexts without it; lower is better."""

    baseline: str
    """"ridge regression" or "logistic regression"."""
    metric: str
    """"squared error" (as a share of the variance of y) or "log loss"."""
    loss: float
    """Of the estimator."""
    baseline_loss: float
    std_error: float
    """Of the difference of the two, over rows."""
    n_rows: int

    @property
    def gain(self) -> float:
        """Share of the estimator's loss that the baseline saves; negative if the baseline is worse."""
        return 1 - self.baseline_loss / self.loss if self.loss > 0 else 0.0

    @property
    def baseline_is_better(self) -> bool:
        """Whether the baseline is better by more than noise and by enough to matter."""
        return self.loss - self.baseline_loss > _CLEAR * self.std_error and self.gain > _LEAST_GAIN

    def __str__(self) -> str:
        return (
            f"{self.metric} {self.loss:.4g}, {self.baseline} {self.baseline_loss:.4g} (difference "
            f"{self.loss - self.baseline_loss:+.2g}, standard error {self.std_error:.2g}; {self.n_rows} labelled rows, "
            f"{N_FOLDS} folds)"
        )


class BaselineMixin(Host):
    """`check_baseline` for an estimator that keeps its labelled rows and folds (see `icl.estimators.conformal`)."""

    def check_baseline(self) -> BaselineCheck:
        """Compare with ridge or logistic regression on the labelled rows, in the same five folds.

        Costs five contexts with four fifths of the rows each, kept for `predict_interval(..., folds=5)`. Warns with
        `BetterBaselineWarning` where the linear model is clearly better.

        Source:
            Standard error of the difference: Nadeau & Bengio (2003), doi:10.1023/A:1024068626366, eq. 9, with the
            variance over rows in place of that over folds.
        """
        calibration = self._calibration("cv+", N_FOLDS)
        _, _, y = self._labeled
        held_out = calibration.held_out
        classify = is_classifier(self)
        ours, theirs = np.empty(len(y)), np.empty(len(y))
        for rows, predicted, context in zip(held_out, calibration.predicted, calibration.parts.contexts):
            if classify:
                ours[rows] = log_losses(predicted.probs.numpy(), y[rows])
            else:
                ours[rows] = ((predicted.mean.numpy() - y[rows]) / self._scale) ** 2
            theirs[rows] = self._baseline_losses(context, rows)
        weight = self._worth.weights(len(y))
        n_units = calibration.n_rows()
        mean = lambda losses: float(np.average(losses, weights=weight))
        difference = ours - theirs
        spread = mean((difference - mean(difference)) ** 2) * n_units / max(n_units - 1, 1)
        # Contexts share most of their rows, so 1/n alone would promise too much.
        n_folds = len(held_out)
        correction = (1 + n_folds / (n_folds - 1)) / n_units
        check = BaselineCheck(
            "logistic regression" if classify else "ridge regression",
            "log loss" if classify else "squared error",
            mean(ours),
            mean(theirs),
            math.sqrt(spread * correction),
            len(y),
        )
        if check.baseline_is_better:
            warnings.warn(
                f"this table is better served by {check.baseline} (one-hot categories, standardised numbers): "
                f"{check}. Use it, or label more rows.",
                BetterBaselineWarning,
                stacklevel=2,
            )
        return check

    def _baseline_losses(self, context: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) losses of the linear model fitted on the rows `context`."""
        _, _, y = self._labeled
        X, is_categorical = self._context_NF.astype(np.float64), self._encoder.is_categorical_
        seen, weight = np.unique(y[context]), self._worth.weight_n
        if not is_classifier(self):
            z = (y - self._loc) / self._scale
            predicted = _linear(RidgeCV(np.logspace(-2, 4, 13)), X, z, weight, is_categorical, context, rows)
            return (predicted - z[rows]) ** 2
        probs = np.zeros((len(rows), len(self.classes_)))
        if len(seen) < 2:
            probs[:, seen] = 1
        else:
            probs[:, seen] = _linear(LogisticRegression(max_iter=500), X, y, weight, is_categorical, context, rows)
        return log_losses(probs, y[rows])


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
