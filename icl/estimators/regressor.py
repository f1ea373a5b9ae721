"""ICLRegressor: a predictive distribution of a number from labelled rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.base import RegressorMixin

from icl.estimators.baseline import BaselineMixin
from icl.estimators.calibration import choose_temperature
from icl.estimators.chain import Chain, for_each_target, targets_of
from icl.estimators.conformal import ConformalRegressorMixin
from icl.estimators.dataset import DatasetMixin
from icl.estimators.explained import Explained
from icl.estimators.options import check_params
from icl.estimators.prior_limits import PriorLimitsMixin
from icl.estimators.saved import SavedMixin
from icl.estimators.weights import shown_rows
from icl.estimators.wild_labels import far_codes, names_of_rows, nearest, sentences, wild_labels
from icl.network.atoms import AtomicPredictive
from icl.network.distribution import HistogramPredictive, histogram_edges
from icl.prediction.atoms import find_atoms
from icl.tables import schema
from icl.tables.scaling import units
from icl.tables.target import as_column, as_numbers

OUTPUTS = ("mean", "median", "mode")


class ICLRegressor(
    RegressorMixin, ConformalRegressorMixin, BaselineMixin, PriorLimitsMixin, SavedMixin, DatasetMixin, Explained
):
    """Predictive distribution of a number, from a table's labelled rows as context; no training.

    Parameters and attributes are those of `ICLClassifier`, without `classes_`; a `softmax_temperature` above 1 widens
    the distribution, below 1 narrows it, "auto" is .9 where companions have voices (`blend_`), else 1.

    Attributes:
        atoms_: values of y that come up again and again, which the distribution gives mass of their own: zeros, bounds,
            whole numbers (`icl.prediction.atoms`); empty for a target that does not repeat.
    """

    def fit(self, X, y, sample_weight=None) -> ICLRegressor:
        """Keep the labelled rows as context.

        Args:
            X: n rows, a DataFrame or array (see `icl.tables.encoder`); missing cells are welcome.
            y: (n,) finite numbers, in any unit; none missing. One or two on a side that are far from all others, where
                no cell of the row tells why, count as the nearest other one, which a warning says; predictions give no
                mass to what lies beyond (`icl.estimators.wild_labels`). Several columns make a chain
                (`icl.estimators.chain`): `predict` gives (n, k), other methods a list; cells of y may be missing then.
            sample_weight: (n,) how much each row counts, in any unit; 0 leaves a row out, whole numbers are copies
                (see `icl.estimators.weights`).
        Raises:
            ValueError: for input that cannot be used, saying what to do.
            TypeError: for a sparse X.
        """
        check_params(self, weighted=sample_weight is not None)
        self.chain_ = None
        if (targets := targets_of(y)) is not None:
            self.chain_ = Chain.fit(self, X, targets, sample_weight)
            return self
        column = as_column(y)
        names = names_of_rows(X, y, len(column)) if sample_weight is None else None
        X, column, weight, origin = shown_rows(X, column, sample_weight, self.max_rows)
        numbers = as_numbers(column)
        # In float64 here: in the model's float32, a target such as 1.6e9 + small would lose its digits.
        far = wild_labels(X, numbers, type(self).__name__)
        target = getattr(y, "name", None)
        said = sentences(numbers, far, names, target) + far_codes(X, numbers, type(self).__name__, target)
        schema.warn(said, "fit")
        near = nearest(numbers, far)
        atoms = find_atoms(near)
        unit, center, scale = units(numbers[~far])
        self._fit(X, (near / unit - center) / scale, None, weight, origin, (atoms / unit - center) / scale)
        self._loc, self._scale, self.atoms_, self._far = unit * center, unit * scale, atoms, far
        if self.calibrate:
            self.temperature_ = choose_temperature(self, X, pd.Series(near), near, self._worth)
        self._keep_labeled(X, numbers)
        self._warn_out_of_prior()
        return self

    @for_each_target
    def predict_distribution(self, X) -> HistogramPredictive:
        """Predictive distribution of each row of X, in the units of y, batch shape (n,).

        It has mean, median, mode, variance, `icdf` (quantiles), `cdf`, `log_prob`, `crps` and `sample`. Where there are
        `atoms_`, it is an `icl.network.atoms.AtomicPredictive`, whose `log_prob` is a log-mass at them.
        """
        return self._predict_whole(X)

    @for_each_target
    def predict(self, X, output: str = "mean") -> np.ndarray:
        """(n,) predictions: the "mean" (least squared error), "median" (least absolute error) or "mode"."""
        if output not in OUTPUTS:
            raise ValueError(f"output must be one of {', '.join(map(repr, OUTPUTS))}, got {output!r}.")
        return self._predict_blocks(X, lambda d: getattr(d, output).numpy())

    @for_each_target
    def predict_quantiles(self, X, q: float | Sequence[float]) -> np.ndarray:
        """(n, len(q)) quantiles in the units of y; `q`: fractions in (0, 1), 0.9 for the 90th percentile."""
        levels = np.atleast_1d(np.asarray(q, dtype=np.float64))
        if levels.ndim != 1 or not np.all((levels > 0) & (levels < 1)):
            raise ValueError(f"q must be fractions in (0, 1), got {q}; write 0.9 for the 90th percentile.")

        def quantiles(d):
            shape = d.mean.shape
            return np.stack([d.icdf(torch.full(shape, p, dtype=d.mean.dtype)).numpy() for p in levels.tolist()], axis=1)

        return self._predict_blocks(X, quantiles)

    def as_classifier(self):
        """An unfitted `ICLClassifier` with the same options: what predicts a treatment or who was labeled."""
        from icl.estimators.classifier import ICLClassifier

        options = self.get_params(deep=False)
        return ICLClassifier(**{name: options[name] for name in ICLClassifier().get_params(deep=False)})

    def _average(self, log_probs: Sequence[torch.Tensor], temperature: float) -> HistogramPredictive:
        log_weights = self.blend_.log_weights(len(log_probs))
        edges = histogram_edges(log_probs[0].shape[-1] - len(self.atoms_))
        if len(self.atoms_):
            atoms = torch.from_numpy(self.atoms_)
            atomic = [AtomicPredictive(l / temperature, edges, atoms, self._loc, self._scale) for l in log_probs]
            return AtomicPredictive.mixture(atomic, log_weights)
        members = [HistogramPredictive(l / temperature, edges, self._loc, self._scale) for l in log_probs]
        return HistogramPredictive.mixture(members, log_weights)

    @staticmethod
    def _point(distribution: HistogramPredictive) -> np.ndarray:
        return distribution.mean.numpy()
