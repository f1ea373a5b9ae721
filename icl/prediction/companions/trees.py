"""Bagged extra-trees: thresholds and levels, each row answered by the trees that did not see it.

Source:
    Geurts, Ernst & Wehenkel (2006), Extremely randomized trees, doi:10.1007/s10994-006-6226-1; out-of-bag answers:
    Breiman (1996), Out-of-bag estimation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import RandomState

from icl.prediction.companions.protocol import Labelled
from icl.prediction.extra_trees import grown

_N_TREES, _FEWEST_TREES = 200, 40
# Rows beyond which there are fewer trees: many rows make each of them better.
_MANY_ROWS = 4_000


class Trees:
    """Mean answer of up to 200 extra-trees, each grown on a bootstrap sample of the groups; see `protocol.Companion`.

    Classes are grown as their indicators: the variance within a node, summed over classes, is its Gini impurity.

    Attributes:
        answers_NB: of a numeric target, what each tree answers for each labelled row; NaN where it saw the row.
    """

    def __init__(self, labelled: Labelled, seed: int, in_context: bool = True):
        rng = np.random.default_rng(seed)
        self._labelled = labelled
        cells_NF, Y_NT = self._cells(labelled.cells_NF), labelled.indicators()
        group_N, weight_N = labelled.groups, labelled.weights
        n_groups = int(group_N.max()) + 1
        self._trees, n_features = [], cells_NF.shape[1]
        n_tried = n_features if labelled.n_classes is None else max(1, int(n_features**0.5))
        state = RandomState(0)  # seeded anew for each tree, which takes a 60th of what a new one does
        total_NT, n_answers_N = np.zeros(Y_NT.shape), np.zeros(len(Y_NT))
        n_kept = n_trees(len(Y_NT)) if in_context and labelled.n_classes is None else 0
        self.answers_NB = np.full((len(Y_NT), n_kept), np.nan, np.float32)
        for b in range(n_trees(len(Y_NT))):
            drawn_N = np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)[group_N]
            seen_N = drawn_N > 0
            state.seed(int(rng.integers(2**31)))
            tree = grown(cells_NF[seen_N], Y_NT[seen_N], (drawn_N * weight_N)[seen_N], state, n_tried)
            self._trees.append(tree)
            if in_context and not seen_N.all():
                out_nF = self._cells(labelled.unseen(~seen_N, ~seen_N))
                answers_nT = self._answers(tree, out_nF)
                total_NT[~seen_N] += answers_nT
                if n_kept:
                    self.answers_NB[~seen_N, b] = answers_nT[:, 0]
                n_answers_N[~seen_N] += 1
        self.context_NS = np.empty((len(Y_NT), 0), "f4")
        if not in_context:
            return
        # A row that no tree left out, one in 10^39 but where rows share few groups, gets an answer that tells nothing.
        nothing = 0.0 if labelled.n_classes is None else 1 / labelled.n_classes
        out_NT = np.where(n_answers_N[:, None] > 0, total_NT / np.maximum(n_answers_N, 1)[:, None], nothing)
        self.context_NS = labelled.shown(out_NT)

    def _cells(self, rows_MF: np.ndarray) -> np.ndarray:
        """What scikit-learn's trees take: contiguous, and within float32, for they add cells up."""
        return np.clip(np.ascontiguousarray(rows_MF, dtype=np.float32), -1e30, 1e30)

    def _answers(self, tree: Any, cells_MF: np.ndarray) -> np.ndarray:
        return tree.predict(cells_MF).reshape(len(cells_MF), -1)

    def __call__(self, rows_MF: np.ndarray) -> np.ndarray:
        if not len(rows_MF):
            return np.empty((0, self._labelled.n_answers), "f4")
        cells_MF = self._cells(rows_MF)
        total = np.asarray(sum(self._answers(tree, cells_MF) for tree in self._trees))
        return self._labelled.shown(total / len(self._trees))

    def each(self, rows_MF: np.ndarray) -> np.ndarray:
        """(M, B) what each tree answers of a numeric target."""
        cells_MF = self._cells(rows_MF)
        return np.concatenate([np.empty((len(rows_MF), 0)), *(self._answers(t, cells_MF) for t in self._trees)], 1)


def n_trees(n_rows: int) -> int:
    """200 up to 4,000 rows, beyond as many as keep trees times rows, but 40 at least."""
    return int(np.clip(_N_TREES * _MANY_ROWS // max(n_rows, 1), _FEWEST_TREES, _N_TREES))


def seconds(n_rows: int, n_features: int, n_classes: int | None, in_context: bool = True) -> float:
    """See `protocol.Kind`."""
    n_tried = n_features if n_classes is None else n_features**0.5 * (1 + 0.06 * n_classes)
    return 0.05 + 1.2e-8 * n_trees(n_rows) * n_rows * np.log2(max(n_rows, 2)) * n_tried
