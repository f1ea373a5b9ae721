"""Two-stage least squares: a treatment that is not exogenous, and instruments that are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.estimands.base import Estimand, Example
from icl.inference.estimands.equations import EstimatingEquation
from icl.inference.estimands.linear import OLS

if TYPE_CHECKING:
    import pandas as pd

WEAK = 10.0
"""First-stage F statistic below which two-stage least squares is biased and its intervals too short."""


@dataclass(frozen=True)
class InstrumentalEquation(EstimatingEquation):
    """Scores w (y - x theta); a row of the design holds x (p) and then w (p)."""

    def n_parameters(self, X: np.ndarray) -> int:
        return X.shape[1] // 2

    def residual(self, X, Y, theta):
        p = len(theta)
        return Y - (X[:, :p] @ theta)[:, None]

    def scores(self, X, Y, theta):
        return X[:, len(theta) :] * self.residual(X, Y, theta)

    def sums(self, X, Y, w, theta):
        p = len(theta)
        lever = X[:, p:] if w is None else X[:, p:] * w[:, None]
        return lever.T @ self.residual(X, Y, theta)[:, 0], lever.T @ X[:, :p]

    def row_hessians(self, X, Y, w, theta):
        p = len(theta)
        rows = np.einsum("rp,rq->rpq", X[:, p:], X[:, :p])
        return rows if w is None else rows * w[:, None, None]


@dataclass(frozen=True, eq=False)
class TwoStage(Estimand):
    """Coefficients of a linear model in which some regressors are correlated with its error, by instruments.

        TwoStage("lwage ~ educ + exper", instruments={"educ": "nearc4"})

    The moments w (y - x theta), with w the regression of x on the exogenous regressors and the instruments (on labeled
    and unlabeled rows together: they need no outcome), are linear in the outcome, so that predictions stand in for it
    as they do in least squares. What is assumed of the instruments is assumed of outcomes, not of predictions: a
    prediction that instruments reach by another way costs precision, not validity.

    Args:
        formula: as in `OLS`.
        instruments: for each endogenous column, the column or columns that instrument it.
    Source:
        Wooldridge (2010), chapter 5; Angrist & Imbens (1995), doi:10.1080/01621459.1995.10476535, for what it means
        where effects differ.
    """

    formula: str
    instruments: dict[str, Any]

    default_std_error = "HC1"

    def __post_init__(self) -> None:
        if not isinstance(self.instruments, dict) or not self.instruments:
            raise ValueError(
                f"instruments= got {self.instruments!r}; pass a dict, such as {{'educ': 'nearc4'}} or "
                "{'educ': ['nearc2', 'nearc4']}."
            )

    def __str__(self) -> str:
        pairs = "; ".join(f"{k}: {' + '.join(self._of(k))}" for k in self.instruments)
        return f"TwoStage {self.formula} (instruments {pairs})"

    def _of(self, name: str) -> tuple[str, ...]:
        found = self.instruments[name]
        return (found,) if isinstance(found, str) else tuple(found)

    @cached_property
    def _plain(self) -> OLS:
        return OLS(self.formula)

    @property
    def _excluded(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for key in self.instruments for name in self._of(key)))

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        return self._plain.outcome_columns

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self._plain.covariate_columns, *self._excluded]))

    @property
    def model(self) -> InstrumentalEquation:
        return InstrumentalEquation()

    @property
    def assumes(self) -> str:
        return (
            f"that {', '.join(self._excluded)} moves the outcome through {', '.join(self.instruments)} only, and is "
            "unrelated to whatever else moves it (exclusion)"
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example(cls("y ~ dose + z", {"dose": "tool"}), "f"),)

    def resolve(self, labeled: pd.DataFrame) -> TwoStage:
        missing = [name for name in self.instruments if name not in self._plain.covariate_columns]
        if missing:
            raise ValueError(f"{missing} are instrumented, but not in the formula {self.formula!r}.")
        return self

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        return self._plain.outcome(labeled)

    def design(self, frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
        X, terms = self._plain.design(frame)
        is_endogenous = np.array([term in self.instruments for term in terms])
        if is_endogenous.sum() < len(self.instruments):
            raise ValueError(
                f"the endogenous columns {list(self.instruments)} must stand in {self.formula!r} as they are, as "
                f"numbers; its terms are {terms}."
            )
        Z = np.column_stack([X[:, ~is_endogenous], *(frame[name].to_numpy(dtype=float) for name in self._excluded)])
        unit = np.sqrt((Z**2).mean(axis=0))
        Q = np.linalg.qr(Z / np.where(unit > 0, unit, 1))[0]
        W = Q @ (Q.T @ X)
        check_strength(X, Z, is_endogenous, Q, terms)
        return np.hstack([X, W]), [*terms, *(f"instrument for {term}" for term in terms)]

    def parameters(self, terms: list[str]) -> list[str]:
        return terms[: len(terms) // 2]

    def degrees_of_freedom(self, n_labeled: int, n_terms: int, tuned: bool) -> int:
        return n_labeled - n_terms


def check_strength(X: np.ndarray, Z: np.ndarray, is_endogenous: np.ndarray, Q: np.ndarray, terms: list[str]) -> None:
    """ValueError for instruments that hardly move what they instrument."""
    exogenous = X[:, ~is_endogenous]
    base = np.linalg.qr(exogenous)[0] if exogenous.shape[1] else np.zeros((len(X), 0))
    extra = Z.shape[1] - exogenous.shape[1]
    for j in np.flatnonzero(is_endogenous):
        x = X[:, j]
        without = x - base @ (base.T @ x)
        rest = x - Q @ (Q.T @ x)
        df = max(len(x) - Z.shape[1], 1)
        F = float((without @ without - rest @ rest) / extra / max(rest @ rest / df, 1e-300))
        if F < WEAK:
            raise ValueError(
                f"the instruments of {terms[j]!r} hardly move it: first-stage F {F:.1f}, below {WEAK:g}. Estimates "
                "from weak instruments are biased and their intervals too short; find stronger ones, or more rows."
            )
