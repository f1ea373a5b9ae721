"""A tuned weight has to hold along the probabilities of being labeled, since it is used beyond the labeled rows.

With unequal probabilities most labeled rows lie where these are high, and the slope of the outcome on the predictions
is that of these rows. It is used to move the answer by a gap that is due to the others. If the slope is the same at all
probabilities, it is also the slope among rows of one probability, given h = log p, up to noise; if the two differ, the
slope over all rows is what p does to both, outcome and predictions, on the side where labels are, and may have the
other sign beyond it. With v the slope, v_h that given h and d = v - v_h, choosing v moves the answer by d times the gap
further than v_h would. Noise alone would move it by s^2 V on average, squared, with s^2 the jackknife variance of d and
V the variance of the gap. So the weight goes from v to v_h the part of the way by which the one exceeds the other,

    v - d max(0, 1 - 2 s^2 V / (d gap)^2)

(James & Stein 1961; twice, because d and the gap are both noise), and is then shrunk like any other
(`icl.inference.engine.shrink`). It stays v where the gap is small, where nothing has to hold beyond the labels. That d
tells whether slopes under unequal probabilities are to be believed is the test of DuMouchel & Duncan (1983),
doi:10.2307/2288185.

Measured, means of y = x + e, 600 rows, probabilities that rise with x, nominal .90, 400 repetitions: coverage (width
over labels alone) without this, with it, and of labels alone:

| predictions, probabilities | without | with | labels alone |
|---|---|---|---|
| x^2, .005 to .5 | .770 (1.01) | .833 (1.05) | .835 |
| x^2, .02 to .4 | .848 (1.03) | .890 (1.03) | .895 |
| exp(-x), .005 to .5 | .818 (.81) | .828 (.81) | .840 |
| noise, .005 to .5 | .830 (.99) | .835 (1.01) | .838 |
| y + noise, .005 to .5 | .882 (.64) | .863 (.68) | .815 |
| y + noise, .02 to .4 | .932 (.61) | .920 (.62) | .892 |
| y + .3 noise, .005 to .5 | .940 (.26) | .938 (.26) | .825 |
| x, which says little beyond p, .02 to .4 | .900 (.74) | .902 (.81) | .895 |

Two other ways out: labels alone wherever these are worth half their number in equal rows, or stand for less than .9 of
all rows, make intervals from good predictions (f = y + .3 noise) .98 and .47 times as wide as labels alone, now .26.
With s^2 alone, without V and the gap, x^2 at .005 to .5 had .810 (1.06).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from icl.inference.engine.clusters import group_sums
from icl.inference.engine.fit import FULL_LEVERAGE

if TYPE_CHECKING:
    from icl.inference.engine.contributions import Contributions
    from icl.inference.engine.weights import Weight

ALIKE = 1e-6
"""Range of log probabilities below which they are one."""
COLLINEAR = 1e-9
UNSEEN = 0.5
"""Share of the variance of log probabilities that a design leaves, below which it says most of them: with x in it
slopes were 1.03 and 1.07 times as wide as labels alone, now 1.01 and 1.04 (f = x^2, .005 to .5 and .02 to .4)."""
DOUBLE = 2
"""Multiple of the noise that a difference of slopes has to exceed."""


@dataclass(frozen=True)
class Slopes:
    """C slopes, and what leaving out each of G labeled rows, or clusters, does to them."""

    weight: Weight
    value: np.ndarray
    """(C,)."""
    change: np.ndarray
    """(G, C) what each adds to the slopes; 0 where it alone decides one."""
    is_alone: np.ndarray
    """(G, C)."""

    @property
    def without(self) -> np.ndarray:
        """(G, C) slopes without each of them."""
        return self.value - self.change


def slopes_of(parts: Contributions, W: Weight) -> Slopes:
    """The slopes of a weight of `_synsurr`, one for each response or one for all."""
    n, C = W.moves.shape
    share = W.leverage.reshape(n, -1)
    share, moves = share[:, :: share.shape[1] // C] if share.shape[1] > C else share, W.moves
    if parts.leverage is not None:
        share = share + parts.leverage[:, None]
    if parts.problem.sampling.clusters_labeled is not None:
        codes, G = parts.cluster_codes, parts.problem.n_labeled_units
        moves, share = group_sums(moves, codes, G), group_sums(share, codes, G)
    is_alone = share >= FULL_LEVERAGE
    change = np.where(is_alone, 0.0, moves / np.where(is_alone, 1.0, 1 - share))
    return Slopes(W, np.diag(W.W)[:: len(W.W) // C], change, is_alone)


def steady(parts: Contributions, S: Slopes) -> Slopes:
    """The same slopes, where they hold along the probabilities of being labeled; see the head of this file."""
    h = _log_probability(parts)
    if h is None or S.weight.moves.shape[1] != parts.residual_f.shape[1]:
        return S
    given = _slopes_given(parts, S.weight, h)
    if given is None:
        return S
    d, d_without = S.value - given.value, S.without - given.without
    noise = DOUBLE * ((d_without - d) ** 2).sum(axis=0)
    width = _width_of_gap(parts, len(d))
    noise = np.divide(noise, width, out=np.full_like(noise, np.inf), where=width > 0)
    kept = lambda v: v * np.maximum(0, 1 - np.divide(noise, v**2, out=np.full_like(v, np.inf), where=v != 0))
    used = kept(d)
    turn = np.where(used != 0, 1 + np.divide(noise, d**2, out=np.zeros_like(d), where=used != 0), 0)
    P, C = len(S.weight.W), len(d)
    between = lambda a, b, by: None if a is None or b is None else a - by * (a - b)
    each, V = np.repeat(turn, P // C), given.weight
    W = replace(
        S.weight,
        W=np.diag(np.repeat(S.value - used, P // C)),
        tilt=between(S.weight.tilt, V.tilt, each),
        lever=between(S.weight.lever, V.lever, turn[0]),
        pull=between(S.weight.pull, V.pull, each),
        moves=between(S.weight.moves, V.moves, turn),
    )
    change = S.value - used - (S.without - kept(d_without))
    is_alone = S.is_alone | given.is_alone
    return Slopes(W, S.value - used, np.where(is_alone, 0.0, change), is_alone)


def _width_of_gap(parts: Contributions, C: int) -> np.ndarray:
    """(C,) mean square of the gap in units of its variance, over the coefficients that share a slope."""
    b = parts.influence_f
    scale = np.sqrt(np.maximum(np.einsum("np,np->p", b, parts.over_clusters(b)), np.finfo(float).tiny))
    b = b / scale
    B, gap = parts.over_clusters(b), (parts.gap(pooled=True) / scale).reshape(C, -1)
    p = gap.shape[1]
    blocks = [slice(k * p, (k + 1) * p) for k in range(C)]
    inverses = [np.linalg.pinv(b[:, block].T @ B[:, block], hermitian=True) for block in blocks]
    return np.array([g @ inverse @ g for g, inverse in zip(gap, inverses, strict=True)]) / p


def _log_probability(parts: Contributions) -> np.ndarray | None:
    """(n,) log of the probabilities that labeled rows had to be labeled, up to a constant, less what is linear in the
    design; None where they were alike, or alike within strata, each of which has its labels, and where the design says
    most of them, given which outcomes and predictions are compared anyway."""
    problem, sampling = parts.problem, parts.problem.sampling
    if not sampling.pools or sampling.strata_labeled is not None or sampling.weights_labeled is None:
        return None
    w, d = sampling.weights_labeled, sampling.weights_pooled
    h = -np.log(w if d is None else w / d)
    if np.ptp(h) < ALIKE:
        return None
    root = np.sqrt(w)
    X = problem.X_labeled * root[:, None]
    rest = h - problem.X_labeled @ np.linalg.lstsq(X, h * root, rcond=None)[0]
    left = (w @ rest**2) / (w @ (h - w @ h / w.sum()) ** 2)
    return rest if left > UNSEEN else None


def _slopes_given(parts: Contributions, W: Weight, h: np.ndarray) -> Slopes | None:
    """The slopes of the outcome on the predictions and h, those of the predictions; None where h decides these."""
    r, u, w = parts.residual_y, parts.residual_f, parts.problem.sampling.weights_labeled[:, None]
    h = h[:, None]
    a, b, c = (w * u * u).sum(axis=0), (w * u * h).sum(axis=0), float((w * h * h).sum())
    det = a * c - b**2
    if (det <= COLLINEAR * a * c).any():
        return None
    lever, of_h = w * (c * u - b * h) / det, w * (a * h - b * u) / det
    value = (lever * r).sum(axis=0)
    rest = r - value * u - (of_h * r).sum(axis=0) * h
    moves, repeat = lever * rest, len(W.W) // len(value)
    through = np.repeat(lever, repeat, axis=1) * parts.gap(pooled=True)
    given = replace(
        W,
        W=np.diag(np.repeat(value, repeat)),
        tilt=np.repeat(moves, repeat, axis=1) * parts.gap(pooled=True),
        leverage=np.repeat(lever * u + of_h * h, repeat, axis=1),
        lever=None if W.lever is None else lever[:, 0],
        moves=moves,
        pull=through,
    )
    return slopes_of(parts, given)
