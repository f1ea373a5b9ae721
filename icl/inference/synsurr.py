"""SynSurr with gaps on both sides: some rows lack the outcome, others lack the prediction.

Outcome T and prediction S are taken as jointly normal given the covariates; each row contributes what it has. With
every prediction present the estimate is that of `infer(..., weight="synsurr")`, in closed form; with gaps on both sides
the likelihood has no closed-form maximum and is climbed by EM.

Source: McCaw, Gao, Lin, Gronsbell (2024), Nature Genetics, doi:10.1038/s41588-024-01793-9, and their bivariate normal
regression (McCaw, Gaynor, Sun, Lin (2023), Biometrics, doi:10.1111/biom.13743). Sandwich with leverage: Mancl & DeRouen
(2001), Biometrics, doi:10.1111/j.0006-341X.2001.00126.x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.engine.fit import solve_linear
from icl.inference.engine.rows import Rows
from icl.inference.estimands import OLS
from icl.inference.frames import as_frame, is_name, require_columns
from icl.pages.escape import visible
from icl.pages.table import Row, Table

if TYPE_CHECKING:
    import pandas as pd

    from icl.inference.engine.hypothesis import WaldTest

STD_ERRORS = ("HC3", "HC0", "model")
TOLERANCE, MAX_STEPS = 1e-11, 20_000


@dataclass(frozen=True, repr=False, eq=False)
class SynSurrFit:
    """Coefficients of the outcome, fitted together with those of its prediction.

    Attributes:
        estimate, covariance: of the P coefficients of the outcome, by term.
        surrogate: (P,) coefficients of the prediction on the same covariates.
        sigma: (2, 2) residual covariance of outcome and prediction (maximum likelihood).
        n_complete, n_outcome_only, n_prediction_only: rows of each kind; rows with neither carry nothing and were
            left out.
        df: degrees of freedom of the t reference; inf for the normal one.
        n_steps: EM steps taken.
    """

    estimand: OLS
    estimate: pd.Series
    covariance: pd.DataFrame
    surrogate: pd.Series
    sigma: pd.DataFrame
    n_complete: int
    n_outcome_only: int
    n_prediction_only: int
    df: float
    level: float
    kind: str
    n_steps: int
    _rows: _Rows

    @property
    def std_error(self) -> pd.Series:
        """(P,) standard errors."""
        import pandas as pd

        return pd.Series(np.sqrt(np.diag(self.covariance)), self.estimate.index, name="std_error")

    def interval(self, level: float | None = None, alternative: str = "two-sided") -> pd.DataFrame:
        """Columns lower and upper, as `InferenceResult.interval`."""
        import pandas as pd

        from icl.inference.engine.hypothesis import t_interval

        level = self.level if level is None else level
        lower, upper = t_interval(self.estimate.to_numpy(), self.std_error.to_numpy(), self.df, level, alternative)
        return pd.DataFrame({"lower": lower, "upper": upper}, self.estimate.index)

    def p_value(self, null: float | Sequence[float] = 0.0, alternative: str = "two-sided") -> pd.Series:
        """(P,) p-values of coefficient = null."""
        import pandas as pd

        from icl.inference.engine.hypothesis import t_p_value

        p = t_p_value(self.estimate.to_numpy(), self.std_error.to_numpy(), self.df, np.asarray(null), alternative)
        return pd.Series(p, self.estimate.index, name="p_value")

    def wald(self, R: Any, r: Any = 0.0) -> WaldTest:
        """Joint test of R theta = r; R is a matrix or a list of terms."""
        from icl.inference.engine.hypothesis import wald_test

        return wald_test(self.estimate.to_numpy(), self.covariance.to_numpy(), self.df, list(self.estimate.index), R, r)

    def score_test(self, terms: str | Sequence[str]) -> WaldTest:
        """Test that the coefficients of `terms` are zero, from a fit without them; model-based (equal variances).

        Better than Wald's where the alternative is hard to fit. The reference is chi-squared.
        """
        from scipy.special import chdtrc

        from icl.inference.engine.hypothesis import WaldTest

        names = list(self.estimate.index)
        terms = [terms] if isinstance(terms, str) else list(terms)
        unknown = [t for t in terms if t not in names]
        if unknown or not terms:
            raise ValueError(f"terms= got {unknown or 'no term'}; the terms are {names}.")
        tested = np.isin(names, terms)
        if tested.all():
            raise ValueError("terms= names every term; a null model needs one left. Use wald() instead.")
        beta, alpha, sigma, _ = _expectation_maximisation(self._rows, ~tested)
        full = np.zeros(len(names))
        full[~tested] = beta
        score, information = _score_and_information(self._rows, full, alpha, sigma)
        kept = np.r_[~tested, np.ones(len(names), dtype=bool)]
        u, inner = score[~kept], information[np.ix_(~kept, ~kept)]
        cross, outer = information[np.ix_(~kept, kept)], information[np.ix_(kept, kept)]
        statistic = float(u @ np.linalg.solve(inner - cross @ np.linalg.solve(outer, cross.T), u))
        return WaldTest(statistic, len(u), np.inf, float(chdtrc(len(u), statistic)))

    def to_frame(self, level: float | None = None) -> pd.DataFrame:
        """One row for each term, with the column names of R's broom."""
        import pandas as pd

        interval = self.interval(level)
        return pd.DataFrame(
            {
                "term": self.estimate.index,
                "estimate": self.estimate.to_numpy(),
                "std.error": self.std_error.to_numpy(),
                "statistic": (self.estimate / self.std_error).to_numpy(),
                "p.value": self.p_value().to_numpy(),
                "conf.low": interval["lower"].to_numpy(),
                "conf.high": interval["upper"].to_numpy(),
            }
        )

    def summary(self, level: float | None = None) -> str:
        """Plain text: rows, table, assumption."""
        level = self.level if level is None else level
        kind = "model-based (equal variances)" if self.kind == "model" else f"sandwich, {self.kind}"
        reference = f"t with {self.df:g} degrees of freedom" if np.isfinite(self.df) else "normal"
        columns = ["term", "estimate", "std.error", "statistic", "p", f"{100 * level:g}% low", f"{100 * level:g}% high"]
        rows = [
            Row([str(term), *(f"{v:.4g}" for v in row)]) for term, *row in self.to_frame(level).itertuples(index=False)
        ]
        sigma = self.sigma.to_numpy()
        rho = sigma[0, 1] / np.sqrt(sigma[0, 0] * sigma[1, 1])
        return "\n".join(
            [
                f"estimand    {visible(self.estimand)}",
                f"rows        {self.n_complete:,} with outcome and prediction, {self.n_outcome_only:,} with the "
                f"outcome alone, {self.n_prediction_only:,} with the prediction alone",
                f"method      synsurr by EM ({self.n_steps} steps); residual correlation {rho:.2f}",
                f"std. error  {kind}; reference {reference}",
                "",
                Table("", columns, rows).to_text(),
                "",
                "Assumes that what is missing is missing completely at random.",
            ]
        )

    def __repr__(self) -> str:
        return self.summary()


