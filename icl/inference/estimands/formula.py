"""A design and an outcome from a formula, or from columns taken as they are."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.estimands.base import Estimand, as_numbers, as_tuple, refuse_own
from icl.inference.estimands.formula_language import (
    check_expression,
    check_formula,
    check_functions,
    columns_of,
    counted_columns,
    function_context,
    plain,
    unreadable,
)
from icl.inference.estimands.formula_size import check_columns, check_terms
from icl.inference.frames import AS_A_NUMBER, holds_times, said_times

if TYPE_CHECKING:
    import pandas as pd


class UnknownLevels(ValueError):
    """Rows of levels that a formula, or the rows it was made on, does not name."""


@dataclass(frozen=True)
class Regression(Estimand):
    """Base of the regressions.

    Args:
        formula: `"income ~ age + C(sex)"` (Wilkinson notation, read by formulaic: categories, interactions, splines),
            or the name of the outcome column if `covariates` is given. A transformed outcome (`"np.log(income) ~ age"`)
            is predicted, and expected from a predictions column, on the transformed scale.
        covariates: numeric columns to use as they are, with an intercept; skips the formula parser.
        functions: functions of your own that the formula calls, by name; without it, those of `formula_language`.
    """

    formula: str
    covariates: tuple[str, ...] | list[str] | None = None
    functions: Mapping[str, Callable] | None = field(default=None, hash=False, kw_only=True)

    default_std_error = "HC3"

    def __post_init__(self) -> None:
        check_functions(self.functions)
        if self.covariates is not None:
            object.__setattr__(self, "covariates", as_tuple(self.covariates))
            refuse_own((self.formula,), self.covariates, str(self))
        elif not isinstance(self.formula, str):
            raise ValueError(
                f"{type(self).__name__}({self.formula!r}) is no formula; write 'outcome ~ covariates', or pass "
                "covariates=[...] beside the name of the outcome."
            )
        elif "~" not in self.formula:
            name = type(self).__name__
            raise ValueError(
                f"{name}({self.formula!r}) names no covariates; write a formula such as "
                f"'{self.formula} ~ age + C(sex)', or pass covariates=[...]."
            )

    def __str__(self) -> str:
        name = type(self).__name__
        if self.covariates is None:
            return f"{name} {self.formula}"
        return f"{name} {self.formula} ~ {' + '.join(map(str, self.covariates)) or '1'}"

    @cached_property
    def _parsed(self) -> Any:
        from formulaic import Formula, SimpleFormula
        from formulaic.errors import FormulaicError

        check_formula(self.formula, self.functions)
        check_terms(self.formula)
        try:
            parsed = Formula(self.formula)
        except (FormulaicError, SyntaxError, ValueError, RecursionError) as reason:
            raise unreadable(self.formula, reason) from reason
        if not hasattr(parsed, "lhs") or not hasattr(parsed, "rhs"):
            raise ValueError(f"the formula {self.formula!r} has no outcome; write 'outcome ~ covariates'.")
        if not all(isinstance(side, SimpleFormula) for side in (parsed.lhs, parsed.rhs)):
            raise ValueError(
                f"the formula {self.formula!r} has several parts; write 'outcome ~ covariates', without |."
            )
        for code in [*_calls(parsed.lhs), *_calls(parsed.rhs)]:  # as the parser rewrote them
            check_expression(code, self.formula, self.functions)
        refuse_own(_variables(parsed.lhs), _variables(parsed.rhs), f"the formula {self.formula!r}")
        return parsed

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        if self.covariates is not None:
            return (self.formula,)
        return _variables(self._parsed.lhs)

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        if self.covariates is not None:
            return tuple(self.covariates)
        return _variables(self._parsed.rhs)

    @property
    def has_plain_outcome(self) -> bool:
        """The outcome is a column as it is, not a transformation."""
        return self.covariates is not None or str(self._parsed.lhs) == self.outcome_columns[0]

    _other_outcome = ""
    """What else than a number may be the outcome, to end an error with."""

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        column = self.outcome_columns[0]
        how = f"a column of 0 and 1 for the value of interest as the outcome of {str(self)!r}{self._other_outcome}"
        if self.has_plain_outcome:
            return as_numbers(labeled[column], how)
        y = self._evaluate(self._parsed.lhs, labeled, "ignore")
        if y.shape[1] != 1:
            name = type(self).__name__
            raise ValueError(
                f"the left side of {self.formula!r} has {y.shape[1]} columns; {name} takes one. Use {how}."
            )
        return as_numbers(y.iloc[:, 0], how)

    def design(self, frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
        if self.covariates is not None:
            X = np.empty((len(frame), 1 + len(self.covariates)), order="F")  # filled, and read in chunks, by column
            X[:, 0] = 1
            for j, name in enumerate(self.covariates):
                X[:, j + 1] = as_numbers(frame[name], f"{type(self).__name__}('{self.formula} ~ C({name})')")
            return X, ["Intercept", *map(str, self.covariates)]
        check_columns(self.formula, self._parsed.rhs, frame)
        terms = self._evaluate(self._parsed.rhs, frame, "raise")
        values = terms.to_numpy(dtype=float)
        if values.shape[1] == 0:
            raise ValueError(f"the right side of {self.formula!r} has no column; write '~ 1' for the mean.")
        if not np.isfinite(values).all():
            bad = [str(name) for name, ok in zip(terms.columns, np.isfinite(values).all(axis=0), strict=True) if not ok]
            raise ValueError(f"the terms {bad} of {self.formula!r} are not finite on every row; check their domain.")
        return values, [str(name) for name in terms.columns]

    def designs(self, labeled: pd.DataFrame, unlabeled: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str]]:
        if self.covariates is None:  # levels and knots are learned from labeled and unlabeled rows together
            return super().designs(labeled, unlabeled)
        X, terms = self.design(labeled)
        return X, self.design(unlabeled)[0] if len(unlabeled) else X[:0], terms

    def designer(self, labeled: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
        """Design of a batch of rows, with the levels of the labeled rows."""
        if self.covariates is not None:
            return lambda frame: self.design(frame)[0]
        check_columns(self.formula, self._parsed.rhs, labeled)
        spec = self._evaluate(self._parsed.rhs, labeled, "raise").model_spec
        if spec.transform_state:
            raise ValueError(
                f"the terms {sorted(spec.transform_state)} of {self.formula!r} depend on all rows at once (knots, "
                "means), which rows that come in batches cannot give. Compute such columns beforehand."
            )

        def design(frame: pd.DataFrame) -> np.ndarray:
            try:
                return self._evaluate(spec, frame, "raise").to_numpy(dtype=float)
            except UnknownLevels as reason:
                raise ValueError(
                    f"unlabeled rows have levels that no labeled row has, so {str(self)!r} is not identified "
                    f"({reason.__cause__}). Label rows of these levels, merge them with others, or leave these rows "
                    "out."
                ) from None

        return design

    def _evaluate(self, side: Any, frame: pd.DataFrame, na_action: str) -> pd.DataFrame:
        from formulaic.errors import DataMismatchWarning, FormulaicError

        _refuse_times(self.formula, side, frame, self.functions or ())
        try:
            # A logarithm of zero is reported by name and count below, not as a warning. Rows of levels that a formula
            # does not name are taken for the reference level, with a warning.
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("error", DataMismatchWarning)
                context = function_context(self.functions)
                return side.get_model_matrix(frame, context=context, na_action=na_action)
        except DataMismatchWarning as reason:
            named = re.search(r"\{.*?\}", str(reason))
            raise UnknownLevels(
                f"rows have levels that {self.formula!r} does not name ({named[0] if named else reason}); they would "
                "count as the reference level. Name all levels, merge some beforehand, or leave these rows out."
            ) from reason
        except (FormulaicError, ValueError, TypeError) as reason:
            raise ValueError(
                f"the formula {self.formula!r} cannot be evaluated on these rows: {plain(reason)}"
                f"{_on_times(side, frame)}"
            ) from reason


def _refuse_times(formula: str, side: Any, frame: pd.DataFrame, own: Iterable[str]) -> None:
    """ValueError where a formula counts with dates or spans; `C(day)`, `day > ...` and own functions may read them."""
    for term in getattr(side, "formula", side):  # of a side that was evaluated before, what it was made of
        for factor in term.factors:
            is_call = factor.eval_method.value == "python"
            for name in sorted(counted_columns(factor.expr, own) if is_call else {factor.expr}):
                if name in frame and holds_times(frame[name]):
                    raise ValueError(
                        f"the formula {formula!r} takes {name!r} for a number, and it holds {said_times(frame[name])}. "
                        f"{AS_A_NUMBER} As a category, with a coefficient for each, it is C({name})."
                    )


def _on_times(side: Any, frame: pd.DataFrame) -> str:
    """What to do where a call failed that reads dates or spans; nothing where none does."""
    times = [name for name in _variables(getattr(side, "formula", side)) if name in frame and holds_times(frame[name])]
    return f". {times[0]!r} holds {said_times(frame[times[0]])}. {AS_A_NUMBER}" if times else ""


def _calls(side: Any) -> list[str]:
    """What one side of a formula evaluates as Python."""
    factors = (factor for term in side for factor in term.factors)
    return [factor.expr for factor in factors if factor.eval_method.value == "python"]


def _variables(side: Any) -> tuple[str, ...]:
    """Columns that one side of a formula reads.

    formulaic 1.2 forgets those inside stateful transforms (`bs(age, df=4)`, `scale(age)`), so calls are parsed here.
    """
    names = {factor.expr for term in side for factor in term.factors if factor.eval_method.value == "lookup"}
    return tuple(sorted(names.union(*map(columns_of, _calls(side)))))
