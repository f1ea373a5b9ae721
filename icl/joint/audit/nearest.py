"""Distances between rows: copies of training rows, rows too close to them, and how much of the real rows is covered.

A distance is the mean over columns of the difference of ranks (numbers) or of 0 and 1 (levels; a gap beside a value).

Source:
    Coverage: Naeem et al. (2020), arXiv:2002.09797. The test against held-out rows is the permutation test of the
    labels "trained on" and "held out", whose mean and variance are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact

_CHUNK = 64
_NEAR = 0.05  # share of real rows that lie as near to another real row
_TOO_FEW = 0.01  # p-value below which an excess is called one
_SAME = 1e-9
_NEIGHBOURS = 5


def distances(rows: np.ndarray, others: np.ndarray, is_level: np.ndarray) -> np.ndarray:
    """(n, m) distances between rows of `Coder.ranks`."""
    total = np.zeros((len(rows), len(others)))
    for a, b, levels in zip(rows.T, others.T, is_level):
        apart = (a[:, None] != b).astype(float) if levels else np.abs(a[:, None] - b)
        gap_a, gap_b = np.isnan(a)[:, None], np.isnan(b)
        if gap_a.any() or gap_b.any():
            apart = np.where(gap_a | gap_b, (gap_a != gap_b).astype(float), apart)
        total += apart
    return total / rows.shape[1]


@dataclass(frozen=True, eq=False)
class Memorised:
    """Whether synthetic rows repeat training rows more than chance, or than held-out rows do.

    Attributes:
        n_exact: synthetic rows equal to a training row in every cell; `expected_exact` as many would be at the rate of
            held-out rows (or of the training rows among one another).
        near, expected_near: share of the near synthetic rows whose nearest real row was trained on, and what it would
            be if none were remembered; without held-out rows the share of synthetic rows that are near to a half of the
            real rows, and that of the other half.
        p_exact, p_near: of an excess by chance.
        rows: the nearest synthetic rows: index of both, distance.
        found, reference: distances to the nearest training row of synthetic rows, and of rows that were not trained on;
            without these, of both kinds of rows to a half of the training rows, the other half standing for new ones.
    """

    n_exact: int
    expected_exact: float
    near: float
    expected_near: float
    p_exact: float
    p_near: float
    has_holdout: bool
    rows: pd.DataFrame
    found: np.ndarray
    reference: np.ndarray

    @property
    def is_excess(self) -> bool:
        return min(self.p_exact, self.p_near) < _TOO_FEW / 2  # two questions


def memorised(
    train: np.ndarray,
    synthetic: np.ndarray,
    holdout: np.ndarray | None,
    is_level: np.ndarray,
    names: tuple[pd.Index, pd.Index],
) -> Memorised:
    """Arguments are `Coder.ranks`; `names` those of the training and of the synthetic rows."""
    found, which = _nearest(synthetic, train, is_level)
    if holdout is None:
        same, _ = _nearest(train, train, is_level, without_self=True)
        shown, reference = _beside_a_half(train, synthetic, is_level)
        threshold = np.quantile(reference, _NEAR)
        near, expected = float((shown <= threshold).mean()), float((reference <= threshold).mean())
        # Rows near one training row come together: counted as if half of them were there, it errs on the safe side.
        p_near = _excess(np.sort(shown)[::2] <= threshold, np.sort(reference)[::2] <= threshold)
    else:
        same, _ = _nearest(holdout, train, is_level)
        shown, reference = found, same
        near, expected, p_near = _near_to_trained(train, holdout, synthetic, is_level)
    copied, by_chance = found <= _SAME, same <= _SAME
    p_exact = _excess(copied, by_chance)
    if copied.any() and not by_chance.any():
        p_exact = min(p_exact, _coincidence(train, synthetic[copied], len(synthetic)))
    order = np.argsort(found, kind="stable")[:50]
    rows = pd.DataFrame({"synthetic": names[1][order], "real": names[0][which[order]], "distance": found[order]})
    expected_exact = float(by_chance.mean() * len(found))
    return Memorised(
        int(copied.sum()), expected_exact, near, expected, p_exact, p_near, holdout is not None, rows, shown, reference
    )


def _beside_a_half(train: np.ndarray, synthetic: np.ndarray, is_level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances of synthetic rows and of one half of the training rows to the nearest row of the other half.

    To all training rows they could not be compared: a new number falls between two ranks and is half a step from both,
    while a training row is a whole step from its neighbours. Ranks are therefore taken anew, among the other half.
    """
    order = np.random.default_rng(0).permutation(len(train))
    half, rest = train[order[::2]], train[order[1::2]]

    def ranked(rows: np.ndarray) -> np.ndarray:
        out = rows.copy()
        for j in np.flatnonzero(~is_level):
            seen = np.sort(half[~np.isnan(half[:, j]), j])
            known = ~np.isnan(rows[:, j])
            sides = (np.searchsorted(seen, rows[known, j], side) for side in ("left", "right"))
            out[known, j] = sum(sides) / (2 * max(len(seen), 1))
        return out

    others = ranked(half)
    return _nearest(ranked(synthetic), others, is_level)[0], _nearest(ranked(rest), others, is_level)[0]


