"""The table as a matrix for distances: standardised numbers, gaps at the mean and flagged, indicators of levels."""

from __future__ import annotations

import numpy as np

# Standard deviations from the mean beyond which a cell counts no more.
_FAR = 5.0
# Beyond these levels of a column the rare ones look alike.
_MOST_LEVELS = 30


class Design:
    """Rows as points: two levels of one column are as far apart as two draws of a standardised number.

    Args:
        cells_NF: of the labelled rows, from which centre and scale are learnt; see `protocol.Labelled`.
        n_levels_F: see there.
    """

    def __init__(self, cells_NF: np.ndarray, n_levels_F: np.ndarray):
        self._levels_F = np.minimum(n_levels_F, _MOST_LEVELS)
        self._gaps_F = np.isnan(cells_NF).any(0) & (n_levels_F == 0)
        # A column may have its few cells in rows that a companion does not see: there it does not vary.
        known_NF = np.where(np.isnan(cells_NF).all(0), 0, cells_NF)
        with np.errstate(over="ignore", invalid="ignore"):
            self._center_F, scale_F = np.nanmean(known_NF, 0, dtype=float), np.nanstd(known_NF, 0, dtype=float)
        # Numbers whose squares overflow, or that do not vary, are left out.
        self._shown_F = (n_levels_F > 0) | (np.isfinite(scale_F) & (scale_F > 0))
        self._scale_F = np.where(scale_F > 0, scale_F, 1.0)

    def __call__(self, rows_MF: np.ndarray) -> np.ndarray:
        """(M, P) float64, bounded."""
        parts = [np.zeros((len(rows_MF), 1))]
        for j in np.flatnonzero(self._shown_F):
            cells_M = rows_MF[:, j].astype(float)
            if self._levels_F[j]:
                parts.append((cells_M[:, None] == np.arange(self._levels_F[j])).astype(float))
                continue
            with np.errstate(over="ignore", invalid="ignore"):
                z_M = (cells_M - self._center_F[j]) / self._scale_F[j]
            parts.append(np.clip(np.nan_to_num(z_M, posinf=_FAR, neginf=-_FAR), -_FAR, _FAR)[:, None])
            if self._gaps_F[j]:
                parts.append(np.isnan(cells_M)[:, None].astype(float))
        return np.concatenate(parts, 1)
