"""Two-stage least squares: a treatment that is not exogenous, and instruments that are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.estimands.base import Estimand, Example, as_numbers, refuse_own
from icl.inference.estimands.equations import EstimatingEquation
from icl.inference.estimands.linear import OLS
from icl.inference.estimands.strength import FirstStage, basis, check_strength, strength_findings

if TYPE_CHECKING:
    import pandas as pd


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

    Instruments with a first-stage F below 10 on all rows are refused; those that are weak on the labeled rows, and such
    as disagree, are said (`icl.inference.estimands.strength`).

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
        refuse_own(self.outcome_columns, self._excluded, str(self))
        return self

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        return self._plain.outcome(labeled)

    def design(self, frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
        X, stage, terms = self._first_stage(frame)
        check_strength(stage, terms)
        Q = basis(stage.Z)
        return np.hstack([X, Q @ (Q.T @ X)]), [*terms, *(f"instrument for {term}" for term in terms)]

    def _first_stage(self, frame: pd.DataFrame) -> tuple[np.ndarray, FirstStage, list[str]]:
        X, terms = self._plain.design(frame)
        is_endogenous = np.array([term in self.instruments for term in terms])
        if is_endogenous.sum() < len(self.instruments):
            raise ValueError(
                f"the endogenous columns {list(self.instruments)} must stand in {self.formula!r} as they are, as "
                f"numbers; its terms are {terms}."
            )
        of_what = "numbers as instruments, and for groups a column of 0 and 1 for each but one"
        Z = np.column_stack([X[:, ~is_endogenous], *(as_numbers(frame[name], of_what) for name in self._excluded)])
        return X, FirstStage(X, Z, is_endogenous), terms

    def findings(self, labeled: pd.DataFrame, unlabeled: pd.DataFrame) -> Iterator[Diagnostic]:
        _, stage, terms = self._first_stage(labeled)
        return strength_findings(stage, self.outcome(labeled), terms)

    def parameters(self, terms: list[str]) -> list[str]:
        return terms[: len(terms) // 2]

    def degrees_of_freedom(self, n_labeled: int, n_terms: int, tuned: bool) -> int:
        return n_labeled - n_terms
