"""The answer: estimates with their covariance, intervals and tests on demand, and what to know before trusting them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.diagnostics import Diagnostic
from icl.inference.hypothesis import WaldTest, check_level, t_interval, t_p_value, wald_test
from icl.inference.rectify import Problem, Rectified

if TYPE_CHECKING:
    import pandas as pd

METHODS = ("classical", "imputed", "ppi", "ppi++", "synsurr")


@dataclass(frozen=True, repr=False, eq=False)
class InferenceResult:
    """Estimates of P parameters from n labeled rows, N unlabeled rows and predictions for both.

    Attributes:
        estimate: (P,) estimates, indexed by term.
        covariance: (P, P) their covariance.
        method: "classical", "ppi", "ppi++", "synsurr", or "weight 0.5" for a number.
        weight: how much the predictions count; 0 for the classical answer, (P,) where terms differ in it.
        df: degrees of freedom of the t reference; inf for the normal one.
        level: coverage of the printed intervals.
        n_labeled, n_unlabeled: rows used.
        correlation: (P,) correlation rho of outcome and predictions in each coordinate; the best possible
            n_effective is n / (1 - rho^2 N / (n + N)).
        predictions: where the predictions came from.
        diagnostics: what to know before trusting the numbers; empty if nothing deserves a word.
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
    _problem: Problem
    _answer: Rectified

    @classmethod
    def of(
        cls, problem: Problem, answer: Rectified, *, level: float, source: str, diagnostics: list[Diagnostic]
    ) -> InferenceResult:
        """Label the arrays of `answer`."""
        import pandas as pd

        terms = pd.Index(problem.terms, name="term")
        rho = problem.correlation if problem.has_predictions else np.zeros(len(terms))
        return cls(
            problem.estimand,
            pd.Series(answer.estimate, terms, name="estimate"),
            pd.DataFrame(answer.covariance, terms, terms),
            answer.name,
            answer.weight,
            answer.df,
            level,
            len(problem.X_labeled),
            len(problem.X_unlabeled),
            pd.Series(rho, terms, name="correlation"),
            source,
            diagnostics,
            problem,
            answer,
        )

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
        return self._series((self._problem.solve(0).std_error / self._answer.std_error) ** 2, "gain")

    def interval(self, level: float | None = None, alternative: str = "two-sided") -> pd.DataFrame:
        """Confidence interval of each parameter: columns lower, upper; `larger` leaves the upper side open.

        Args:
            level: coverage, a fraction in (0, 1); default: that of the result.
            alternative: "two-sided", "larger" (a lower bound) or "smaller" (an upper bound), at the same coverage.
        """
        import pandas as pd

        lower, upper = _interval(self._answer, self._level(level), alternative)
        return pd.DataFrame({"lower": lower, "upper": upper}, self.estimate.index)

    def p_value(self, null: float | Sequence[float] = 0.0, alternative: str = "two-sided") -> pd.Series:
        """(P,) p-values of parameter = null; below 1 - level exactly where the interval of `level` excludes null."""
        null = np.broadcast_to(np.asarray(null, dtype=float), self.estimate.shape)
        return self._series(_p_value(self._answer, null, alternative), "p_value")

    def wald(self, R: Any, r: Any = 0.0) -> WaldTest:
        """Joint test of R theta = r.

        Args:
            R: (Q, P) matrix, or a list of Q terms (each equals r).
            r: number or (Q,) values under the null.
        Raises:
            ValueError: for unknown terms, a wrong shape, or restrictions that repeat one another.
        """
        return wald_test(self._answer.estimate, self._answer.covariance, self.df, self.estimate.index, R, r)

    def compare(self, level: float | None = None) -> pd.DataFrame:
        """Every method on the same rows with the same predictions.

        Returns:
            One row for each (method, term): estimate, std_error, lower, upper, weight, n_effective, valid, note. The
            imputed answer, which counts predictions as real outcomes, is there for contrast and is INVALID.
        """
        import pandas as pd

        level = self._level(level)
        names = list(METHODS if self._problem.has_predictions else METHODS[:1])
        if self._problem.compat and "synsurr" in names:
            names.remove("synsurr")
        if self.method not in names:
            names.append(self.method)
        classical = self._problem.solve(0).std_error
        parts = []
        for name in names:
            answer, note = self._solve_by_name(name)
            lower, upper = _interval(answer, level, "two-sided")
            with_n = answer.is_valid and np.isfinite(answer.std_error).all()
            parts.append(
                pd.DataFrame(
                    {
                        "method": name,
                        "term": self.estimate.index,
                        "estimate": answer.estimate,
                        "std_error": answer.std_error,
                        "lower": lower,
                        "upper": upper,
                        "weight": answer.weight,
                        "n_effective": self.n_labeled * (classical / answer.std_error) ** 2 if with_n else np.nan,
                        "valid": answer.is_valid,
                        "note": note,
                    }
                )
            )
        return pd.concat(parts, ignore_index=True).set_index(["method", "term"])

    def to_frame(self, level: float | None = None, null: float = 0.0) -> pd.DataFrame:
        """One row for each term, with the column names of R's broom: term, estimate, std.error, statistic, ..."""
        import pandas as pd

        interval = self.interval(level)
        statistic = (self._answer.estimate - null) / self._answer.std_error
        return pd.DataFrame(
            {
                "term": self.estimate.index,
                "estimate": self._answer.estimate,
                "std.error": self._answer.std_error,
                "statistic": statistic,
                "p.value": self.p_value(null).to_numpy(),
                "conf.low": interval["lower"].to_numpy(),
                "conf.high": interval["upper"].to_numpy(),
            }
        )

    def summary(self, level: float | None = None) -> str:
        """Plain text: what was estimated and how, the table, the assumption, the diagnostics."""
        from icl.inference.report import summary_text

        return summary_text(self, self._level(level))

    def plot(
        self, ax: Any = None, terms: Sequence[str] | None = None, level: float | None = None, truth: Any = None
    ) -> Any:
        """Forest plot of all methods; see `icl.inference.report.forest_plot`."""
        from icl.inference.report import forest_plot

        return forest_plot(self, ax, terms, self._level(level), truth)

    def __repr__(self) -> str:
        return self.summary()

    def _series(self, values: np.ndarray, name: str) -> pd.Series:
        import pandas as pd

        return pd.Series(values, self.estimate.index, name=name)

    def _level(self, level: float | None) -> float:
        return check_level(self.level if level is None else level)

    def _solve_by_name(self, name: str) -> tuple[Rectified, str]:
        if name == self.method:
            return self._answer, ""
        try:
            if name == "imputed":
                return self._problem.solve_imputed(), "INVALID: predictions counted as real outcomes"
            return self._problem.solve({"classical": 0.0, "ppi": 1.0}.get(name, name)), ""
        except (
            ValueError
        ) as reason:  # for instance, a category that no unlabeled row has: PPI has no answer, SynSurr has
            missing = np.full(len(self.estimate), np.nan)
            return Rectified(name, missing, np.diag(missing), np.inf), f"not available: {reason}"


def _interval(answer: Rectified, level: float, alternative: str) -> tuple[np.ndarray, np.ndarray]:
    return t_interval(answer.estimate, answer.std_error, answer.df, level, alternative)


def _p_value(answer: Rectified, null: np.ndarray, alternative: str) -> np.ndarray:
    return t_p_value(answer.estimate, answer.std_error, answer.df, null, alternative)
