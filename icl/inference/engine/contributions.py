"""What the rows of a problem contribute to its answers: the solutions of which every answer is made, and influences.

Weights, covariances, tests and shares read from here and leave everything as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from icl.inference.checks import OptionalArray
from icl.inference.engine.clusters import group_sums, satterthwaite
from icl.inference.engine.firth import fit_penalised
from icl.inference.engine.fit import LARGE, Fit, solve, solve_linear
from icl.inference.engine.problem import Problem
from icl.inference.engine.quantile_bins import Bins
from icl.inference.engine.rows import Rows, RowSource, Together
from icl.inference.engine.sandwich import Spread, effective_units, meat, row_contributions, spread
from icl.inference.engine.shares import Outcomes, shares_in
from icl.inference.estimands.equations import CanonicalGLM

WARM_START = 40_000
"""Rows whose solution is where Newton's method begins on many more: it saves one or two passes over them."""


@dataclass(frozen=True, eq=False)
class Contributions:
    """Everything that answers under different weights have in common, each computed on first use and kept.

    On first use, because no answer needs all of it: the classical one has no predictions, and unlabeled rows alone may
    be too few for a solution that all rows together give.
    """

    problem: Problem

    @cached_property
    def shares(self) -> list[Outcomes | None]:
        """For each of P terms the outcomes of which it is the share, if it is one."""
        return shares_in(self.problem)

    # The three or four solutions of which every answer is made.

    @cached_property
    def labeled_y(self) -> Fit:
        """beta."""
        if self.problem.estimand.solver == "profile":
            return fit_penalised(self.problem, self.problem.rows_y)
        return fit_on(self.problem, self.problem.rows_y, "labeled")

    @cached_property
    def labeled_f(self) -> Fit:
        """eta_labeled."""
        return fit_on(self.problem, self.problem.rows_f, "labeled")

    @cached_property
    def unlabeled_f(self) -> Fit:
        """eta_unlabeled."""
        N, P = self.problem.n_unlabeled, len(self.problem.terms)
        if N < P + 2:
            raise ValueError(
                f"{N} unlabeled rows cannot support {P} coefficients; PPI and PPI++ need {P + 2} of them. "
                "Use weight='synsurr', which pools them with the labeled rows."
            )
        return fit_on(self.problem, self.problem.rows_u, "unlabeled", self.labeled_f.estimate)

    @cached_property
    def all_f(self) -> Fit:
        """eta on labeled and unlabeled rows together."""
        rows = Together([self.problem.rows_f_pooled, self.problem.rows_u])
        return fit_on(self.problem, rows, "labeled and unlabeled", self.labeled_f.estimate)

    # What labeled rows contribute to them.

    @cached_property
    def influence_y(self) -> np.ndarray:
        """(n, P) contribution of each labeled outcome to beta."""
        return self.labeled_y.influence(self.problem.rows_y)

    @cached_property
    def influence_f(self) -> np.ndarray:
        """(n, P) contribution of each labeled prediction to eta_labeled, across the bridge."""
        return self.labeled_f.influence(self.problem.rows_f) @ self.bridge.T

    @cached_property
    def leverage(self) -> OptionalArray:
        """(n,) leverage of labeled rows in beta."""
        return self.labeled_y.leverage(self.problem.rows_y)

    @cached_property
    def levers(self) -> OptionalArray:
        """(n, P) derivative of beta by the residual of each labeled row; None where rows have no single residual, or
        several that meet in one coefficient."""
        problem, rows = self.problem, self.problem.rows_y
        if not isinstance(problem.model, CanonicalGLM) or (rows.Y.shape[1] > 1 and not problem.model.is_linear):
            return None
        p = rows.X.shape[1]
        X = rows.X if rows.weights is None else rows.X * rows.weights[:, None]
        return np.tile(X @ self.labeled_y.bread[:p, :p], (1, rows.Y.shape[1]))

    @cached_property
    def spread_of_residuals(self) -> np.ndarray:
        """(n, 1) standard deviation that the family gives the residual of each labeled row."""
        problem, rows = self.problem, self.problem.rows_y
        assert isinstance(problem.model, CanonicalGLM)
        if problem.model.is_linear:
            return np.ones((len(rows), 1))
        family = problem.model.family
        return np.sqrt(family.curvature(family.mean(problem.model.predictor(rows.X, self.labeled_y.estimate))))

    @cached_property
    def residual_y(self) -> OptionalArray:
        """(n, K) labeled outcomes less what beta makes of their covariates."""
        return self.labeled_y.residual(self.problem.rows_y)

    @cached_property
    def residual_f(self) -> OptionalArray:
        """(n, K) labeled predictions less what eta_labeled makes of their covariates."""
        return self.labeled_f.residual(self.problem.rows_f)

    @cached_property
    def correlation(self) -> np.ndarray:
        """(P,) correlation of the influence of outcome and predictions; bounds the gain by 1 / (1 - rho^2 N/(n+N))."""
        a, b = self.influence_y, self.influence_f
        if self.problem.estimand.solver == "bootstrap":  # no influences: that of the mean outcome, for all parameters
            a, b = (np.tile(v, len(self.problem.terms)) for v in (a, b))
        a, b = (
            v / power_of_two(np.abs(v).max(initial=0.0)) for v in (a, b)
        )  # their fourth powers must not leave the range of floats
        scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
        return np.divide((a * b).sum(axis=0), scale, out=np.zeros_like(scale), where=scale > 0)

    # From differences of eta to those of beta.

    @cached_property
    def bridge(self) -> np.ndarray:
        """(P, P) from differences of eta to those of beta: Hessian at beta, inverted, times Hessian at eta.

        The identity in a linear model. Elsewhere a unit of score means a unit of score in both, so that overconfident
        predictions, whose coefficients are large, do not count for more (Chen & Chen 2000).
        """
        if self.problem.model.is_linear:
            return np.eye(len(self.labeled_y.estimate))
        return self.labeled_y.bread @ self.labeled_f.hessian

    def elsewhere(self, pooled: bool) -> Fit:
        """eta that eta_labeled is compared with: on all rows, or on the unlabeled ones."""
        return self.all_f if pooled else self.unlabeled_f

    def gap(self, pooled: bool) -> np.ndarray:
        """(P,) eta_elsewhere - eta_labeled, across the bridge."""
        return self.bridge @ (self.elsewhere(pooled).estimate - self.labeled_f.estimate)

    @cached_property
    def bins(self) -> Bins | None:
        """Of the predictions of a quantile, where unlabeled rows come in batches."""
        problem = self.problem
        if problem.estimand.solver != "inversion" or problem.unlabeled_source is None or not problem.has_predictions:
            return None
        return Bins.of(problem.unlabeled_source, np.concatenate([problem.y, problem.predicted.f_labeled]))

    # What unlabeled rows contribute, summed up.

    @cached_property
    def unlabeled_spread(self) -> Spread:
        return spread(self.unlabeled_f, self.problem.rows_u, self.problem.std_error_kind)

    @cached_property
    def all_spread(self) -> Spread:
        """Of the unlabeled rows alone, as they enter the fit on all rows."""
        return spread(self.all_f, self.problem.rows_u, self.problem.std_error_kind)

    @cached_property
    def unlabeled_spread_on_bridge(self) -> np.ndarray:
        """(P, P) variance of eta_unlabeled, across the bridge, without small-sample correction."""
        sampling = self.problem.sampling
        if not sampling.is_grouped:
            return self.bridge @ self.unlabeled_spread.raw @ self.bridge.T
        units = row_contributions(self.unlabeled_f, self.problem.rows_u) @ self.bridge.T
        if sampling.clusters_unlabeled is not None:
            _, code = np.unique(sampling.clusters_unlabeled, return_inverse=True)
            return meat(group_sums(units, code, code.max() + 1))
        return meat(units, sampling.strata_unlabeled)

    # Labeled clusters.

    @cached_property
    def cluster_codes(self) -> np.ndarray:
        """(n,) labeled clusters as numbers 0 to G - 1, in the order of their ids."""
        return np.unique(self.problem.sampling.clusters_labeled, return_inverse=True)[1]

    @cached_property
    def cluster_hessians(self) -> OptionalArray:
        """(G, P, P) what each labeled cluster adds to the Hessian of beta; None where that is unknown."""
        rows = self.problem.rows_y
        by_row = self.problem.model.row_hessians(rows.X, rows.Y, rows.weights, self.labeled_y.estimate)
        return None if by_row is None else group_sums(by_row, self.cluster_codes, self.problem.n_labeled_units)

    def over_clusters(self, contributions: np.ndarray) -> np.ndarray:
        """(n, P) for each labeled row the summed contributions of its cluster; itself where there are none."""
        if self.problem.sampling.clusters_labeled is None:
            return contributions
        code = self.cluster_codes
        return group_sums(contributions, code, code.max() + 1)[code]

    @cached_property
    def cluster_worth(self) -> np.ndarray:
        """(P,) degrees of freedom of labeled clusters; (1,) where only their sizes can be told, as for a quantile."""
        problem, sampling = self.problem, self.problem.sampling
        scores = None
        if problem.estimand.solver == "scores":
            rows = problem.rows_y
            scores = problem.model.working_scores(rows.X, rows.weights, self.labeled_y.estimate)
        if scores is None:
            weights = np.ones(len(problem.y)) if sampling.weights_labeled is None else sampling.weights_labeled
            return np.array([effective_units(weights, sampling.clusters_labeled) - 1])
        bread = self.labeled_y.bread
        return satterthwaite(scores, self.cluster_codes, self.cluster_hessians, bread, problem.std_error_kind)


def power_of_two(values: np.ndarray | float) -> np.ndarray:
    """The power of two at or below each positive value, 1 for others: to divide by it rounds nothing."""
    positive = (values > 0) & np.isfinite(values)
    return np.where(positive, np.ldexp(1.0, np.frexp(np.where(positive, values, 1.0))[1] - 1), 1.0)


def fit_on(problem: Problem, rows: RowSource, which: str, start: np.ndarray | None = None) -> Fit:
    """The estimating equation of a problem, solved on some rows; `which` names them in messages."""
    model, describe = problem.model, str(problem.estimand)
    if isinstance(rows, Rows) and model.is_linear and len(rows) <= LARGE:
        return solve_linear(model, rows, describe, problem.columns, which)
    if start is None and isinstance(rows, Rows):
        start = model.start(rows.X, rows.Y, rows.weights)
    if len(rows) > 5 * WARM_START and not model.is_linear:
        start = solve(model, rows.sample(WARM_START), describe, problem.terms, start, which).estimate
    return solve(model, rows, describe, problem.terms, start, which)
