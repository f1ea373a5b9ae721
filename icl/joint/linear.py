"""The straight part of a column: least squares, bent where that pays, and what it leaves over.

A network that has seen few rows holds slopes back towards nothing, and what is imputed from it then pulls every slope
of a later analysis along. Least squares does not; the network is left with the residuals, where there may be nothing.

Source:
    The covariance of drawn coefficients: MacKinnon & White (1985), doi:10.1016/0304-4076(85)90158-7.
"""

from __future__ import annotations

import numpy as np

from icl.joint.strays import Limits
from icl.tables.encoder import TableEncoder

# Indicators at most for the levels of a predictor; rarer levels share the intercept.
_MOST_INDICATORS = 12
# Rows for each column of the design from which on least squares stands without a penalty chosen for it.
_ENOUGH_ROWS = 8.0
# Where a number may bend: shares of the rows that are asked about or known.
_KNOTS = (0.05, 0.275, 0.5, 0.725, 0.95)
_PENALTIES = np.concatenate([[1e-8], np.geomspace(1e-3, 1e4, 22)])
# Of bends, in rows with their copies. The least keeps out what no row would show, the largest leaves lines; and a bend
# must earn 1.4 times what it costs (as in Wood 2017, section 6.2.2): of the smallest of many losses some is chance.
_OF_BENDS = np.append(np.geomspace(0.6, 6e3, 12), np.inf)
_PRICE = 1.4
_TINY = 1e-7


