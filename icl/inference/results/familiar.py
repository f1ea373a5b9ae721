"""The names that statsmodels gives to the parts of a result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.results.contrasts import read_contrasts

if TYPE_CHECKING:
    import pandas as pd

    from icl.inference.engine.hypothesis import WaldTest


class Familiar(ABC):
    """Aliases, for people and programs that know statsmodels; nothing is computed here."""

    estimate: pd.Series
    covariance: pd.DataFrame
    df: float
    level: float
    n_labeled: int

    @property
    @abstractmethod
    def std_error(self) -> pd.Series: ...

    @abstractmethod
    def interval(
        self, level: float | None = None, alternative: str = "two-sided", kind: str = "auto"
    ) -> pd.DataFrame: ...

    @abstractmethod
    def p_value(
        self, null: float | Sequence[float] = 0.0, alternative: str = "two-sided", kind: str = "auto"
    ) -> pd.Series: ...

    @abstractmethod
    def contrast(
        self, contrasts: Any, level: float | None = None, null: float | Sequence[float] = 0.0
    ) -> pd.DataFrame: ...

    @abstractmethod
    def wald(self, R: Any, r: Any = 0.0) -> WaldTest: ...

    @property
    def params(self) -> pd.Series:
        """`estimate`."""
        return self.estimate

    @property
    def bse(self) -> pd.Series:
        """`std_error`."""
        return self.std_error

    @property
    def tvalues(self) -> pd.Series:
        """Estimates in standard errors."""
        return (self.estimate / self.std_error).rename("statistic")

    @property
    def pvalues(self) -> pd.Series:
        """`p_value()`: of parameter = 0."""
        return self.p_value()

    @property
    def nobs(self) -> int:
        """`n_labeled`: predictions are no observations."""
        return self.n_labeled

    @property
    def df_resid(self) -> float:
        """`df`."""
        return self.df

    def cov_params(self) -> pd.DataFrame:
        """`covariance`."""
        return self.covariance

    def conf_int(self, alpha: float | None = None) -> pd.DataFrame:
        """`interval(1 - alpha)` with columns 0 and 1; default: the level of the result."""
        if alpha is not None and not 0 < alpha < 1:
            raise ValueError(f"alpha must lie in (0, 1), got {alpha}; write 0.05 for 95% intervals.")
        return self.interval(None if alpha is None else 1 - alpha).set_axis([0, 1], axis="columns")

    def t_test(self, r_matrix: Any, q: float | Sequence[float] = 0.0) -> pd.DataFrame:
        """`contrast`: of a matrix, or of text such as "x1 - x2 = 0"."""
        return self.contrast(r_matrix, null=q)

    def wald_test(self, r_matrix: Any, q: Any = 0.0) -> WaldTest:
        """`wald`; takes text such as "x1 = 0, x2 = 0" too."""
        terms = list(self.estimate.index)
        if isinstance(r_matrix, str) and r_matrix not in terms:
            _, r_matrix, values = read_contrasts(r_matrix, terms)
            q = values + np.asarray(q, dtype=float)
        return self.wald(r_matrix, q)
