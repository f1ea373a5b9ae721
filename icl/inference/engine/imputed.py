"""Predictions counted as if they were real outcomes: the common practice, and not valid. It is there for contrast."""

from __future__ import annotations

import numpy as np

from icl.inference.engine.answer import Rectified
from icl.inference.engine.contributions import Contributions, fit_on
from icl.inference.engine.rows import Rows, Together
from icl.inference.engine.sandwich import spread, sum_of_squares


def solve_imputed(parts: Contributions) -> Rectified:
    """The textbook answer from labeled outcomes and unlabeled predictions together."""
    problem = parts.problem
    observed = Rows(problem.X_labeled, problem.rows_y.Y, problem.rows_f_pooled.weights)
    rows = Together([observed, problem.rows_u])
    fit = fit_on(problem, rows, "labeled and unlabeled", parts.labeled_y.estimate)
    n, N, P = len(problem.y), problem.n_unlabeled, len(problem.terms)
    kind = problem.std_error_kind
    if kind in ("residual", "model"):  # textbook: equal variances of all rows, real or not
        covariance = sum_of_squares(fit, rows) / (n + N - P) * fit.bread
    else:
        covariance = spread(fit, rows, kind).corrected
    df = n + N - P if problem.reference == "t" else np.inf
    return Rectified("imputed", fit.estimate, covariance, df, is_valid=False)