class LinearPart:
    """Least squares on encoded cells, bent where left-out rows say so; ridge regression where rows are few.

    A line that is continued to where a column has most of its gaps misses what bends there, and every slope of a later
    analysis with it. Each number may bend at five knots (a natural spline, straight beyond the outer ones), which lie
    where rows are asked about too; one penalty, that left-out rows choose, holds all bends back.

    Args:
        encoder: fitted; says which cells are codes.
        cells: (n, F) encoded rows; gaps count as the mean.
        target: (n,) numbers.
        weight: (n,) how many copies there are of each row; copies are one unit.
        reach: (r, F) encoded rows, known ones and those that will be asked about.
        rng: if given, the part is fitted to all rows alike and answers with a draw of its coefficients; `weight` is a
            bootstrap sample then, and tells of the noise alone. Their covariance is the jackknife's, for noise of any
            spread from row to row (HC3). Fits of bootstrap samples differ more than that, by up to twice the variance
            where few rows lie far out: what such rows say is then all or nothing.
        limits: how far cells are believed; without them, they are taken as they are.

    Attributes:
        residuals: (n,) what is left of the rows' own targets by the fit, each scaled to the spread of the noise.
        variance: of the noise.
    """

    def __init__(
        self,
        encoder: TableEncoder,
        cells: np.ndarray,
        target: np.ndarray,
        weight: np.ndarray,
        reach: np.ndarray,
        rng: np.random.Generator | None = None,
        limits: Limits | None = None,
    ):
        sampled = weight
        if rng is not None:
            weight = np.ones(len(target))
        self._encoder, self._limits = encoder, limits
        cells = self._within(cells)
        self._means = np.nan_to_num(np.nanmean(np.where(np.isnan(cells).all(0), 0.0, cells), axis=0))
        total = weight.sum()
        self._knots: dict[int, np.ndarray] = {}
        X = self._design(cells)
        n_straight = X.shape[1]
        enough = total >= _ENOUGH_ROWS * (n_straight + 1)
        if enough:
            self._knots = self._find_knots(reach, total, n_straight)
            X = self._design(cells)
        self._center = weight @ X / total
        spread = np.sqrt(weight @ (X - self._center) ** 2 / total)
        self._scale = np.where(spread > 1e-9, spread, np.inf)  # a level that this sample lacks says nothing
        root = np.sqrt(weight)[:, None]
        Z = root * (X - self._center) / self._scale
        self._middle = float(weight @ target / total)
        y = root[:, 0] * (target - self._middle)
        # What the first columns explain without a penalty is taken out of the others, which are held back.
        first = n_straight if enough else 0
        U, s, Vt = np.linalg.svd(Z[:, :first], full_matrices=False)
        U, s, Vt = U[:, s > _TINY], s[s > _TINY], Vt[s > _TINY]
        held = Z[:, first:] - U @ (U.T @ Z[:, first:])
        rest = y - U @ (U.T @ y)
        V, t, Wt = np.linalg.svd(held, full_matrices=False)
        base = (U**2).sum(1)
        penalties, price = (_OF_BENDS * total / len(cells), _PRICE) if enough else (_PENALTIES, 1.0)
        losses = [_left_out_loss(V, t, base, rest, penalty, price) for penalty in penalties]
        penalty = penalties[int(np.argmin(losses))]
        kept = t / (t**2 + penalty)

        def slopes(of: np.ndarray) -> np.ndarray:
            of_held = Wt.T @ (kept * (V.T @ (of - U @ (U.T @ of))))
            return np.concatenate([Vt.T @ ((U.T @ (of - Z[:, first:] @ of_held)) / s), of_held])

        self._slopes = slopes(y)
        leverage = base + V**2 @ (t * kept) + weight / total
        left = target - self._middle - (X - self._center) / self._scale @ self._slopes
        free = np.clip(1 - leverage, 0.05, 1.0)
        self.residuals = left / np.sqrt(free)
        self.variance = float(sampled @ self.residuals**2 / sampled.sum())
        if rng is not None:
            noise = left / free * rng.normal(size=len(target))
            self._middle += float(noise.mean())
            self._slopes = self._slopes + slopes(noise - noise.mean())

    def _find_knots(self, reach: np.ndarray, total: float, n_straight: int) -> dict[int, np.ndarray]:
        """Of the numbers that differ enough, where there are rows enough for all bends."""
        numbers = self._design(reach)[:, : int((~self._encoder.is_categorical_).sum())]
        knots = {j: np.unique(np.quantile(column, _KNOTS)) for j, column in enumerate(numbers.T)}
        found = {j: places for j, places in knots.items() if len(places) == len(_KNOTS)}
        n_bends = (len(_KNOTS) - 2) * len(found)
        return found if total >= _ENOUGH_ROWS * (n_straight + n_bends + 1) else {}

    def __call__(self, cells: np.ndarray) -> np.ndarray:
        """(m,) the straight part for rows."""
        return self._middle + (self._design(cells) - self._center) / self._scale @ self._slopes

    def _design(self, cells: np.ndarray) -> np.ndarray:
        encoder, cells = self._encoder, self._within(cells)
        numbers = np.where(np.isnan(cells), self._means, cells)[:, ~encoder.is_categorical_].astype(np.float64)
        parts = [numbers]
        for j in np.flatnonzero(encoder.is_categorical_):
            n_shown = min(int(encoder.n_levels_[j]), _MOST_INDICATORS)
            parts.append((cells[:, [j]] == np.arange(n_shown)).astype(np.float64))
        parts += [_bends(numbers[:, j], knots) for j, knots in self._knots.items()]
        return np.concatenate(parts, axis=1)

    def _within(self, cells: np.ndarray) -> np.ndarray:
        return cells if self._limits is None else self._limits(cells)


def _bends(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """(n, K - 2) natural cubic splines in truncated powers, without the straight part."""
    last, span = knots[-1], knots[-1] - knots[0]
    cubes = np.maximum(x[:, None] - knots, 0.0) ** 3 / span**2
    slope = (cubes[:, :-1] - cubes[:, -1:]) / (last - knots[:-1])
    return (slope[:, :-1] - slope[:, -1:]) * span


def _left_out_loss(
    U: np.ndarray, s: np.ndarray, base: np.ndarray, y: np.ndarray, penalty: float, price: float
) -> float:
    """Mean squared error of rows left out with their copies, (weighted) one after the other."""
    share = s**2 / (s**2 + penalty)
    left = y - U @ (share * (U.T @ y))
    return float(np.mean((left / np.clip(1 - base - price * (U**2) @ share, 0.02, 1.0)) ** 2))
