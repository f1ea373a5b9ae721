"""scikit-learn estimators: fitting keeps the labelled rows as context, predicting is a forward pass over them.

An answer is the average of `n_estimators` members, each of which sees the same table in another guise: columns in
another order, numbers transformed, category codes and class slots shuffled. Member 0 sees it as it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from icl.checkpoint import load_release, resolve_checkpoint
from icl.conformal import ConformalClassifierMixin, ConformalRegressorMixin
from icl.distribution import CategoricalPredictive, HistogramPredictive, histogram_edges
from icl.forward import Context, answer
from icl.table import TableEncoder, as_column, as_numbers, class_codes, units, view_number

TRANSFORMS = ("none", "quantile", "power")
# Query rows that are answered before their distributions are reduced to what was asked for.
_BLOCK_ROWS = 8192


@dataclass(frozen=True)
class _Member:
    """One guise of a table. Holds only random choices; what depends on the context is worked out from it again."""

    transform: str
    columns: np.ndarray  # (F,) order in which the model sees the columns
    codes: list[np.ndarray]  # per column: (n_levels,) code shown in place of each code
    slots: np.ndarray  # (C,) class shown in place of each class; empty for regression

    def view(self, context_NF: np.ndarray, rows_MF: np.ndarray) -> np.ndarray:
        out_MF = rows_MF.copy()
        for j, codes in enumerate(self.codes):
            if len(codes):
                seen = ~np.isnan(rows_MF[:, j])
                out_MF[seen, j] = codes[rows_MF[seen, j].astype(np.intp)]
            elif self.transform != "none":
                out_MF[:, j] = view_number(self.transform, context_NF[:, j], rows_MF[:, j])
        return out_MF[:, self.columns]


class _InContextEstimator(BaseEstimator):
    def __init__(
        self, checkpoint=None, n_estimators=4, device="auto", random_state=0, softmax_temperature=1.0, memory_gb=2.0
    ):
        self.checkpoint = checkpoint
        self.n_estimators = n_estimators
        self.device = device
        self.random_state = random_state
        self.softmax_temperature = softmax_temperature
        self.memory_gb = memory_gb

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    def _fit(self, X, y: np.ndarray, n_classes: int | None):
        """Encode and keep the context. `y`: (n,) codes 0..C-1, or standardised targets."""
        _check_params(self)
        encoder = TableEncoder(type(self).__name__).fit(X)
        context_NF = encoder.transform(X)
        n_rows, n_features = context_NF.shape
        if len(y) != n_rows:
            raise ValueError(
                f"X has {n_rows} rows, but y has {len(y)} values: Found input variables with inconsistent numbers of "
                f"samples: {[n_rows, len(y)]}. Pass one label per row."
            )
        config = self._model().config
        if n_features > config.max_features:
            raise ValueError(
                f"X has {n_features} usable columns, but checkpoint {self._checkpoint_name()} takes at "
                f"most {config.max_features}. Keep the {config.max_features} most relevant columns, or load a "
                f"checkpoint with more `max_features`."
            )
        if n_rows > config.max_context:
            warnings.warn(
                f"the context has {n_rows} rows, checkpoint {self._checkpoint_name()} was pretrained with at most "
                f"{config.max_context}: rows beyond may not help, and cost time. Compare with a random subset.",
                UserWarning,
                stacklevel=3,
            )
        # Nothing is kept before everything is checked: a failed fit leaves the earlier one whole.
        self._encoder, self._context_NF, self._y_N = encoder, context_NF, y
        self._members = _draw_members(self, n_classes)
        self._contexts = self._contexts_of(self._members, n_classes)
        self.n_features_in_ = len(encoder.columns_)
        self.dropped_columns_ = encoder.dropped_columns_
        vars(self).pop("feature_names_in_", None)  # of an earlier fit
        if encoder.has_names_ and all(isinstance(name, str) for name in encoder.columns_):
            self.feature_names_in_ = np.array(encoder.columns_, dtype=object)
        return self

    def _model(self):
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if isinstance(self.checkpoint, torch.nn.Module):
            return self.checkpoint.to(device).eval()
        # By reference: a fitted estimator pickles its context, never the weights.
        return load_release(self.checkpoint, device)

    def _checkpoint_name(self) -> str:
        given = self.checkpoint
        return type(given).__name__ if isinstance(given, torch.nn.Module) else repr(given or resolve_checkpoint().name)

    def _encode_rows(self, X) -> np.ndarray:
        check_is_fitted(self, "_context_NF")
        return self._encoder.transform(X)

    def _contexts_of(self, members: list[_Member], n_classes: int | None) -> list[Context]:
        def context(m: _Member) -> Context:
            y_N = m.slots[self._y_N] if len(m.slots) else self._y_N
            X_NF = m.view(self._context_NF, self._context_NF)
            return Context(X_NF, y_N, self._encoder.is_categorical_[m.columns], n_classes)

        return [context(m) for m in members]

    def _predict_blocks(self, X, reduce) -> np.ndarray:
        """`reduce` of the predictive distribution of every row of X: (n, ...)."""
        rows_MF = self._encode_rows(X)
        blocks = [reduce(d) for [d] in _distributions([self], [rows_MF])]
        return np.concatenate(blocks)

    def _predict_whole(self, X):
        rows_MF = self._encode_rows(X)
        [whole] = next(_distributions([self], [rows_MF], block_rows=max(1, len(rows_MF))))
        return whole

    def _predict_together(self, models: list, tables: list) -> list:
        """The distribution of each of several fitted estimators for the rows of its own table, in shared passes."""
        rows = [model._encode_rows(table) for model, table in zip(models, tables)]
        return next(_distributions(models, rows, block_rows=max(1, *map(len, rows))))

    def predict_folds(self, X_labeled, y_labeled, folds, X_unlabeled) -> tuple[np.ndarray, np.ndarray]:
        """Point predictions for cross-fitting: no labelled row is predicted from a context that contains it.

        The folds of equal size are answered in one batch. Leaves this estimator as it was.

        Args:
            X_labeled, y_labeled: n labelled rows.
            folds: (n,) integer fold of each labelled row.
            X_unlabeled: m rows.
        Returns:
            (n,) prediction of each labelled row from the other folds, and (K, m) predictions of the unlabelled rows
            from the context of each fold, in the order of sorted fold numbers. A prediction is the mean for a
            regressor, the probability of `classes_[1]` for a classifier.
        Raises:
            ValueError: for fewer than two folds, a fold whose context cannot be fitted, or more than two classes.
        """
        folds = np.asarray(folds)
        numbers = np.unique(folds)
        if folds.shape != (len(y_labeled),) or len(numbers) < 2:
            raise ValueError(
                f"folds must give one integer for each of the {len(y_labeled)} labelled rows and name at least two "
                f"folds, got shape {folds.shape} with {len(numbers)} fold(s)."
            )
        y_labeled = pd.Series(as_column(y_labeled))
        if isinstance(self, ClassifierMixin) and (n_classes := len(class_codes(y_labeled)[0])) != 2:
            raise ValueError(f"predict_folds needs two classes, y has {n_classes}; make it one class against the rest.")
        fitted, rows = [], []
        for number in numbers:
            context, held_out = np.flatnonzero(folds != number), np.flatnonzero(folds == number)
            try:
                # Not sklearn's clone, which would copy a model passed as checkpoint.
                model = type(self)(**self.get_params(deep=False))
                model.fit(_take(X_labeled, context), y_labeled.iloc[context])
            except ValueError as error:
                raise ValueError(f"fold {number} leaves a context of {len(context)} rows: {error}") from error
            fitted.append(model)
            encode = model._encode_rows
            rows.append(np.concatenate([encode(_take(X_labeled, held_out)), encode(X_unlabeled)]))
        blocks = [[self._point(d) for d in block] for block in _distributions(fitted, rows)]
        points = [np.concatenate(parts) for parts in zip(*blocks)]
        labeled = np.empty(len(folds))
        for number, point in zip(numbers, points):
            labeled[folds == number] = point[: np.count_nonzero(folds == number)]
        n_unlabeled = len(rows[0]) - np.count_nonzero(folds == numbers[0])
        return labeled, np.stack([point[len(point) - n_unlabeled :] for point in points])


class ICLClassifier(ClassifierMixin, ConformalClassifierMixin, _InContextEstimator):
    """Class probabilities for a table, from its labelled rows as context; no training.

    Args:
        checkpoint: None for the best one shipped, a name of `icl.available_checkpoints()`, a release folder, or a
            TabularTransformer.
        n_estimators: members averaged; cost grows with it.
        device: "auto" (a CUDA device if there is one, else the CPU) or a torch device.
        random_state: int, numpy RandomState or None for fresh members at every fit.
        softmax_temperature: above 1 makes probabilities less extreme, below 1 more.
        memory_gb: what a forward pass may take, estimated; query rows and members are split to respect it.

    Attributes:
        classes_: (C,) sorted labels; `predict_proba` has a column for each.
        dropped_columns_: columns that are constant or missing throughout in the context, hence ignored.
    """

    def fit(self, X, y) -> ICLClassifier:
        """Keep the labelled rows as context.

        Args:
            X: n rows, a DataFrame or array (see `icl.table`); missing cells are welcome.
            y: (n,) labels: text, booleans, or whole numbers; none missing.
        Raises:
            ValueError: for input that cannot be used, saying what to do.
        """
        classes, codes = class_codes(as_column(y))
        limit = self._model().config.max_classes
        if len(classes) > limit:
            raise ValueError(
                f"y has {len(classes)} classes, but checkpoint {self._checkpoint_name()} was pretrained for at most "
                f"{limit}. Merge rare classes, or use ICLRegressor if the labels are amounts."
            )
        self._fit(X, codes, len(classes))
        self._keep_labeled(X, codes)
        self.classes_ = classes
        return self

    def predict_distribution(self, X) -> CategoricalPredictive:
        """Distribution over `classes_` for each row of X, batch shape (n,)."""
        return self._predict_whole(X)

    def predict_proba(self, X) -> np.ndarray:
        """(n, C) probabilities, columns in the order of `classes_`."""
        return self._predict_blocks(X, lambda d: d.probs.numpy())

    def predict(self, X) -> np.ndarray:
        """(n,) most probable labels."""
        most_probable = self.predict_proba(X).argmax(axis=1)
        return self.classes_[most_probable]

    def _average(self, scores: list[torch.Tensor]) -> CategoricalPredictive:
        members = [s[:, m.slots] / self.softmax_temperature for s, m in zip(scores, self._members)]
        return CategoricalPredictive.mixture([CategoricalPredictive(s) for s in members])

    @staticmethod
    def _point(distribution: CategoricalPredictive) -> np.ndarray:
        return distribution.probs[:, 1].numpy()


class ICLRegressor(RegressorMixin, ConformalRegressorMixin, _InContextEstimator):
    """Predictive distribution of a number, from a table's labelled rows as context; no training.

    Parameters and attributes are those of `ICLClassifier`, without `classes_`; a `softmax_temperature` above 1 widens
    the distribution, below 1 narrows it.
    """

    def fit(self, X, y) -> ICLRegressor:
        """Keep the labelled rows as context.

        Args:
            X: n rows, a DataFrame or array (see `icl.table`); missing cells are welcome.
            y: (n,) finite numbers, in any unit; none missing.
        Raises:
            ValueError: for input that cannot be used, saying what to do.
        """
        y = as_numbers(as_column(y))
        # In float64 here: in the model's float32, a target such as 1.6e9 + small would lose its digits.
        unit, center, scale = units(y)
        self._fit(X, (y / unit - center) / scale, None)
        self._keep_labeled(X, y)
        self._loc, self._scale = unit * center, unit * scale
        return self

    def predict_distribution(self, X) -> HistogramPredictive:
        """Predictive distribution of each row of X, in the units of y, batch shape (n,)."""
        return self._predict_whole(X)

    def predict(self, X, output: str = "mean") -> np.ndarray:
        """(n,) predictions: the "mean" (least squared error), "median" (least absolute error) or "mode"."""
        if output not in ("mean", "median", "mode"):
            raise ValueError(f'output must be "mean", "median" or "mode", got {output!r}.')
        return self._predict_blocks(X, lambda d: getattr(d, output).numpy())

    def predict_quantiles(self, X, q: float | Sequence[float]) -> np.ndarray:
        """(n, len(q)) quantiles in the units of y; `q`: fractions in (0, 1), 0.9 for the 90th percentile."""
        levels = np.atleast_1d(np.asarray(q, dtype=np.float64))
        if levels.ndim != 1 or not np.all((levels > 0) & (levels < 1)):
            raise ValueError(f"q must be fractions in (0, 1), got {q}; write 0.9 for the 90th percentile.")

        def quantiles(d):
            shape = d.mean.shape
            return np.stack([d.icdf(torch.full(shape, p, dtype=d.mean.dtype)).numpy() for p in levels.tolist()], axis=1)

        return self._predict_blocks(X, quantiles)

    def _average(self, scores: list[torch.Tensor]) -> HistogramPredictive:
        edges = histogram_edges(scores[0].shape[-1])
        members = [s / self.softmax_temperature for s in scores]
        return HistogramPredictive.mixture([HistogramPredictive(s, edges, self._loc, self._scale) for s in members])

    @staticmethod
    def _point(distribution: HistogramPredictive) -> np.ndarray:
        return distribution.mean.numpy()


def _distributions(
    fitted: list[_InContextEstimator], rows: list[np.ndarray], block_rows: int = _BLOCK_ROWS
) -> Iterator[list]:
    """The predictive distribution of each estimator for its own rows, a block of rows at a time.

    Members of all estimators share batches, so folds cost as many forward passes as their sizes differ.
    """
    model, memory_gb = fitted[0]._model(), fitted[0].memory_gb
    contexts = [context for f in fitted for context in f._contexts]
    for start in range(0, max(*map(len, rows), 1), block_rows):
        blocks = [r[start : start + block_rows] for r in rows]
        views = [m.view(f._context_NF, b) for f, b in zip(fitted, blocks) for m in f._members]
        answers = iter(answer(model, contexts, views, memory_gb))
        yield [f._average([next(answers) for _ in f._members]) for f in fitted]


def _draw_members(estimator: _InContextEstimator, n_classes: int | None) -> list[_Member]:
    state = estimator.random_state
    if isinstance(state, np.random.RandomState):
        state = state.randint(2**31)
    rng = np.random.default_rng(state)
    levels = estimator._encoder.n_levels_
    n_features = len(levels)
    members = [_Member("none", np.arange(n_features), [np.arange(n) for n in levels], np.arange(n_classes or 0))]
    for i in range(1, estimator.n_estimators):
        codes = [rng.permutation(n) for n in levels]
        columns, slots = rng.permutation(n_features), rng.permutation(n_classes or 0)
        members.append(_Member(TRANSFORMS[i % len(TRANSFORMS)], columns, codes, slots))
    return members


def _check_params(estimator: _InContextEstimator) -> None:
    n = estimator.n_estimators
    if not isinstance(n, Integral) or n < 1:
        raise ValueError(f"n_estimators must be a whole number of at least 1, got {n!r}.")
    for name in ("softmax_temperature", "memory_gb"):
        value = getattr(estimator, name)
        if not isinstance(value, Real) or not 0 < value < np.inf:
            raise ValueError(f"{name} must be a positive number, got {value!r}.")


def _take(X, rows: np.ndarray):
    return X.iloc[rows] if hasattr(X, "iloc") else np.asarray(X)[rows]
