"""The arrays of one analysis."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from icl.inference.engine.clusters import group_sums, satterthwaite
from icl.inference.engine.fit import LARGE, Fit, solve, solve_linear
from icl.inference.engine.rows import Rows, RowSource, Together
from icl.inference.engine.sandwich import HC, Spread, effective_units, meat, row_contributions, spread
from icl.inference.estimands import Estimand
from icl.inference.estimands.equations import Model

if TYPE_CHECKING:
    import pandas as pd


def cluster_worth(problem: Problem) -> np.ndarray:
    """(P,) degrees of freedom of the labeled clusters; (1,) where only their sizes can be told, as for a quantile."""
    scores = None
    if problem.estimand.solver == "scores":
        rows = problem.rows_y
        scores = problem.model.working_scores(rows.X, rows.weights, problem.labeled_y.estimate)
    if scores is None:
        weights = np.ones(len(problem.y)) if problem.weights_labeled is None else problem.weights_labeled
        return np.array([effective_units(weights, problem.clusters_labeled) - 1])
    bread = problem.labeled_y.bread
    return satterthwaite(scores, problem.cluster_codes, problem.cluster_hessians, bread, problem.std_error_kind)


WARM_START = 40_000
"""Rows whose solution is where Newton's method begins on many more: it saves one or two passes over them."""


STD_ERRORS = ("auto", *HC, "residual", "model")


