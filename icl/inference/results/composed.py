"""What answers that are made of other answers have in common: they read like an `InferenceResult`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.engine.hypothesis import WaldTest, restrictions, t_interval, t_p_value, wald_test
from icl.inference.results.contrasts import read_contrasts
from icl.inference.results.familiar import Familiar
from icl.inference.results.result import InferenceResult
from icl.inference.results.shown import Shown

if TYPE_CHECKING:
    import pandas as pd


class Numbers(Protocol):
    """P estimates with their covariance and degrees of freedom."""

    @property
    def estimate(self) -> np.ndarray: ...

    @property
    def covariance(self) -> np.ndarray: ...

    @property
    def df(self) -> np.ndarray: ...


class Composed(Shown, Familiar):
    """Estimates with intervals of the t reference; labels, design and words are those of a first result.

    Args:
        first: an ordinary result about the same terms.
        numbers: the answer.
    """

    def __init__(self, first: InferenceResult, numbers: Numbers, diagnostics: list[Diagnostic]):
        import pandas as pd

        terms = first.estimate.index
        self.first, self.numbers, self.diagnostics, self.level = first, numbers, diagnostics, first.level
        self.estimand, self.method, self.design = first.estimand, first.method, first.design
        self.weight, self.predictions = first.weight, first.predictions
        self.estimate = pd.Series(numbers.estimate, terms, name="estimate")
        self.covariance = pd.DataFrame(numbers.covariance, terms, terms)
        self.df = float(np.min(numbers.df))
        self.n_labeled, self.n_unlabeled = first.n_labeled, first.n_unlabeled

    @abstractmethod
    def compare(self, level: float | None = None) -> pd.DataFrame: ...

    @property
    @abstractmethod
    def more_facts(self) -> list[tuple[str, str]]: ...

    @property
    def df_terms(self) -> pd.Series:
        """(P,) degrees of freedom."""
        return self._series(self.numbers.df, "df")

    @property
    def std_error(self) -> pd.Series:
        """(P,) standard errors."""
        return self._series(np.sqrt(np.diag(self.numbers.covariance)), "std_error")

    @property
    def n_effective(self) -> pd.Series:
        """(P,) labeled rows that the classical estimator of the first result would need for this standard error."""
        first = self.first
        worth = self.n_labeled * first.gain * (first.std_error / self.std_error) ** 2
        return self._series(worth.to_numpy(), "n_effective")

    @property
    def has_predictions(self) -> bool:
        return self.first.has_predictions

    @property
    def is_tuned(self) -> bool:
        return self.first.is_tuned

    @property
    def interval_kind(self) -> str:
        return "t"

    @property
    def std_error_kind(self) -> str:
        return self.first.std_error_kind

    @property
    def n_clusters(self) -> int | None:
        return self.first.n_clusters

    def interval(self, level: float | None = None, alternative: str = "two-sided", kind: str = "t") -> pd.DataFrame:
        """Confidence interval of each parameter, of the t reference: columns lower, upper."""
        import pandas as pd

        numbers, error = self.numbers, self.std_error.to_numpy()
        lower, upper = t_interval(numbers.estimate, error, numbers.df, self._at(level), alternative)
        return pd.DataFrame({"lower": lower, "upper": upper}, self.estimate.index)

    def p_value(
        self, null: float | Sequence[float] = 0.0, alternative: str = "two-sided", kind: str = "t"
    ) -> pd.Series:
        """(P,) p-values of parameter = null, dual to `interval`."""
        numbers, error = self.numbers, self.std_error.to_numpy()
        values = np.broadcast_to(np.asarray(null, dtype=float), numbers.estimate.shape)
        return self._series(t_p_value(numbers.estimate, error, numbers.df, values, alternative), "p_value")

    def wald(self, R: Any, r: Any = 0.0) -> WaldTest:
        """Joint test of R theta = r, with the degrees of freedom of the least certain of the terms."""
        terms = list(self.estimate.index)
        touched = (restrictions(R, terms) != 0).any(axis=0)
        df = float(np.min(self.numbers.df[touched]))
        return wald_test(self.numbers.estimate, self.numbers.covariance, df, terms, R, r)

    def contrast(self, contrasts: Any, level: float | None = None, null: float | Sequence[float] = 0.0) -> pd.DataFrame:
        """Linear combinations of the parameters, each with its interval and test, as of an `InferenceResult`."""
        import pandas as pd

        names, R, values = read_contrasts(contrasts, list(self.estimate.index))
        values = values + np.broadcast_to(np.asarray(null, dtype=float), len(R))
        estimate, error, df = self._combined(R)
        lower, upper = t_interval(estimate, error, df, self._at(level))
        columns = {
            "estimate": estimate,
            "std.error": error,
            "statistic": (estimate - values) / error,
            "p.value": t_p_value(estimate, error, df, values),
            "conf.low": lower,
            "conf.high": upper,
        }
        return pd.DataFrame(columns, pd.Index(names, name="contrast"))

    def _combined(self, R: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(Q,) estimates, standard errors and degrees of freedom of R theta."""
        error = np.sqrt(np.einsum("qp,pr,qr->q", R, self.numbers.covariance, R))
        return R @ self.numbers.estimate, error, np.where(R != 0, self.numbers.df, np.inf).min(axis=1)

    def to_frame(self, level: float | None = None, null: float = 0.0) -> pd.DataFrame:
        """One row for each term, with the column names of R's broom, as of an `InferenceResult`."""
        import pandas as pd

        from icl.inference.results.wording import warnings

        interval = self.interval(level)
        frame = pd.DataFrame(
            {
                "term": self.estimate.index,
                "estimate": self.numbers.estimate,
                "std.error": self.std_error.to_numpy(),
                "statistic": (self.numbers.estimate - null) / self.std_error.to_numpy(),
                "p.value": self.p_value(null).to_numpy(),
                "conf.low": interval["lower"].to_numpy(),
                "conf.high": interval["upper"].to_numpy(),
            }
        )
        doubts = ", ".join(dict.fromkeys(finding.code for finding in warnings(self)))
        return frame.assign(warning=doubts) if doubts else frame

    def to_dict(self, level: float | None = None) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON."""
        level, df = self._at(level), np.asarray(self.numbers.df)
        return {
            "estimand": str(self.estimand),
            "method": self.method,
            "level": level,
            "n_labeled": self.n_labeled,
            "n_unlabeled": self.n_unlabeled,
            "predictions": self.predictions,
            "df": df.tolist() if np.isfinite(df).all() else None,
            "estimates": self.to_frame(level).assign(n_effective=self.n_effective.to_numpy()).to_dict("records"),
            "covariance": self.numbers.covariance.tolist(),
            "diagnostics": [{"code": d.code, "severity": d.severity, "message": d.message} for d in self.diagnostics],
        }

    def _series(self, values: np.ndarray, name: str) -> pd.Series:
        import pandas as pd

        return pd.Series(values, self.estimate.index, name=name)
