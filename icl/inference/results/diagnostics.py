"""What a reader should know before trusting the numbers: soft warnings, each with a code and a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.engine.shares import FEW_EVENTS, Outcomes
from icl.inference.estimands.glm import Logistic, Multinomial, Penalisable, Poisson
from icl.inference.inputs.leaks import COPY, unexplained
from icl.inference.results.intervals import bounds
from icl.inference.results.label_shift import label_shift_findings

if TYPE_CHECKING:
    from icl.inference.engine.answer import Rectified
    from icl.inference.engine.problem import Problem
    from icl.inference.engine.solve import Solver

EVENTS_PER_SLOPE = 10
"""Peduzzi et al. (1996), doi:10.1016/S0895-4356(96)00236-3."""
FEW_LABELS = 20
"""Below so many a tuned weight was measured to shorten intervals too far (`icl.inference.engine.shrink`)."""
ONE_ROW, THIN, ROWS_PER_COEFFICIENT = 0.65, 5, 5
SHIFT_LEVEL = 1e-3
"""Error rate of the test of labeled against unlabeled rows, shared by all columns of one analysis."""


def diagnose(solver: Solver, answer: Rectified) -> list[Diagnostic]:
    """All findings on this analysis; empty where nothing deserves a word."""
    problem = solver.problem
    found: list[Diagnostic] = []
    if problem.sampling.has_label_shift:
        found += [*label_shift_findings(problem)]
    else:
        found += [*_outcome_findings(solver), *_design_findings(problem)]
    if problem.has_predictions:
        found += _leak_findings(problem)
    if problem.has_predictions and not problem.sampling.has_label_shift:
        found += _weight_findings(solver, answer)
        found += _balance_findings(problem) if problem.sampling.pools else _shift_findings(problem)
    if problem.estimand.solver == "profile":  # a profile takes its time, and has two ends
        return found
    lower, upper = bounds(solver, answer, 0.95)
    found += _limit_findings(problem, answer, lower, upper)
    if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
        side = "below" if not np.isfinite(lower).all() else "above"
        found.append(
            Diagnostic(
                "open_interval",
                f"with {len(problem.y)} labeled rows the 95% interval has no end {side}: no outcome that was seen "
                "lies far enough out. Label more rows, or ask for a quantile nearer the middle.",
            )
        )
    return found


def _limit_findings(problem: Problem, answer: Rectified, lower: np.ndarray, upper: np.ndarray) -> Iterator[Diagnostic]:
    """Intervals that reach where no parameter can be; bounds without end are another matter."""
    low, high = (0.0, 1.0) if problem.sampling.has_label_shift else problem.estimand.limits
    slack = 1e-9 * (high - low) if np.isfinite(high - low) else 0.0
    is_out = (np.isfinite(lower) & (lower < low - slack)) | (np.isfinite(upper) & (upper > high + slack))
    if not is_out.any():
        return
    j = int(np.argmax(is_out))
    beyond = ((answer.estimate < low - slack) | (answer.estimate > high + slack)).any()
    yield Diagnostic(
        "beyond_limits",
        f"the 95% interval of {problem.terms[j]!r} goes from {lower[j]:.3g} to {upper[j]:.3g}, and "
        f"{'the estimate itself' if beyond else 'part of it'} lies outside of {low:g} to {high:g}, where it cannot be: "
        "so near to its limit the estimate is skewed, and a symmetric interval rough. Take what lies inside, and label "
        "more rows.",
        "warning" if beyond else "note",
    )


def _outcome_findings(solver: Solver) -> Iterator[Diagnostic]:
    problem = solver.problem
    n = len(problem.y)
    if any(shares := solver.parts.shares):
        yield from _share_findings(problem, shares)
        return
    yield from _rare_slopes(problem)
    if problem.estimand.surrogate == "distribution" or n < 10:
        return
    square = solver.parts.influence_y**2
    share = square.max(axis=0) / np.maximum(square.sum(axis=0), np.finfo(float).tiny)
    if share.max() > ONE_ROW:
        term = problem.terms[int(share.argmax())]
        yield Diagnostic(
            "influential_row",
            f"one labeled row makes up {share.max():.0%} of the variance of {term!r}: an outlier, or a row far from "
            "all others. The interval rests on it; check it, or model a transformed outcome.",
        )


def _rare_slopes(problem: Problem) -> Iterator[Diagnostic]:
    """Few events for each slope of a regression of classes or counts, whatever its link; shares have no need of it."""
    estimand, y = problem.estimand, problem.rows_y.Y
    slopes = problem.X_labeled.shape[1] - 1
    if not isinstance(estimand, (Penalisable, Multinomial)) or slopes < 1 or estimand.solver == "profile":
        return
    if isinstance(estimand, Poisson):
        events, what = float(y.sum()), "counts sum to"
    else:
        events = float(min(y.sum(axis=0).min(), (len(y) - y.sum(axis=1).sum()) if y.size else 0))
        what = "labeled rows of the rarest class number"
    if events < EVENTS_PER_SLOPE * slopes:
        remedy = "Label more rows, drop covariates, or merge classes."
        if type(estimand) in (Logistic, Poisson):  # other links have no penalised likelihood here
            given = "weight=0" if problem.has_predictions else "labels alone, as here"
            remedy = (
                f"Use {type(estimand).__name__}(..., method='firth') with {given}: penalised likelihood, whose profile "
                "intervals hold there; or compare shares of groups with Mean(..., by=...), whose intervals are exact."
            )
        yield Diagnostic(
            "rare_event_slopes",
            f"the {what} {events:g}, for {slopes} slope(s); below {EVENTS_PER_SLOPE} for each, intervals of slopes and "
            f"their p-values are not to be trusted (nominal .95 covered .74 to .88 with 2 to 5 events). {remedy}",
            "warning",
        )


def _share_findings(problem: Problem, shares: list[Outcomes | None]) -> Iterator[Diagnostic]:
    several = len(shares) > 1
    named = [(f" of {term!r}" if several else "", s) for term, s in zip(problem.terms, shares, strict=True) if s]
    silent = [(of, s) for of, s in named if not s.rarer]
    if silent:
        which = ", ".join(f"all {len(s.y)} labeled outcomes{of} equal {s.y[0]:g}" for of, s in silent[:6])
        yield Diagnostic(
            "no_event",
            f"{which}; they are taken for those of an outcome of {silent[0][1].low:g} and {silent[0][1].high:g}. The "
            "exact interval of the share is given, from labeled rows alone: no row has shown that predictions go "
            "with the outcome. If the outcome has other values too, it is not valid; label more rows.",
        )
    rare = [(of, s) for of, s in named if 0 < s.rarer < FEW_EVENTS]
    if rare:
        which = ", ".join(f"{s.rarer} of {len(s.y)} labeled rows{of}" for of, s in rare[:6])
        yield Diagnostic(
            "rare_event",
            f"only {which} are on the rarer side of a two-valued outcome, too few for a t interval: the exact one is "
            "given, which is wider. Label more rows.",
        )


def _design_findings(problem: Problem) -> Iterator[Diagnostic]:
    X, n = problem.X_labeled, len(problem.y)
    p = X.shape[1]
    names = problem.columns
    is_indicator = ((X == 0) | (X == 1)).all(axis=0)
    fewer = np.minimum((X == 1).sum(axis=0), (X == 0).sum(axis=0))
    thin = [
        f"{name} ({k})"
        for name, k, is_it in zip(names, fewer, is_indicator & (fewer > 0), strict=False)
        if is_it and k < THIN
    ]
    if thin:
        yield Diagnostic(
            "thin_category",
            f"fewer than {THIN} labeled rows set these apart: {', '.join(thin[:6])}. Their intervals are rough; merge "
            "categories or label more of them.",
        )
    if p > 1 and n < ROWS_PER_COEFFICIENT * p:
        yield Diagnostic(
            "few_rows",
            f"{n} labeled rows for {p} coefficients; below {ROWS_PER_COEFFICIENT} for each, standard errors are rough.",
        )


def _leak_findings(problem: Problem) -> Iterator[Diagnostic]:
    """Predictions that look like the labels."""
    n = len(problem.y)
    y, f = problem.y, problem.f_labeled
    assert f is not None
    # Equal within what the outcomes differ by: far from zero, all predictions are relatively close to all outcomes.
    near = 1e-9 * np.std(y, axis=0) + 4 * np.finfo(float).eps * np.abs(y)
    n_equal = int((np.abs(f - y) <= near).reshape(n, -1).all(axis=1).sum())
    many_values = len(np.unique(y)) > n / 2  # of a label that repeats, many predictions are right by merit
    if n_equal == n or (many_values and n_equal > 0.2 * n):
        yield Diagnostic(
            "in_sample",
            f"the predictions equal the outcome on {n_equal} of {n} labeled rows: they look like the labels "
            "themselves, or the output of a model fitted on these rows. Then the interval is not valid; pass "
            "predictor=model instead.",
            "warning",
        )
    elif many_values and y.ndim == 1 and unexplained(y, f) < COPY:
        yield Diagnostic(
            "too_good",
            f"the predictions leave {unexplained(y, f):.1e} of the variance of the outcome on labeled rows, which "
            "looks like the labels themselves, rounded or disturbed a little, or a column that holds them. Then the "
            "interval is not valid. Ignore this if they are as good where nobody has a label.",
            "warning",
        )
    elif y.ndim == 1 and np.isin(y, (0, 1)).all() and np.isin(f, (0, 1)).all() and len(np.unique(f)) == 2:
        yield Diagnostic(
            "hard_labels",
            "the predictions of a 0/1 outcome are labels, 0 or 1. The interval is valid, but predicted probabilities "
            "make it narrower.",
        )


def _weight_findings(solver: Solver, answer: Rectified) -> Iterator[Diagnostic]:
    """What predictions are worth, and what decides their weight."""
    problem, n = solver.problem, len(solver.problem.y)
    if problem.compat == "ppi_py" and answer.tuned and np.isin(answer.weight, (0, 1)).any():
        yield Diagnostic(
            "weight_clipped",
            "the tuned weight was cut off at 0 or 1, as compat='ppi_py' does; without compat it is not.",
        )
    strongest, limit = float(np.max(np.abs(solver.parts.correlation))), 1 / np.sqrt(max(n - 2, 1))
    if answer.weight_is_undefined:
        yield Diagnostic(
            "no_information",
            "on the labeled rows the predictions say nothing of this estimand: they are constant, a linear function of "
            "the covariates, or, for a quantile, all on one side of it. The estimate is the classical one.",
        )
    elif strongest < limit:
        yield Diagnostic(
            "weak_predictions",
            f"predictions and outcome correlate at most {strongest:.2f}, below 1/sqrt(n - 2) = {limit:.2f}: too weak "
            "to help with this many labels; labeled rows alone do as well (weight=0).",
        )
    elif answer.tuned and np.max(answer.weight) < 0 and strongest > 2 * limit:  # less may be chance
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
    if answer.tuned and n < FEW_LABELS and np.max(answer.weight) > 0:
        yield Diagnostic(
            "few_labels",
            f"{n} labeled rows also decide how far the predictions count; below {FEW_LABELS} that is itself uncertain: "
            "the interval may be too short (nominal .90 covered .87 to .88 at n = 15 where predictions depend on "
            "extremes), or longer than that of labels alone. Label more rows; weight=0 leaves the predictions out.",
        )
    if answer.tuned:
        return
    wider = answer.std_error > 1.1 * solver.under(0).std_error
    if wider.any():
        names = [term for term, is_wider in zip(problem.terms, wider, strict=True) if is_wider]
        yield Diagnostic(
            "wider_than_classical",
            f"the standard error of {names} is more than 10% above the one from labeled rows alone; use weight='auto'.",
        )


def _shift_findings(problem: Problem) -> Iterator[Diagnostic]:
    """Compare mean and spread of each design column and of the predictions, labeled against unlabeled rows."""
    from scipy.special import stdtr

    n, N = len(problem.X_labeled), len(problem.unlabeled_sample)
    if (
        n < 10 or N < 10 or problem.sampling.clusters_labeled is not None
    ):  # rows of a cluster are no independent evidence
        return
    # A line for each column of the table, so that sums run along memory.
    L = np.vstack([problem.X_labeled.T, problem.rows_f.Y.T])
    U = np.vstack([problem.unlabeled_sample.X.T, problem.unlabeled_sample.Y.T])
    n_predictions = len(L) - problem.X_labeled.shape[1]
    names = [*problem.columns, *["predictions"] * n_predictions]
    means, variances = (L.mean(axis=1), U.mean(axis=1)), (L.var(axis=1), U.var(axis=1))
    center = (n * means[0] + N * means[1]) / (n + N)
    spread = np.sqrt((n * variances[0] + N * variances[1]) / (n + N))
    varies = spread > 1e-12 * np.maximum(np.abs(center), 1)
    if not varies.any():
        return
    L, U = ((part[varies] - center[varies, None]) / spread[varies, None] for part in (L, U))
    # Squares see a labeled sample that is tighter or wider at the same mean, as in-sample predictions often are.
    squares = (np.minimum(part * part, 9) for part in (L, U))
    z = np.concatenate([_two_sample_z(L, U), _two_sample_z(*squares)])
    if problem.surrogate is not None and problem.surrogate.is_cross_fitted and varies[-1]:
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
            "warning",
        )


def _two_sample_z(L: np.ndarray, U: np.ndarray) -> np.ndarray:
    """(C,) differences of the means of (C, n) and (C, N) in standard errors."""
    noise = np.sqrt(L.var(axis=1, ddof=1) / L.shape[1] + U.var(axis=1, ddof=1) / U.shape[1])
    return np.divide(L.mean(axis=1) - U.mean(axis=1), noise, out=np.zeros_like(noise), where=noise > 0)


def _balance_findings(problem: Problem) -> Iterator[Diagnostic]:
    """Whether labeled rows, weighted by the design, look like all rows, as they do if the probabilities are right."""
    from scipy.special import stdtr

    weights, pooled, f = problem.sampling.weights_labeled, problem.sampling.weights_pooled, problem.f_labeled
    some = problem.unlabeled_sample
    assert weights is not None and pooled is not None and f is not None and some.weights is not None
    n, w = len(problem.y), weights / weights.sum()
    if n < 10 or problem.sampling.clusters_labeled is not None:
        return
    L = np.column_stack([problem.X_labeled, f])
    U = np.column_stack([some.X, some.Y])
    names = [*problem.columns, *["predictions"] * (L.shape[1] - problem.X_labeled.shape[1])]
    everyone = np.concatenate([pooled, some.weights * (problem.n_unlabeled / len(some))])
    target = everyone @ np.concatenate([L, U]) / everyone.sum()
    center = w @ L
    noise = np.sqrt((w**2) @ (L - center) ** 2 * n / (n - 1))
    z = np.divide(center - target, noise, out=np.zeros_like(noise), where=noise > 1e-12 * np.maximum(np.abs(center), 1))
    if problem.surrogate is not None and problem.surrogate.is_cross_fitted:
        z[problem.X_labeled.shape[1] :] = 0.0
    p = 2 * stdtr(n - 1, -np.abs(z)) * len(z)
    guilty = list(dict.fromkeys(name for name, is_off in zip(names, p < SHIFT_LEVEL, strict=True) if is_off))
    if guilty:
        yield Diagnostic(
            "imbalance",
            f"weighted by the design, labeled rows still differ from all rows in {', '.join(guilty)} (p < "
            f"{SHIFT_LEVEL:g}): the probabilities of being labeled look wrong. Check them, or learn them with "
            "Design(propensity=...).",
            "warning",
        )
