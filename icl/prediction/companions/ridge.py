"""Out-of-fold predictions of ridge regressions as further columns of a table (stacked generalisation).

A transformer of this size reads fine structure from a thousand rows less exactly than linear algebra does: where a
linear or a smooth function explains much, its answer is one more column, and the model is left with what that function
misses. Each labelled row gets the answer of a regression that was fitted without its tenth of the rows, each other row
that of the regression on all labelled rows; so the column is about as good in the context as among the queries. All
rows together choose the penalty, the length scale, and the columns of a design that would be wider than 400.

Source:
    Wolpert (1992), Stacked generalization, doi:10.1016/S0893-6080(05)80023-1; random features: Rahimi & Recht (2007).

Dimension key: N context rows, M query rows, F columns of the table, P columns of a design, T targets, S columns made,
L penalties.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from icl.prediction.relevance import relevance
from icl.tables.repeats import same_rows

_N_FOLDS = 10
_FEWEST_ROWS, _MANY_ROWS = 30, 2_000
# Share of the out-of-sample squared error of the mean that a regression must remove to become a column.
_LEAST_GAIN = 0.02
_PENALTIES = np.logspace(-3, 4, 15)
_MOST_DESIGN = 400
_MOST_LEVELS = 30
_MOST_WAVES = 300
_LENGTH_SCALES = (0.3, 1.0, 3.0)
# Share of the squared error from which on a straight line may answer beyond the labelled targets, by so much of their
# range.
_NEARLY_EXACT, _BEYOND = 0.95, 0.5
# Standard deviations from the mean beyond which a cell counts no more; of the second, where a straight line goes on. Of
# the third, in those of a normal column with the same quartiles, where far cells are not on the line of the others.
_FAR, _FURTHEST, _NEAREST = 8.0, 100.0, 3.0
_OVER_QUARTILE = 1.4826
# Eigenvalues of products of rows below this share of the largest one are rounding.
_LEAST_EIGENVALUE = 1e-12


Reach = tuple[float | np.ndarray, float | np.ndarray]
_NEAR: Reach = (-_FAR, _FAR)


class RidgeColumns:
    """Columns that ridge regressions on a table make; none where they explain nothing.

    Args:
        context_NF: cells, missing ones NaN, categories as codes by falling frequency.
        n_levels_F: number of levels of a categorical column, 0 for a number.
        y_N: standardised targets, or classes 0..C-1.
        n_classes: C, or None for a numeric target.
        group_N: unit of each row, whose rows lie in one fold; None if each row is its own (`icl.tables.repeats`).
        weight_N: how much each row counts, 1 on average; None if all are alike.

    Attributes:
        context_NS: out-of-fold columns of the context rows, float32.
    """

    def __init__(
        self,
        context_NF: np.ndarray,
        n_levels_F: np.ndarray,
        y_N: np.ndarray,
        n_classes: int | None,
        group_N: np.ndarray | None = None,
        weight_N: np.ndarray | None = None,
    ):
        self._regressions: list[_Ridge] = []
        columns: list[np.ndarray] = []
        of_row: np.ndarray | slice = slice(None)
        n_rows = len(y_N)
        if group_N is not None:
            # Copies become one row of as much weight, so that to leave one out is to leave all of them out.
            of_row = same_rows(context_NF, y_N)
            first = np.unique(of_row, return_index=True)[1]
            weight_N = np.bincount(of_row, weight_N) * len(first) / n_rows
            context_NF, y_N, group_N = context_NF[first], y_N[first], group_N[first]
        if len(y_N) >= _FEWEST_ROWS:
            Y_NT = _targets(y_N, n_classes, weight_N)
            self._design = _Design(context_NF, n_levels_F, y_N, n_classes, weight_N)
            A_NP = self._design(context_NF)
            lines = [_Ridge(A_NP, Y_NT, None, weight_N, reach, n_classes is None) for reach in _reaches(A_NP)]
            found = [max(lines, key=lambda ridge: ridge.gain)]
            near = lines[-1].reach if found[0] is lines[-1] else _NEAR
            waves = [_Ridge(A_NP, Y_NT, scale, weight_N, near) for scale in _LENGTH_SCALES]
            found.append(max(waves, key=lambda ridge: ridge.gain))
            # A column for each class is enough; and attention to many rows costs too much for a token more.
            if Y_NT.shape[1] > 1 or len(y_N) > _MANY_ROWS:
                found = [max(found, key=lambda ridge: ridge.gain)]
            self._regressions = [ridge for ridge in found if ridge.gain > _LEAST_GAIN]
            fold_N = _folds(context_NF, y_N, group_N)
            columns = [ridge.out_of_fold(A_NP, Y_NT, fold_N)[of_row] for ridge in self._regressions]
        self.context_NS = np.concatenate(columns, 1).astype(np.float32) if columns else np.empty((n_rows, 0), "f4")

    @staticmethod
    def most(n_classes: int | None) -> int:
        """The largest number of columns that it can make."""
        return 2 if n_classes is None or n_classes == 2 else n_classes

    def __call__(self, rows_MF: np.ndarray) -> np.ndarray:
        """(M, S) float32 columns of rows that are not in the context."""
        if not self._regressions:
            return np.empty((len(rows_MF), 0), "f4")
        A_MP = self._design(rows_MF)
        return np.concatenate([ridge.predict(A_MP) for ridge in self._regressions], 1).astype(np.float32)


def _targets(y_N: np.ndarray, n_classes: int | None, weight_N: np.ndarray | None) -> np.ndarray:
    """(N, T) centred targets: numbers, or indicators of all classes (of the second one, where there are two)."""
    Y_NT = y_N[:, None].astype(float) if n_classes is None else np.eye(n_classes)[y_N][:, 1 if n_classes == 2 else 0 :]
    return Y_NT - (Y_NT.mean(0) if weight_N is None else np.average(Y_NT, 0, weight_N))


def _folds(context_NF: np.ndarray, y_N: np.ndarray, group_N: np.ndarray | None = None) -> np.ndarray:
    """(N,) folds that are the same whatever the order of the rows, and alike in their targets; units are kept whole."""
    order_N = np.lexsort((*context_NF.T[::-1], y_N))
    if group_N is not None and len(units := np.unique(group_N)) < len(group_N):
        unit_N = np.searchsorted(units, group_N)
        first = order_N[np.sort(np.unique(unit_N[order_N], return_index=True)[1])]  # of each unit, in this order
        fold_of = np.empty(len(first), dtype=np.int64)
        fold_of[unit_N[first]] = _folds(np.arange(len(first))[:, None], np.zeros(len(first)))
        return fold_of[unit_N]
    n_blocks = -(-len(y_N) // _N_FOLDS)
    dealt = np.random.default_rng(0).permuted(np.tile(np.arange(_N_FOLDS), (n_blocks, 1)), axis=1).ravel()
    fold_N = np.empty(len(y_N), dtype=np.int64)
    fold_N[order_N] = dealt[: len(y_N)]
    return fold_N


def _reaches(A_NP: np.ndarray) -> list[Reach]:
    """Ways to read far cells of a design; the last one keeps them near the others."""
    size = np.abs(A_NP).max(initial=0.0)
    low_P, middle_P, high_P = np.quantile(A_NP, (0.25, 0.5, 0.75), axis=0)
    half_P = _OVER_QUARTILE * np.maximum(high_P - middle_P, middle_P - low_P)
    half_P[half_P == 0] = np.inf  # a flag, or numbers that hardly differ
    found: list[Reach] = [_NEAR]
    if size > _FAR:
        found = [(-_FURTHEST, _FURTHEST), _NEAR]
    if (np.abs(A_NP - middle_P) > _FAR * half_P).any():
        reach_P = np.minimum(_NEAREST * half_P, _FAR)
        found.append((np.maximum(middle_P - reach_P, -_FAR), np.minimum(middle_P + reach_P, _FAR)))
    return found


class _Design:
    """Standardised numbers with gaps at the mean, flags of gaps, indicators of levels; the most telling columns."""

    def __init__(
        self,
        context_NF: np.ndarray,
        n_levels_F: np.ndarray,
        y_N: np.ndarray,
        n_classes: int | None,
        weight_N: np.ndarray | None,
    ):
        self._levels_F = np.minimum(n_levels_F, _MOST_LEVELS)
        gaps_F = np.isnan(context_NF).any(0)
        width_F = np.where(n_levels_F > 0, self._levels_F, 1 + gaps_F)
        self._columns = np.arange(len(n_levels_F))
        if width_F.sum() > _MOST_DESIGN:
            best = np.argsort(-relevance(context_NF, n_levels_F > 0, y_N, n_classes), kind="stable")
            self._columns = np.sort(best[np.cumsum(width_F[best]) <= _MOST_DESIGN])
        self._gaps_F = gaps_F & (n_levels_F == 0)
        self._center, self._scale = 0.0, 1.0
        raw_NP = self._raw(context_NF)
        with np.errstate(over="ignore", invalid="ignore"):
            if weight_N is None:
                known_NP = np.where(np.isnan(raw_NP).all(0), 0, raw_NP)  # as in `design`
                center, scale = np.nanmean(known_NP, 0), np.nanstd(known_NP, 0)
            else:
                weight_NP = weight_N[:, None] * ~np.isnan(raw_NP)
                shares_NP = weight_NP / weight_NP.sum(0)
                center = np.nansum(shares_NP * raw_NP, 0)
                scale = np.sqrt(np.nansum(shares_NP * np.square(raw_NP - center), 0))
        # Numbers whose squares overflow, or that do not vary, are left out.
        kept = np.isfinite(scale) & (scale > 0)
        self._kept, self._center, self._scale = kept, center[kept], scale[kept]

    def _raw(self, rows_MF: np.ndarray) -> np.ndarray:
        parts = [np.empty((len(rows_MF), 0))]
        for j in self._columns:
            cells = rows_MF[:, j]
            if self._levels_F[j]:
                parts.append((cells[:, None] == np.arange(self._levels_F[j])).astype(float))
            else:
                parts.append(cells[:, None].astype(float))
                if self._gaps_F[j]:
                    parts.append(np.isnan(cells)[:, None].astype(float))
        return np.concatenate(parts, 1)

    def __call__(self, rows_MF: np.ndarray) -> np.ndarray:
        """(M, P) design of mean 0 and standard deviation 1 over the context."""
        with np.errstate(over="ignore", invalid="ignore"):
            A_MP = (self._raw(rows_MF)[:, self._kept] - self._center) / self._scale
        return np.clip(np.nan_to_num(A_MP, posinf=_FURTHEST, neginf=-_FURTHEST), -_FURTHEST, _FURTHEST)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b by PyTorch: threads of NumPy's OpenBLAS go on spinning on the cores that the network needs next.

    Of .18 s that 1,000 fast queries took on two cores, .06 s were theirs.
    """
    return (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()


class _Ridge:
    """Ridge regression on the design, or on random waves of it too; the penalty that is best leaving one row out.

    The intercept is that of all rows, also where a fold is left out: one of its own would tell what the mean of the
    fold's targets is, with the wrong sign, and nothing else where there is nothing to find.

    Args:
        reach: what cells count as at least and at most.
        may_go_on: answers may lie beyond all targets, if they are nearly exact.

    Attributes:
        gain: share of the squared error of the mean that is removed, each row left out in turn.
    """

    def __init__(
        self,
        A_NP: np.ndarray,
        Y_NT: np.ndarray,
        length_scale: float | None,
        weight_N: np.ndarray | None = None,
        reach: Reach = _NEAR,
        may_go_on: bool = False,
    ):
        self.reach = reach
        low_T, high_T = Y_NT.min(0), Y_NT.max(0)
        N, P = A_NP.shape
        self._frequencies = None
        if length_scale is not None:
            rng = np.random.default_rng(0)
            n_waves = min(_MOST_WAVES, 2 * N)
            # Independent t frequencies see thresholds of single columns as well as smooth surfaces.
            frequencies = rng.standard_t(3, size=(P, n_waves)) / (length_scale * math.sqrt(max(P, 1)))
            self._frequencies, self._phases = frequencies, rng.uniform(0, 2 * math.pi, n_waves)
        self._mean: np.ndarray | float = 0.0
        Phi_NQ = self._features(A_NP)
        self._mean = Phi_NQ.mean(0) if weight_N is None else np.average(Phi_NQ, 0, weight_N)
        Phi_NQ = Phi_NQ - self._mean
        # Least squares with weights are least squares of rows times their roots.
        self._root_N1, share_N1 = 1.0, 1 / N
        if weight_N is not None:
            self._root_N1, share_N1 = np.sqrt(weight_N)[:, None], (weight_N / weight_N.sum())[:, None]
            Phi_NQ, Y_NT = Phi_NQ * self._root_N1, Y_NT * self._root_N1
        if Phi_NQ.shape[1] > N:
            # By the products of the rows, which are fewer: Q counts the eigenvectors from here on.
            values_Q, vectors_NQ = _eigh(_dot(Phi_NQ, Phi_NQ.T))
            kept_Q = values_Q > _LEAST_EIGENVALUE * values_Q[-1]
            values_Q, vectors_NQ = values_Q[kept_Q], vectors_NQ[:, kept_Q]
            U_NQ, basis_QQ = vectors_NQ * np.sqrt(values_Q), _dot(Phi_NQ.T, vectors_NQ / np.sqrt(values_Q))
        else:
            values_Q, basis_QQ = _eigh(_dot(Phi_NQ.T, Phi_NQ))
            U_NQ = _dot(Phi_NQ, basis_QQ)
        moments_QT = _dot(U_NQ.T, Y_NT)
        shrunk_QL = 1 / (values_Q[:, None] + _PENALTIES)
        leverage_NL = (_dot(np.square(U_NQ), shrunk_QL) + share_N1).clip(max=1 - 1e-6)
        error_L = np.zeros(len(_PENALTIES))
        for y_N, moments_Q in zip(Y_NT.T, moments_QT.T):
            error_L += np.square((y_N[:, None] - _dot(U_NQ, shrunk_QL * moments_Q[:, None])) / (1 - leverage_NL)).sum(0)
        best = error_L.argmin()
        self._penalty = _PENALTIES[best]
        alone_NT = Y_NT * N / (N - 1) if weight_N is None else Y_NT / (1 - share_N1)
        self.gain = 1 - error_L[best] / np.square(alone_NT).sum()
        # A line that hardly errs is one beyond the labelled targets too; of others nobody knows.
        beyond_T = _BEYOND * (high_T - low_T) * (may_go_on and length_scale is None and self.gain > _NEARLY_EXACT)
        self._low_T, self._high_T = low_T - beyond_T, high_T + beyond_T
        self._weights_QT = _dot(basis_QQ, shrunk_QL[:, best, None] * moments_QT)

    def _features(self, A_MP: np.ndarray) -> np.ndarray:
        A_MP = np.clip(A_MP, *self.reach)
        if self._frequencies is None:
            return A_MP - self._mean
        scaled_MP = A_MP / math.sqrt(max(A_MP.shape[1], 1))
        waves_MW = torch.from_numpy(_dot(A_MP, self._frequencies) + self._phases).cos_().numpy()
        return np.concatenate([waves_MW, scaled_MP], 1) - self._mean

    def predict(self, A_MP: np.ndarray) -> np.ndarray:
        """(M, T) predictions, kept within the range of the labelled targets, or a little beyond."""
        Phi_MQ = self._features(A_MP)
        return np.clip(_dot(Phi_MQ, self._weights_QT), self._low_T, self._high_T)

    def out_of_fold(self, A_NP: np.ndarray, Y_NT: np.ndarray, fold_N: np.ndarray) -> np.ndarray:
        """(N, T) predictions of the context rows, each from the other folds."""
        plain_NQ = self._features(A_NP)
        Phi_NQ, Y_NT = plain_NQ * self._root_N1, Y_NT * self._root_N1
        out_NT = np.empty_like(Y_NT)
        few = len(Phi_NQ) < Phi_NQ.shape[1]
        weights_without = (_by_rows if few else _by_columns)(Phi_NQ, Y_NT, self._penalty)
        for fold in np.unique(fold_N):
            held = np.flatnonzero(fold_N == fold)
            out_NT[held] = _dot(plain_NQ[held], weights_without(held))
        return np.clip(out_NT, self._low_T, self._high_T)


def _by_columns(Phi_NQ: np.ndarray, Y_NT: np.ndarray, penalty: float) -> Callable[[np.ndarray], np.ndarray]:
    """Of some rows the weights (Q, T) of a regression without them, by products of columns."""
    gram_QQ = _dot(Phi_NQ.T, Phi_NQ) + penalty * np.eye(Phi_NQ.shape[1])
    moments_QT = _dot(Phi_NQ.T, Y_NT)

    def without(held: np.ndarray) -> np.ndarray:
        Phi_HQ = Phi_NQ[held]
        others_QQ, others_QT = gram_QQ - _dot(Phi_HQ.T, Phi_HQ), moments_QT - _dot(Phi_HQ.T, Y_NT[held])
        return torch.linalg.solve(torch.from_numpy(others_QQ), torch.from_numpy(others_QT)).numpy()

    return without


def _by_rows(Phi_NQ: np.ndarray, Y_NT: np.ndarray, penalty: float) -> Callable[[np.ndarray], np.ndarray]:
    """The same where rows are fewer, by blocks G of one inverse: coefficients of rows are G Y - G_h G_hh^-1 (G Y)_h."""
    inverse_NN = torch.linalg.inv(torch.from_numpy(_dot(Phi_NQ, Phi_NQ.T) + penalty * np.eye(len(Phi_NQ))))
    dual_NT = inverse_NN @ torch.from_numpy(Y_NT)

    def without(held: np.ndarray) -> np.ndarray:
        own_HT = torch.linalg.solve(inverse_NN[np.ix_(held, held)], dual_NT[held])
        return _dot(Phi_NQ.T, (dual_NT - inverse_NN[:, held] @ own_HT).numpy())

    return without


def _eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = (x.numpy() for x in torch.linalg.eigh(torch.from_numpy(matrix)))
    return values.clip(0), vectors