@dataclass(frozen=True)
class _Rows:
    """Covariates X (n, P), outcome t and prediction s (n,), NaN where missing; at least one of the two is present."""

    X: np.ndarray
    t: np.ndarray
    s: np.ndarray

    @property
    def patterns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Masks of rows with both, with the prediction alone, with the outcome alone."""
        has_t, has_s = np.isfinite(self.t), np.isfinite(self.s)
        return has_t & has_s, ~has_t & has_s, has_t & ~has_s


def fit_synsurr(
    estimand: OLS | str,
    table: Any,
    *,
    predictions: str | np.ndarray,
    std_error: str = "HC3",
    reference: str = "t",
    level: float = 0.95,
) -> SynSurrFit:
    """SynSurr for rows of which some lack the outcome and some lack the prediction, by maximum likelihood.

    Args:
        estimand: `OLS("y ~ x")` or its formula.
        table: all rows; a missing outcome or prediction is NaN.
        predictions: column of out-of-sample predictions, or (n,) array.
        std_error: "HC3" or "HC0" (sandwich: valid whatever the residual variances) or "model" (as published).
        reference: "t" with n - P degrees of freedom, n the rows with an outcome, or "normal".
        level: coverage of the intervals that are printed.
    Raises:
        ValueError: for too few complete rows, collinear covariates, predictions without information of their own.
    """
    import pandas as pd

    estimand = OLS(estimand) if isinstance(estimand, str) else estimand
    if not isinstance(estimand, OLS):
        raise ValueError(f"SynSurr by EM is a linear model, got {estimand!r}; pass OLS('y ~ x'), or use infer().")
    for name, got, known in (("std_error", std_error, STD_ERRORS), ("reference", reference, ("t", "normal"))):
        if got not in known:
            raise ValueError(f"{name} got {got!r}; known are {', '.join(map(repr, known))}.")
    frame = as_frame(table, "table")
    require_columns(frame, [*estimand.outcome_columns, *estimand.covariate_columns], "rows of table=", "by the formula")
    s = _numbers(frame, predictions)
    has_t = np.logical_and.reduce([frame[c].notna().to_numpy() for c in estimand.outcome_columns])
    used = has_t | np.isfinite(s)
    frame, s, has_t = frame[used], s[used], has_t[used]
    t = np.full(len(frame), np.nan)
    t[has_t] = estimand.outcome(frame[has_t])
    X, terms = estimand.design(frame[list(estimand.covariate_columns)])
    rows = _Rows(X, t, s)
    both, only_s, only_t = rows.patterns
    P = X.shape[1]
    if both.sum() < P + 3:
        raise ValueError(
            f"{both.sum()} rows have both outcome and prediction; at least {P + 3} are needed to learn how the two go "
            f"together with {P} coefficient(s)."
        )
    complete = Rows(X[both], s[both][:, None])
    start = solve_linear(estimand.model, complete, str(estimand), terms, "complete")  # refuses collinear covariates
    if np.linalg.norm(start.residual(complete)) <= 1e-10 * np.linalg.norm(s[both]):
        raise ValueError(
            "the predictions are constant or a linear function of the covariates, so they add nothing; use infer()."
        )
    beta, alpha, sigma, n_steps = _expectation_maximisation(rows, np.ones(P, dtype=bool))
    covariance = _covariance(rows, beta, alpha, sigma, std_error)[:P, :P]
    index = pd.Index(terms, name="term")
    both_names = ["outcome", "prediction"]
    return SynSurrFit(
        estimand,
        pd.Series(beta, index, name="estimate"),
        pd.DataFrame(covariance, index, index),
        pd.Series(alpha, index, name="surrogate"),
        pd.DataFrame(sigma, both_names, both_names),
        int(both.sum()),
        int(only_t.sum()),
        int(only_s.sum()),
        float(has_t.sum() - P) if reference == "t" else np.inf,
        level,
        std_error,
        n_steps,
        rows,
    )


def _numbers(frame: pd.DataFrame, predictions: str | np.ndarray) -> np.ndarray:
    if is_name(predictions):
        require_columns(frame, [predictions], "rows of table=", "as predictions")
        predictions = frame[predictions].to_numpy(dtype=float, na_value=np.nan)
    values = np.asarray(predictions, dtype=float)
    if values.shape != (len(frame),):
        raise ValueError(f"predictions= got shape {values.shape}; expected one number for each of {len(frame)} rows.")
    if np.isinf(values).any():
        raise ValueError(f"predictions= holds {int(np.isinf(values).sum())} infinite values; NaN marks a missing one.")
    return values


def _expectation_maximisation(rows: _Rows, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Maximum likelihood of beta (terms `kept`), alpha (all terms), and Sigma (2, 2); number of steps.

    Everything a step needs is in the Gram matrices of the three patterns, so a step costs O(P^3) whatever n is.
    """
    X, Z = rows.X[:, kept], rows.X
    both, only_s, only_t = rows.patterns
    p, q = X.shape[1], Z.shape[1]
    # Work with what a complete-case fit leaves over: Gram matrices of raw outcomes would lose digits to cancellation.
    beta0 = np.linalg.lstsq(X[both], rows.t[both], rcond=None)[0]
    alpha0 = np.linalg.lstsq(Z[both], rows.s[both], rcond=None)[0]
    t, s = rows.t - X @ beta0, rows.s - Z @ alpha0
    gram = [
        np.column_stack(columns)
        for columns in ((X[both], Z[both], t[both], s[both]), (Z[only_s], s[only_s]), (X[only_t], t[only_t]))
    ]
    G0, G1, G2 = (part.T @ part for part in gram)
    n0, n1, n2 = (len(part) for part in gram)
    x, z, it, is_ = slice(0, p), slice(p, p + q), p + q, p + q + 1
    of_s, of_t = np.r_[p : p + q, is_], np.r_[0:p, it]
    sigma = G0[np.ix_([it, is_], [it, is_])] / n0
    shift = np.zeros(p + q)
    for step in range(1, MAX_STEPS + 1):
        # By hand where two by two: steps are many, and a call of NumPy costs more than these sums.
        K = np.array([[sigma[1, 1], -sigma[0, 1]], [-sigma[0, 1], sigma[0, 0]]])
        K /= sigma[0, 0] * sigma[1, 1] - sigma[0, 1] ** 2
        A, b = np.zeros((p + q, p + q)), np.zeros(p + q)
        A[x, x] = K[0, 0] * G0[x, x] + G2[:p, :p] / sigma[0, 0]
        A[z, z] = K[1, 1] * G0[z, z] + G1[:q, :q] / sigma[1, 1]
        A[x, z] = K[0, 1] * G0[x, z]
        A[z, x] = A[x, z].T
        b[x] = K[0, 0] * G0[x, it] + K[0, 1] * G0[x, is_] + G2[:p, p] / sigma[0, 0]
        b[z] = K[1, 1] * G0[z, is_] + K[0, 1] * G0[z, it] + G1[:q, q] / sigma[1, 1]
        new_shift = np.linalg.solve(A, b)
        # Residual cross-products of each pattern; the missing residual is the regression on the one that is there.
        T, S = np.zeros((2, p + q + 2))
        T[x], T[it], S[z], S[is_] = -new_shift[x], 1, -new_shift[z], 1
        e1, e2 = S[of_s] @ G1 @ S[of_s], T[of_t] @ G2 @ T[of_t]
        by_s, by_t = sigma[0, 1] / sigma[1, 1], sigma[0, 1] / sigma[0, 0]
        of_both = T @ G0
        tt = of_both @ T + e1 * by_s**2 + e2 + n1 / K[0, 0]
        ss = S @ G0 @ S + e1 + e2 * by_t**2 + n2 / K[1, 1]
        ts = of_both @ S + e1 * by_s + e2 * by_t
        new_sigma = np.array([[tt, ts], [ts, ss]]) / (n0 + n1 + n2)
        scale = np.sqrt(np.diag(new_sigma))
        moved = np.abs((new_sigma - sigma) / (scale[:, None] * scale)).max()
        moved = max(moved, np.sqrt((new_shift - shift) @ A @ (new_shift - shift) / (p + q)))
        sigma, shift = new_sigma, new_shift
        if moved < TOLERANCE:
            return beta0 + shift[:p], alpha0 + shift[p:], sigma, step
    raise ValueError(
        f"EM did not settle in {MAX_STEPS} steps (last change {moved:.1e}); the predictions may determine the outcome "
        "exactly. Check that they are not the labels themselves."
    )


