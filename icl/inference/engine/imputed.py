"""Predictions counted as if they were real outcomes: the common practice, and not valid. It is there for contrast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icl.inference.engine.rows import Rows, Together
from icl.inference.engine.sandwich import spread, sum_of_squares

if TYPE_CHECKING:
    from icl.inference.engine.answer import Rectified
    from icl.inference.engine.problem import Problem


def solve_imputed(problem: Problem) -> Rectified:
    """The textbook answer from labeled outcomes and unlabeled predictions together."""
    from icl.inference.engine.answer import Rectified

    if problem.estimand.solver == "inversion":
        from icl.inference.engine.quantile import solve_imputed_quantile

        return solve_imputed_quantile(problem)
    if problem.estimand.solver == "bootstrap":
        from icl.inference.engine.bootstrap import solve_imputed_statistic

        return solve_imputed_statistic(problem)
    observed = Rows(problem.X_labeled, problem.rows_y.Y, problem.rows_f_pooled.weights)
    rows = Together([observed, problem.rows_u])
    fit = problem.fit_on(rows, "labeled and unlabeled", problem.labeled_y.estimate)
    n, N, P = len(problem.y), problem.n_unlabeled, len(problem.terms)
    kind = problem.std_error_kind
    if kind in ("residual", "model"):  # textbook: equal variances of all rows, real or not
        covariance = sum_of_squares(fit, rows) / (n + N - P) * fit.bread
    else:
        covariance = spread(fit, rows, kind).corrected
    df = n + N - P if problem.reference == "t" else np.inf
    return Rectified("imputed", fit.estimate, covariance, df, is_valid=False)
