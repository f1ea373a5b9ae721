"""The bootstrap route, for statistics without scores: resample rows, tune the weight, take quantiles.

theta = beta + W (eta_U - eta_L), with W from the bootstrap covariances of beta, eta_L and eta_U: the optimal weight of
`icl.inference.engine.weights`, without a formula for any of them. Sources: Kluger, Lu, Zrnic, Wang, Bates (2025),
predict-then-debias, arXiv:2501.18577; Zrnic (2024), PPBoot, arXiv:2405.18379. Deviations: the weight of a scalar is not
clipped; the same draws tune the weight and give the interval, as in the former.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from icl.inference.checks import OptionalArray, check_alternative, check_level
from icl.inference.engine.answer import Rectified, name_of
from icl.inference.engine.problem import Problem
from icl.inference.engine.weights import optimal_weight
from icl.inference.estimands.statistic import Statistic
from icl.inference.frames import with_column

if TYPE_CHECKING:
    import pandas as pd

MOST_LEFT_OUT = 200
"""Evaluations of the statistic for its acceleration."""
LEAST_SLOPE = 0.1


@dataclass(frozen=True)
class Bootstrapped(Rectified):
    """An answer whose interval runs between order statistics of its bootstrap draws (B, P), sorted by column.

    Which ones: those of Efron's BCa (bias-corrected, accelerated) at the tails of Student's t with n - 1 degrees of
    freedom, stretched by sqrt(n / (n - 1)), since draws of n labeled units spread like the population variance and know
    it no better than they do. Plain percentiles cover too little at small n. Nominal .90, labels alone, 1,500
    repetitions, percentiles, BCa, and both: mean of 15 .863, .868, .897 (exponential .827, .849, .885); correlation .5
    of 20 .865, .879, .903 (.9: .864, .876, .907); standard deviation of 20 .802, .831, .862, of 50 .865, .881, .891 (of
    20 exponential outcomes .665, .707, .733: no interval from so few knows the fourth moment). Sources: Efron (1987),
    doi:10.1080/01621459.1987.10478410; Hesterberg (2015), doi:10.1080/00031305.2015.1089789, for the stretching.
    """

    draws: OptionalArray = None
    bias: np.ndarray | float = 0.0
    """(P,) normal quantile of the share of draws below the estimate."""
    acceleration: np.ndarray | float = 0.0
    """(P,) a sixth of the skewness of leaving out one labeled unit at a time."""
    n_units: float = np.inf
    """Labeled units that were resampled; infinite where their number is no matter."""

    def interval(self, level: float, alternative: str = "two-sided") -> tuple[np.ndarray, np.ndarray]:
        check_level(level)
        check_alternative(alternative)
        B, P = self.draws.shape
        tail = (1 - level) / 2 if alternative == "two-sided" else 1 - level
        if int(tail * (B + 1) + 1e-9) < 1:
            raise ValueError(f"{B} bootstrap draws cannot give a {level:g} interval; raise n_draws of the Statistic.")
        # The outermost draw whose own p-value is not below the error rate: what `p_value` counts, turned round.
        out = lambda sign: np.clip(np.ceil(self._share_cut(tail, sign) * (B + 1) - 1e-9).astype(int) - 2, 0, B - 1)
        endless, term = np.full(P, np.inf), np.arange(P)
        lower = -endless if alternative == "smaller" else self.draws[out(1), term]
        upper = endless if alternative == "larger" else self.draws[B - 1 - out(-1), term]
        return lower, upper

    def p_value(self, null: np.ndarray, alternative: str = "two-sided") -> np.ndarray:
        check_alternative(alternative)
        B = len(self.draws)
        below, above = (self.draws <= null).sum(axis=0), (self.draws >= null).sum(axis=0)
        too_low = self._tail_of((below + 1) / (B + 1), 1)
        too_high = self._tail_of((above + 1) / (B + 1), -1)
        if alternative == "larger":
            return too_low
        return too_high if alternative == "smaller" else np.minimum(1, 2 * np.minimum(too_low, too_high))

    def _share_cut(self, tail: float, sign: int) -> np.ndarray:
        """(P,) share of draws to cut off below (sign 1) or above (-1), so that the error rate is `tail`."""
        from scipy.special import ndtr, ndtri, stdtrit

        n, bias = self.n_units, sign * self.bias
        z = ndtri(tail) if np.isinf(n) else stdtrit(n - 1, tail) * np.sqrt(n / (n - 1))
        moved = np.asarray(bias + z, dtype=float)
        p = ndtr(bias + moved / np.maximum(1 - sign * self.acceleration * moved, LEAST_SLOPE))
        return np.broadcast_to(p, self.draws.shape[1:])

    def _tail_of(self, share: np.ndarray, sign: int) -> np.ndarray:
        """(P,) the inverse of `_share_cut`."""
        from scipy.special import ndtr, ndtri, stdtr

        n, bias = self.n_units, sign * self.bias
        moved = ndtri(np.where(share >= 1, 0.5, share)) - bias  # what is not below any draw is answered at the end
        z = moved / np.maximum(1 + sign * self.acceleration * moved, LEAST_SLOPE) - bias
        tail = ndtr(z) if np.isinf(n) else stdtr(n - 1, z / np.sqrt(n / (n - 1)))
        return np.where(share >= 1, 1.0, tail)


@dataclass(frozen=True)
class Draws:
    """The statistic, at its samples (P,) and on B resamples (B, P) of them: with outcomes, with predictions."""

    beta: np.ndarray
    eta_labeled: np.ndarray
    eta_unlabeled: np.ndarray
    beta_draws: np.ndarray
    eta_labeled_draws: np.ndarray
    eta_unlabeled_draws: np.ndarray
    beta_without: np.ndarray
    """(G, P) the statistic without each labeled unit, or each of `MOST_LEFT_OUT` groups of them."""
    eta_labeled_without: np.ndarray
    n_units: int
    counts: OptionalArray = None
    """(B, G) how often each of those units, or groups, is in each resample; None where it is unknown."""
    is_learned: bool = False
    """Predictions are cross-fitted, so that a negative weight says they have learned nothing."""


def solve_by_bootstrap(draws: Draws, weight: str | float) -> Rectified:
    """The answer under `weight`: a number, "ppi++" (one scalar), "coordinate" (PTD, diagonal) or "matrix" (PTD)."""
    if weight in ("synsurr", "recalibrated"):
        raise ValueError(f"weight={weight!r} needs residuals, which a Statistic has not; use 'ppi++' or 'coordinate'.")
    P = len(draws.beta)
    if weight == 0:
        return _answer(draws, "classical", draws.beta, draws.beta_draws, np.zeros((P, P)), False)
    joint = np.cov(np.hstack([draws.beta_draws, draws.eta_labeled_draws]).T)
    cross, own = joint[:P, P:], joint[P:, P:]
    total = own + np.cov(draws.eta_unlabeled_draws.T).reshape(P, P)
    W = optimal_weight(weight, cross, total)
    if draws.is_learned and weight in ("ppi++", "coordinate"):  # see `icl.inference.engine.shrink`
        W = np.maximum(W, 0)
    estimate = draws.beta + W @ (draws.eta_unlabeled - draws.eta_labeled)
    gaps = draws.eta_unlabeled_draws - draws.eta_labeled_draws
    drawn = draws.beta_draws + gaps @ W.T
    if isinstance(weight, str) and weight in ("ppi++", "coordinate") and draws.counts is not None:
        tuned = np.diag(W) + _retuned(draws, np.diag(total - own), weight)
        drawn = draws.beta_draws + gaps * (np.maximum(tuned, 0) if draws.is_learned else tuned)
    return _answer(draws, name_of(weight), estimate, drawn, W, isinstance(weight, str))


def _retuned(draws: Draws, unlabeled: np.ndarray, weight: str) -> np.ndarray:
    """(B, P) how the tuned weight of each resample differs from that of the sample.

    A weight that is the same on all draws is taken as known, and its error, which goes with that of what it multiplies,
    is lost. Nominal .90, n = 20, N = 200, 199 draws, 1,500 repetitions, a weight for all draws and one for each:
    correlation of .5, predictions that correlate with the outcome at .96, .71, .32: .893 and .913, .881 and .890, .881
    and .893 (labels alone .911); standard deviation, .71: .836 and .883 (.873). The covariances behind a weight are
    those of the influences of the units in the resample, which leaving out each of them once has given.

    Args:
        unlabeled: (P,) variances of eta_unlabeled.
    """
    a, b = (part - part.mean(axis=0) for part in (draws.beta_without, draws.eta_labeled_without))

    def tuned(counts: np.ndarray) -> np.ndarray:
        units = counts.sum(axis=1, keepdims=True)
        cross = counts @ (a * b) - (counts @ a) * (counts @ b) / units
        total = counts @ (b * b) - (counts @ b) ** 2 / units + unlabeled
        if weight == "ppi++":
            cross, total = (np.broadcast_to(v.sum(axis=1, keepdims=True), v.shape) for v in (cross, total))
        return np.divide(cross, total, out=np.zeros_like(cross), where=total > 0)

    assert draws.counts is not None
    return tuned(draws.counts) - tuned(np.ones((1, draws.counts.shape[1])))


def solve_imputed_statistic(problem: Problem) -> Rectified:
    """The statistic of outcomes and predictions together, as if all were real: not valid."""
    import pandas as pd

    labeled, unlabeled = problem.frames
    statistic = _statistic(problem)
    column = statistic.column
    whole = pd.concat([labeled, with_column(unlabeled, column, problem.f_unlabeled)], ignore_index=True)
    rng = np.random.default_rng(problem.seed)
    n_draws = min(statistic.n_draws, 200)
    drawn = np.array([_value(problem, whole.iloc[rng.integers(0, len(whole), len(whole))]) for _ in range(n_draws)])
    covariance = np.cov(drawn.T).reshape(drawn.shape[1], -1)
    value = _value(problem, whole)
    return Bootstrapped("imputed", value, covariance, np.inf, is_valid=False, draws=np.sort(drawn, axis=0))


def draw(problem: Problem) -> Draws:
    """Resample labeled and unlabeled rows independently of one another: whole clusters, and within strata."""
    if problem.sampling.weights_labeled is not None:
        raise ValueError("a Statistic sees rows that count alike; it knows no weights or probabilities. Use MEstimand.")
    labeled, unlabeled = problem.frames
    statistic, sampling = _statistic(problem), problem.sampling
    column, B = statistic.column, statistic.n_draws
    # Two generators, so that the classical answer is the same whether there are predictions or not.
    rng, rng_unlabeled = np.random.default_rng(problem.seed), np.random.default_rng([problem.seed, 1])
    pick_labeled = _Resampler(len(labeled), sampling.clusters_labeled, sampling.strata_labeled)
    beta, predicted = _value(problem, labeled), None
    P = len(beta)
    nothing = np.zeros(P), np.zeros((B, P))
    if problem.has_predictions:
        predicted = with_column(labeled, column, problem.f_labeled)
        models = _predictions_by_model(problem)
        of_model = [with_column(unlabeled, column, f) for f in models]  # sharing all columns but this one
        of_models = np.array([_value(problem, frame) for frame in of_model])
        pick_unlabeled = _Resampler(len(unlabeled), sampling.clusters_unlabeled, sampling.strata_unlabeled)
    drawn = np.zeros((3, B, P))
    groups = pick_labeled.groups(np.random.default_rng(problem.seed))
    counts = np.zeros((B, groups.max() + 1))
    for b in range(B):
        rows = pick_labeled(rng)
        counts[b] = np.bincount(groups, np.bincount(rows, minlength=len(groups)))
        drawn[0, b] = _value(problem, labeled.take(rows))
        if predicted is not None:
            drawn[1, b] = _value(problem, predicted.take(rows))
            k = b % len(models)  # by turns, each around the average of all: as the average, or a little wider
            rows = pick_unlabeled(rng_unlabeled)
            value = _value(problem, of_model[k].take(rows))
            drawn[2, b] = value - of_models[k] + of_models.mean(axis=0)
    n_bad = int((~np.isfinite(drawn)).any(axis=(0, 2)).sum())
    if n_bad:
        raise ValueError(
            f"{problem.estimand} is not finite on {n_bad} of {B} bootstrap samples (a group without rows, a division "
            "by zero?). Make the function return a number on every sample, or label more rows."
        )
    without = [np.flatnonzero(groups != g) for g in range(groups.max() + 1)]
    beta_without = np.array([_value(problem, labeled.take(rows)) for rows in without])
    if predicted is None:
        rest = (np.zeros_like(beta_without), problem.n_labeled_units)
        return Draws(beta, nothing[0], nothing[0], drawn[0], nothing[1], nothing[1], beta_without, *rest)
    eta_without = np.array([_value(problem, predicted.take(rows)) for rows in without])
    at = (beta, _value(problem, predicted), of_models.mean(axis=0))
    counts = counts / np.bincount(groups)  # of units, where clusters or groups have many rows
    is_learned, units = problem.predicted.is_cross_fitted, problem.n_labeled_units
    return Draws(*at, drawn[0], drawn[1], drawn[2], beta_without, eta_without, units, counts, is_learned)


def _predictions_by_model(problem: Problem) -> list[np.ndarray]:
    """(N,) predictions of unlabeled rows by each fold model.

    A statistic that is not linear in the outcome (a standard deviation) says something else of the average prediction,
    which is tighter, than of the predictions of one model, which is what labeled rows have.
    """
    surrogate = problem.predicted
    if surrogate.by_fold is None:
        return [surrogate.f_unlabeled]
    models: np.ndarray = surrogate.by_fold[1]
    return [np.where(np.isnan(f), surrogate.f_unlabeled, f) for f in models]


class _Resampler:
    def __init__(self, n: int, clusters: np.ndarray | None, strata: np.ndarray | None) -> None:
        units = np.arange(n) if clusters is None else np.unique(clusters, return_inverse=True)[1]
        order = np.argsort(units, kind="stable")
        self.rows = np.split(order, np.cumsum(np.bincount(units))[:-1]) if clusters is not None else None
        stratum = np.zeros(n, dtype=int) if strata is None else np.unique(strata, return_inverse=True)[1]
        of_unit = np.empty(units.max() + 1, dtype=int)
        of_unit[units] = stratum
        self.units = units
        self.pools = [np.flatnonzero(of_unit == s) for s in range(of_unit.max() + 1)]

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        picked = np.concatenate([pool[rng.integers(0, len(pool), len(pool))] for pool in self.pools])
        return picked if self.rows is None else np.concatenate([self.rows[unit] for unit in picked])

    def groups(self, rng: np.random.Generator) -> np.ndarray:
        """(n,) numbers of the units that are left out one at a time, or of groups of units where there are many."""
        G = int(self.units.max()) + 1
        group = np.arange(G) if G <= MOST_LEFT_OUT else rng.permutation(G) % MOST_LEFT_OUT
        return group[self.units]


def _statistic(problem: Problem) -> Statistic:
    assert isinstance(problem.estimand, Statistic), "solved by bootstrap"
    return problem.estimand


def _value(problem: Problem, frame: pd.DataFrame) -> np.ndarray:
    value = np.atleast_1d(np.asarray(cast(Any, _statistic(problem).function(frame)), dtype=float))
    if value.shape != (len(problem.terms),):
        raise ValueError(
            f"{problem.estimand} gave shape {value.shape}; expected {(len(problem.terms),)}, one number for each of "
            f"{problem.terms}."
        )
    return value


def _answer(
    draws: Draws, name: str, estimate: np.ndarray, drawn: np.ndarray, W: np.ndarray, tuned: bool
) -> Bootstrapped:
    from scipy.special import ndtri

    B, P = drawn.shape
    share = ((drawn < estimate).sum(axis=0) + 0.5 * (drawn == estimate).sum(axis=0)) / B
    without = draws.beta_without - draws.eta_labeled_without @ W.T
    off = without.mean(axis=0) - without
    scale = 6 * (off**2).sum(axis=0) ** 1.5
    acceleration = np.divide((off**3).sum(axis=0), scale, out=np.zeros(P), where=np.isfinite(scale) & (scale > 0))
    value = float(W[0, 0]) if (np.diag(W) == W[0, 0]).all() else np.diag(W)
    return Bootstrapped(
        name,
        estimate,
        np.cov(drawn.T).reshape(P, P),
        np.inf,
        value,
        tuned,
        draws=np.sort(drawn, axis=0),
        bias=ndtri(np.clip(share, 1 / (B + 1), B / (B + 1))),
        acceleration=acceleration,
        n_units=draws.n_units,
    )
