"""The rectified share F on points, put in order, and what is read off it: estimate, bounds, p-value."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

SLACK = 1e-12
"""Of shares: closer ones are one, but for rounding."""


@dataclass(frozen=True)
class ShareCurve:
    """Rectified share F on increasing points t, and its standard error there. Shapes: (G,)."""

    t: np.ndarray
    share: np.ndarray
    std_error: np.ndarray
    q: float
    df: float
    is_step: bool
    """F jumps at the points and is flat between them; else it runs straight from point to point."""
    outer_std_error: float
    """Standard error of F where it is 0, before the first point: that of the null."""

    @cached_property
    def z(self) -> tuple[np.ndarray, np.ndarray]:
        """Standardised F(t) - q in increasing order, and the same just below each point."""
        here = np.sort(ratio(self.share - self.q, self.std_error), kind="stable")  # nearly in order as they come
        if not self.is_step:
            return here, here
        return here, np.concatenate([[-np.inf], here[:-1]])

    def estimate(self) -> float:
        """Middle of the points between which F crosses q: for labeled rows alone, the usual sample quantile."""
        here, below = self.z
        first = self.t[int(np.argmax(here >= -SLACK))]
        last = self.t[len(below) - 1 - int(np.argmax(below[::-1] <= SLACK))]
        return float((first + last) / 2)

    def bounds(self, tail_below: float | None, tail_above: float | None) -> tuple[float, float]:
        """Lower bound at error rate `tail_below`, upper bound at `tail_above`; None leaves a side open."""
        here, below = self.z
        lower, upper = -np.inf, np.inf
        # Few rows beyond a quantile far out: the sample cannot exclude that it lies outside all points.
        if tail_below is not None and self._z_before() < (critical := t_quantile(self.df, tail_below)):
            lower = self.t[int(np.argmax(here >= critical))]
        if tail_above is not None and here[-1] > (critical := -t_quantile(self.df, tail_above)):
            upper = self.t[len(below) - 1 - int(np.argmax(below[::-1] <= critical))]
        # Where F jumps over all that is not rejected, from one point to the next, both bounds lie between the two.
        return float(min(lower, upper)), float(max(lower, upper))

    def std_error_at(self, value: float) -> float:
        """Standard error of F at the first point from `value` on."""
        return float(self.std_error[min(int(np.searchsorted(self.t, value)), len(self.t) - 1)])

    def _z_before(self) -> float:
        """Standardised F - q before the first point."""
        return float(ratio(np.array([-self.q]), np.array([self.outer_std_error]))[0])

    def p_value(self, null: float, alternative: str) -> float:
        """Of "null is a q-quantile", dual to `bounds`: a bound is the outermost null that is not rejected."""
        here, below = self.z
        at = int(np.searchsorted(self.t, null, side="right")) - 1  # last point at or below null
        before = int(np.searchsorted(self.t, null, side="left")) - 1  # last point below null
        rising = max(self._z_before(), float(here[at]) if at >= 0 else -np.inf)
        # Just below null a step has the height of the last point before it.
        falling = float(below[before + 1] if before + 1 < len(below) else here[-1])
        return step_p_value(self.df, rising, falling, alternative)


def step_p_value(df: float, rising: float, falling: float, alternative: str) -> float:
    """Of a null at a step of F, from the t statistics of the heights after it and before it."""
    too_low, too_high = t_cdf(df, rising), t_cdf(df, -falling)
    if alternative == "larger":
        return too_low
    if alternative == "smaller":
        return too_high
    return min(1.0, 2 * min(too_low, too_high))


def ratio(gap: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """gap / scale, where what is zero but for rounding is zero, and 0 / 0 is 0."""
    gap = np.where(np.abs(gap) < SLACK, 0.0, gap)
    far = np.where(gap > 0, np.inf, np.where(gap < 0, -np.inf, 0.0))
    return np.divide(gap, scale, out=far, where=scale > 0)


def t_quantile(df: float, tail: float) -> float:
    """Of Student's t, or of the normal distribution for df = inf."""
    from scipy.special import ndtri, stdtrit

    return float(stdtrit(df, tail)) if np.isfinite(df) else float(ndtri(tail))


def t_cdf(df: float, z: float) -> float:
    from scipy.special import ndtr, stdtr

    if np.isinf(z):
        return float(z > 0)
    return float(stdtr(df, z)) if np.isfinite(df) else float(ndtr(z))
