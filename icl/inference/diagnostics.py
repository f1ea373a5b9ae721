"""What a reader should know before trusting the numbers: soft warnings, each with a code and a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from icl.inference.rectify import Problem, Rectified

SHIFT_LEVEL = 1e-3
"""Error rate of the test of labeled against unlabeled rows, shared by all columns of one analysis."""
FEW_EVENTS = 10
"""Fewer rows than this on one side of a binary outcome make the t interval of a mean unreliable."""


@dataclass(frozen=True)
class Diagnostic:
    """One finding: a short stable `code` for programs, a `message` that says what was seen and what to do."""

    code: str
    message: str

    def __str__(self) -> str:
        return self.message


def diagnose(problem: Problem, answer: Rectified) -> list[Diagnostic]:
    """All findings on this analysis; empty where nothing deserves a word."""
    found = _outcome_findings(problem)
    if problem.has_predictions:
        found += _prediction_findings(problem, answer) + _shift_findings(problem)
    return found


def _outcome_findings(problem: Problem) -> list[Diagnostic]:
    y = problem.y
    low, high = y.min(), y.max()
    n_high = int((y == high).sum())
    if len(problem.terms) == 1 and n_high + int((y == low).sum()) == len(y):
        n_rare = min(n_high, len(y) - n_high)
        if n_rare < FEW_EVENTS:
            return [
                Diagnostic(
                    "rare_event",
                    f"only {n_rare} of {len(y)} labeled rows are on the rarer side of a "
                    f"two-valued outcome; below {FEW_EVENTS} the t interval covers too little. Label "
                    "more rows.",
                )
            ]
    return []


def _prediction_findings(problem: Problem, answer: Rectified) -> list[Diagnostic]:
    found = []
    n = len(problem.y)
    if np.array_equal(problem.f_labeled, problem.y):
        found.append(
            Diagnostic(
                "in_sample",
                f"the predictions equal the outcome on all {n} labeled rows: they look "
                "like the labels themselves or the output of a model that was fitted on these rows. The "
                "interval is not valid then; pass predictor=model to cross-fit inside the call.",
            )
        )
    if answer.weight_is_undefined:
        found.append(
            Diagnostic(
                "no_information",
                "the predictions are constant, or a linear function of the "
                "covariates, on the labeled rows; the answer is the classical one.",
            )
        )
    else:
        strongest = float(np.max(np.abs(problem.correlation)))
        limit = 1 / np.sqrt(max(n - 2, 1))
        if strongest < limit:
            found.append(
                Diagnostic(
                    "weak_predictions",
                    f"the predictions correlate with the outcome at most "
                    f"{strongest:.2f}, below 1/sqrt(n - 2) = {limit:.2f}: too weak to help at this "
                    "n; labeled rows alone do as well.",
                )
            )
        value = float(np.mean(answer.weight))
        if answer.tuned and value < 0:
            found.append(
                Diagnostic(
                    "negative_weight",
                    f"the tuned weight is {value:.2f}: predictions and outcome run "
                    "against each other. Check the sign and the coding of the predictions.",
                )
            )
        if answer.tuned and answer.weight_leverage > 0.5:
            found.append(
                Diagnostic(
                    "weight_leverage",
                    f"one labeled row decides {answer.weight_leverage:.0%} of the "
                    "weight; check its prediction, or label more rows.",
                )
            )
    wider = answer.std_error > 1.1 * problem.solve(0).std_error
    if wider.any() and not answer.tuned:
        names = [t for t, w in zip(problem.terms, wider, strict=True) if w]
        found.append(
            Diagnostic(
                "wider_than_classical",
                f"with weight {answer.name} the standard error of {names} is "
                "more than 10% above the one from labeled rows alone; use weight='auto'.",
            )
        )
    return found


def _shift_findings(problem: Problem) -> list[Diagnostic]:
    """Compare mean and spread of each design column and of the predictions, labeled against unlabeled rows."""
    n, N = len(problem.X_labeled), len(problem.X_unlabeled)
    if n < 10 or N < 10:
        return []
    L = np.column_stack([problem.X_labeled, problem.f_labeled])
    U = np.column_stack([problem.X_unlabeled, problem.f_unlabeled])
    names = [*problem.terms[: L.shape[1] - 1], "predictions"]
    center = (n * L.mean(axis=0) + N * U.mean(axis=0)) / (n + N)
    spread = np.sqrt((n * L.var(axis=0) + N * U.var(axis=0)) / (n + N))
    varies = spread > 1e-12 * np.maximum(np.abs(center), 1)
    if not varies.any():
        return []
    L, U = (L[:, varies] - center[varies]) / spread[varies], (U[:, varies] - center[varies]) / spread[varies]
    # Squares see a labeled sample that is tighter or wider at the same mean, as in-sample predictions often are.
    z = np.concatenate([_two_sample_z(L, U), _two_sample_z(np.minimum(L**2, 9), np.minimum(U**2, 9))])
    from scipy.special import stdtr

    p = 2 * stdtr(n - 1, -np.abs(z)) * len(z)
    shifted = (p < SHIFT_LEVEL).reshape(2, -1).any(axis=0)
    guilty = [name for name, v in zip(names, varies, strict=True) if v]
    guilty = [name for name, s in zip(guilty, shifted, strict=True) if s]
    if not guilty:
        return []
    return [
        Diagnostic(
            "shift",
            f"labeled and unlabeled rows differ in {guilty} (p < {SHIFT_LEVEL:g} after correction "
            "for the number of columns). The interval assumes that labeled rows are a random sample of all "
            "rows, and that no labeled row was predicted by a model that saw its label.",
        )
    ]


def _two_sample_z(L: np.ndarray, U: np.ndarray) -> np.ndarray:
    noise = np.sqrt(L.var(axis=0, ddof=1) / len(L) + U.var(axis=0, ddof=1) / len(U))
    return np.divide(L.mean(axis=0) - U.mean(axis=0), noise, out=np.zeros_like(noise), where=noise > 0)
