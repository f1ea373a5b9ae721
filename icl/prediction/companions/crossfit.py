"""Any scikit-learn estimator as a companion: fitted without each fifth of the rows in turn, and on all for new rows."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.validation import has_fit_parameter

from icl.prediction.companions.protocol import Labelled

_N_FOLDS = 5
# Of up to 5,000 rows small trees serve better than scikit-learn's default, 100 rounds of 31 leaves, in half of its
# time (benchmarks/records/small-boosted-trees). Beyond, on 16,500 rows (california, protein) 300 rounds had R2 .832 and
# .617 where 100 had .821 and .575; of classes (adult, mammography) their columns brought log losses of .2621 and .0422
# where those of 100 brought .2606 and .0415.
_FEW_ROUNDS, _ROUNDS, _MOST_ROUNDS, _MANY_ROWS = 80, 100, 300, 5_000
_FEW_LEAVES, _FEW_FOLDS = 16, 4
# As if each leaf held so much more curvature. Without it scores of a rare class run away (allrep, 3,017 rows, four
# classes: log-odds of 70,000 for queries, while the folds saw nothing of it), and trees are too sure: log loss of
# boosting alone, four splits each, .635 -> .508 (steel plates), .640 -> .511 (vehicle), .231 -> .184 (pc1).
_PENALTY = 3.0
# What scikit-learn's boosting takes of a category; and what is worth a column of its own.
_MOST_NATIVE_LEVELS, _MOST_LEVELS = 255, 30


class CrossFitted:
    """An estimator by folds; see `protocol.Companion`.

    Args:
        estimator: not fitted; a clone of it learns from the cells as `prepared` shows them.
        labelled: the context.
        seed: of the folds, and of the estimator where its `random_state` is None.
        in_context: whether the labelled rows get answers too, by folds.
        prepared: whether missing cells are filled and flagged, numbers standardised and levels made indicators first;
            an estimator that takes the table as it is does without.
        n_folds: how many.
    Raises:
        ValueError: if the estimator predicts numbers and the target is a class, or the reverse.
    """

    def __init__(
        self,
        estimator: BaseEstimator,
        labelled: Labelled,
        seed: int,
        in_context: bool = True,
        prepared: bool = True,
        n_folds: int = _N_FOLDS,
    ):
        if is_classifier(estimator) != (labelled.n_classes is not None):
            wanted = "a regressor" if labelled.n_classes is None else "a classifier"
            raise ValueError(f"a companion for this target must be {wanted}, got {estimator!r}; pass {wanted}.")
        self._labelled, self._seed, self._prepared = labelled, seed, prepared
        self._estimator = estimator
        self._template = make_pipeline(_preparation(labelled), estimator) if prepared else estimator
        n_rows = len(labelled.y_N)
        self.context_NS = np.empty((n_rows, 0), "f4")
        if in_context:
            fold_N = deal(labelled.groups, n_folds, seed)
            out_NT = np.empty((n_rows, labelled.n_answers))
            for fold in np.unique(fold_N):
                held_N = fold_N == fold
                out_NT[held_N] = self._answers(self._fit(~held_N), labelled.unseen(held_N, held_N))
            self.context_NS = labelled.shown(out_NT)
        self._whole = self._fit(np.ones(n_rows, bool))

    def _fit(self, rows_N: np.ndarray) -> BaseEstimator | int:
        """A fitted clone, or the only class of these rows."""
        y_N = self._labelled.y_N[rows_N]
        if self._labelled.n_classes is not None and (y_N == y_N[0]).all():
            return int(y_N[0])
        model = clone(self._template)
        unset = {name: self._seed for name, value in model.get_params().items() if _is_seed(name) and value is None}
        model.set_params(**unset)
        last = model.steps[-1][1] if self._prepared else model
        given = {}
        if self._labelled.weight_N is not None and has_fit_parameter(last, "sample_weight"):
            place = f"{model.steps[-1][0]}__sample_weight" if self._prepared else "sample_weight"
            given[place] = self._labelled.weight_N[rows_N]
        cells_nF = self._labelled.cells_NF[rows_N]  # a copy
        if not self._prepared:
            # The few cells of a column may all be left out, and scikit-learn's boosting fails where it has none.
            cells_nF[:, np.isnan(cells_nF).all(0)] = 0
        return model.fit(cells_nF, y_N, **given)

    def _answers(self, model: BaseEstimator | int, cells_MF: np.ndarray) -> np.ndarray:
        n_classes = self._labelled.n_classes
        if n_classes is None:
            return self._checked(cast(Any, model).predict(cells_MF), len(cells_MF), 1)
        shares_MC = np.zeros((len(cells_MF), n_classes))
        if isinstance(model, int):
            shares_MC[:, model] = 1.0
        elif hasattr(model, "predict_proba"):
            shares_MC[:, model.classes_] = self._checked(
                model.predict_proba(cells_MF), len(cells_MF), len(model.classes_)
            )
        else:
            shares_MC[np.arange(len(cells_MF)), model.predict(cells_MF)] = 1.0
        return shares_MC[:, 1:] if n_classes == 2 else shares_MC

    def _checked(self, answers: Any, n_rows: int, n_answers: int) -> np.ndarray:
        """(n_rows, n_answers) answers of an estimator, which may be anybody's; ValueError where they are none."""
        found = np.asarray(answers, dtype=float)
        is_shape = found.shape == (n_rows, n_answers) or (n_answers == 1 and found.shape == (n_rows,))
        if is_shape and np.isfinite(found).all():
            return found.reshape(n_rows, n_answers)
        shape = (n_rows,) if self._labelled.n_classes is None else (n_rows, n_answers)
        said = f"{int((~np.isfinite(found)).sum())} that are not finite" if is_shape else f"shape {found.shape}"
        raise ValueError(
            f"companion {self._estimator!r} answered {n_rows} rows with {said}; finite numbers of shape {shape} were "
            f"expected. Mend the estimator, or leave it out of companions=."
        )

    def __call__(self, rows_MF: np.ndarray) -> np.ndarray:
        if not len(rows_MF):
            return np.empty((0, self._labelled.n_answers), "f4")
        return self._labelled.shown(self._answers(self._whole, rows_MF))


