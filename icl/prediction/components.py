"""Principal components of a table's numeric columns, each as loud as the others: what little tells columns apart.

Where columns nearly repeat each other (lengths of one body, moments of one outline) and the target lies in what is
left, the network reads it off components much better than off the columns.

Dimension key: N context rows, M rows, F numeric columns, K components.
"""

from __future__ import annotations

import numpy as np

from icl.tables.scaling import units

# A component that holds less than the square of this, of the variance of the first, is rounding.
_LEAST = 1e-3
# Standard deviations from the mean at which cells and components stop: what is far off in one column alone (a wild
# cell, a sensor that drifts) is farther off still in a component that tells near copies apart.
_FARTHEST = 6.0
# Rounds in which gaps of the context are filled and the covariance is learnt again.
_ROUNDS = 3
# Of two columns of equal standing, in the variance or in the loading, the first counts more: where they tie, as any two
# columns by themselves do and those of a balanced design, rounding would turn components, or flip their signs.
_VARIANCE_TIE, _LOADING_TIE = 1e-5, 1e-3
# The variance of the column at place j is less by `_VARIANCE_TIE` times j to this power, so that groups of copies, at
# places 0 and 3 and at 1 and 2, do not tie again in their sums.
_TIE_POWER = 1.37
# Decimals of a component that are kept: cells that are equal but for rounding would be told apart by their ranks.
_DECIMALS = 6
# Variance that is added to each column's where gaps are filled.
_RIDGE = 1e-4


class Components:
    """Learnt from context cells (N, F), NaN where there is none; called with (M, F) cells it gives (M, K) components.

    Cells are standardised and cut off; a gap is what the row's other cells say, given the covariance of the context
    (at the column's mean, a gap between near copies would seem their greatest difference). A component has mean 0 and
    standard deviation 1 over the context, until it is cut off as well, and the sign of its largest loading. There are
    at most `most`, those of the largest variance, and none of fewer than two columns.

    Source:
        Jolliffe (1982), A note on the use of principal components in regression, doi:10.2307/2348005: components of
        small variance can be the ones that matter.
    """

    def __init__(self, context_NF: np.ndarray, most: int):
        context_NF = context_NF.astype(np.float64)
        self._unit_F, self._mean_F, self._std_F = np.array([units(c[~np.isnan(c)]) for c in context_NF.T]).T
        Z_NF = self._standardised(context_NF)
        order_F = np.arange(Z_NF.shape[1])
        self._centre_F, self._covariance_FF = np.zeros(Z_NF.shape[1]), np.eye(Z_NF.shape[1])
        for _ in range(_ROUNDS if np.isnan(Z_NF).any() else 1):
            filled_NF = self._filled(Z_NF)
            self._centre_F = filled_NF.mean(0)
            centred_NF = filled_NF - self._centre_F
            self._covariance_FF = centred_NF.T @ centred_NF / len(centred_NF)
        before_F = 1 - _VARIANCE_TIE * order_F**_TIE_POWER
        _, size_K, axes_KF = np.linalg.svd(centred_NF * before_F, full_matrices=False)
        n_kept = min(int((size_K > _LEAST * size_K[:1].sum()).sum()), most) if Z_NF.shape[1] > 1 else 0
        axes_KF = axes_KF[:n_kept]
        # Which of two signs comes out is chance: the order of the rows decides, or the library.
        loudest_K1 = (np.abs(axes_KF) * (1 - _LOADING_TIE * order_F)).argmax(1)[:, None]
        axes_KF = axes_KF * np.sign(np.take_along_axis(axes_KF, loudest_K1, 1)) * before_F
        self._turn_FK = axes_KF.T / size_K[:n_kept] * np.sqrt(len(Z_NF))

    def __call__(self, cells_MF: np.ndarray) -> np.ndarray:
        filled_MF = self._filled(self._standardised(cells_MF.astype(np.float64)))
        turned_MK = np.clip((filled_MF - self._centre_F) @ self._turn_FK, -_FARTHEST, _FARTHEST)
        return np.round(turned_MK, _DECIMALS) + 0.0  # no negative zero

    def fill(self, cells_MF: np.ndarray) -> np.ndarray:
        """(M, F) cells in their own units, gaps at what the row's other cells say."""
        filled_MF = np.round(self._filled(self._standardised(cells_MF.astype(np.float64))), _DECIMALS)
        own_MF = (filled_MF * self._std_F + self._mean_F) * self._unit_F
        return np.where(np.isnan(cells_MF), own_MF, cells_MF)

    def off(self, cells_MF: np.ndarray) -> np.ndarray:
        """(M, F) by how much each cell, in its own units, is off what the row's other cells say; NaN where it is a gap.

        By the inverse of the covariance, in which a column's row is its regression on all others.
        """
        Z_MF = self._standardised(cells_MF.astype(np.float64))
        precision_FF = np.linalg.inv(self._covariance_FF + _RIDGE * np.eye(Z_MF.shape[1]))
        off_MF = (self._filled(Z_MF) - self._centre_F) @ precision_FF / np.diag(precision_FF)
        return np.where(np.isnan(cells_MF), np.nan, off_MF * self._std_F * self._unit_F)

    def _standardised(self, cells_MF: np.ndarray) -> np.ndarray:
        return np.clip((cells_MF / self._unit_F - self._mean_F) / self._std_F, -_FARTHEST, _FARTHEST)

    def _filled(self, Z_MF: np.ndarray) -> np.ndarray:
        """Gaps at their expectation given the row's other cells, one system of equations for each pattern of gaps."""
        gap_MF = np.isnan(Z_MF)
        centred_MF = np.where(gap_MF, 0.0, Z_MF - self._centre_F)
        if gap_MF.any():
            patterns, of_row = np.unique(gap_MF, axis=0, return_inverse=True)
            order = np.argsort(of_row.reshape(-1), kind="stable")
            ends = np.bincount(of_row.reshape(-1)).cumsum()
            covariance_FF = self._covariance_FF + _RIDGE * np.eye(Z_MF.shape[1])
            for gap_F, rows in zip(patterns, np.split(order, ends[:-1])):
                if gap_F.any() and not gap_F.all():
                    seen = covariance_FF[np.ix_(~gap_F, ~gap_F)]
                    weight = np.linalg.solve(seen, covariance_FF[np.ix_(~gap_F, gap_F)])
                    centred_MF[np.ix_(rows, gap_F)] = centred_MF[np.ix_(rows, ~gap_F)] @ weight
        return np.clip(centred_MF + self._centre_F, -_FARTHEST, _FARTHEST)
