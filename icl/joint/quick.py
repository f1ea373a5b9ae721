"""A column from the others without the network: a straight part, and a small forest for what it leaves.

For tables beyond what the network reads in the time at hand. A number is what the straight part says plus the residual
of a row in the same leaf of one tree, so that curvature and uneven spread are followed; levels are drawn by their
shares in leaves.

Source:
    Donors from leaves: Doove, van Buuren & Dusseldorp (2014), doi:10.1016/j.csda.2013.10.025; here of residuals.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from icl.joint.kinds import Kind
from icl.joint.marginal import drawn_codes, shares_of
from icl.joint.strays import Strays
from icl.joint.warp import straight_part
from icl.prediction.atoms import find_atoms
from icl.prediction.extra_trees import Forest
from icl.tables.encoder import TableEncoder
from icl.tables.schema import SchemaWarning
from icl.tables.strays import strays_beside

_N_TREES, _LEAST_LEAF = 10, 5


class QuickColumn:
    """See `icl.joint.column.ColumnModel`.

    Args:
        known: numbers or codes, none missing.
        weight: whole numbers, how often each row counts.
        tilt: log odds to add to each level in draws.
        reach: all rows, those that will be asked about among them; default: X.
        rng: if given, what the straight part is drawn with, from rows of weight 0 too.
    """

    def __init__(
        self,
        kind: Kind,
        X: pd.DataFrame,
        known: np.ndarray,
        weight: np.ndarray,
        seed: int,
        tilt: np.ndarray | None = None,
        reach: pd.DataFrame | None = None,
        rng: np.random.Generator | None = None,
    ):
        self.kind, self._tilt = kind, tilt
        self.shares: np.ndarray | None = None
        self.strays: Strays | None = None
        self.common: np.ndarray | None = None
        self._encoded: Callable[[pd.DataFrame], np.ndarray]
        options = (seed, _N_TREES, _LEAST_LEAF)
        if kind.is_class:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SchemaWarning)
                self._encoded = TableEncoder("the column's model").fit(X).transform
                cells = self._encoded(X)
            self._forest = Forest(cells, known.astype(np.int64), weight, *options, classify=True)
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SchemaWarning)
            self._straight = straight_part(X, known, weight, reach, rng, strays_beside(X, known))
            self._warp, self._encoded = self._straight.warp, self._straight.encoded
            aside = self._straight.aside
            self.strays = Strays.of(known, weight, aside)
            if self.strays is not None:
                X, known, weight = X[~aside], known[~aside], weight[~aside]
            cells = self._encoded(X)
        # Leaves compare spreads with one, whatever the units.
        self._scale = float(np.sqrt(self._straight.part.variance)) or 1.0
        shown = weight > 0
        residuals, cells = self._straight.part.residuals[shown] / self._scale, cells[shown]
        known, weight = known[shown], weight[shown]
        self._forest = Forest(cells, residuals, weight, *options, classify=False)
        leaves = self._forest.apply(cells)
        copies = np.repeat(np.arange(len(known)), weight.astype(np.int64))
        self._donors = [_Leaves(leaves[copies, b], residuals[copies]) for b in range(_N_TREES)]
        # Of a column that repeats its values, what is drawn is one of them.
        self._values = np.unique(known) if len(find_atoms(known)) else None

    def draw(self, X: pd.DataFrame, rng: np.random.Generator) -> pd.Series:
        cells = self._encoded(X)
        u = rng.random(len(X))
        if self.kind.is_class:
            assert self.kind.levels is not None
            probs = self._forest.predict_proba(cells)
            self.shares = shares_of(probs, self._forest.classes_, len(self.kind.levels), self._tilt)
            return self.kind.cells(drawn_codes(probs, self._forest.classes_, u, self._tilt), X.index)
        leaves, tree = self._forest.apply(cells), rng.integers(_N_TREES, size=len(X))
        numbers = self._straight(cells)
        for b in range(_N_TREES):
            rows = tree == b
            numbers[rows] += self._scale * self._donors[b].donor(leaves[rows, b], u[rows])
        numbers = self._warp.back(numbers)
        if self._values is not None:
            middles = (self._values[1:] + self._values[:-1]) / 2
            numbers = self._values[np.searchsorted(middles, numbers)]
        self.common = self.kind.snap(numbers)
        if self.strays is not None:
            numbers = self.strays.mixed(numbers, rng)
        return self.kind.cells(self.kind.snap(numbers), X.index)

    def log_density(self, X: pd.DataFrame, y: pd.Series) -> np.ndarray:
        numbers = self.kind.numbers(y)
        out = np.full(len(numbers), np.nan)
        rows = np.flatnonzero(np.isfinite(numbers))
        if not len(rows):
            return out
        cells = self._encoded(X.iloc[rows])
        if self.kind.is_class:
            shares = self._forest.predict_proba(cells)
            place = pd.Index(self._forest.classes_).get_indexer(pd.Index(numbers[rows].astype(np.int64)))
            least = 1 / (len(self._forest.classes_) + 100.0)
            found = np.where(place < 0, 0.0, shares[np.arange(len(rows)), place])
            out[rows] = np.log(0.99 * found + 0.01 * least)
            return out
        z = (self._warp.there(numbers[rows]) - self._straight(cells)) / self._scale
        leaves = self._forest.apply(cells)
        logs = np.stack([self._donors[b].log_normal(leaves[:, b], z) for b in range(_N_TREES)])
        density = logsumexp(logs, axis=0) - np.log(_N_TREES * self._scale) + self._warp.log_slope(numbers[rows])
        unit = np.log(2 * self.kind.half_step) if self.kind.digits is not None else -self.kind.log_unit
        found = density + unit
        out[rows] = found if self.strays is None else self.strays.log_mixed(found, numbers[rows], np.exp(unit))
        return out


class _Leaves:
    """Residuals of one tree's rows, by leaf."""

    def __init__(self, leaf: np.ndarray, residual: np.ndarray):
        order = np.argsort(leaf, kind="stable")
        self._residual = residual[order]
        self._start = np.searchsorted(leaf[order], np.arange(leaf.max() + 2))
        sizes = np.diff(self._start)
        totals = np.bincount(leaf, residual, minlength=len(sizes))
        squares = np.bincount(leaf, residual**2, minlength=len(sizes))
        self._mean = totals / np.maximum(sizes, 1)
        spread = np.sqrt(np.maximum(squares / np.maximum(sizes, 1) - self._mean**2, 0.0))
        self._std = np.maximum(spread, 0.05 * residual.std() + 1e-6)

    def donor(self, leaf: np.ndarray, u: np.ndarray) -> np.ndarray:
        start, size = self._start[leaf], self._start[leaf + 1] - self._start[leaf]
        return self._residual[start + (u * size).astype(np.int64)]

    def log_normal(self, leaf: np.ndarray, z: np.ndarray) -> np.ndarray:
        std = self._std[leaf]
        return -0.5 * ((z - self._mean[leaf]) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi))
