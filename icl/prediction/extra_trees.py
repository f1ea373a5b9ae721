"""Extra-trees as scikit-learn grows them, to the bit, without what it checks before each tree.

Of a hundred rows a tree grows in a third of the time in which `fit` checks options and weights. So these are its parts,
put together as `fit` does between its checks, or where a release has other parts, its estimators themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import RandomState
from sklearn.tree import ExtraTreeClassifier, ExtraTreeRegressor


def grown(
    cells_NF: np.ndarray,
    Y_NT: np.ndarray,
    weight_N: np.ndarray,
    state: RandomState,
    n_tried: int,
    least_leaf: int = 1,
    n_classes: int | None = None,
) -> Any:
    """What `ExtraTreeRegressor().fit` calls `tree_`, or with `n_classes`, of one column of codes, a classifier's.

    Args:
        cells_NF: float32, contiguous; NaN is missing.
        n_tried: columns that a split is chosen from.
    """
    n_features, n_targets = cells_NF.shape[1], Y_NT.shape[1]
    missing_F = np.isnan(cells_NF).any(0)
    try:
        from sklearn.tree._classes import CRITERIA_CLF, CRITERIA_REG, DENSE_SPLITTERS
        from sklearn.tree._tree import DepthFirstTreeBuilder, Tree

        if n_classes is None:
            sizes, criterion = np.ones(n_targets, np.intp), CRITERIA_REG["squared_error"](n_targets, len(Y_NT))
        else:
            sizes = np.array([n_classes], np.intp)
            criterion = CRITERIA_CLF["gini"](1, sizes)
        splitter = DENSE_SPLITTERS["random"](criterion, n_tried, least_leaf, 0.0, state, None)
        tree, deepest = Tree(n_features, sizes, n_targets), np.iinfo(np.int32).max
        builder = DepthFirstTreeBuilder(splitter, max(2, 2 * least_leaf), least_leaf, 0.0, deepest, 0.0)
        Y_NT, weight_N = np.ascontiguousarray(Y_NT, np.float64), np.ascontiguousarray(weight_N, np.float64)
        builder.build(tree, cells_NF, Y_NT, weight_N, missing_F if missing_F.any() else None)
        return tree
    except (ImportError, KeyError, TypeError):
        Kind = ExtraTreeRegressor if n_classes is None else ExtraTreeClassifier
        whole = Kind(max_features=n_tried, min_samples_leaf=least_leaf, random_state=state)
        return whole.fit(cells_NF, Y_NT, sample_weight=weight_N).tree_


class Forest:
    """`ExtraTreesRegressor` that tries half of the columns, or `ExtraTreesClassifier`: the same trees of the same seed.

    Args:
        cells_NF, y_N, weight_N: rows, numbers or whole-numbered classes, and weights.
        classify: whether `y_N` are classes.

    Attributes:
        classes_: those there are, in order.
    """

    def __init__(
        self,
        cells_NF: np.ndarray,
        y_N: np.ndarray,
        weight_N: np.ndarray,
        seed: int,
        n_trees: int,
        least_leaf: int,
        classify: bool,
    ):
        self.classes_: np.ndarray = np.unique(y_N) if classify else np.empty(0)
        codes_N = np.searchsorted(self.classes_, y_N) if classify else y_N
        n_classes, n_features = len(self.classes_) if classify else None, cells_NF.shape[1]
        n_tried = max(1, int(n_features**0.5) if classify else n_features // 2)
        draws, state = RandomState(seed), RandomState(0)
        self._trees, cells_NF = [], np.ascontiguousarray(cells_NF, np.float32)
        for own in [draws.randint(np.iinfo(np.int32).max) for _ in range(n_trees)]:
            state.seed(own)
            self._trees.append(grown(cells_NF, codes_N[:, None], weight_N, state, n_tried, least_leaf, n_classes))

    def apply(self, cells_MF: np.ndarray) -> np.ndarray:
        """(M, B) leaves."""
        cells_MF = np.ascontiguousarray(cells_MF, np.float32)
        return np.stack([tree.apply(cells_MF) for tree in self._trees], 1)

    def predict_proba(self, cells_MF: np.ndarray) -> np.ndarray:
        """(M, C) shares of `classes_`."""
        cells_MF = np.ascontiguousarray(cells_MF, np.float32)
        return sum(tree.predict(cells_MF).reshape(len(cells_MF), -1) for tree in self._trees) / len(self._trees)
