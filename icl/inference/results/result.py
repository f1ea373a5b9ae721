"""The answer: estimates with their covariance, intervals and tests on demand, and what to know before trusting them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.engine.answer import Rectified
from icl.inference.engine.hypothesis import (
    WaldTest,
    adjust_p_values,
    restrictions,
    t_interval,
    t_p_value,
    wald_test,
)
from icl.inference.engine.label_shift import LABEL_SHIFT
from icl.inference.engine.problem import Problem
from icl.inference.engine.solve import Solver
from icl.inference.results.contrasts import pairs, read_contrasts
from icl.inference.results.familiar import Familiar
from icl.inference.results.intervals import (
    bounds,
    combined_bounds,
    p_of_combinations,
    p_values,
    rare_combinations,
    shares_behind,
    variance_ratio,
)
from icl.inference.results.shown import Shown
from icl.inference.results.wording import warnings

if TYPE_CHECKING:
    import pandas as pd

    from icl.inference.inputs.design import Design


@dataclass(frozen=True, repr=False, eq=False)
class InferenceResult(Shown, Familiar):
    """Estimates of P parameters from n labeled rows, N unlabeled rows and predictions for both.

    Attributes:
        estimate: (P,) estimates, indexed by term.
        covariance: (P, P) their covariance.
        method: "classical", "ppi", "ppi++", "synsurr", "shrunk", ..., or "weight 0.5" for a number.
        weight: how much the predictions count; 0 for the classical answer, (P,) where terms differ in it.
        df: degrees of freedom of the t reference; inf for the normal one. With clusters, or a tuned weight, terms may
            differ in them: the smallest.
        level: coverage of the printed intervals.
        n_labeled, n_unlabeled: rows used.
        correlation: (P,) correlation rho of outcome and predictions in each coordinate; the best possible
            n_effective is n / (1 - rho^2 N / (n + N)).
        predictions: where the predictions came from.
        diagnostics: what to know before trusting the numbers; empty if nothing deserves a word.
        design: how the labeled rows were chosen; `design.assumption` says what must be true of them.
    """

    estimand: Any
    estimate: pd.Series
    covariance: pd.DataFrame
    method: str
    weight: float | np.ndarray
    df: float
    level: float
    n_labeled: int
    n_unlabeled: int
    correlation: pd.Series
    predictions: str
    diagnostics: list[Diagnostic]
    design: Design
    _solver: Solver
    _answer: Rectified
    order: np.ndarray | range
    """(n + N,) positions of labeled, then unlabeled rows in the table(s) that the caller passed."""
    inclusion: np.ndarray
    """(n + N,) probability of each row to be labeled, labeled rows first."""
    controls: tuple[tuple[Rectified, str], ...] = ()
    """Answers of other practices, with what is wrong with each; `compare` shows them last."""

    @classmethod
    def of(
        cls,
        solver: Solver,
        answer: Rectified,
        level: float,
        source: str,
        diagnostics: list[Diagnostic],
        design: Design,
        order: np.ndarray | range,
        inclusion: np.ndarray,
    ) -> Self:
        """Label the arrays of `answer`."""
        import pandas as pd

        problem = solver.problem
        terms = pd.Index(problem.terms, name="term")
        rho = solver.parts.correlation if problem.has_predictions else np.zeros(len(terms))
        return cls(
            problem.estimand,
            pd.Series(answer.estimate, terms, name="estimate"),
            pd.DataFrame(answer.covariance, terms, terms),
            answer.name,
            answer.weight,
            answer.df,
            level,
            len(problem.X_labeled),
            problem.n_unlabeled,
            pd.Series(rho, terms, name="correlation"),
            source,
            diagnostics,
            design,
            solver,
            answer,
            order,
            inclusion,
        )

    @property
    def problem(self) -> Problem:
        """The arrays behind the answer, as the engine takes them: for planning, and for analyses of one's own."""
        return self._solver.problem

    @property
    def df_terms(self) -> pd.Series:
        """(P,) degrees of freedom of each term; inf for the normal reference."""
        return self._series(np.broadcast_to(self._answer.df_of_terms, self.estimate.shape), "df")

    @property
    def df_of_variance(self) -> pd.Series:
        """(P,) degrees of freedom that the estimated variances are worth: about n, fewer if a few rows dominate."""
        n, parts = self.n_labeled, self._solver.parts
        if self.problem.estimand.solver != "scores":  # no influences: as if outcomes were normal
            return self._series(np.full(self.estimate.shape, float(n)), "df_of_variance")
        rest = parts.influence_y
        if self.has_predictions:  # what predictions leave over
            f = parts.influence_f
            square = np.maximum((f * f).sum(axis=0), np.finfo(float).tiny)
            rest = rest - (rest * f).sum(axis=0) / square * f
        square = rest**2
        kurtosis = (square**2).mean(axis=0) / np.maximum(square.mean(axis=0), np.finfo(float).tiny) ** 2
        return self._series(2 * n / np.maximum(kurtosis - 1, 1e-6), "df_of_variance")

    @property
    def has_predictions(self) -> bool:
        """Whether predictions were there, even if they got no weight."""
        return self.problem.has_predictions

    @property
    def is_tuned(self) -> bool:
        """Whether the weight was chosen from the data."""
        return self._answer.tuned

    @property
    def interval_kind(self) -> str:
        """What `interval` gives by default: "t"; "score" or "exact" if a term is a share of few events."""
        kinds = {kind for _, kind in shares_behind(self._solver, self._answer, "auto")}
        return next(kind for kind in ("exact", "score", "t") if kind in kinds)

    @property
    def std_error_kind(self) -> str:
        """How standard errors were found: "HC3", "residual", ..., or the package that is reproduced."""
        if self.method == LABEL_SHIFT:
            return "delta"
        compat = self.problem.compat
        return f"as {compat}" if compat else self.problem.std_error_kind

    @property
    def n_clusters(self) -> int | None:
        """Clusters with labels; None where rows are independent."""
        return None if self.problem.sampling.clusters_labeled is None else self.problem.n_labeled_units

    @property
    def std_error(self) -> pd.Series:
        """(P,) standard errors."""
        return self._series(self._answer.std_error, "std_error")

    @property
    def n_effective(self) -> pd.Series:
        """(P,) labeled rows that the classical estimator would need for the same standard error."""
        return self._series(self.n_labeled * self.gain.to_numpy(), "n_effective")

    @property
    def gain(self) -> pd.Series:
        """(P,) variance of the classical answer over variance of this one: 2 means labels count double."""
        return self._series(variance_ratio(self._solver.under(0.0), self._answer), "gain")

    def interval(self, level: float | None = None, alternative: str = "two-sided", kind: str = "auto") -> pd.DataFrame:
        """Confidence interval of each parameter: columns lower, upper; `larger` leaves the upper side open.

        Args:
            level: coverage, a fraction in (0, 1); default: that of the result.
            alternative: "two-sided", "larger" (a lower bound) or "smaller" (an upper bound), at the same coverage.
            kind: "t"; for the mean of a two-valued outcome also "score" (Wilson) and "exact" (Clopper-Pearson), both
                at the effective size. "auto" is "exact" below 10 events, "score" below 30, otherwise "t".
        """
        import pandas as pd

        lower, upper = bounds(self._solver, self._answer, self._at(level), alternative, kind)
        return pd.DataFrame({"lower": lower, "upper": upper}, self.estimate.index)

    def p_value(
        self, null: float | Sequence[float] = 0.0, alternative: str = "two-sided", kind: str = "auto"
    ) -> pd.Series:
        """(P,) p-values of parameter = null; below 1 - level exactly where the interval of `level` excludes null."""
        values = np.broadcast_to(np.asarray(null, dtype=float), self.estimate.shape)
        return self._series(p_values(self._solver, self._answer, values, alternative, kind), "p_value")

    def wald(self, R: Any, r: Any = 0.0) -> WaldTest:
        """Joint test of R theta = r.

        Args:
            R: (Q, P) matrix, or a list of Q terms (each equals r).
            r: number or (Q,) values under the null.
        Returns:
            The test, with the degrees of freedom of the least certain of the terms.
        Raises:
            ValueError: for unknown terms, a wrong shape, or restrictions that repeat one another.
        """
        terms, answer = list(self.estimate.index), self._answer
        touched = (restrictions(R, terms) != 0).any(axis=0)
        df = float(self.df_terms.to_numpy()[touched].min())
        return wald_test(answer.estimate, answer.covariance, df, terms, R, r)

    def contrast(self, contrasts: Any, level: float | None = None, null: float | Sequence[float] = 0.0) -> pd.DataFrame:
        """Linear combinations of the parameters, each with its interval and test.

        Args:
            contrasts: {"name": {"term": coefficient, ...}, ...}, a (Q, P) matrix, or text: "x1 - x2 = 0, x1 = 1".
            null: what the tests compare with, a number or (Q,), beside what the text says.
        Returns:
            One row for each: estimate, std.error, statistic, p.value, conf.low, conf.high.
        Raises:
            ValueError: for unknown terms or a wrong shape.
        """
        import pandas as pd

        names, R, values = read_contrasts(contrasts, list(self.estimate.index))
        values = values + np.broadcast_to(np.asarray(null, dtype=float), len(R))
        estimate = R @ self._answer.estimate
        std_error = np.sqrt(np.einsum("qp,pr,qr->q", R, self._answer.covariance, R))
        df: Any = self.df
        if self._answer.df_terms is not None:  # a combination is as uncertain as the least certain of its terms
            df = np.where(R != 0, self._answer.df_terms, np.inf).min(axis=1)
        lower, upper = t_interval(estimate, std_error, df, self._at(level))
        p = t_p_value(estimate, std_error, df, values)
        rare = rare_combinations(self._solver, self._answer, R)
        if rare.any():  # shares of few events are far from normal, and so are their differences
            sides = bounds(self._solver, self._answer, self._at(level))
            lower[rare], upper[rare] = combined_bounds(R[rare], self._answer.estimate, *sides)
            p[rare] = p_of_combinations(self._solver, self._answer, R[rare], values[rare])
        return pd.DataFrame(
            {
                "estimate": estimate,
                "std.error": std_error,
                "statistic": (estimate - values) / std_error,
                "p.value": p,
                "conf.low": lower,
                "conf.high": upper,
            },
            index=pd.Index(names, name="contrast"),
        )

    def differences(self, versus: str | None = None, level: float | None = None, adjust: str = "none") -> pd.DataFrame:
        """Differences between terms, such as the means of groups from `Mean("y", by="group")`.

        Args:
            versus: the term that all others are compared with; default: every pair.
            adjust: of the p-values for their number: "none", "bonferroni" or "holm". Intervals stay unadjusted.
        """
        frame = self.contrast(pairs(list(self.estimate.index), versus), level)
        frame["p.value"] = adjust_p_values(frame["p.value"].to_numpy(), adjust)
        return frame

    def compare(self, level: float | None = None) -> pd.DataFrame:
        """Every method on the same rows with the same predictions.

        Returns:
            One row for each (method, term): estimate, std_error, lower, upper, weight, n_effective, valid, note. The
            imputed answer, which counts predictions as real outcomes, is there for contrast and is INVALID.
        """
        from icl.inference.results.comparison import compare_methods

        terms = list(self.estimate.index)
        return compare_methods(self._solver, self._answer, terms, self._at(level), self.controls)

    def to_frame(self, level: float | None = None, null: float = 0.0) -> pd.DataFrame:
        """One row for each term, with the column names of R's broom: term, estimate, std.error, statistic, ...

        Where findings make the numbers doubtful, a last column `warning` holds their codes.
        """
        import pandas as pd

        interval = self.interval(level)
        doubts = ", ".join(dict.fromkeys(finding.code for finding in warnings(self)))
        gap, spread = self._answer.estimate - null, self._answer.std_error
        far = np.where(gap == 0, 0.0, np.copysign(np.inf, gap))  # a quantile of few values may be known exactly
        statistic = np.divide(gap, spread, out=far, where=spread > 0)
        return pd.DataFrame(
            {
                "term": self.estimate.index,
                "estimate": self._answer.estimate,
                "std.error": self._answer.std_error,
                "statistic": statistic,
                "p.value": self.p_value(null).to_numpy(),
                "conf.low": interval["lower"].to_numpy(),
                "conf.high": interval["upper"].to_numpy(),
                **({"warning": doubts} if doubts else {}),
            }
        )

    def to_dict(self, level: float | None = None) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON."""
        level = self._at(level)
        weight = self.weight
        comparison = self.compare(level).reset_index()
        return {
            "estimand": str(self.estimand),
            "method": self.method,
            "weight": weight.tolist() if isinstance(weight, np.ndarray) else float(weight),
            "level": level,
            "n_labeled": self.n_labeled,
            "n_unlabeled": self.n_unlabeled,
            "predictions": self.predictions,
            "assumption": self.design.assumption if self.n_unlabeled else self.design.assumption_of_all,
            "df": self.df if np.isfinite(self.df) else None,
            "estimates": _records(self.to_frame(level).assign(n_effective=self.n_effective.to_numpy())),
            "covariance": self.covariance.to_numpy().tolist(),
            "comparison": _records(comparison),
            "diagnostics": [{"code": d.code, "severity": d.severity, "message": d.message} for d in self.diagnostics],
        }

    def _series(self, values: np.ndarray, name: str) -> pd.Series:
        import pandas as pd

        return pd.Series(values, self.estimate.index, name=name)


def _records(frame: pd.DataFrame) -> list[dict]:
    """Rows as dictionaries, with None for what JSON has no word for (NaN, infinity)."""
    rows = frame.to_dict("records")
    return [{k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()} for row in rows]
