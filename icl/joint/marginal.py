"""A column by itself, where nothing else is known: the first of a chain, or beside columns that say nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from icl.joint.kinds import Kind
from icl.joint.strays import Strays
from icl.tables.strays import are_strays

# Kernels at most, of the density: more change it little and cost rows times kernels.
_MOST_KERNELS = 2_000


class MarginalColumn:
    """Draws levels and numbers as often as they were observed; see `icl.joint.column.ColumnModel`.

    Args:
        known: numbers or codes, none missing.
        weight: whole numbers, how often each counts.
        tilt: log odds to add to each level in draws.
    """

    def __init__(self, kind: Kind, known: np.ndarray, weight: np.ndarray, tilt: np.ndarray | None = None):
        if not len(known):
            raise ValueError(f"column {kind.name!r} has no observed cell among the rows to learn from.")
        self.kind, self._tilt = kind, tilt
        self.shares: np.ndarray | None = None
        self.strays: Strays | None = None
        self.common: np.ndarray | None = None
        if not kind.is_class and kind.digits is None:  # else what is drawn is what was observed
            aside = are_strays(known)
            self.strays = Strays.of(known, weight, aside)
            known, weight = known[~aside], weight[~aside]
        self._values = np.sort(np.repeat(known, weight.astype(np.int64)))

    def draw(self, X: pd.DataFrame, rng: np.random.Generator) -> pd.Series:
        u, common = rng.random(len(X)), None
        if self.kind.levels is not None:
            codes, counts = np.unique(self._values.astype(np.int64), return_counts=True)
            probs = np.tile(counts / counts.sum(), (len(X), 1))
            self.shares = shares_of(probs, codes, len(self.kind.levels), self._tilt)
        if self._tilt is not None:
            found = drawn_codes(probs, codes, u, self._tilt)
        elif self.kind.is_class or self.kind.digits is not None:
            found = self._values[(u * len(self._values)).astype(np.int64)]
        else:
            found = np.quantile(self._values, u)  # between neighbours: a new number, not a copy
            common = found
            found = found if self.strays is None else self.strays.mixed(found, rng)
        self.common = found if common is None else common
        return self.kind.cells(found, X.index)

    def log_density(self, X: pd.DataFrame, y: pd.Series) -> np.ndarray:
        numbers = self.kind.numbers(y)
        out = np.full(len(numbers), np.nan)
        rows = np.isfinite(numbers)
        if self.kind.is_class:
            levels = self.kind.levels
            assert levels is not None
            # Each level as if half a row more held it, so that none is impossible.
            counts = np.bincount(self._values.astype(np.int64), minlength=len(levels)) + 0.5
            out[rows] = np.log(counts / counts.sum())[numbers[rows].astype(np.int64)]
            return out
        found = log_kernels(self._values, numbers[rows], 2 * self.kind.half_step) - self.kind.log_unit
        if self.strays is not None:
            found = self.strays.log_mixed(found, numbers[rows], np.exp(-self.kind.log_unit))
        out[rows] = found
        return out


def log_kernels(values: np.ndarray, points: np.ndarray, step: float) -> np.ndarray:
    """(n,) log density at `points` of normal kernels at `values`; of a grid of width `step`, log-mass of a cell."""
    kernels = values
    if len(values) > _MOST_KERNELS:
        kernels = np.quantile(values, (np.arange(_MOST_KERNELS) + 0.5) / _MOST_KERNELS)
    low, high = np.quantile(values, [0.25, 0.75])
    spread = min(s for s in (values.std(), (high - low) / 1.349) if s > 0) if values.std() > 0 else 1.0
    width = max(0.9 * spread * len(values) ** -0.2, step / 2, 1e-12)  # Silverman's rule
    z = (points[:, None] - kernels) / width
    density = logsumexp(-0.5 * z**2, axis=1) - np.log(len(kernels) * width * np.sqrt(2 * np.pi))
    return density + np.log(step) if step > 0 else density


def tilted(probs: np.ndarray, codes: np.ndarray, tilt: np.ndarray | None) -> np.ndarray:
    """(n, C) probabilities, or multiples of them, with log odds added; arguments as of `drawn_codes`."""
    # Log odds of a thousand are no overflow.
    return probs if tilt is None else probs * np.exp(tilt[codes] - tilt[codes].max())


def shares_of(probs: np.ndarray, codes: np.ndarray, n_levels: int, tilt: np.ndarray | None) -> np.ndarray:
    """(n, L) the same as probabilities of all levels, 0 of those that the model does not know."""
    shares = np.zeros((len(probs), n_levels))
    own = tilted(probs, codes, tilt)
    shares[:, codes] = own / own.sum(1, keepdims=True)
    return shares


def drawn_codes(probs: np.ndarray, codes: np.ndarray, u: np.ndarray, tilt: np.ndarray | None = None) -> np.ndarray:
    """(n,) one of the codes for each row, by inverting its cumulative probabilities at u.

    Args:
        probs: (n, C).
        codes: (C,) increasing whole numbers, places among all levels.
        tilt: log odds to add, one for each of all levels; None for none.
    """
    cumulative = tilted(probs, codes, tilt).cumsum(1)
    place = (u[:, None] * cumulative[:, -1:] >= cumulative).sum(1)
    return codes[np.minimum(place, len(codes) - 1)].astype(np.float64)