def boosting(labelled: Labelled, seed: int, in_context: bool = True) -> CrossFitted:
    """Histogram gradient boosting, which takes gaps and levels as they are."""
    native_F = (labelled.n_levels_F > 0) & (labelled.n_levels_F <= _MOST_NATIVE_LEVELS)
    kind = HistGradientBoostingRegressor if labelled.n_classes is None else HistGradientBoostingClassifier
    rounds = _rounds(len(labelled.y_N), labelled.n_classes)
    few = rounds == _FEW_ROUNDS
    n_folds = _FEW_FOLDS if few else _N_FOLDS
    # scikit-learn stops early beyond 10,000 rows, and fails where a class has a single one of them.
    rare = labelled.n_classes is not None and np.bincount(labelled.y_N).min() < 2 * n_folds
    options = {
        "max_iter": rounds,
        "learning_rate": {_FEW_ROUNDS: 0.12, _ROUNDS: 0.1}.get(rounds, 0.08),
        "max_leaf_nodes": _FEW_LEAVES if few else 31,
        "l2_regularization": _PENALTY,
        "early_stopping": False if rare or rounds > _ROUNDS else "auto",
    }
    estimator = kind(categorical_features=native_F, **options)
    return CrossFitted(estimator, labelled, seed, in_context, prepared=False, n_folds=n_folds)


def boosting_seconds(n_rows: int, n_features: int, n_classes: int | None, in_context: bool = True) -> float:
    """See `protocol.Kind`."""
    rounds = _rounds(n_rows, n_classes)
    few = rounds == _FEW_ROUNDS
    n_trees = rounds / 100 * (1 if n_classes in (None, 2) else n_classes)
    of_100 = 0.04 + 0.0035 * n_features + 4e-7 * n_rows * n_features if few else 0.16 + 9e-7 * n_rows * n_features
    return (1 + (_FEW_FOLDS if few else _N_FOLDS) * in_context) * n_trees * of_100


def _rounds(n_rows: int, n_classes: int | None) -> int:
    if n_rows <= _MANY_ROWS:
        return _FEW_ROUNDS
    return _ROUNDS if n_classes is not None else _MOST_ROUNDS


def deal(group_N: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """(N,) folds that keep groups whole and know nothing of the targets: else a label would reach its own fold."""
    _, group_N = np.unique(group_N, return_inverse=True)
    n_groups = int(group_N.max()) + 1
    return np.random.default_rng(seed).permutation(np.arange(n_groups) % min(n_folds, n_groups))[group_N]


def _preparation(labelled: Labelled):
    numbers, levels = (np.flatnonzero(flag) for flag in (labelled.n_levels_F == 0, labelled.n_levels_F > 0))
    fill = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    one_hot = OneHotEncoder(max_categories=_MOST_LEVELS, handle_unknown="infrequent_if_exist", sparse_output=False)
    return make_column_transformer((make_pipeline(fill, StandardScaler()), numbers), (one_hot, levels))


def _is_seed(name: str) -> bool:
    return name == "random_state" or name.endswith("__random_state")
