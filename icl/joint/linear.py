"""The straight part of a column: least squares, unshrunken where there are rows enough, and what it leaves over.

A network that has seen few rows holds slopes back towards nothing, and what is imputed from it then pulls every slope
of a later analysis along. Least squares does not; the network is left with the residuals, where there may be nothing.
"""

from __future__ import annotations

import numpy as np

from icl.tables.encoder import TableEncoder

# Indicators at most for the levels of a predictor; rarer levels share the intercept.
_MOST_INDICATORS = 12
# Rows for each column of the design from which on least squares stands without a penalty chosen for it.
_ENOUGH_ROWS = 8.0
_PENALTIES = np.concatenate([[1e-8], np.geomspace(1e-3, 1e4, 22)])


class LinearPart:
    """Ridge regression on encoded cells; without a penalty worth the name where there are rows enough.

    Args:
        encoder: fitted; says which cells are codes.
        cells: (n, F) encoded rows; gaps count as the mean.
        target: (n,) numbers.
        weight: (n,) how many copies there are of each row; copies are one unit.

    Attributes:
        residuals: (n,) what is left of the rows' own targets, each scaled to the spread of the noise.
        variance: of the noise.
    """

    def __init__(self, encoder: TableEncoder, cells: np.ndarray, target: np.ndarray, weight: np.ndarray):
        self._encoder = encoder
        self._means = np.nan_to_num(np.nanmean(np.where(np.isnan(cells).all(0), 0.0, cells), axis=0))
        X = self._design(cells)
        total = weight.sum()
        self._center = weight @ X / total
        spread = np.sqrt(weight @ (X - self._center) ** 2 / total)
        self._scale = np.where(spread > 1e-9, spread, np.inf)  # a level that this sample lacks says nothing
        Z = (X - self._center) / self._scale
        self._middle = float(weight @ target / total)
        y = target - self._middle
        root = np.sqrt(weight)[:, None]
        U, s, Vt = np.linalg.svd(root * Z, full_matrices=False)
        coordinates = U.T @ (root[:, 0] * y)
        enough = total >= _ENOUGH_ROWS * (np.isfinite(self._scale).sum() + 1)
        penalties = _PENALTIES[:1] if enough else _PENALTIES
        losses = [self._left_out_loss(U, s, coordinates, root[:, 0] * y, penalty) for penalty in penalties]
        penalty = penalties[int(np.argmin(losses))]
        kept = s / (s**2 + penalty)
        self._slopes = Vt.T @ (kept * coordinates)
        leverage = (U**2) @ (s * kept) + weight / total
        self.residuals = (y - Z @ self._slopes) / np.sqrt(np.clip(1 - leverage, 0.05, 1.0))
        self.variance = float(weight @ self.residuals**2 / total)

    @staticmethod
    def _left_out_loss(U: np.ndarray, s: np.ndarray, coordinates: np.ndarray, y: np.ndarray, penalty: float) -> float:
        """Mean squared error of rows left out with their copies, (weighted) one after the other."""
        share = s**2 / (s**2 + penalty)
        left = y - U @ (share * coordinates)
        return float(np.mean((left / np.clip(1 - (U**2) @ share, 0.02, 1.0)) ** 2))

    def __call__(self, cells: np.ndarray) -> np.ndarray:
        """(m,) the straight part for rows."""
        return self._middle + (self._design(cells) - self._center) / self._scale @ self._slopes

    def _design(self, cells: np.ndarray) -> np.ndarray:
        encoder = self._encoder
        parts = [np.where(np.isnan(cells), self._means, cells)[:, ~encoder.is_categorical_].astype(np.float64)]
        for j in np.flatnonzero(encoder.is_categorical_):
            n_shown = min(int(encoder.n_levels_[j]), _MOST_INDICATORS)
            parts.append((cells[:, [j]] == np.arange(n_shown)).astype(np.float64))
        return np.concatenate(parts, axis=1)
