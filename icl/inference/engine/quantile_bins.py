"""Quantiles where predictions do not fit in memory: counts in bins, then the values of the few bins that decide.

The rectified share F(t) = base(t) + slope G(t) and its variance rest(t) + size G(1 - G) depend on unlabeled predictions
through G alone, the share of them at or below t; base and rest change at labeled values only. A first pass counts
predictions in bins whose ends are those values and some of the predictions; with the counts go bounds of the
standardised F in each bin. An answer is the point at the place K of all points, K the number of those where F stays
below a critical value, which takes the values of a few bins: those where it crosses, and that of place K. A second pass
fetches them, and the answer is that of all rows in memory. Another level or null may take one more pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from icl.inference.engine.rows import Rows, RowSource, Sums
from icl.inference.engine.share_curve import SLACK, ratio, step_p_value, t_quantile

BINS = 4_096
"""Predictions that are ends of bins, beside the labeled values."""
TAILS = (0.16, 0.05, 0.025, 0.005)
"""Whose bounds are fetched together with the estimate."""


@dataclass(frozen=True, eq=False)
class Bins:
    """How many unlabeled predictions lie at, and between, increasing ends (E,); one pass over the rows.

    Bin 2i + 1 holds those that equal end i, bin 2i those between end i - 1 and end i.
    """

    ends: np.ndarray
    counts: np.ndarray
    """(2E + 1,)"""
    source: RowSource

    @classmethod
    def of(cls, source: RowSource, labeled: np.ndarray) -> Bins:
        """Bins with ends at the labeled values, outcomes and predictions, and at some of the predictions of `source`.

        The latter are taken from the rows themselves, so that every end is a point of the curve.
        """
        some = np.sort(source.sample(20 * BINS).Y[:, 0])
        ends = np.unique(np.concatenate([labeled, some[:: max(1, len(some) // BINS)]]))

        def count(rows: Rows) -> Sums:
            return (np.bincount(places(ends, rows.Y[:, 0]), minlength=2 * len(ends) + 1),)

        return cls(ends, source.add_up(count)[0], source)

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def at_or_below(self, end: float) -> int:
        """How many predictions lie at or below a value that is an end."""
        return int(self.counts[: 2 * int(np.searchsorted(self.ends, end)) + 2].sum())

    def with_points(self, labeled: np.ndarray) -> np.ndarray:
        """(2E + 1,) predictions and labeled values in each bin."""
        return self.counts + np.bincount(places(self.ends, labeled), minlength=len(self.counts))

    def values_of(self, bins: np.ndarray) -> np.ndarray:
        """The predictions in some bins, in increasing order; one pass over the rows."""
        ends = self.ends
        wanted = np.zeros(len(self.counts), dtype=bool)
        wanted[bins] = True

        def fetch(rows: Rows) -> Sums:
            f = rows.Y[:, 0]
            found = f[wanted[places(ends, f)]]
            return ([found] if len(found) else [],)

        found = self.source.add_up(fetch)[0]
        return np.sort(np.concatenate(found)) if found else np.empty(0)


def places(ends: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(R,) the bin of each value."""
    below = np.searchsorted(ends, values)
    return 2 * below + (ends[np.minimum(below, len(ends) - 1)] == values)


@dataclass(frozen=True, eq=False)
class TwoValues(RowSource):
    """Rows of a mean whose outcome is 1 in so many of them and 0 in the others, without the rows."""

    n_ones: int
    n_rows: int

    def __len__(self) -> int:
        return self.n_rows

    @property
    def total_weight(self) -> float:
        return float(self.n_rows)

    def add_up(self, of, total=None):
        one = np.ones((1, 1))
        parts = [(self.n_ones, of(Rows(one, one))), (self.n_rows - self.n_ones, of(Rows(one, 0 * one)))]
        for count, part in parts:
            part = tuple(count * np.asarray(value) for value in part)
            total = part if total is None else tuple(a + b for a, b in zip(total, part, strict=True))
        return total

    def sample(self, limit: int) -> Rows:
        n = min(limit, self.n_rows)
        Y = (np.arange(n) < round(n * self.n_ones / self.n_rows)).astype(float)[:, None]
        return Rows(np.ones((n, 1)), Y)


