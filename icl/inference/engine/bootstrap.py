"""The bootstrap route, for statistics without scores: resample rows, tune the weight, take quantiles.

theta = beta + W (eta_U - eta_L), with W from the bootstrap covariances of beta, eta_L and eta_U: the optimal weight of
`icl.inference.engine.weights`, without a formula for any of them. Sources: Kluger, Lu, Zrnic, Wang, Bates (2025),
predict-then-debias, arXiv:2501.18577; Zrnic (2024), PPBoot, arXiv:2405.18379. Deviations: the weight of a scalar is not
clipped; the same draws tune the weight and give the interval, as in the former.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from icl.inference.checks import check_alternative, check_level
from icl.inference.engine.answer import Rectified, name_of
from icl.inference.engine.problem import Problem
from icl.inference.engine.weights import optimal_weight
from icl.inference.frames import with_column

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Bootstrapped(Rectified):
    """An answer whose interval runs between order statistics of its bootstrap draws (B, P), sorted by column."""

    draws: np.ndarray | None = None

    def interval(self, level: float, alternative: str = "two-sided") -> tuple[np.ndarray, np.ndarray]:
        check_level(level)
        check_alternative(alternative)
        B = len(self.draws)
        tail = (1 - level) / 2 if alternative == "two-sided" else 1 - level
        k = int(tail * (B + 1) + 1e-9)  # draws cut off at each end
        if k < 1:
            raise ValueError(f"{B} bootstrap draws cannot give a {level:g} interval; raise n_draws of the Statistic.")
        endless = np.full(self.draws.shape[1], np.inf)
        lower = -endless if alternative == "smaller" else self.draws[k - 1]
        upper = endless if alternative == "larger" else self.draws[B - k]
        return lower, upper

    def p_value(self, null: np.ndarray, alternative: str = "two-sided") -> np.ndarray:
        check_alternative(alternative)
        B = len(self.draws)
        below, above = (self.draws < null).sum(axis=0), (self.draws > null).sum(axis=0)
        too_low, too_high = (below + 1) / (B + 1), (above + 1) / (B + 1)
        if alternative == "larger":
            return too_low
        return too_high if alternative == "smaller" else np.minimum(1, 2 * np.minimum(too_low, too_high))


@dataclass(frozen=True)
class Draws:
    """The statistic, at its samples (P,) and on B resamples (B, P) of them: with outcomes, with predictions."""

    beta: np.ndarray
    eta_labeled: np.ndarray
    eta_unlabeled: np.ndarray
    beta_draws: np.ndarray
    eta_labeled_draws: np.ndarray
    eta_unlabeled_draws: np.ndarray


def solve_by_bootstrap(draws: Draws, weight: str | float) -> Rectified:
    """The answer under `weight`: a number, "ppi++" (one scalar), "coordinate" (PTD, diagonal) or "matrix" (PTD)."""
    if weight in ("synsurr", "recalibrated"):
        raise ValueError(f"weight={weight!r} needs residuals, which a Statistic has not; use 'ppi++' or 'coordinate'.")
    P = len(draws.beta)
    if weight == 0:
        return _answer("classical", draws.beta, draws.beta_draws, 0.0, False)
    joint = np.cov(np.hstack([draws.beta_draws, draws.eta_labeled_draws]).T)
    cross, own = joint[:P, P:], joint[P:, P:]
    total = own + np.cov(draws.eta_unlabeled_draws.T).reshape(P, P)
    W = optimal_weight(weight, cross, total)
    estimate = draws.beta + W @ (draws.eta_unlabeled - draws.eta_labeled)
    drawn = draws.beta_draws + (draws.eta_unlabeled_draws - draws.eta_labeled_draws) @ W.T
    value = float(W[0, 0]) if (np.diag(W) == W[0, 0]).all() else np.diag(W)
    return _answer(name_of(weight), estimate, drawn, value, isinstance(weight, str))


def solve_imputed_statistic(problem: Problem) -> Rectified:
    """The statistic of outcomes and predictions together, as if all were real: not valid."""
    import pandas as pd

    labeled, unlabeled = problem.frames
    column = problem.estimand.column
    whole = pd.concat([labeled, with_column(unlabeled, column, problem.f_unlabeled)], ignore_index=True)
    rng = np.random.default_rng(problem.seed)
    n_draws = min(problem.estimand.n_draws, 200)
    drawn = np.array([_value(problem, whole.iloc[rng.integers(0, len(whole), len(whole))]) for _ in range(n_draws)])
    answer = _answer("imputed", _value(problem, whole), drawn, float("nan"), False)
    return Bootstrapped(answer.name, answer.estimate, answer.covariance, answer.df, is_valid=False, draws=answer.draws)


def draw(problem: Problem) -> Draws:
    """Resample labeled and unlabeled rows independently of one another: whole clusters, and within strata."""
    if problem.sampling.weights_labeled is not None:
        raise ValueError("a Statistic sees rows that count alike; it knows no weights or probabilities. Use MEstimand.")
    labeled, unlabeled = problem.frames
    column, B, sampling = problem.estimand.column, problem.estimand.n_draws, problem.sampling
    # Two generators, so that the classical answer is the same whether there are predictions or not.
    rng, rng_unlabeled = np.random.default_rng(problem.seed), np.random.default_rng([problem.seed, 1])
    pick_labeled = _Resampler(len(labeled), sampling.clusters_labeled, sampling.strata_labeled)
    beta, predicted = _value(problem, labeled), None
    P = len(beta)
    nothing = np.zeros(P), np.zeros((B, P))
    if problem.has_predictions:
        predicted = with_column(labeled, column, problem.f_labeled)
        models = _predictions_by_model(problem)
        of_models = np.array([_value(problem, with_column(unlabeled, column, f)) for f in models])
        pick_unlabeled = _Resampler(len(unlabeled), sampling.clusters_unlabeled, sampling.strata_unlabeled)
    drawn = np.zeros((3, B, P))
    for b in range(B):
        rows = pick_labeled(rng)
        drawn[0, b] = _value(problem, labeled.iloc[rows])
        if predicted is not None:
            drawn[1, b] = _value(problem, predicted.iloc[rows])
            k = b % len(models)  # by turns, each around the average of all: as the average, or a little wider
            rows = pick_unlabeled(rng_unlabeled)
            value = _value(problem, with_column(unlabeled.iloc[rows], column, models[k][rows]))
            drawn[2, b] = value - of_models[k] + of_models.mean(axis=0)
    n_bad = int((~np.isfinite(drawn)).any(axis=(0, 2)).sum())
    if n_bad:
        raise ValueError(
            f"{problem.estimand} is not finite on {n_bad} of {B} bootstrap samples (a group without rows, a division "
            "by zero?). Make the function return a number on every sample, or label more rows."
        )
    if predicted is None:
        return Draws(beta, nothing[0], nothing[0], drawn[0], nothing[1], nothing[1])
    return Draws(beta, _value(problem, predicted), of_models.mean(axis=0), *drawn)


def _predictions_by_model(problem: Problem) -> list[np.ndarray]:
    """(N,) predictions of unlabeled rows by each fold model.

    A statistic that is not linear in the outcome (a standard deviation) says something else of the average prediction,
    which is tighter, than of the predictions of one model, which is what labeled rows have.
    """
    surrogate = problem.surrogate
    if surrogate.by_fold is None:
        return [surrogate.f_unlabeled]
    return [np.where(np.isnan(f), surrogate.f_unlabeled, f) for f in surrogate.by_fold[1]]


class _Resampler:
    def __init__(self, n: int, clusters: np.ndarray | None, strata: np.ndarray | None) -> None:
        units = np.arange(n) if clusters is None else np.unique(clusters, return_inverse=True)[1]
        order = np.argsort(units, kind="stable")
        self.rows = np.split(order, np.cumsum(np.bincount(units))[:-1]) if clusters is not None else None
        stratum = np.zeros(n, dtype=int) if strata is None else np.unique(strata, return_inverse=True)[1]
        of_unit = np.empty(units.max() + 1, dtype=int)
        of_unit[units] = stratum
        self.pools = [np.flatnonzero(of_unit == s) for s in range(of_unit.max() + 1)]

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        picked = np.concatenate([pool[rng.integers(0, len(pool), len(pool))] for pool in self.pools])
        return picked if self.rows is None else np.concatenate([self.rows[unit] for unit in picked])


def _value(problem: Problem, frame: pd.DataFrame) -> np.ndarray:
    value = np.atleast_1d(np.asarray(problem.estimand.function(frame), dtype=float))
    if value.shape != (len(problem.terms),):
        raise ValueError(
            f"{problem.estimand} gave shape {value.shape}; expected {(len(problem.terms),)}, one number for each of "
            f"{problem.terms}."
        )
    return value


def _answer(
    name: str, estimate: np.ndarray, drawn: np.ndarray, weight: float | np.ndarray, tuned: bool
) -> Bootstrapped:
    P = len(estimate)
    covariance = np.cov(drawn.T).reshape(P, P)
    return Bootstrapped(name, estimate, covariance, np.inf, weight, tuned, draws=np.sort(drawn, axis=0))
