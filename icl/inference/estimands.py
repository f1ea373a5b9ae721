"""What is estimated: a mean, a regression coefficient. An estimand knows its columns, its design and how to solve."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

COLLINEAR = 1e-10
"""Smallest singular value, relative to the largest, of a design whose columns were scaled to length one."""


@dataclass(frozen=True)
class Fit:
    """An estimator solved on one set of rows, with what each row contributed.

    Shapes: P parameters, R rows. `lever * residual` is the influence of each row: to first order,
    `estimate - truth` is its column sum, so its outer product is the HC0 covariance.
    """

    estimate: np.ndarray
    """(P,) the solution."""
    lever: np.ndarray
    """(R, P) derivative of the estimate by the outcome of each row."""
    residual: np.ndarray
    """(R,) outcome minus fitted value."""
    leverage: np.ndarray
    """(R,) derivative of the fitted value of a row by its own outcome."""

    @property
    def influence(self) -> np.ndarray:
        """(R, P) contribution of each row to the estimate."""
        return self.lever * self.residual[:, None]


class Estimand(ABC):
    """The contract: name the columns, read the outcome, build the design, solve on any rows and any outcome."""

    default_std_error: str

    @property
    @abstractmethod
    def outcome_columns(self) -> tuple[str, ...]:
        """Columns the outcome is made of; a row with a missing value in one of them is unlabeled."""

    @property
    @abstractmethod
    def covariate_columns(self) -> tuple[str, ...]:
        """Columns the design is made of; they must be complete on every row."""

    @abstractmethod
    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        """(n,) outcome of the labeled rows, in the units of the estimate."""

    @abstractmethod
    def design(self, frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
        """(R, P) design of labeled and unlabeled rows together, so that levels are shared, and P term names."""

    @abstractmethod
    def fit(self, X: np.ndarray, y: np.ndarray, terms: list[str] | None = None, rows: str = "labeled") -> Fit:
        """Solve on rows X (R, P) with outcome y (R,). Raises ValueError where X does not identify the answer."""

    @abstractmethod
    def degrees_of_freedom(self, n_labeled: int, n_terms: int, tuned: bool) -> int:
        """Of the t reference, when the weight was tuned on the same rows or not."""


@dataclass(frozen=True)
class Mean(Estimand):
    """The mean of a numeric column, or the share of rows whose column equals `event`.

    Args:
        column: the outcome; numbers, booleans, or anything if `event` is given.
        event: estimate the share of this value; its surrogate is the predicted probability, not the predicted label.
    """

    column: str
    event: Any = None

    default_std_error = "residual"

    def __str__(self) -> str:
        return f"mean of {self.column}" if self.event is None else f"share of {self.column} = {self.event!r}"

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        return ()

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        if self.event is None:
            return as_numbers(labeled[self.column], f"Mean({self.column!r}, event=...)")
        y = (labeled[self.column] == self.event).to_numpy(dtype=float)
        if not y.any():
            seen = sorted(map(repr, labeled[self.column].unique()))[:6]
            raise ValueError(
                f"no labeled row has {self.column} = {self.event!r}; the labels are {', '.join(seen)}. "
                "Check the spelling and the type, or label rows until the event occurs."
            )
        return y

    def design(self, frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
        return np.ones((len(frame), 1)), [self.column if self.event is None else f"{self.column}={self.event}"]

    def fit(self, X: np.ndarray, y: np.ndarray, terms: list[str] | None = None, rows: str = "labeled") -> Fit:
        share = np.full(len(y), 1 / len(y))
        estimate = y.mean(keepdims=True)
        return Fit(estimate, share[:, None], y - estimate, share)

    def degrees_of_freedom(self, n_labeled: int, n_terms: int, tuned: bool) -> int:
        return n_labeled - 1 - tuned


@dataclass(frozen=True)
class OLS(Estimand):
    """Coefficients of the best linear approximation of the outcome; the linear model need not be true.

    Args:
        formula: `"income ~ age + C(sex)"` (Wilkinson notation, read by formulaic), or the name of the outcome
            column if `covariates` is given. A transformed outcome (`"np.log(income) ~ age"`) is predicted, and
            expected from a predictions column, on the transformed scale.
        covariates: numeric columns to use as they are, with an intercept; skips the formula parser.
    """

    formula: str
    covariates: tuple[str, ...] | None = None

    default_std_error = "HC3"

    def __post_init__(self) -> None:
        if self.covariates is not None:
            object.__setattr__(self, "covariates", tuple(self.covariates))
        elif "~" not in self.formula:
            raise ValueError(
                f"OLS({self.formula!r}) names no covariates; write a formula such as "
                f"'{self.formula} ~ age + C(sex)', or pass covariates=[...]."
            )

    def __str__(self) -> str:
        if self.covariates is None:
            return f"OLS {self.formula}"
        return f"OLS {self.formula} ~ {' + '.join(self.covariates) or '1'}"

    @cached_property
    def _parsed(self) -> Any:
        from formulaic import Formula
        from formulaic.errors import FormulaicError

        try:
            parsed = Formula(self.formula)
        except FormulaicError as reason:
            raise ValueError(f"the formula {self.formula!r} cannot be read: {reason}") from reason
        if not hasattr(parsed, "lhs") or not hasattr(parsed, "rhs"):
            raise ValueError(f"the formula {self.formula!r} has no outcome; write 'outcome ~ covariates'.")
        return parsed

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        if self.covariates is not None:
            return (self.formula,)
        return tuple(sorted(map(str, self._parsed.lhs.required_variables)))

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        if self.covariates is not None:
            return self.covariates
        return tuple(sorted(map(str, self._parsed.rhs.required_variables)))

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        column = self.outcome_columns[0]
        how = f"a column of 0 and 1 for the value of interest as the outcome of {str(self)!r}"
        if self.covariates is not None or str(self._parsed.lhs) == column:
            return as_numbers(labeled[column], how)
        y = self._evaluate(self._parsed.lhs, labeled, "ignore")
        if y.shape[1] != 1:
            raise ValueError(f"the left side of {self.formula!r} has {y.shape[1]} columns; OLS takes one. Use {how}.")
        return as_numbers(y.iloc[:, 0], how)

    def design(self, frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
        if self.covariates is not None:
            columns = [as_numbers(frame[name], f"OLS('{self.formula} ~ C({name})')") for name in self.covariates]
            return np.column_stack([np.ones(len(frame)), *columns]), ["Intercept", *self.covariates]
        X = self._evaluate(self._parsed.rhs, frame, "raise")
        values = X.to_numpy(dtype=float)
        if values.shape[1] == 0:
            raise ValueError(f"the right side of {self.formula!r} has no column; write '~ 1' for the mean.")
        if not np.isfinite(values).all():
            bad = [str(name) for name, ok in zip(X.columns, np.isfinite(values).all(axis=0), strict=True) if not ok]
            raise ValueError(f"the terms {bad} of {self.formula!r} are not finite on every row; check their domain.")
        return values, [str(name) for name in X.columns]

    def fit(self, X: np.ndarray, y: np.ndarray, terms: list[str] | None = None, rows: str = "labeled") -> Fit:
        length = np.sqrt(np.einsum("rp,rp->p", X, X))
        if len(X) < X.shape[1] or not length.all():
            self._refuse(length > 0, terms, rows, len(X))
        Q, R = np.linalg.qr(X)
        _, singular, Vt = np.linalg.svd(R / length)
        if singular[-1] < COLLINEAR * singular[0]:
            self._refuse(np.abs(Vt[-1]) < 1e-3, terms, rows, len(X))
        projected = Q.T @ y
        estimate = np.linalg.solve(R, projected)
        lever = Q @ np.linalg.inv(R).T
        return Fit(estimate, lever, y - Q @ projected, np.einsum("rp,rp->r", Q, Q))

    def degrees_of_freedom(self, n_labeled: int, n_terms: int, tuned: bool) -> int:
        return n_labeled - n_terms

    def _evaluate(self, side: Any, frame: pd.DataFrame, na_action: str) -> pd.DataFrame:
        from formulaic.errors import FormulaicError

        try:
            with np.errstate(all="ignore"):  # a logarithm of zero is reported by name and count below, not as a warning
                return side.get_model_matrix(frame, na_action=na_action)
        except (FormulaicError, ValueError, TypeError) as reason:
            raise ValueError(f"the formula {self.formula!r} cannot be evaluated on these rows: {reason}") from reason

    def _refuse(self, is_fine: np.ndarray, terms: list[str] | None, rows: str, n_rows: int) -> None:
        names = terms or [f"column {j}" for j in range(len(is_fine))]
        guilty = [name for name, fine in zip(names, is_fine, strict=True) if not fine] or names
        raise ValueError(
            f"on the {n_rows} {rows} rows the terms {guilty} of {str(self)!r} are collinear or always zero, so their "
            "coefficients are not identified. Drop one of them, or merge categories that these rows do not contain."
        )


def as_numbers(column: pd.Series, advice: str) -> np.ndarray:
    """(R,) float64 values of a column of numbers or booleans; ValueError for text, dates and infinities."""
    from pandas.api.types import is_bool_dtype, is_complex_dtype, is_numeric_dtype, is_object_dtype

    kind = column.dtype
    if not (is_numeric_dtype(kind) or is_bool_dtype(kind)) or is_complex_dtype(kind):
        values = column.dropna()
        if not is_object_dtype(kind) or not all(isinstance(v, (bool, int, float, np.number, np.bool_)) for v in values):
            seen = ", ".join(repr(v) for v in list(dict.fromkeys(values))[:4])
            raise ValueError(f"column {column.name!r} holds {kind} values ({seen}), not numbers. Use {advice}.")
    numbers = column.to_numpy(dtype=float, na_value=np.nan)
    n_infinite = int(np.isinf(numbers).sum())
    if n_infinite:
        raise ValueError(f"column {column.name!r} holds {n_infinite} infinite values; remove or cap those rows first.")
    return numbers
