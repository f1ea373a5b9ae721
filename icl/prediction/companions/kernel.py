"""Kernel ridge regression: smooth surfaces and near neighbours, each group of rows left out in closed form.

With eigenvectors U and eigenvalues v of the kernel matrix, the fit is H Y for H = U diag(v / (v + penalty)) U'. What a
fit without the rows g answers for them is Y_g - (I - H_gg)^-1 (Y - H Y)_g, for all classes and penalties from one
decomposition. A constant in the kernel is the intercept, so that this is exact. Beyond 1,500 rows the kernel is that
of its projection on some of the rows (Nystroem).

Source:
    Leave-one-out: Allen (1974), doi:10.1080/00401706.1974.10489157; Williams & Seeger (2001), Using the Nystroem
    method to speed up kernel machines.

Dimension key: N context rows, M query rows, P columns of the design, Q eigenvectors, L landmarks, T answers.
"""

from __future__ import annotations

import numpy as np
import torch

from icl.prediction.companions.design import Design
from icl.prediction.companions.protocol import Labelled

# Each in units of the spread of the rows; five, and penalties a factor of 3 apart, are as fine as rows can tell.
_LENGTH_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
_PENALTIES = np.logspace(-4, 2, 13)
_MOST_EXACT, _N_LANDMARKS = 1_500, 700
# The length scale is chosen on some of the rows: on 400 the five decompositions take .15 s.
_TRIAL_ROWS = 400
_CHUNK = 4_096
# Eigenvalues below this share of the largest one are rounding.
_LEAST_EIGENVALUE = 1e-10


class Kernel:
    """Kernel ridge regression, length scale and penalty by the squared error leaving out; see `protocol.Companion`.

    Attributes:
        length_scale, penalty: as chosen. A label reaches its own row's answers through this choice alone.
    """

    def __init__(self, labelled: Labelled, seed: int, in_context: bool = True):
        self._labelled = labelled
        self._design = Design(labelled.cells_NF, labelled.n_levels_F)
        A_NP, group_N = self._design(labelled.cells_NF), labelled.groups
        # Rows of more weight, by its root: least squares then weigh them.
        root_N = np.sqrt(labelled.weights)
        Y_NT = labelled.indicators() * root_N[:, None]
        rng = np.random.default_rng(seed)
        spread = float(np.sqrt(A_NP.var(0).sum())) or 1.0
        trial = np.sort(rng.permutation(len(A_NP))[:_TRIAL_ROWS])
        errors = []
        for scale in _LENGTH_SCALES:
            (U_NQ, values_Q), _ = _decompose(A_NP[trial], A_NP[trial], root_N[trial], scale * spread)
            errors.append(min(error for _, error in _leave_out(U_NQ, values_Q, Y_NT[trial], group_N[trial])))
        self.length_scale = _LENGTH_SCALES[int(np.argmin(errors))]
        self._scale = self.length_scale * spread
        landmarks = np.arange(len(A_NP)) if len(A_NP) <= _MOST_EXACT else rng.permutation(len(A_NP))[:_N_LANDMARKS]
        self._landmarks_LP = A_NP[landmarks]
        (U_NQ, values_Q), weights_of = _decompose(A_NP, self._landmarks_LP, root_N, self._scale)
        found = _leave_out(U_NQ, values_Q, Y_NT, group_N)
        best = int(np.argmin([error for _, error in found]))
        self.penalty = float(_PENALTIES[best])
        self._weights_LT = weights_of(_dot(U_NQ.T, Y_NT) / (values_Q[:, None] + self.penalty))
        self.context_NS = labelled.shown(found[best][0] / root_N[:, None])

    def __call__(self, rows_MF: np.ndarray) -> np.ndarray:
        A_MP = self._design(rows_MF)
        blocks = [
            _dot(_kernel(A_MP[start : start + _CHUNK], self._landmarks_LP, self._scale), self._weights_LT)
            for start in range(0, max(len(A_MP), 1), _CHUNK)
        ]
        return self._labelled.shown(np.concatenate(blocks))


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # By PyTorch: NumPy's threads go on spinning on the cores that the network needs next.
    return (torch.from_numpy(np.ascontiguousarray(a)) @ torch.from_numpy(np.ascontiguousarray(b))).numpy()