@dataclass(frozen=True)
class Problem:
    """Arrays of one analysis, solved on demand under any weight.

    Shapes: n labeled, N unlabeled rows, p columns of the design, K responses, P = pK terms; where K = 1, (n,) stands
    for (n, K). Weights of rows are used as they are: within labeled and within unlabeled rows only their ratios matter;
    the weights that meet in an estimate on all rows (`weights_pooled`, `weights_unlabeled`) must be on one scale.
    """

    estimand: Estimand
    terms: list[str]
    y: np.ndarray
    X_labeled: np.ndarray
    X_unlabeled: np.ndarray
    f_labeled: np.ndarray | None = None
    f_unlabeled: np.ndarray | None = None
    std_error: str = "HC3"
    reference: str = "t"
    compat: str | None = None
    is_cross_fitted: bool = False
    """Predictions were made inside the call, so those of unlabeled rows are averages over folds, and tighter."""
    columns: list[str] | None = None
    """p names of the design; default: the terms."""
    weights_labeled: np.ndarray | None = None
    """(n,) of labeled rows in beta and eta_labeled: survey weight over probability of being labeled."""
    weights_unlabeled: np.ndarray | None = None
    """(N,) of unlabeled rows."""
    weights_pooled: np.ndarray | None = None
    """(n,) of labeled rows where they stand beside unlabeled ones (eta on all rows); default: `weights_labeled`."""
    clusters_labeled: np.ndarray | None = None
    """(n,) ids of clusters, shared with `clusters_unlabeled` (N,); rows of one cluster may depend on one another."""
    clusters_unlabeled: np.ndarray | None = None
    strata_labeled: np.ndarray | None = None
    """(n,) ids of strata, shared with `strata_unlabeled` (N,); rows are independent draws within each of them."""
    strata_unlabeled: np.ndarray | None = None
    knows_strata: bool = False
    """How many members of the population are in each stratum is known; otherwise the rows show it."""
    pools: bool = False
    """Unlabeled rows alone do not stand for the population (labels were more likely on some rows than on others), so
    that predictions of labeled rows can be compared with those of all rows only."""
    unlabeled_source: RowSource | None = None
    """Where unlabeled rows come from, if they do not stand in `X_unlabeled` and `f_unlabeled`."""
    cdf_thresholds: np.ndarray | None = None
    """(T,) increasing values at which predictive distributions are known; quantiles use them."""
    cdf_labeled: np.ndarray | None = None
    """(n, T) predicted P(Y <= threshold)."""
    cdf_unlabeled: np.ndarray | None = None
    frames: tuple[pd.DataFrame, pd.DataFrame] | None = None
    """Labeled and unlabeled rows as tables, for a `Statistic`."""
    seed: int = 0
    """Of the bootstrap."""
    memo: dict = field(default_factory=dict, repr=False, compare=False)
    """What solvers remember: answers by weight, bootstrap draws."""

    @property
    def has_predictions(self) -> bool:
        return self.f_labeled is not None

    @property
    def model(self) -> Model:
        return self.estimand.model

    @property
    def n_unlabeled(self) -> int:
        return len(self.rows_u)

    @property
    def is_plain(self) -> bool:
        """Rows count alike and are independent draws."""
        return self.weights_labeled is None and self.weights_unlabeled is None and not self.is_grouped

    @property
    def is_grouped(self) -> bool:
        return self.clusters_labeled is not None or self.strata_labeled is not None

    @property
    def cdfs(self) -> tuple[np.ndarray, np.ndarray]:
        """(n, T) and (N, T) predicted P(Y <= threshold)."""
        return self.cdf_labeled, self.cdf_unlabeled

    @property
    def n_fitted(self) -> int:
        """Parameters that the residuals of one response were fitted with."""
        return self.model.n_fitted(len(self.terms))

    @property
    def n_labeled_units(self) -> int:
        """Independent labeled units: clusters where there are any, else rows."""
        return len(self.y) if self.clusters_labeled is None else len(np.unique(self.clusters_labeled))

    # Rows, as the engine reads them.

    @cached_property
    def rows_y(self) -> Rows:
        return Rows(self.X_labeled, _columns(self.y), self.weights_labeled)

    @cached_property
    def rows_f(self) -> Rows:
        return Rows(self.X_labeled, _columns(self.f_labeled), self.weights_labeled)

    @cached_property
    def rows_u(self) -> RowSource:
        if self.unlabeled_source is not None:
            return self.unlabeled_source
        if self.f_unlabeled is None:
            return Rows(self.X_unlabeled, np.empty((len(self.X_unlabeled), 0)), self.weights_unlabeled)
        return Rows(self.X_unlabeled, _columns(self.f_unlabeled), self.weights_unlabeled)

    @cached_property
    def unlabeled_sample(self) -> Rows:
        """Some unlabeled rows, for diagnostics: enough that it is labeled rows which limit what they can see."""
        return self.rows_u.sample(max(10_000, 20 * len(self.y)))

    @cached_property
    def rows_f_pooled(self) -> Rows:
        weights = self.weights_labeled if self.weights_pooled is None else self.weights_pooled
        if weights is None and self.weights_unlabeled is not None:
            weights = np.ones(len(self.X_labeled))
        return Rows(self.X_labeled, _columns(self.f_labeled), weights)

    # The three or four solutions of which every answer is made.

    @cached_property
    def labeled_y(self) -> Fit:
        return self.fit_on(self.rows_y, "labeled")

    @cached_property
    def labeled_f(self) -> Fit:
        return self.fit_on(self.rows_f, "labeled")

    @cached_property
    def unlabeled_f(self) -> Fit:
        N, P = self.n_unlabeled, len(self.terms)
        if N < P + 2:
            raise ValueError(
                f"{N} unlabeled rows cannot support {P} coefficients; PPI and PPI++ need {P + 2} of them. "
                "Use weight='synsurr', which pools them with the labeled rows."
            )
        return self.fit_on(self.rows_u, "unlabeled", self.labeled_f.estimate)

    @cached_property
    def all_f(self) -> Fit:
        rows = Together([self.rows_f_pooled, self.rows_u])
        return self.fit_on(rows, "labeled and unlabeled", self.labeled_f.estimate)

    def fit_on(self, rows: RowSource, which: str, start: np.ndarray | None = None) -> Fit:
        if isinstance(rows, Rows) and self.model.is_linear and len(rows) <= LARGE:
            return solve_linear(self.model, rows, str(self.estimand), self.columns or self.terms, which)
        if start is None and isinstance(rows, Rows):
            start = self.model.start(rows.X, rows.Y, rows.weights)
        if len(rows) > 5 * WARM_START and not self.model.is_linear:
            start = solve(self.model, rows.sample(WARM_START), str(self.estimand), self.terms, start, which).estimate
        return solve(self.model, rows, str(self.estimand), self.terms, start, which)

    # What labeled rows contribute, and what unlabeled rows do.

    @cached_property
    def influence_y(self) -> np.ndarray:
        """(n, P) contribution of each labeled outcome to beta."""
        return self.labeled_y.influence(self.rows_y)

    @cached_property
    def influence_f(self) -> np.ndarray:
        """(n, P) contribution of each labeled prediction to eta_labeled, across the bridge."""
        return self.labeled_f.influence(self.rows_f) @ self.bridge.T

    @cached_property
    def leverage(self) -> np.ndarray | None:
        """(n,) leverage of labeled rows in beta."""
        return self.labeled_y.leverage(self.rows_y)

    @cached_property
    def bridge(self) -> np.ndarray:
        """(P, P) from differences of eta to those of beta: Hessian at beta, inverted, times Hessian at eta.

        The identity in a linear model. Elsewhere a unit of score means a unit of score in both, so that overconfident
        predictions, whose coefficients are large, do not count for more (Chen & Chen 2000).
        """
        if self.model.is_linear:
            return np.eye(len(self.labeled_y.estimate))
        return self.labeled_y.bread @ self.labeled_f.hessian

    def gap(self, pooled: bool) -> np.ndarray:
        """(P,) eta_elsewhere - eta_labeled, across the bridge."""
        elsewhere = self.all_f if pooled else self.unlabeled_f
        return self.bridge @ (elsewhere.estimate - self.labeled_f.estimate)

    @cached_property
    def cluster_codes(self) -> np.ndarray:
        """(n,) labeled clusters as numbers 0 to G - 1, in the order of their ids."""
        return np.unique(self.clusters_labeled, return_inverse=True)[1]

    @cached_property
    def cluster_hessians(self) -> np.ndarray | None:
        """(G, P, P) what each labeled cluster adds to the Hessian of beta; None where that is unknown."""
        rows = self.rows_y
        by_row = self.model.row_hessians(rows.X, rows.Y, rows.weights, self.labeled_y.estimate)
        return None if by_row is None else group_sums(by_row, self.cluster_codes, self.n_labeled_units)

    def over_clusters(self, contributions: np.ndarray) -> np.ndarray:
        """(n, P) for each labeled row the summed contributions of its cluster; itself where there are none."""
        if self.clusters_labeled is None:
            return contributions
        code = self.cluster_codes
        return group_sums(contributions, code, code.max() + 1)[code]

    @cached_property
    def unlabeled_spread(self) -> Spread:
        return spread(self.unlabeled_f, self.rows_u, self.std_error_kind)

    @cached_property
    def all_spread(self) -> Spread:
        """Of the unlabeled rows alone, as they enter the fit on all rows."""
        return spread(self.all_f, self.rows_u, self.std_error_kind)

    @property
    def unlabeled_spread_on_bridge(self) -> np.ndarray:
        """(P, P) variance of eta_unlabeled, across the bridge, without small-sample correction."""
        if not self.is_grouped:
            return self.bridge @ self.unlabeled_spread.raw @ self.bridge.T
        units = row_contributions(self.unlabeled_f, self.rows_u) @ self.bridge.T
        if self.clusters_unlabeled is not None:
            _, code = np.unique(self.clusters_unlabeled, return_inverse=True)
            return meat(group_sums(units, code, code.max() + 1))
        return meat(units, self.strata_unlabeled)

    @property
    def std_error_kind(self) -> str:
        """Equal variances are a notion of independent rows that count alike, with one response."""
        is_simple = self.is_plain and self.model.is_linear and _columns(self.y).shape[1] == 1
        if self.std_error in HC or is_simple:
            return self.std_error
        # Of uneven weights a heavy row hides its own deviation, which HC1 shares out evenly and HC2 gives back to it.
        return "HC2" if self.model.is_linear else "HC1"

    @cached_property
    def correlation(self) -> np.ndarray:
        """(P,) correlation of the influence of outcome and predictions; bounds the gain by 1 / (1 - rho^2 N/(n+N))."""
        a, b = self.influence_y, self.influence_f
        if self.estimand.solver == "bootstrap":  # no influences: that of the mean outcome, for all parameters
            a, b = (np.tile(v, len(self.terms)) for v in (a, b))
        scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
        return np.divide((a * b).sum(axis=0), scale, out=np.zeros_like(scale), where=scale > 0)

    def degrees_of_freedom(self, tuned: bool) -> float:
        """Of the t reference: counts independent units; with uneven weights the share of them that these are worth."""
        if self.reference != "t":
            return np.inf
        if self.clusters_labeled is not None:
            return float(self._cluster_df(tuned).min())
        n = len(self.y)
        df = self.estimand.degrees_of_freedom(n, self.n_fitted, tuned)
        if self.weights_labeled is not None:
            df *= (effective_units(self.weights_labeled) - 1) / max(n - 1, 1)
        return max(df, 1)

    @cached_property
    def _cluster_worth(self) -> np.ndarray:
        return cluster_worth(self)

    def _cluster_df(self, tuned: bool) -> np.ndarray:
        """A tuned weight costs as large a share of them as it costs of clusters that count alike."""
        G = self.n_labeled_units
        return np.maximum(self._cluster_worth * (G - 1 - tuned) / max(G - 1, 1), 1)

    def cluster_df(self, tuned: bool, labeled: np.ndarray, others: np.ndarray) -> np.ndarray:
        """(P,) degrees of freedom of variances (P,) that labeled clusters and others add up to (Satterthwaite 1946)."""
        df = np.broadcast_to(self._cluster_df(tuned), labeled.shape)
        if not others.any():
            return df
        ids = self.clusters_unlabeled[~np.isin(self.clusters_unlabeled, self.clusters_labeled)]
        worth = max(effective_units(np.ones(len(ids)), ids) - 1, 1)
        return (labeled + others) ** 2 / (labeled**2 / df + others**2 / worth)


def _columns(values: np.ndarray) -> np.ndarray:
    return values[:, None] if values.ndim == 1 else values