@dataclass(frozen=True, eq=False)
class BinnedCurve:
    """Rectified share on the points that `bins` count; the questions that a `ShareCurve` answers, and its answers.

    Args:
        points: (2E + 1,) points of the curve in each bin, labeled values included.
        base, rest: (E + 1,) before the first end, then from each end to the next: what labeled rows add to F and to its
            variance.
        slope, size: factors of G in F, and of G(1 - G) in the variance.
    """

    bins: Bins
    points: np.ndarray
    base: np.ndarray
    rest: np.ndarray
    slope: float
    size: float
    q: float
    df: float
    outer_std_error: float
    _kept: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        criticals = [(-SLACK, "left"), (SLACK, "right")]
        for tail in TAILS:
            critical = t_quantile(self.df, tail)
            criticals += [(critical, "left"), (-critical, "right")]
        self._fetch(np.concatenate([self._deciding(*critical) for critical in criticals]))

    def estimate(self) -> float:
        """Middle of the points between which F crosses q."""
        first, last = self._n_below(-SLACK, "left"), self._n_below(SLACK, "right")
        return (self._point(first if first < self._total else 0) + self._point(min(last, self._total - 1))) / 2

    def bounds(self, tail_below: float | None, tail_above: float | None) -> tuple[float, float]:
        """Lower bound at error rate `tail_below`, upper bound at `tail_above`; None leaves a side open."""
        lower, upper = -np.inf, np.inf
        if tail_below is not None and self._z_before() < (critical := t_quantile(self.df, tail_below)):
            place = self._n_below(critical, "left")
            lower = self._point(place if place < self._total else 0)
        if tail_above is not None:
            place = self._n_below(-t_quantile(self.df, tail_above), "right")
            upper = self._point(place) if place < self._total else upper
        return lower, upper

    def p_value(self, null: float, alternative: str) -> float:
        """Of "null is a q-quantile"."""
        rising = max(self._z_before(), self._ordered(self._n_points(null, "right") - 1))
        falling = self._ordered(self._n_points(null, "left") - 1)
        return step_p_value(self.df, rising, falling, alternative)

    def std_error_at(self, value: float) -> float:
        """Standard error of F at the first point from `value` on."""
        t = self._point(min(self._n_points(value, "left"), self._total - 1))
        bin_ = int(places(self.bins.ends, np.array([t]))[0])
        return float(self._scale(self._share(bin_)[self._n_within(bin_, t, "right") - 1], (bin_ + 1) // 2))

    # The curve in bins.

    @cached_property
    def _before(self) -> np.ndarray:
        """(2E + 2,) points before each bin, and in all."""
        return np.concatenate([[0], np.cumsum(self.points)])

    @property
    def _total(self) -> int:
        return int(self._before[-1])

    @cached_property
    def _below(self) -> np.ndarray:
        """(2E + 2,) predictions before each bin, and in all."""
        return np.concatenate([[0], np.cumsum(self.bins.counts)])

    def _scale(self, G, piece):
        return np.sqrt(self.rest[piece] + self.size * (G * (1 - G)))

    @cached_property
    def _range(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest standardised F that the points of each bin may have; inf and -inf without points."""
        bin_ = np.arange(len(self.points))
        piece, N = (bin_ + 1) // 2, self.bins.total
        last = self._below[1:] / N
        first = np.where(bin_ % 2, last, (self._below[:-1] + 1) / N)
        gaps = np.sort([self.base[piece] + self.slope * G - self.q for G in (first, last)], axis=0)
        spread = np.sort([G * (1 - G) for G in (first, last)], axis=0)
        spread[1] = np.where((first < 0.5) & (last > 0.5), 0.25, spread[1])
        low, high = np.sqrt(np.maximum(self.rest[piece] + self.size * spread, 0))
        least = ratio(gaps[0], np.where(gaps[0] >= 0, high, low))
        largest = ratio(gaps[1], np.where(gaps[1] >= 0, low, high))
        slack = lambda z: np.where(np.isfinite(z), SLACK * np.abs(z), 0.0)  # the same points, rounded otherwise
        has_points = self.points > 0
        least, largest = least - slack(least), largest + slack(largest)
        return np.where(has_points, least, np.inf), np.where(has_points, largest, -np.inf)

    def _split(self, critical: float, side: str) -> tuple[np.ndarray, np.ndarray]:
        """Bins whose points all stay below `critical` ("right": at or below it), and those where some may."""
        least, largest = self._range
        if side == "left":
            return largest < critical, (least < critical) & (largest >= critical)
        return largest <= critical, (least <= critical) & (largest > critical)

    def _deciding(self, critical: float, side: str) -> np.ndarray:
        """Bins whose values decide which point is the first at `critical` or above."""
        below, some = self._split(critical, side)
        fewest = int(self.points[below].sum())
        most = fewest + int(self.points[some].sum())
        first, last = np.searchsorted(self._before[1:], [fewest, min(most, self._total - 1)], "right")
        return np.concatenate([np.flatnonzero(some), np.arange(first, min(last, len(self.points) - 1) + 1)])

    def _fetch(self, bins: np.ndarray) -> None:
        """Values of some bins that lie between ends, in one pass over the rows."""
        wanted = [int(b) for b in np.unique(bins) if b % 2 == 0 and self.bins.counts[b] and int(b) not in self._kept]
        if not wanted:
            return
        found = self.bins.values_of(np.array(wanted))
        cuts = np.cumsum([self.bins.counts[b] for b in wanted])
        self._kept.update(zip(wanted, np.split(found, cuts[:-1]), strict=True))

    def _values(self, bin_: int) -> np.ndarray:
        """Points of a bin, in order."""
        if bin_ % 2:
            return np.full(self.points[bin_], self.bins.ends[bin_ // 2])
        self._fetch(np.array([bin_]))
        return self._kept.get(bin_, np.empty(0))

    def _share(self, bin_: int) -> np.ndarray:
        """G at the points of a bin."""
        if bin_ % 2:
            return np.full(self.points[bin_], self._below[bin_ + 1] / self.bins.total)
        values = self._values(bin_)
        return (self._below[bin_] + np.searchsorted(values, values, "right")) / self.bins.total

    def _z(self, bin_: int) -> np.ndarray:
        G, piece = self._share(bin_), (bin_ + 1) // 2
        return ratio(self.base[piece] + self.slope * G - self.q, self._scale(G, piece))

    def _n_below(self, critical: float, side: str) -> int:
        """Points where standardised F is below `critical` ("right": or equals it)."""
        below, some = self._split(critical, side)
        self._fetch(self._deciding(critical, side))
        straddling = [self._z(int(b)) for b in np.flatnonzero(some)]
        inside = sum(int((z < critical).sum() if side == "left" else (z <= critical).sum()) for z in straddling)
        return int(self.points[below].sum()) + inside

    def _point(self, place: int) -> float:
        """The point at a place in the order of all points."""
        bin_ = int(np.searchsorted(self._before[1:], place, "right"))
        return float(self._values(bin_)[place - self._before[bin_]])

    def _n_within(self, bin_: int, value: float, side: str) -> int:
        return int(np.searchsorted(self._values(bin_), value, side))  # type: ignore[call-overload]  # of its literals

    def _n_points(self, value: float, side: str) -> int:
        """Points below `value`; "right": at or below it."""
        bin_ = int(places(self.bins.ends, np.array([value]))[0])
        return int(self._before[bin_]) + self._n_within(bin_, value, side)

    def _ordered(self, place: int) -> float:
        """Standardised F at a place, once it is put in order; -inf before the first."""
        if place < 0:
            return -np.inf
        least, largest = self._range
        by_largest, by_least = np.argsort(largest), np.argsort(least)
        at_most = largest[by_largest][np.searchsorted(np.cumsum(self.points[by_largest]), place, "right")]
        at_least = least[by_least][np.searchsorted(np.cumsum(self.points[by_least]), place, "right")]
        some = np.flatnonzero((least <= at_most) & (largest >= at_least))
        self._fetch(some)
        z = np.sort(np.concatenate([self._z(int(b)) for b in some]))
        return float(z[place - int(self.points[largest < at_least].sum())])

    def _z_before(self) -> float:
        """Standardised F - q before the first point."""
        return float(ratio(np.array([-self.q]), np.array([self.outer_std_error]))[0])
