"""One answer of the engine: estimates, covariance, degrees of freedom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icl.inference.engine.hypothesis import t_interval, t_p_value


@dataclass(frozen=True)
class Rectified:
    """One answer: P estimates, their covariance, the degrees of freedom of the t reference (inf: normal)."""

    name: str
    estimate: np.ndarray
    covariance: np.ndarray
    df: float
    weight: float | np.ndarray = float("nan")
    """A number; (P,) where coefficients differ in it, of a matrix its diagonal."""
    tuned: bool = False
    weight_is_undefined: bool = False
    weight_leverage: float = 0.0
    is_valid: bool = True
    df_terms: np.ndarray | None = None
    """(P,) where terms differ in their degrees of freedom, of which `df` is the smallest."""

    @property
    def std_error(self) -> np.ndarray:
        """(P,) standard errors."""
        return np.sqrt(np.diag(self.covariance))

    def interval(self, level: float, alternative: str = "two-sided") -> tuple[np.ndarray, np.ndarray]:
        """(P,) lower and upper bounds; answers that have better ones than estimate -+ t std_error override this."""
        return t_interval(self.estimate, self.std_error, self.df_of_terms, level, alternative)

    def p_value(self, null: np.ndarray, alternative: str = "two-sided") -> np.ndarray:
        """(P,) p-values of parameter = null, dual to `interval`."""
        return t_p_value(self.estimate, self.std_error, self.df_of_terms, null, alternative)

    @property
    def df_of_terms(self) -> float | np.ndarray:
        """Degrees of freedom, a number or one for each term."""
        return self.df if self.df_terms is None else self.df_terms


def name_of(weight: str | float) -> str:
    """The method that a weight stands for, as tables and plots print it."""
    return (
        weight if isinstance(weight, str) else {0.0: "classical", 1.0: "ppi"}.get(float(weight), f"weight {weight:g}")
    )