def _nearest(
    rows: np.ndarray, others: np.ndarray, is_level: np.ndarray, without_self: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) distance to the nearest of the others, and its place."""
    found, which = np.empty(len(rows)), np.empty(len(rows), dtype=np.intp)
    for start in range(0, len(rows), _CHUNK):
        part = distances(rows[start : start + _CHUNK], others, is_level)
        if without_self:
            own = np.arange(len(part))
            part[own, start + own] = np.inf
        which[start : start + len(part)] = part.argmin(1)
        found[start : start + len(part)] = part.min(1)
    return found, which


def _near_to_trained(
    train: np.ndarray, holdout: np.ndarray, synthetic: np.ndarray, is_level: np.ndarray
) -> tuple[float, float, float]:
    """Share of near synthetic rows whose nearest real row was trained on, what it should be, and its p-value.

    If the generator remembers nothing, which of the real rows were trained on is chance. Of all synthetic rows, and not
    the near ones only, whatever was fitted to the training rows has somewhat more of these around it.
    """
    real = np.concatenate([train, holdout])
    inner, _ = _nearest(real, real, is_level, without_self=True)
    threshold = np.quantile(inner, _NEAR)
    votes = np.zeros(len(real))
    for start in range(0, len(synthetic), _CHUNK):
        part = distances(synthetic[start : start + _CHUNK], real, is_level)
        least = part.min(1, keepdims=True)
        shared = (part <= least + _SAME).astype(float)
        shared /= shared.sum(1, keepdims=True)  # rows at one distance share the vote
        votes += shared[least[:, 0] <= threshold].sum(0)
    is_trained = np.arange(len(real)) < len(train)
    share = len(train) / len(real)
    n = len(real)
    spread = share * (1 - share) * (n * np.square(votes).sum() - votes.sum() ** 2) / (n - 1)
    if spread <= _SAME:
        return share, share, 1.0
    trained = votes[is_trained].sum()
    return float(trained / votes.sum()), share, 1 - NormalDist().cdf((trained - share * votes.sum()) / np.sqrt(spread))


def _excess(found: np.ndarray, reference: np.ndarray) -> float:
    """p-value of a share among `found` that is larger than among `reference`."""
    table = np.array([[found.sum(), (~found).sum()], [reference.sum(), (~reference).sum()]])
    return float(fisher_exact(table, alternative="greater").pvalue)


def _coincidence(train: np.ndarray, copied: np.ndarray, n_synthetic: int) -> float:
    """How many synthetic rows would equal a training row as rare as the rarest copy, if columns were independent.

    Dependence makes it more; where that matters, held-out rows would equal training rows too.
    """
    rarity = np.ones(len(copied))
    for seen, own in zip(train.T, copied.T):
        values, counts = np.unique(seen, return_counts=True, equal_nan=True)
        share = dict(zip(np.nan_to_num(values, nan=-1.0), counts / counts.sum()))
        rarity *= [share.get(value, 1 / len(train)) for value in np.nan_to_num(own, nan=-1.0)]
    return float(min(len(train) * n_synthetic * rarity.min(), 1.0))


@dataclass(frozen=True)
class Coverage:
    """Shares of real rows that have a synthetic row nearby, and of synthetic rows that have a real one nearby.

    `expected` is what as many further real rows would reach in the first; nearby is nearer than the fifth real row.
    """

    covered: float
    expected: float
    plausible: float


def coverage(real: np.ndarray, synthetic: np.ndarray, is_level: np.ndarray) -> Coverage:
    """Arguments are `Coder.ranks`."""
    k = min(_NEIGHBOURS, len(real) - 1)
    covered, inside = np.zeros(len(real), dtype=bool), np.zeros(len(synthetic), dtype=bool)
    for start in range(0, len(real), _CHUNK):
        rows = real[start : start + _CHUNK]
        among = distances(rows, real, is_level)
        own = np.arange(len(rows))
        among[own, start + own] = np.inf
        radius = np.partition(among, k - 1, axis=1)[:, k - 1 : k]
        near = distances(rows, synthetic, is_level) <= radius + _SAME
        covered[start : start + len(rows)] = near.any(1)
        inside |= near.any(0)
    n, m, steps = len(real), len(synthetic), np.arange(k)
    expected = 1 - np.prod((n - 1 - steps) / (n + m - 1 - steps))
    return Coverage(float(covered.mean()), float(expected), float(inside.mean()))
