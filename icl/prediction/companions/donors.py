"""Rows of the context that are like a row in what is known of it.

Dimension key: N context rows, M rows, F columns, D donors.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# Standard deviations from the mean beyond which a cell counts no more.
_FARTHEST = 5.0
# Two draws of a standardised number are as far apart, squared: two levels that differ, or a cell that a donor lacks.
_APART = 2.0
# Decimals of a distance: rounding, which hangs on how many rows are asked, shall choose no donor ...
_DECIMALS = 6
# ... and of those at one distance the first in an order of their own are taken.
_TIE = 1e-10


class Donors:
    """Learnt from context cells (N, F), NaN where there is none, and the levels of each column (F,), 0 of numbers."""

    def __init__(self, cells_NF: np.ndarray, n_levels_F: np.ndarray):
        # Neither the order in which rows came nor that of their cells: rows that tie shall be drawn from all.
        order_N = np.random.default_rng(0).permutation(np.lexsort(cells_NF.T[::-1]))
        self.cells_NF = cells_NF[order_N]
        self._is_number_F = n_levels_F == 0
        numbers_Nf = self.cells_NF[:, self._is_number_F].astype(float)
        known_Nf = np.where(np.isnan(numbers_Nf).all(0), 0.0, numbers_Nf)
        self._mean_f, std_f = np.nanmean(known_Nf, 0), np.nanstd(known_Nf, 0)
        self._std_f = np.where(std_f > 0, std_f, 1.0)
        Z_Nf = self._standardised(numbers_Nf)
        self._has_Nf = ~np.isnan(Z_Nf)
        self._Z_Nf = np.where(self._has_Nf, Z_Nf, 0.0)

    def __call__(self, rows_MF: np.ndarray, n_donors: int) -> np.ndarray:
        """(M, D) numbers of rows of `cells_NF`: those nearest to each row by the cells that it has."""
        return self._nearest(self._apart(rows_MF), n_donors)

    def of_others(self, n_rows: int, n_donors: int) -> Iterator[np.ndarray]:
        """For each column of numbers the donors (m, D) of the first rows of `cells_NF`, were they without its cell.

        -1 in place of the row itself, where it is among them.
        """
        rows_mF = self.cells_NF[:n_rows]
        apart_mN, Z_mf = self._apart(rows_mF), self._standardised(rows_mF[:, self._is_number_F].astype(float))
        for z_m, z_N, has_N in zip(Z_mf.T, self._Z_Nf.T, self._has_Nf.T):
            by_it_mN = np.where(has_N, np.square(np.nan_to_num(z_m)[:, None] - z_N), _APART)
            near_mD = self._nearest(apart_mN - np.where(np.isnan(z_m)[:, None], 0.0, by_it_mN), n_donors)
            yield np.where(near_mD == np.arange(len(near_mD))[:, None], -1, near_mD)

    def _apart(self, rows_MF: np.ndarray) -> np.ndarray:
        """(M, N) squared distances by the cells that a row has."""
        Z_Mf = self._standardised(rows_MF[:, self._is_number_F].astype(float))
        has_Mf = ~np.isnan(Z_Mf)
        Z_Mf, known_Mf = np.where(has_Mf, Z_Mf, 0.0), has_Mf.astype(float)
        apart_MN = np.square(Z_Mf) @ self._has_Nf.T - 2 * Z_Mf @ self._Z_Nf.T + known_Mf @ np.square(self._Z_Nf).T
        apart_MN += _APART * known_Mf @ ~self._has_Nf.T
        for j in np.flatnonzero(~self._is_number_F):
            cells_M1 = rows_MF[:, j, None]
            apart_MN += _APART * (~np.isnan(cells_M1) & (cells_M1 != self.cells_NF[:, j]))
        return apart_MN

    def _nearest(self, apart_MN: np.ndarray, n_donors: int) -> np.ndarray:
        n_donors = min(n_donors, len(self.cells_NF))
        ordered_MN = np.round(apart_MN, _DECIMALS) + _TIE * np.arange(len(self.cells_NF))
        return np.argpartition(ordered_MN, n_donors - 1, axis=1)[:, :n_donors]

    def _standardised(self, numbers_Mf: np.ndarray) -> np.ndarray:
        return np.clip((numbers_Mf - self._mean_f) / self._std_f, -_FARTHEST, _FARTHEST)
