"""The arrays of one analysis. Nothing is computed here; see `icl.inference.engine.contributions`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import OptionalArray
from icl.inference.engine.rows import Rows, RowSource
from icl.inference.engine.sandwich import HC
from icl.inference.engine.surrogate import Surrogate
from icl.inference.estimands import Estimand
from icl.inference.estimands.equations import EstimatingEquation

if TYPE_CHECKING:
    pass

STD_ERRORS = ("auto", *HC, "residual", "model")


@dataclass(frozen=True, eq=False)
class Sampling:
    """How the n labeled and N unlabeled rows came to be, as arrays; None where nothing is special.

    Weights are used as they are: within labeled and within unlabeled rows only their ratios matter; those that meet in
    an estimate on all rows (`weights_pooled`, `weights_unlabeled`) must be on one scale.
    """

    weights_labeled: OptionalArray = None
    """(n,) of labeled rows in beta and eta_labeled: survey weight over probability of being labeled."""
    weights_unlabeled: OptionalArray = None
    """(N,) of unlabeled rows."""
    weights_pooled: OptionalArray = None
    """(n,) of labeled rows where they stand beside unlabeled ones (eta on all rows); default: `weights_labeled`."""
    clusters_labeled: OptionalArray = None
    """(n,) ids of clusters, shared with `clusters_unlabeled` (N,); rows of one cluster may depend on one another."""
    clusters_unlabeled: OptionalArray = None
    """Of rows that come in batches each cluster once, with its rows in `sizes_unlabeled`."""
    sizes_unlabeled: OptionalArray = None
    strata_labeled: OptionalArray = None
    """(n,) ids of strata, shared with `strata_unlabeled` (N,); rows are independent draws within each of them."""
    strata_unlabeled: OptionalArray = None
    knows_strata: bool = False
    """How many members of the population are in each stratum is known; otherwise the rows show it."""
    pools: bool = False
    """Unlabeled rows alone do not stand for the population (labels were more likely on some rows than on others), so
    that predictions of labeled rows can be compared with those of all rows only."""

    has_label_shift: bool = False
    """Unlabeled rows have other shares of the classes, and only that: weights of predictions do not apply."""

    @property
    def is_grouped(self) -> bool:
        return self.clusters_labeled is not None or self.strata_labeled is not None

    @property
    def is_plain(self) -> bool:
        """Rows count alike and are independent draws."""
        return self.weights_labeled is None and self.weights_unlabeled is None and not self.is_grouped


@dataclass(frozen=True, eq=False)
class Problem:
    """Estimand, rows, predictions and settings of one analysis.

    Shapes: n labeled, N unlabeled rows, p columns of the design, K responses, P = pK terms; where K = 1, (n,) stands
    for (n, K).
    """

    estimand: Estimand
    terms: list[str]
    """P names of parameters."""
    columns: list[str]
    """p names of the design."""
    y: np.ndarray
    X_labeled: np.ndarray
    X_unlabeled: np.ndarray
    surrogate: Surrogate | None = None
    sampling: Sampling = field(default_factory=Sampling)
    std_error: str = "HC3"
    reference: str = "t"
    compat: str | None = None
    unlabeled_source: RowSource | None = None
    """Where unlabeled rows come from, if they do not stand in `X_unlabeled` and the surrogate."""
    frames: Any = None
    """Labeled and unlabeled rows as a pair of tables, for a `Statistic`; else None."""
    seed: int = 0
    """Of the bootstrap."""
    arms: Any = None
    """Both arms of an `Effect` (`icl.inference.engine.effect.Arms`); else None."""

    @property
    def has_predictions(self) -> bool:
        return self.surrogate is not None

    @property
    def predicted(self) -> Surrogate:
        """The surrogate of a problem that has one."""
        assert self.surrogate is not None, "ask `has_predictions` first"
        return self.surrogate

    @property
    def f_labeled(self) -> OptionalArray:
        return None if self.surrogate is None else self.surrogate.f_labeled

    @property
    def f_unlabeled(self) -> OptionalArray:
        return None if self.surrogate is None else self.surrogate.f_unlabeled

    @property
    def model(self) -> EstimatingEquation:
        return self.estimand.model

    @property
    def n_unlabeled(self) -> int:
        return len(self.rows_u)

    @property
    def n_fitted(self) -> int:
        """Parameters that the residuals of one response were fitted with."""
        return self.model.n_fitted(len(self.terms))

    @property
    def n_labeled_units(self) -> int:
        """Independent labeled units: clusters where there are any, else rows."""
        clusters = self.sampling.clusters_labeled
        return len(self.y) if clusters is None else len(np.unique(clusters))

    @property
    def std_error_kind(self) -> str:
        """Equal variances are a notion of independent rows that count alike, with one response."""
        if self.estimand.solver == "profile":
            return "model"
        is_simple = self.sampling.is_plain and self.model.is_linear and as_columns(self.y).shape[1] == 1
        if self.std_error in HC[:4] or is_simple:
            return self.std_error
        if self.std_error == "jackknife" and self.sampling.clusters_labeled is None:
            return self.std_error
        # Of uneven weights a heavy row hides its own deviation, which HC1 shares out evenly and HC2 gives back to it.
        return "HC2" if self.model.is_linear else "HC1"

    # Rows, as the engine reads them.

    @property
    def rows_y(self) -> Rows:
        return Rows(self.X_labeled, as_columns(self.y), self.sampling.weights_labeled)

    @property
    def rows_f(self) -> Rows:
        return Rows(self.X_labeled, as_columns(self.f_labeled), self.sampling.weights_labeled)

    @property
    def rows_u(self) -> RowSource:
        if self.unlabeled_source is not None:
            return self.unlabeled_source
        f = np.empty((len(self.X_unlabeled), 0)) if self.f_unlabeled is None else as_columns(self.f_unlabeled)
        return Rows(self.X_unlabeled, f, self.sampling.weights_unlabeled)

    @property
    def unlabeled_sample(self) -> Rows:
        """Some unlabeled rows, for diagnostics: enough that it is labeled rows which limit what they can see."""
        return self.rows_u.sample(max(10_000, 20 * len(self.y)))

    @property
    def rows_f_pooled(self) -> Rows:
        sampling = self.sampling
        weights = sampling.weights_labeled if sampling.weights_pooled is None else sampling.weights_pooled
        if weights is None and sampling.weights_unlabeled is not None:
            weights = np.ones(len(self.X_labeled))
        return Rows(self.X_labeled, as_columns(self.f_labeled), weights)


def as_columns(values: np.ndarray) -> np.ndarray:
    """(R, K), also of one response (R,)."""
    return values[:, None] if values.ndim == 1 else values
