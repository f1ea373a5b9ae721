"""Scales of a numeric column, learnt from context cells only: units for float32, ranks, logarithmic tails."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri

TRANSFORMS = ("none", "quantile", "power")


def units(values: np.ndarray) -> tuple[float, float, float]:
    """unit, center, scale such that (values / unit - center) / scale has mean 0 and standard deviation 1.

    The unit is a power of two: dividing by it is exact, and then no square overflows, be the values 1e300.
    """
    if len(values) == 0:
        return 1.0, 0.0, 1.0
    largest = np.abs(values).max()
    unit = float(np.ldexp(1.0, min(int(np.frexp(largest)[1]), 1023))) if largest else 1.0
    return unit, float(np.mean(values / unit)), float(np.std(values / unit)) or 1.0


@dataclass(frozen=True)
class QuantileScale:
    """Normal scores of the ranks among the context cells; interpolated between them, constant beyond."""

    values: np.ndarray
    shares: np.ndarray

    def __call__(self, cells: np.ndarray) -> np.ndarray:
        return ndtri(np.interp(cells, self.values, self.shares))


@dataclass(frozen=True)
class PowerScale:
    """arcsinh of the distance from the median, in units of a typical distance: linear near it, logarithmic far away."""

    median: float
    spread: float

    def __call__(self, cells: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # past 1e308 spreads: at the far end, as anything beyond 1e300
            return np.arcsinh(np.clip((cells - self.median) / self.spread, -1e300, 1e300))


@dataclass(frozen=True)
class TargetRanks:
    """A numeric target on the scale of its normal scores, standardised over the context; increasing everywhere.

    Args:
        y_N: standardised targets, not all equal.
    """

    y_N: np.ndarray
    _known: tuple = field(init=False, repr=False)

    def __post_init__(self):
        scale = learn_scale("quantile", self.y_N)
        assert isinstance(scale, QuantileScale)
        scores = scale(self.y_N)
        object.__setattr__(self, "_known", (scale, scale.values[0], scale.values[-1], scores.mean(), scores.std()))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        scale, low, high, center, spread = self._known
        # Beyond the context by as much as on the scale of the target itself.
        beyond = np.minimum(values - low, 0) + np.maximum(values - high, 0)
        return (scale(values) + beyond - center) / spread


def learn_scale(transform: str, context: np.ndarray) -> QuantileScale | PowerScale:
    """The scale "quantile" or "power" of a column, from its (N,) context cells; NaN is ignored.

    Called with (M,) cells of the column, it gives them on that scale; NaN stays NaN.
    """
    seen = context[~np.isnan(context)].astype(np.float64)
    if len(seen) == 0:  # of a member that is shown other rows: any number is as good as another
        seen = np.zeros(1)
    if transform == "quantile":
        values, counts = np.unique(seen, return_counts=True)
        return QuantileScale(values, (counts.cumsum() - counts / 2) / len(seen))
    low, median, high = np.quantile(seen, [0.25, 0.5, 0.75])
    return PowerScale(float(median), float(high - low) or 1.0)


def long_tails(seen: np.ndarray) -> PowerScale | None:
    """A scale on which every value stays distinct in float32, where standardising would flatten most of them.

    One cell of 1e300 makes all the others equal after standardising. Learnt from (n,) context cells without NaN; None
    unless a cell lies more than 10,000 typical distances from the median.
    """
    if len(seen) < 3:
        return None
    median = float(np.median(seen / 2)) * 2  # the mean of two middle values of 1e308 would overflow
    with np.errstate(over="ignore"):
        distances = np.abs(seen - median)
    near = distances[distances > 0]
    if len(near) == 0:
        return None
    # Half of the cells may equal the median; their distance says nothing.
    spread = max(float(np.median(near)), np.finfo(np.float64).tiny)
    if not np.isfinite(spread) or distances.max() / 1e4 <= spread:
        return None
    return PowerScale(median, spread)
