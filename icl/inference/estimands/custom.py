"""An estimand of the user's own: anything that solves an estimating equation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.estimands.base import Estimand, Example, as_numbers, as_tuple
from icl.inference.estimands.equations import CustomModel

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class MEstimand(Estimand):
    """The parameters at which the scores of all rows sum to zero.

        def scores(theta, X, y):                       # (R, P): minus the derivative of the loss of each row
            return X * np.tanh(y - X @ theta)[:, None]
        MEstimand(scores, "income", covariates=["age"], parameters=["Intercept", "age"], intercept=True)

    Args:
        scores: `scores(theta (P,), X (R, p), y (R,)) -> (R, P)`; rows are independent, weights are applied outside.
        outcome: column of the outcome, or a list of columns (y is then (R, K)).
        covariates: numeric columns of X, in this order.
        parameters: P names.
        intercept: put a column of ones first in X.
        hessian: `hessian(theta, X, y, w (R,)) -> (P, P)`, minus the derivative of the weighted sum of scores; default:
            central differences of the scores.
        solve: `solve(X, y, w) -> (P,)` where to begin; default: zeros. Newton's method finishes.
        name: what summaries call it.
    """

    scores: Callable[..., np.ndarray]
    outcome_column: Any
    covariates: tuple[str, ...] = ()
    parameters_: tuple[str, ...] = ("theta",)
    intercept: bool = False
    hessian: Callable[..., np.ndarray] | None = None
    solve: Callable[..., np.ndarray] | None = None
    name: str = "M-estimand"

    default_std_error = "HC1"

    def __init__(
        self,
        scores: Callable[..., np.ndarray],
        outcome: str | list[str],
        covariates: list[str] | tuple[str, ...] = (),
        parameters: list[str] | tuple[str, ...] = ("theta",),
        *,
        intercept: bool = False,
        hessian: Callable[..., np.ndarray] | None = None,
        solve: Callable[..., np.ndarray] | None = None,
        name: str = "M-estimand",
    ) -> None:
        for what, value, optional in (("scores", scores, False), ("hessian", hessian, True), ("solve", solve, True)):
            if not callable(value) and not (optional and value is None):
                raise ValueError(f"MEstimand got {what}={value!r}; pass a function.")
        values: tuple = (scores, outcome, as_tuple(covariates), as_tuple(parameters), intercept, hessian, solve, name)
        for field, value in zip(self.__dataclass_fields__, values, strict=True):
            object.__setattr__(self, field, value)
        if not self.parameters_:
            raise ValueError("MEstimand needs the names of its parameters; pass parameters=['theta'].")

    def __str__(self) -> str:
        return f"{self.name} of {', '.join(map(str, self.outcome_columns))}"

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        return as_tuple(self.outcome_column)

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        return self.covariates

    @property
    def n_responses(self) -> int:
        return len(self.outcome_columns)

    @property
    def model(self) -> CustomModel:
        return CustomModel(self.scores, self.hessian, len(self.parameters_), self.solve)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (
            Example(cls(_least_squares, "y", ["x"], ["Intercept", "x"], intercept=True, name="least squares"), "f"),
        )

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        columns = [as_numbers(labeled[c], "numbers as the outcome of an MEstimand") for c in self.outcome_columns]
        return columns[0] if len(columns) == 1 else np.column_stack(columns)

    def design(self, frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
        columns = [np.ones(len(frame))] if self.intercept else []
        columns += [as_numbers(frame[c], "numeric covariates in an MEstimand") for c in self.covariates]
        names = ["Intercept"] * self.intercept + list(map(str, self.covariates))
        return np.column_stack(columns) if columns else np.empty((len(frame), 0)), names

    def parameters(self, terms: list[str]) -> list[str]:
        return list(map(str, self.parameters_))

    def degrees_of_freedom(self, n_labeled: int, n_terms: int, tuned: bool) -> int:
        return n_labeled - n_terms - tuned


def _least_squares(theta: np.ndarray, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    return X * (y - X @ theta)[:, None]
