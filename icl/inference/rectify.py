"""The one engine: theta = beta + W (eta_elsewhere - eta_labeled), with its covariance.

beta is the answer from the labeled outcomes; eta is the same estimator fed with predictions. Every estimator of the
family is a choice of W and of the rows of eta_elsewhere: 0 is classical, 1 is PPI, a tuned scalar PPI++, the partial
regression coefficient with eta on all rows SynSurr. Derivations: Angelopoulos et al. (2023), Science 382:669;
arXiv:2311.01453; McCaw et al. (2024), doi:10.1038/s41588-024-01793-9. Small samples: MacKinnon & White (1985), HC3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from icl.inference.estimands import Estimand, Fit
from icl.inference.weights import Weight, decide_weight

STD_ERRORS = ("auto", "HC0", "HC1", "HC2", "HC3", "residual", "model")
FULL_LEVERAGE = 1 - 1e-9


@dataclass(frozen=True)
class Rectified:
    """One answer: P estimates, their covariance, the degrees of freedom of the t reference (inf: normal)."""

    name: str
    estimate: np.ndarray
    covariance: np.ndarray
    df: float
    weight: float = float("nan")
    tuned: bool = False
    weight_is_undefined: bool = False
    weight_leverage: float = 0.0
    is_valid: bool = True

    @property
    def std_error(self) -> np.ndarray:
        """(P,) standard errors."""
        return np.sqrt(np.diag(self.covariance))


@dataclass(frozen=True)
class Problem:
    """Arrays of one analysis, solved on demand under any weight. Shapes: n labeled, N unlabeled rows, P terms."""

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
    _answers: dict = field(default_factory=dict, repr=False, compare=False)

    @property
    def has_predictions(self) -> bool:
        return self.f_labeled is not None

    @cached_property
    def labeled_y(self) -> Fit:
        return self.estimand.fit(self.X_labeled, self.y, self.terms)

    @cached_property
    def labeled_f(self) -> Fit:
        return self.estimand.fit(self.X_labeled, self.f_labeled, self.terms)

    @cached_property
    def unlabeled_f(self) -> Fit:
        N, P = self.X_unlabeled.shape
        if N < P + 2:
            raise ValueError(
                f"{N} unlabeled rows cannot support {P} coefficients; PPI and PPI++ need {P + 2} of them. "
                "Use weight='synsurr', which pools them with the labeled rows."
            )
        return self.estimand.fit(self.X_unlabeled, self.f_unlabeled, self.terms, "unlabeled")

    @cached_property
    def all_f(self) -> Fit:
        X = np.concatenate([self.X_labeled, self.X_unlabeled])
        return self.estimand.fit(
            X, np.concatenate([self.f_labeled, self.f_unlabeled]), self.terms, "labeled and unlabeled"
        )

    @cached_property
    def correlation(self) -> np.ndarray:
        """(P,) correlation of the influence of outcome and predictions; bounds the gain by 1 / (1 - rho^2 N/(n+N))."""
        a, b = self.labeled_y.influence, self.labeled_f.influence
        scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
        return np.divide((a * b).sum(axis=0), scale, out=np.zeros_like(scale), where=scale > 0)

    def solve(self, weight: str | float) -> Rectified:
        """The answer under `weight` ("ppi++", "synsurr" or a number); solved once and remembered."""
        if weight not in self._answers:
            if self.compat == "ppi_py":
                from icl.inference.compat import solve_like_ppi_py as solve
            else:
                solve = rectify
            self._answers[weight] = solve(self, weight)
        return self._answers[weight]

    def solve_imputed(self) -> Rectified:
        """Predictions counted as if they were real outcomes: the common practice, and not valid."""
        X = np.concatenate([self.X_labeled, self.X_unlabeled])
        fit = self.estimand.fit(X, np.concatenate([self.y, self.f_unlabeled]), self.terms, "labeled and unlabeled")
        df = len(X) - X.shape[1] if self.reference == "t" else np.inf
        return Rectified("imputed", fit.estimate, _covariance(fit, self.std_error), df, is_valid=False)


def rectify(problem: Problem, weight: str | float) -> Rectified:
    """Estimate and covariance under `weight`.

    The residuals of the labeled part are those of the regression of y - W f, so W = 0 is the textbook sandwich. A
    tuned weight is itself estimated from the labeled outcomes: its lever times the gap it multiplies joins the lever
    of the estimate. Without that term 90% intervals of a slope covered .86 instead of .89 (n = 30, N = 400,
    heteroskedastic, correlation .7, 1,500 repetitions).
    """
    n, P = problem.X_labeled.shape
    beta = problem.labeled_y
    if weight == 0:
        df = problem.estimand.degrees_of_freedom(n, P, False) if problem.reference == "t" else np.inf
        return Rectified("classical", beta.estimate, _covariance(beta, problem.std_error), df, 0.0)
    W = decide_weight(problem, weight)
    eta, elsewhere = problem.labeled_f, problem.all_f if W.pooled else problem.unlabeled_f
    gap = elsewhere.estimate - eta.estimate
    rest = _rest(problem, W, gap)
    kind, ddof = problem.std_error, P + W.tuned
    if kind in ("residual", "model"):
        covariance = _covariance(rest, kind, ddof) + W.value**2 * _covariance(elsewhere, kind)
    else:
        rows = W.value * _influence(elsewhere, kind, P)
        labeled_rows = _influence(rest, kind, ddof)
        if W.pooled:
            labeled_rows = labeled_rows + rows[:n]
            rows = rows[n:]
        covariance = labeled_rows.T @ labeled_rows + rows.T @ rows
    df = problem.estimand.degrees_of_freedom(n, P, W.tuned) if problem.reference == "t" else np.inf
    heaviest = 0.0 if W.leverage is None else float(W.leverage.max())
    return Rectified(
        W.name, beta.estimate + W.value * gap, covariance, df, W.value, W.tuned, not W.is_defined, heaviest
    )


def _rest(problem: Problem, W: Weight, gap: np.ndarray) -> Fit:
    """What the labeled outcomes contribute: a fit of y - W f whose lever includes that of a tuned weight."""
    beta, eta = problem.labeled_y, problem.labeled_f
    lever, leverage = beta.lever, beta.leverage
    if W.lever is not None and problem.std_error != "model":  # the published SynSurr variance takes the weight as known
        lever = lever + W.lever[:, None] * gap
        extended = leverage + W.leverage
        leverage = np.where(extended < FULL_LEVERAGE, extended, leverage)
    return Fit(beta.estimate - W.value * eta.estimate, lever, beta.residual - W.value * eta.residual, leverage)


def _covariance(fit: Fit, kind: str, ddof: int | None = None) -> np.ndarray:
    """(P, P) covariance of a fit by itself; `ddof` is the number of parameters its residuals spent."""
    ddof = len(fit.estimate) if ddof is None else ddof
    if kind in ("residual", "model"):
        return (fit.residual @ fit.residual) / (len(fit.residual) - ddof) * (fit.lever.T @ fit.lever)
    rows = _influence(fit, kind, ddof)
    return rows.T @ rows


def _influence(fit: Fit, kind: str, ddof: int) -> np.ndarray:
    """(R, P) influence of each row, inflated for the shrinkage of residuals towards zero."""
    R = len(fit.residual)
    if kind == "HC0":
        return fit.influence
    if kind == "HC1":
        return fit.influence * np.sqrt(R / (R - ddof))
    alone = int((fit.leverage > FULL_LEVERAGE).sum())
    if alone:
        raise ValueError(
            f"{alone} row(s) alone decide a coefficient (a category with one row?), so {kind} standard errors do not "
            "exist. Merge that category, or use std_error='HC1', which ignores the problem."
        )
    slack = 1 - fit.leverage
    return fit.influence / (np.sqrt(slack) if kind == "HC2" else slack)[:, None]