def _score_and_information(
    rows: _Rows, beta: np.ndarray, alpha: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(2P,) score and (2P, 2P) information of (beta, alpha) at Sigma."""
    X, weights = rows.X, _precisions(rows, sigma)
    e = np.nan_to_num(np.column_stack([rows.t - X @ beta, rows.s - X @ alpha]))
    weighted = np.einsum("rij,rj->ri", weights, e)
    information = np.block([[X.T @ (weights[:, i, j, None] * X) for j in (0, 1)] for i in (0, 1)])
    return (X.T @ weighted).T.reshape(-1), information


def _precisions(rows: _Rows, sigma: np.ndarray) -> np.ndarray:
    """(n, 2, 2) inverse covariance of what each row has, zero where it has nothing."""
    both, only_s, only_t = rows.patterns
    out = np.zeros((len(rows.t), 2, 2))
    out[both] = np.linalg.inv(sigma)
    out[only_s, 1, 1], out[only_t, 0, 0] = 1 / sigma[1, 1], 1 / sigma[0, 0]
    return out


def _covariance(rows: _Rows, beta: np.ndarray, alpha: np.ndarray, sigma: np.ndarray, kind: str) -> np.ndarray:
    """(2P, 2P) of (beta, alpha). Sigma is taken as known: to first order its error does not move beta."""
    P = rows.X.shape[1]
    _, information = _score_and_information(rows, beta, alpha, sigma)
    bread = np.linalg.inv(information)
    if kind == "model":
        return bread
    X, weights = rows.X, _precisions(rows, sigma)
    e = np.nan_to_num(np.column_stack([rows.t - X @ beta, rows.s - X @ alpha]))
    if kind == "HC3":
        hat = np.empty((len(X), 2, 2))
        for i in (0, 1):
            for j in (0, 1):
                block = bread[i * P : (i + 1) * P, j * P : (j + 1) * P]
                hat[:, i, j] = np.einsum("rp,pq,rq->r", X, block, X)
        slack = np.eye(2) - hat @ weights
        e = np.linalg.solve(slack, e[..., None])[..., 0]
    weighted = np.einsum("rij,rj->ri", weights, e)
    scores = (weighted[:, :, None] * X[:, None, :]).reshape(len(X), -1)
    return bread @ (scores.T @ scores) @ bread
