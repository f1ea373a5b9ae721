"""Which interval belongs to an answer: that of the t reference, or of a share with few events."""

from __future__ import annotations

import numpy as np

from icl.inference.engine.answer import Rectified
from icl.inference.engine.label_shift import LABEL_SHIFT
from icl.inference.engine.quantile import RectifiedQuantile
from icl.inference.engine.shares import KINDS, Outcomes, Share
from icl.inference.engine.solve import Solver


def bounds(
    solver: Solver, answer: Rectified, level: float, alternative: str = "two-sided", kind: str = "auto"
) -> tuple[np.ndarray, np.ndarray]:
    """(P,) lower and upper bounds."""
    lower, upper = (np.array(side, dtype=float) for side in answer.interval(level, alternative))
    for j, (share, how) in enumerate(shares_behind(solver, answer, kind)):
        if share is not None:
            lower[j], upper[j] = share.interval(how, level, alternative)
    return lower, upper


def p_values(solver: Solver, answer: Rectified, null: np.ndarray, alternative: str, kind: str) -> np.ndarray:
    """(P,) of parameter = null (P,), dual to `bounds`."""
    p = np.array(answer.p_value(null, alternative), dtype=float)
    for j, (share, how) in enumerate(shares_behind(solver, answer, kind)):
        if share is not None:
            p[j] = share.p_value(how, float(null[j]), alternative)
    return p


def shares_behind(solver: Solver, answer: Rectified, kind: str) -> list[tuple[Share | None, str]]:
    """For each term the share behind it and the kind of its interval; None where the t interval is meant."""
    if kind not in KINDS:
        raise ValueError(f"kind got {kind!r}; known are {', '.join(map(repr, KINDS))}.")
    problem = solver.problem
    P = len(problem.terms)
    # Exact intervals count labeled events, of which another population has another share.
    if answer.name == LABEL_SHIFT or kind == "t" or (kind == "auto" and (problem.compat or not answer.is_valid)):
        return [(None, "t")] * P
    found = solver.parts.shares
    if kind != "auto" and None in found:
        raise ValueError(f"kind={kind!r} is for the mean of a two-valued outcome; use 't'.")
    return [_behind(solver, answer, j, outcomes, kind) for j, outcomes in enumerate(found)]


def _behind(
    solver: Solver, answer: Rectified, j: int, outcomes: Outcomes | None, kind: str
) -> tuple[Share | None, str]:
    if outcomes is None:
        return None, "t"
    kind = outcomes.kind if kind == "auto" else kind
    variance = answer.covariance[j, j]
    if kind == "t" or not np.isfinite(variance):
        return None, "t"
    if not outcomes.rarer:
        return outcomes.without_events, kind
    df = float(np.broadcast_to(answer.df_of_terms, len(answer.estimate))[j])
    return outcomes.share(solver.under(0.0).estimate[j], answer.estimate[j], variance, df), kind


def combined_bounds(
    R: np.ndarray, estimate: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(Q,) bounds of the combinations R (Q, P) of independent terms from the bounds of each.

    The distance of a bound of the combination is the root of the summed squares of the distances of the bounds that it
    is made of (method of variance estimates recovery; for the difference of two shares Newcombe's tenth). Source:
    Newcombe (1998), Statistics in Medicine 17, 873-890; Zou & Donner (2008), doi:10.1002/sim.3095.
    """
    at = R @ estimate
    down, up = np.maximum(estimate - lower, 0), np.maximum(upper - estimate, 0)
    reach = lambda a, b: np.sqrt((np.where(R > 0, R * a, -R * b) ** 2).sum(axis=1))
    return at - reach(down, up), at + reach(up, down)


def rare_combinations(solver: Solver, answer: Rectified, R: np.ndarray) -> np.ndarray:
    """(Q,) combinations R (Q, P) that take in a share with too few events for a t interval."""
    is_rare = np.array([share is not None for share, _ in shares_behind(solver, answer, "auto")])
    return (R != 0) @ is_rare > 0


def p_of_combinations(solver: Solver, answer: Rectified, R: np.ndarray, null: np.ndarray) -> np.ndarray:
    """(Q,) p-values of R theta = null: the error rate at which `combined_bounds` reach null (to six digits)."""
    low, high = np.zeros(len(R)), np.ones(len(R))
    for _ in range(24):
        middle = (low + high) / 2
        for q, error in enumerate(middle):
            lower, upper = combined_bounds(R[[q]], answer.estimate, *bounds(solver, answer, 1 - max(error, 1e-9)))
            outside = not lower[0] <= null[q] <= upper[0]
            low[q], high[q] = (low[q], error) if outside else (error, high[q])
    return high


def variance_ratio(classical: Rectified, answer: Rectified) -> np.ndarray:
    """(P,) variance of the classical answer over that of another.

    Of a quantile, whose standard error restates an interval and is rough: of the shares below the estimate.
    """
    curves = [a.curve for a in (classical, answer) if isinstance(a, RectifiedQuantile) and a.curve is not None]
    if len(curves) < 2:
        return (classical.std_error / answer.std_error) ** 2
    at = [c.std_error_at(answer.estimate[0]) for c in curves]
    if at[1] == 0:  # few labels, all on one side: neither share is in doubt, so neither says more
        return np.array([1.0 if at[0] == 0 else np.inf])
    return np.array([(at[0] / at[1]) ** 2])
