"""Principal components of a table's numeric columns, each as loud as the others: what little tells columns apart.

Where columns nearly repeat each other (lengths of one body, moments of one outline) and the target lies in what is
left, the network reads it off components much better than off the columns.

Dimension key: N context rows, M rows, F numeric columns, K components.
"""

from __future__ import annotations

import numpy as np

# A component that holds less than the square of this, of the variance of the first, is rounding.
_LEAST = 1e-3
# Standard deviations from the mean at which a cell stops: one wild cell would be a component of its own.
_FARTHEST = 6.0


class Components:
    """Learnt from context cells (N, F), NaN where there is none; called with (M, F) cells it gives (M, K) components.

    Cells are standardised and cut off, gaps are at the mean. A component has mean 0 and standard deviation 1 over the
    context. There are at most `most`, those of the largest variance, and none of fewer than two columns.

    Source:
        Jolliffe (1982), A note on the use of principal components in regression, doi:10.2307/2348005: components of
        small variance can be the ones that matter.
    """

    def __init__(self, context_NF: np.ndarray, most: int):
        context_NF = context_NF.astype(np.float64)
        n_seen_F = np.maximum((~np.isnan(context_NF)).sum(0), 1)
        # Units first, so that no square overflows.
        self._unit_F = np.nanmax(np.abs(np.nan_to_num(context_NF)), axis=0, initial=0.0)
        self._unit_F[self._unit_F == 0] = 1.0
        scaled_NF = context_NF / self._unit_F
        self._mean_F = np.nansum(scaled_NF, 0) / n_seen_F
        std_F = np.sqrt(np.nansum(np.square(scaled_NF - self._mean_F), 0) / n_seen_F)
        self._std_F = np.where(std_F > 1e-12, std_F, 1.0)
        Z_NF = self._standardised(context_NF)
        self._centre_F = Z_NF.mean(0)
        _, size_K, axes_KF = np.linalg.svd(Z_NF - self._centre_F, full_matrices=False)
        n_kept = min(int((size_K > _LEAST * size_K[:1].sum()).sum()), most) if Z_NF.shape[1] > 1 else 0
        self._turn_FK = axes_KF[:n_kept].T / size_K[:n_kept] * np.sqrt(len(Z_NF))

    def __call__(self, cells_MF: np.ndarray) -> np.ndarray:
        return (self._standardised(cells_MF.astype(np.float64)) - self._centre_F) @ self._turn_FK

    def _standardised(self, cells_MF: np.ndarray) -> np.ndarray:
        Z_MF = (cells_MF / self._unit_F - self._mean_F) / self._std_F
        return np.nan_to_num(np.clip(Z_MF, -_FARTHEST, _FARTHEST), nan=0.0)
