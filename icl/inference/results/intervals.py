"""Which interval belongs to an answer: that of the t reference, or of a share with few events."""

from __future__ import annotations

import numpy as np

from icl.inference.engine.answer import Rectified
from icl.inference.engine.shares import KINDS, Share, interval_kind, is_one_share, rarer_side, share_of, without_events
from icl.inference.engine.solve import Solver


def bounds(
    solver: Solver, answer: Rectified, level: float, alternative: str = "two-sided", kind: str = "auto"
) -> tuple[np.ndarray, np.ndarray]:
    """(P,) lower and upper bounds."""
    share, kind = share_behind(solver, answer, kind)
    if share is None:
        return answer.interval(level, alternative)
    lower, upper = share.interval(kind, level, alternative)
    return np.array([lower]), np.array([upper])


def share_behind(solver: Solver, answer: Rectified, kind: str) -> tuple[Share | None, str]:
    """The share behind an answer and the kind of its interval; None where the t interval is meant."""
    if kind not in KINDS:
        raise ValueError(f"kind got {kind!r}; known are {', '.join(map(repr, KINDS))}.")
    problem = solver.problem
    if kind == "t" or (kind == "auto" and (problem.compat is not None or not answer.is_valid)):
        return None, "t"
    if not is_one_share(problem):
        if kind != "auto":
            raise ValueError(f"kind={kind!r} is for the mean of a two-valued outcome; use 't'.")
        return None, "t"
    kind = interval_kind(problem.y) if kind == "auto" else kind
    if kind == "t":
        return None, kind
    if not rarer_side(problem.y):
        return without_events(problem), kind
    classical = solver.under(0.0).estimate[0]
    variance = answer.covariance[0, 0]
    if not np.isfinite(variance):
        return None, "t"
    return share_of(problem.y, classical, answer.estimate[0], variance, answer.df), kind


def variance_ratio(classical: Rectified, answer: Rectified) -> np.ndarray:
    """(P,) variance of the classical answer over that of another.

    Of a quantile, whose standard error restates an interval and is rough: of the shares below the estimate.
    """
    curve = getattr(answer, "curve", None)
    if curve is None:
        return (classical.std_error / answer.std_error) ** 2
    at = [
        c.std_error[min(int(np.searchsorted(c.t, answer.estimate[0])), len(c.t) - 1)] for c in (classical.curve, curve)
    ]
    return np.array([(at[0] / at[1]) ** 2])