def _kernel(A_MP: np.ndarray, B_LP: np.ndarray, scale: float) -> np.ndarray:
    """(M, L) Gaussian kernel of the rows of two designs, plus one for the intercept."""
    squares = torch.cdist(torch.from_numpy(A_MP), torch.from_numpy(B_LP)).square_()
    return squares.mul_(-0.5 / scale**2).exp_().add_(1.0).numpy()


def _decompose(A_NP: np.ndarray, B_LP: np.ndarray, root_N: np.ndarray, scale: float):
    """Eigenvectors (N, Q) and eigenvalues (Q,) of the kernel matrix of the rows A, times the roots of their weights.

    If B are fewer rows, it is projected on them. The second answer makes weights (L, T) of the rows B out of
    coefficients (Q, T) of the eigenvectors.
    """
    if len(A_NP) == len(B_LP):
        values_N, vectors_NN = _eigh(_kernel(A_NP, A_NP, scale) * np.outer(root_N, root_N))
        return (vectors_NN, values_N), lambda coefficients_QT: _dot(root_N[:, None] * vectors_NN, coefficients_QT)
    values_L, vectors_LL = _eigh(_kernel(B_LP, B_LP, scale))
    root_LQ = vectors_LL / np.sqrt(values_L)
    gram_QQ = np.zeros((len(values_L), len(values_L)))
    parts = []
    for start in range(0, len(A_NP), _CHUNK):
        here = slice(start, start + _CHUNK)
        parts.append(root_N[here, None] * _dot(_kernel(A_NP[here], B_LP, scale), root_LQ))
        gram_QQ += _dot(parts[-1].T, parts[-1])
    values_Q, vectors_QQ = _eigh(gram_QQ)
    U_NQ = np.concatenate([_dot(part, vectors_QQ) for part in parts]) / np.sqrt(values_Q)
    return (U_NQ, values_Q), lambda coefficients_QT: _dot(
        root_LQ, _dot(vectors_QQ, coefficients_QT * np.sqrt(values_Q)[:, None])
    )


def _eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = (x.numpy() for x in torch.linalg.eigh(torch.from_numpy(matrix)))
    kept = values > _LEAST_EIGENVALUE * values[-1]
    return values[kept], vectors[:, kept]


def _leave_out(U_NQ: np.ndarray, values_Q: np.ndarray, Y_NT: np.ndarray, group_N: np.ndarray) -> list[tuple]:
    """For each penalty the (N, T) answers of fits without the row's group, and their squared error."""
    _, first_N, size_N = np.unique(group_N, return_inverse=True, return_counts=True)
    order_N = np.argsort(first_N, kind="stable")
    sizes_N = size_N[first_N[order_N]]
    repeated = [order_N[sizes_N == size].reshape(-1, size) for size in np.unique(sizes_N) if size > 1]
    squares_NQ, moments_QT = np.square(U_NQ), _dot(U_NQ.T, Y_NT)
    found = []
    for penalty in _PENALTIES:
        shrunk_Q = values_Q / (values_Q + penalty)
        residual_NT = Y_NT - _dot(U_NQ, shrunk_Q[:, None] * moments_QT)
        left_NT = residual_NT / (1 - _dot(squares_NQ, shrunk_Q[:, None])).clip(1e-9)
        for rows_Gg in repeated:
            factor_GgQ = torch.from_numpy(U_NQ[rows_Gg] * np.sqrt(shrunk_Q))
            inner_Ggg = (1 + 1e-9) * torch.eye(rows_Gg.shape[1], dtype=torch.double) - factor_GgQ @ factor_GgQ.mT
            left_NT[rows_Gg] = torch.linalg.solve(inner_Ggg, torch.from_numpy(residual_NT[rows_Gg])).numpy()
        found.append((Y_NT - left_NT, float(np.square(left_NT).sum())))
    return found


def seconds(n_rows: int, n_features: int, n_classes: int | None, in_context: bool = True) -> float:
    """See `protocol.Kind`; the number of columns hardly counts."""
    if n_rows <= _MOST_EXACT:
        return 0.1 * min(n_rows / _TRIAL_ROWS, 1) + 2.2e-10 * n_rows**3 + 1e-8 * n_rows**2 * (n_classes or 1)
    return 0.4 + 6.5e-5 * n_rows * (1 + 0.05 * (n_classes or 1))
