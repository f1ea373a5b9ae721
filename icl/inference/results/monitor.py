"""A mean that may be looked at after every batch: intervals that hold at all times at once.

    watch = icl.monitor(Mean("ok"), level=0.95, predictions="judge")
    for batch in batches:                        # a missing "ok" = a row that nobody labeled
        watch.update(batch)
        if watch.decided(">= 0.9") is not None: break

Batch k has a rectified mean m_k = (mean of w f over all rows) + (mean of y - w f over labeled rows), with a weight w
from earlier batches, so that m_k errs about its own mean whatever f is. With S = sum n_k (m_k - mu) over batches of n_k
labels and V = sum n_k^2 var(m_k),

    E(mu) = (1 + r^2 V)^(-1/2) exp(r^2 S^2 / (2 (1 + r^2 V)))

is in the limit of many labels a nonnegative martingale of mean 1 if mu is the mean, whenever one looks (a normal
mixture, Robbins 1970). It is the e-value, the interval is where it stays below 1 / (1 - level), and by Ville's
inequality it fails at any time with probability 1 - level at most. Where means change, mu is their average so far.

The alarm compares each batch with all before it: recursive residuals u_k = (m_k - mean so far) / their deviation are
independent and standard normal while nothing changes (Brown, Durbin & Evans 1975). For a change at each batch j there
is an E of the residuals from j on; their sum with weights 1 / (j (j + 1)) is again an e-process, so that the alarm goes
off by chance in at most the stated share of streams, however long they are.

Sources: asymptotic confidence sequences, Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), arXiv:2103.06476;
prediction-powered, arXiv:2505.18000; e-detectors, Shin, Ramdas & Rinaldo (2022), arXiv:2203.03532.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from dataclasses import asdict, dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from icl.atomic import write_atomically
from icl.inference.checks import check_level
from icl.inference.estimands import Mean
from icl.inference.frames import as_frame, require_columns

FEWEST_LABELS = 30
"""Before so many labels no interval has an end: the normal limit is not there yet."""
ENOUGH_TO_WEIGH = 20
"""Labels of earlier batches before predictions count."""


@dataclass
class Monitor:
    """See the head of this module. What it knows is in plain numbers, so that `save` keeps all of it.

    Attributes:
        estimates, lower, upper: after each batch.
        batches: (labels, rectified mean, its variance) of each batch that had labels.
    """

    column: str
    event: Any = None
    predictions: str | None = None
    level: float = 0.95
    horizon: int = 500
    false_alarms: float = 0.05
    batches: list[tuple[int, float, float]] = field(default_factory=list)
    sums: list[float] = field(default_factory=lambda: [0.0] * 6)
    """Of labeled rows: number, y, f, y^2, y f, f^2, less the first label and prediction."""
    origin: list[float] | None = None
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    n_rows: int = 0
    scale: float = 0.0
    """r^2, settled when there are enough labels for an interval."""

    def update(self, batch: Any) -> Monitor:
        """Take in a batch of rows; a missing outcome is a row without a label, of which labels are a random sample.

        Raises:
            ValueError: for missing columns, predictions that are not finite, and labels that are no numbers.
        """
        frame = as_frame(batch, "batch")
        names = [self.column, *([self.predictions] if self.predictions else [])]
        require_columns(frame, names, "rows of the batch", "for the monitor")
        labeled = frame[frame[self.column].notna()]
        y = self._outcomes(labeled)
        try:
            f = np.zeros(len(frame)) if self.predictions is None else frame[self.predictions].to_numpy(dtype=float)
        except (TypeError, ValueError) as error:
            raise ValueError(f"predictions in {self.predictions!r} must be numbers ({error}).") from error
        if not np.isfinite(f).all():
            n_bad = int((~np.isfinite(f)).sum())
            raise ValueError(f"{n_bad} predictions in {self.predictions!r} are missing or infinite; predict every row.")
        self.n_rows += len(frame)
        if len(y):
            waited = self.n_labeled < FEWEST_LABELS
            self._add(y, f[frame[self.column].notna().to_numpy()], f)
            if waited and self.n_labeled >= FEWEST_LABELS:
                self._warn_if_never_seen(labeled)
        low, high = self._bounds()
        self.lower.append(low)
        self.upper.append(high)
        return self

    @property
    def n_labeled(self) -> int:
        return int(self.sums[0])

    @property
    def estimate(self) -> float:
        """The mean so far; NaN before the first label."""
        n = sum(b[0] for b in self.batches)
        return sum(b[0] * b[1] for b in self.batches) / n if n else float("nan")

    def interval(self) -> tuple[float, float]:
        """Bounds of the mean so far, which hold at all times at once with probability `level`."""
        return (self.lower[-1], self.upper[-1]) if self.lower else (-np.inf, np.inf)

    def decided(self, claim: str) -> bool | None:
        """Whether a claim such as ">= 0.9" was shown to be true (True) or false (False) by now; None if neither.

        All claims that are made on one stream together are wrong with probability 1 - level at most.
        """
        sign, value = claim.strip()[:2].rstrip("0123456789. -"), None
        with contextlib.suppress(ValueError):
            value = float(claim.strip()[len(sign) :])
        if sign not in (">=", ">", "<=", "<") or value is None:
            raise ValueError(f"claim got {claim!r}; write '>= 0.9', '> 0.9', '<= 0.1' or '< 0.1'.")
        above = next((k for k, low in enumerate(self.lower) if low > value), None)
        below = next((k for k, high in enumerate(self.upper) if high < value), None)
        if above is None and below is None:
            return None
        is_above = below is None or (above is not None and above < below)
        return is_above == sign.startswith(">")

    def e_value(self, null: float) -> float:
        """Evidence against mean = null: at any time, at least e by chance with probability 1 / e at most.

        Not the E-value of an effect (`EffectResult.e_value`), which is about confounding.
        """
        if not self.scale:
            return 1.0
        S = sum(n * (m - null) for n, m, _ in self.batches)
        return float(np.exp(_log_mixture(S, sum(n * n * v for n, _, v in self.batches), self.scale)))

    def p_value(self, null: float) -> float:
        """1 over the e-value, at most 1: valid at any time, also after having looked before."""
        return min(1.0, 1 / self.e_value(null))

    def alarm(self) -> tuple[bool, float]:
        """Whether the mean has changed, and the e-value of that; false in at most a share `false_alarms` of streams."""
        value = max(self._change_values(), default=0.0)
        return value >= 1 / self.false_alarms, value

    def save(self, path: str | Path) -> None:
        """Everything that is known, as JSON, whole or not at all."""
        write_atomically(path, json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: str | Path) -> Monitor:
        """What `save` wrote, to be updated further.

        Raises:
            ValueError: for a file that it did not write.
        """
        text = Path(path).read_text(encoding="utf-8")
        try:
            state = json.loads(text)
            state["batches"] = [tuple(b) for b in state["batches"]]
            return cls(**state)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} holds no monitor; pass a file that Monitor.save wrote.") from error

    def to_frame(self) -> Any:
        """Bounds after each batch."""
        import pandas as pd

        index = pd.RangeIndex(1, len(self.lower) + 1, name="batch")
        return pd.DataFrame({"lower": self.lower, "upper": self.upper}, index)

    def plot(self, ax: Any = None) -> Any:
        """The interval after each batch."""
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(6, 3))[1] if ax is None else ax
        frame = self.to_frame().replace([-np.inf, np.inf], np.nan)
        ax.fill_between(frame.index, frame["lower"], frame["upper"], color="tab:blue", alpha=0.3)
        ax.set(xlabel="batch", ylabel=f"mean of {self.column} so far ({100 * self.level:g}% at all times)")
        return ax

    def __repr__(self) -> str:
        low, high = self.interval()
        return (
            f"Monitor of the mean of {self.column}: {self.estimate:.4g} [{low:.4g}, {high:.4g}] at all times with "
            f"probability {self.level:g}, from {self.n_labeled:,} labels of {self.n_rows:,} rows in {len(self.lower)} "
            f"batches; {'ALARM: the mean has changed' if self.alarm()[0] else 'no alarm'}"
        )

    def _outcomes(self, labeled: Any) -> np.ndarray:
        if not len(labeled):
            return np.empty(0)
        if self.event is not None:  # a batch without the event is no mistake
            return (labeled[self.column] == self.event).to_numpy(dtype=float)
        return Mean(self.column).outcome(labeled)

    def _warn_if_never_seen(self, labeled: Any) -> None:
        """A share of nothing looks like good news."""
        if self.event is None or (self.origin and self.origin[0]) or self.sums[1]:
            return
        seen = ", ".join(repr(value) for value in labeled[self.column].unique()[:5].tolist())
        warnings.warn(
            f"none of the first {self.n_labeled} labels of {self.column!r} is {self.event!r}, the event that is "
            f"watched; the last batch holds {seen}. If it is spelled otherwise there, start anew with that spelling.",
            stacklevel=3,
        )

    def _add(self, y: np.ndarray, f: np.ndarray, f_all: np.ndarray) -> None:
        if self.origin is None:
            self.origin = [float(y[0]), float(f[0])]
        weight = self._weight(len(y), len(f_all))
        dy, df = y - self.origin[0], f - self.origin[1]
        added = [len(y), dy.sum(), df.sum(), dy @ dy, dy @ df, df @ df]
        self.sums = [float(a + b) for a, b in zip(self.sums, added, strict=True)]
        n, N = len(y), len(f_all)
        others = f_all.sum() - f.sum()
        mean = y.mean() + (weight * (others / (N - n) - f.mean()) * (N - n) / N if n < N else 0.0)
        self.batches.append((n, float(mean), float("nan")))
        var_y, cov, var_f = self._moments()
        variance = (var_y - 2 * weight * cov * (N - n) / N + weight**2 * var_f * (N - n) / N) / n
        self.batches[-1] = (n, float(mean), max(float(variance), 0.0))
        if not self.scale and self.n_labeled >= FEWEST_LABELS:
            self.scale = _best_scale(self.horizon * var_y, 1 - self.level) if var_y > 0 else 0.0

    def _moments(self) -> tuple[float, float, float]:
        """Variances of labels and predictions, and their covariance, over all labels so far."""
        n, y, f, yy, yf, ff = self.sums
        if n < 2:
            return 0.0, 0.0, 0.0
        return ((yy - y * y / n) / (n - 1), (yf - y * f / n) / (n - 1), (ff - f * f / n) / (n - 1))

    def _weight(self, n: int, N: int) -> float:
        """Of predictions, from earlier labels, less what may be chance; no more than helps."""
        if self.sums[0] < ENOUGH_TO_WEIGH or n >= N:
            return 0.0
        var_y, cov, var_f = self._moments()
        if not var_f > 0:
            return 0.0
        slope = cov / var_f
        noise = max(var_y - slope * cov, 0.0) / var_f / self.sums[0]
        return slope * max(0.0, 1 - noise / slope**2) if slope > 0 else 0.0

    def _bounds(self) -> tuple[float, float]:
        if not self.scale:
            return -np.inf, np.inf
        n = sum(b[0] for b in self.batches)
        V, r2 = sum(k * k * v for k, _, v in self.batches), self.scale
        reach = np.sqrt((V * r2 + 1) / r2 * (np.log(V * r2 + 1) - 2 * np.log(1 - self.level))) / n
        return float(self.estimate - reach), float(self.estimate + reach)

    def _change_values(self) -> list[float]:
        """The e-value of a change after each batch but the first ones."""
        told = [b for b in self.batches if b[2] > 0]
        if len(told) < 2:
            return []
        n, m, v = np.array(told).T
        first = max(int(np.searchsorted(np.cumsum(n), FEWEST_LABELS)) + 1, 1)
        if first >= len(n):
            return []
        N, means = np.cumsum(n), np.cumsum(n * m) / np.cumsum(n)
        spread = np.cumsum(n * n * v) / N**2
        u = (m[first:] - means[first - 1 : -1]) / np.sqrt(v[first:] + spread[first - 1 : -1])
        total = np.concatenate([[0.0], np.cumsum(u)])
        out = []
        for t in range(1, len(total)):
            j = np.arange(t)
            logs = _log_mixture(total[t] - total[j], t - j.astype(float), 0.25) - np.log((j + 1.0) * (j + 2.0))
            out.append(float(np.exp(min(np.logaddexp.reduce(logs), 700.0))))
        return out


def monitor(
    estimand: Mean,
    level: float = 0.95,
    *,
    predictions: str | None = None,
    horizon: int = 500,
    false_alarms: float = 0.05,
) -> Monitor:
    """A mean or share that is looked at after every batch; see `icl.inference.results.monitor`.

    Args:
        estimand: `Mean("ok")`, or `Mean("answer", event="yes")`.
        level: probability with which the intervals hold at all times at once.
        predictions: column that predicts the outcome of every row, labeled or not, without having seen labels.
        horizon: labels at which the interval should be narrowest compared with a fixed one.
        false_alarms: share of streams without change in which the alarm may ever go off.
    """
    if not isinstance(estimand, Mean) or estimand.n_responses > 1 or estimand.by is not None:
        raise ValueError(f"monitor got {estimand}; it watches one mean or share, such as Mean('ok').")
    if not isinstance(horizon, Integral) or horizon < FEWEST_LABELS:
        raise ValueError(f"horizon={horizon!r} must be a whole number of labels, at least {FEWEST_LABELS}.")
    column = estimand.outcome_columns[0]
    return Monitor(column, estimand.event, predictions, check_level(level), horizon, check_level(false_alarms))


def _log_mixture(S: Any, V: Any, r2: float) -> Any:
    return r2 * S**2 / (2 * (1 + r2 * V)) - 0.5 * np.log(1 + r2 * V)


def _best_scale(V: float, alpha: float) -> float:
    """r^2 that makes the interval narrowest when the variance has summed up to V (Waudby-Smith et al. 2024, B.2)."""
    from scipy.special import lambertw

    return float((-np.real(lambertw(-(alpha**2) / np.e, -1)) - 1) / V)
