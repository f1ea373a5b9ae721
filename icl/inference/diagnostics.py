"""What a reader should know before trusting the numbers: soft warnings, each with a code and a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from icl.inference.small_sample import FEW_EVENTS

if TYPE_CHECKING:
    from icl.inference.rectify import Problem, Rectified

SHIFT_LEVEL = 1e-3
"""Error rate of the test of labeled against unlabeled rows, shared by all columns of one analysis."""


@dataclass(frozen=True)
class Diagnostic:
    """One finding: a short stable `code` for programs, a `message` that says what was seen and what to do."""

    code: str
    message: str

    def __str__(self) -> str:
        return self.message


def diagnose(problem: Problem, answer: Rectified) -> list[Diagnostic]:
    """All findings on this analysis; empty where nothing deserves a word."""
    found = list(_outcome_findings(problem))
    if problem.has_predictions:
        found += [*_prediction_findings(problem, answer), *_shift_findings(problem)]
    return found


def _outcome_findings(problem: Problem) -> Iterator[Diagnostic]:
    y = problem.y
    n_low, n_high = int((y == y.min()).sum()), int((y == y.max()).sum())
    if len(problem.terms) == 1 and n_low + n_high == len(y) and min(n_low, n_high) < FEW_EVENTS:
        yield Diagnostic(
            "rare_event",
            f"only {min(n_low, n_high)} of {len(y)} labeled rows are on the rarer side of a two-valued outcome, too "
            "few for a t interval: the exact one is given, which is wider. Label more rows.",
        )


def _prediction_findings(problem: Problem, answer: Rectified) -> Iterator[Diagnostic]:
    n = len(problem.y)
    if np.array_equal(problem.f_labeled, problem.y):
        yield Diagnostic(
            "in_sample",
            f"the predictions equal the outcome on all {n} labeled rows: they look like the labels themselves, or "
            "the output of a model fitted on these rows. Then the interval is not valid; pass predictor=model instead.",
        )
    strongest, limit = float(np.max(np.abs(problem.correlation))), 1 / np.sqrt(max(n - 2, 1))
    if answer.weight_is_undefined:
        yield Diagnostic(
            "no_information",
            "on the labeled rows the predictions are constant, or a linear function of the covariates; the estimate is "
            "the classical one.",
        )
    elif strongest < limit:
        yield Diagnostic(
            "weak_predictions",
            f"predictions and outcome correlate at most {strongest:.2f}, below 1/sqrt(n - 2) = {limit:.2f}: too weak "
            "to help with this many labels; labeled rows alone do as well (weight=0).",
        )
    elif answer.tuned and np.max(answer.weight) < 0:
        yield Diagnostic(
            "negative_weight",
            f"the tuned weight is {np.max(answer.weight):.2f}: predictions and outcome run against each other. The "
            "interval is valid, but check the sign and the coding of the predictions.",
        )
    if answer.tuned and answer.weight_leverage > 0.5:
        yield Diagnostic(
            "weight_leverage",
            f"one labeled row decides {answer.weight_leverage:.0%} of the weight; check its prediction, or label more.",
        )
    wider = answer.std_error > 1.1 * problem.solve(0).std_error
    if not answer.tuned and wider.any():
        names = [term for term, is_wider in zip(problem.terms, wider, strict=True) if is_wider]
        yield Diagnostic(
            "wider_than_classical",
            f"the standard error of {names} is more than 10% above the one from labeled rows alone; use weight='auto'.",
        )


def _shift_findings(problem: Problem) -> Iterator[Diagnostic]:
    """Compare mean and spread of each design column and of the predictions, labeled against unlabeled rows."""
    from scipy.special import stdtr

    n, N = len(problem.X_labeled), len(problem.X_unlabeled)
    if n < 10 or N < 10:
        return
    L = np.column_stack([problem.X_labeled, problem.f_labeled])
    U = np.column_stack([problem.X_unlabeled, problem.f_unlabeled])
    n_predictions = L.shape[1] - problem.X_labeled.shape[1]
    names = [*(problem.columns or problem.terms), *["predictions"] * n_predictions]
    center = (n * L.mean(axis=0) + N * U.mean(axis=0)) / (n + N)
    spread = np.sqrt((n * L.var(axis=0) + N * U.var(axis=0)) / (n + N))
    varies = spread > 1e-12 * np.maximum(np.abs(center), 1)
    if not varies.any():
        return
    L, U = (L[:, varies] - center[varies]) / spread[varies], (U[:, varies] - center[varies]) / spread[varies]
    # Squares see a labeled sample that is tighter or wider at the same mean, as in-sample predictions often are.
    z = np.concatenate([_two_sample_z(L, U), _two_sample_z(np.minimum(L**2, 9), np.minimum(U**2, 9))])
    if problem.is_cross_fitted and varies[-1]:
        # Averages over folds are tighter than the predictions of one fold: no sign of anything.
        z[-n_predictions:] = 0.0
    p = 2 * stdtr(n - 1, -np.abs(z)) * len(z)
    shifted = (p < SHIFT_LEVEL).reshape(2, -1).any(axis=0)
    guilty = [name for name, is_shifted in zip(np.array(names)[varies], shifted, strict=True) if is_shifted]
    if guilty:
        columns = ", ".join(dict.fromkeys(guilty))
        yield Diagnostic(
            "shift",
            f"labeled and unlabeled rows differ in {columns} (p < {SHIFT_LEVEL:g}, corrected for the number "
            "of columns). The interval assumes that labeled rows are a random sample of all rows, and that no "
            "labeled row was predicted by a model that saw its label.",
        )


def _two_sample_z(L: np.ndarray, U: np.ndarray) -> np.ndarray:
    noise = np.sqrt(L.var(axis=0, ddof=1) / len(L) + U.var(axis=0, ddof=1) / len(U))
    return np.divide(L.mean(axis=0) - U.mean(axis=0), noise, out=np.zeros_like(noise), where=noise > 0)
