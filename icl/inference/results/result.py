"""The answer: estimates with their covariance, intervals and tests on demand, and what to know before trusting them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import Diagnostic, check_level
from icl.inference.engine.answer import Rectified
from icl.inference.engine.hypothesis import WaldTest, adjust_p_values, t_interval, t_p_value, wald_test
from icl.inference.engine.problem import Problem
from icl.inference.engine.shares import KINDS, Share, interval_kind, is_one_share, rarer_side, share_of, without_events
from icl.inference.engine.solve import Solver

if TYPE_CHECKING:
    import pandas as pd

    from icl.inference.inputs.design import Design

METHODS = ("classical", "imputed", "ppi", "ppi++", "synsurr")


@dataclass(frozen=True, repr=False, eq=False)
class InferenceResult:
    """Estimates of P parameters from n labeled rows, N unlabeled rows and predictions for both.

    Attributes:
        estimate: (P,) estimates, indexed by term.
        covariance: (P, P) their covariance.
        method: "classical", "ppi", "ppi++", "synsurr", or "weight 0.5" for a number.
        weight: how much the predictions count; 0 for the classical answer, (P,) where terms differ in it.
        df: degrees of freedom of the t reference; inf for the normal one. With clusters, terms may differ in them:
            the smallest, which joint tests use.
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
    _order: np.ndarray | range
    """(n + N,) positions of labeled, then unlabeled rows in the table(s) that the caller passed."""
    _inclusion: np.ndarray
    """(n + N,) probability of each row to be labeled, labeled rows first."""

    @classmethod
    def of(
        cls,
        solver: Solver,
        answer: Rectified,
        *,
        level: float,
        source: str,
        diagnostics: list[Diagnostic],
        design: Design,
        order: np.ndarray | range,
        inclusion: np.ndarray,
    ) -> InferenceResult:
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
    def _problem(self) -> Problem:
        return self._solver.problem

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

        lower, upper = self._interval(self._answer, self._level(level), alternative, kind)
        return pd.DataFrame({"lower": lower, "upper": upper}, self.estimate.index)

    def p_value(
        self, null: float | Sequence[float] = 0.0, alternative: str = "two-sided", kind: str = "auto"
    ) -> pd.Series:
        """(P,) p-values of parameter = null; below 1 - level exactly where the interval of `level` excludes null."""
        null = np.broadcast_to(np.asarray(null, dtype=float), self.estimate.shape)
        share, kind = self._share(self._answer, kind)
        if share is not None:
            return self._series(np.array([share.p_value(kind, float(null[0]), alternative)]), "p_value")
        return self._series(self._answer.p_value(null, alternative), "p_value")

    def wald(self, R: Any, r: Any = 0.0) -> WaldTest:
        """Joint test of R theta = r.

        Args:
            R: (Q, P) matrix, or a list of Q terms (each equals r).
            r: number or (Q,) values under the null.
        Raises:
            ValueError: for unknown terms, a wrong shape, or restrictions that repeat one another.
        """
        return wald_test(self._answer.estimate, self._answer.covariance, self.df, self.estimate.index, R, r)

    def contrast(self, contrasts: Any, level: float | None = None) -> pd.DataFrame:
        """Linear combinations of the parameters, each with its interval and test.

        Args:
            contrasts: {"name": {"term": coefficient, ...}, ...}, or a (Q, P) matrix.
        Returns:
            One row for each: estimate, std.error, statistic, p.value, conf.low, conf.high.
        Raises:
            ValueError: for unknown terms or a wrong shape.
        """
        import pandas as pd

        terms = list(self.estimate.index)
        if isinstance(contrasts, dict):
            names = list(contrasts)
            unknown = [t for row in contrasts.values() for t in row if t not in terms]
            if unknown:
                raise ValueError(f"contrasts name {unknown}, which are no terms; the terms are {terms}.")
            R = np.array([[row.get(t, 0.0) for t in terms] for row in contrasts.values()], dtype=float)
        else:
            R = np.atleast_2d(np.asarray(contrasts, dtype=float))
            if R.shape[1] != len(terms):
                raise ValueError(f"contrasts have shape {R.shape}; expected {len(terms)} columns, one for each term.")
            names = [f"contrast {i + 1}" for i in range(len(R))]
        estimate = R @ self._answer.estimate
        std_error = np.sqrt(np.einsum("qp,pr,qr->q", R, self._answer.covariance, R))
        df = self.df
        if self._answer.df_terms is not None:  # a combination is as uncertain as the least certain of its terms
            df = np.where(R != 0, self._answer.df_terms, np.inf).min(axis=1)
        lower, upper = t_interval(estimate, std_error, df, self._level(level))
        return pd.DataFrame(
            {
                "estimate": estimate,
                "std.error": std_error,
                "statistic": estimate / std_error,
                "p.value": t_p_value(estimate, std_error, df, np.zeros(len(R))),
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
        terms = list(self.estimate.index)
        if len(terms) < 2:
            raise ValueError(f"there is only one term, {terms[0]!r}; nothing to compare it with.")
        if versus is not None and versus not in terms:
            raise ValueError(f"versus got {versus!r}; the terms are {terms}.")
        pairs = [(a, b) for i, b in enumerate(terms) for a in terms[i + 1 :]]
        if versus is not None:
            pairs = [(a, versus) for a in terms if a != versus]
        frame = self.contrast({f"{a} - {b}": {a: 1.0, b: -1.0} for a, b in pairs}, level)
        frame["p.value"] = adjust_p_values(frame["p.value"].to_numpy(), adjust)
        return frame

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
        classical = self._solver.under(0.0)
        parts = []
        for name in names:
            answer, note = self._solve_by_name(name)
            lower, upper = self._interval(answer, level, "two-sided")
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
                        "n_effective": self.n_labeled * variance_ratio(classical, answer) if with_n else np.nan,
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
        from icl.inference.results.wording import summary_text

        return summary_text(self, self._level(level))

    def to_markdown(self, level: float | None = None) -> str:
        """Everything as Markdown: estimates, all methods, assumption, diagnostics."""
        from icl.inference.results.shown import markdown

        return markdown(self, self._level(level))

    def to_html(self, level: float | None = None) -> str:
        """Everything as one self-contained HTML page, forest plot included."""
        from icl.inference.results.shown import page

        return page(self, self._level(level))

    def _repr_html_(self) -> str:
        from icl.inference.results.shown import fragment

        return fragment(self, self.level)

    def to_dict(self, level: float | None = None) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON."""
        level = self._level(level)
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
            "assumption": self.design.assumption,
            "df": self.df if np.isfinite(self.df) else None,
            "estimates": _records(self.to_frame(level).assign(n_effective=self.n_effective.to_numpy())),
            "covariance": self.covariance.to_numpy().tolist(),
            "comparison": _records(comparison),
            "diagnostics": [{"code": d.code, "message": d.message} for d in self.diagnostics],
        }

    def plot(
        self, ax: Any = None, terms: Sequence[str] | None = None, level: float | None = None, truth: Any = None
    ) -> Any:
        """Forest plot of all methods; see `icl.inference.results.forest.forest_plot`."""
        from icl.inference.results.forest import forest_plot

        return forest_plot(self, ax, terms, self._level(level), truth)

    def __repr__(self) -> str:
        return self.summary()

    def _series(self, values: np.ndarray, name: str) -> pd.Series:
        import pandas as pd

        return pd.Series(values, self.estimate.index, name=name)

    def _level(self, level: float | None) -> float:
        return check_level(self.level if level is None else level)

    def _share(self, answer: Rectified, kind: str) -> tuple[Share | None, str]:
        """The share behind an answer and the kind of its interval; None where the t interval is meant."""
        if kind not in KINDS:
            raise ValueError(f"kind got {kind!r}; known are {', '.join(map(repr, KINDS))}.")
        problem = self._problem
        if kind == "t" or (kind == "auto" and (problem.compat is not None or not answer.is_valid)):
            return None, "t"
        if not is_one_share(problem):
            if kind != "auto":
                raise ValueError(f"kind={kind!r} is for the mean of a two-valued outcome; use 't'.")
            return None, "t"
        kind = interval_kind(problem.y) if kind == "auto" else kind
        if kind == "t":
            return None, kind
        if not rarer_side(problem.y):
            return without_events(problem), kind
        classical = self._solver.under(0.0).estimate[0]
        variance = answer.covariance[0, 0]
        if not np.isfinite(variance):
            return None, "t"
        return share_of(problem.y, classical, answer.estimate[0], variance, answer.df), kind

    def _interval(
        self, answer: Rectified, level: float, alternative: str, kind: str = "auto"
    ) -> tuple[np.ndarray, np.ndarray]:
        share, kind = self._share(answer, kind)
        if share is None:
            return answer.interval(level, alternative)
        lower, upper = share.interval(kind, level, alternative)
        return np.array([lower]), np.array([upper])

    def _solve_by_name(self, name: str) -> tuple[Rectified, str]:
        if name == self.method:
            return self._answer, ""
        try:
            if name == "imputed":
                return self._solver.imputed, "INVALID: predictions counted as real outcomes"
            return self._solver.under({"classical": 0.0, "ppi": 1.0}.get(name, name)), ""
        except ValueError as reason:  # a category that no unlabeled row has, say: PPI has no answer, SynSurr has
            missing = np.full(len(self.estimate), np.nan)
            return Rectified(name, missing, np.diag(missing), np.inf), f"not available: {reason}"


def variance_ratio(classical: Rectified, answer: Rectified) -> np.ndarray:
    """(P,) variance of the classical answer over that of another.

    Of a quantile, whose standard error restates an interval and is rough: of the shares below the estimate.
    """
    curve = getattr(answer, "curve", None)
    if curve is None:
        return (classical.std_error / answer.std_error) ** 2
    at = [
        c.std_error[min(int(np.searchsorted(c.t, answer.estimate[0])), len(c.t) - 1)] for c in (classical.curve, curve)
    ]
    return np.array([(at[0] / at[1]) ** 2])


def _records(frame: pd.DataFrame) -> list[dict]:
    """Rows as dictionaries, with None for what JSON has no word for (NaN, infinity)."""
    rows = frame.to_dict("records")
    return [{k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()} for row in rows]
