"""Logistic, Poisson and multinomial regression with canonical links."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from icl.inference.estimands.base import Example
from icl.inference.estimands.composition import indicators, known_classes
from icl.inference.estimands.equations import CanonicalGLM
from icl.inference.estimands.families import Log, Logit, Softmax
from icl.inference.estimands.formula import Regression

if TYPE_CHECKING:
    import pandas as pd


METHODS = ("ml", "firth")


@dataclass(frozen=True)
class Penalisable(Regression):
    """Base of the regressions that know `method`.

    Args:
        method: "ml", maximum likelihood; or "firth", penalised likelihood with profile intervals, for few events:
            finite where events are separated, and valid where "ml" is not. It uses labels alone
            (`icl.inference.engine.firth` says why), and trusts the likelihood, so that counts must vary as Poisson has
            it. Joint tests and contrasts of several coefficients stay those of the covariance matrix.
    """

    method: str = field(default="ml", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in METHODS:
            raise ValueError(f"method got {self.method!r}; known are {', '.join(map(repr, METHODS))}.")
        if self.method == "firth" and type(self) not in (Logistic, Poisson):
            raise ValueError(
                f"{type(self).__name__} has no method='firth', which is written for canonical links; use Logistic or "
                "Poisson."
            )

    @property
    def solver(self) -> str:  # type: ignore[override]  # a name of the class there, of the method here
        return "profile" if self.method == "firth" else "scores"

    @property
    def default_std_error(self) -> str:  # type: ignore[override]
        return "model" if self.method == "firth" else "HC3"


@dataclass(frozen=True)
class Logistic(Penalisable):
    """Log-odds ratios of a binary outcome; predictions are probabilities.

    Args:
        formula, covariates: as in `OLS`; the outcome is 0 and 1, or booleans, or anything if `event` is given.
        event: the value of the outcome column that counts as 1.
        method: "ml", or "firth" for few events; see `Penalisable`.
    """

    event: object = None

    @property
    def scale(self) -> str:  # type: ignore[override]  # which value counts is known to the object only
        return f"{self._of} of {self.outcome_columns[0]} = {1 if self.event is None else self.event!r}"

    _of = "log odds"
    _other_outcome = ", or say which value counts as 1: Logistic(..., event=...) in Python, --event on the command line"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example(cls("event ~ x"), "p", has_units=False),)

    @property
    def model(self) -> CanonicalGLM:
        return CanonicalGLM(Logit())

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        if self.event is not None:
            if not self.has_plain_outcome:
                raise ValueError(f"{str(self)!r} has event= and a transformed outcome; use one of the two.")
            y = (labeled[self.outcome_columns[0]] == self.event).to_numpy(dtype=float)
        else:
            y = super().outcome(labeled)
            values = np.unique(y)
            if not np.isin(values[~np.isnan(values)], (0, 1)).all():
                seen = ", ".join(f"{v:g}" for v in values[:6])
                raise ValueError(
                    f"the outcome of {str(self)!r} has the values {seen}; it must be 0 and 1. "
                    "Pass event=... to say which value counts as 1."
                )
        n_events = int(y.sum())
        if n_events in (0, len(y)):
            raise ValueError(
                f"all {len(y)} labeled outcomes of {str(self)!r} are {'1' if n_events else '0'}; the odds are not "
                "identified. Check event=, or label rows until both values occur."
            )
        return y

    def check_predictions(self, f: np.ndarray, which: str) -> None:
        n_outside = int(((f < 0) | (f > 1)).sum())
        if n_outside:
            raise ValueError(
                f"{n_outside} of {len(f)} predictions of {which} rows lie outside [0, 1] (from {f.min():.4g} to "
                f"{f.max():.4g}); {type(self).__name__} needs probabilities. Use a classifier, or clip them yourself."
            )


@dataclass(frozen=True)
class Poisson(Penalisable):
    """Log rate ratios of a non-negative outcome, whose variance need not equal its mean, except with method="firth".

    See `Regression` and `Penalisable`.
    """

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example(cls("count ~ x"), "mu", has_units=False),)

    @property
    def model(self) -> CanonicalGLM:
        return CanonicalGLM(Log())

    scale = "logarithm of the mean"

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        y = super().outcome(labeled)
        if (y < 0).any():
            raise ValueError(f"{int((y < 0).sum())} outcomes of {str(self)!r} are negative; Poisson needs counts.")
        return y

    def check_predictions(self, f: np.ndarray, which: str) -> None:
        n_negative = int((f < 0).sum())
        if n_negative or not f.any():
            what = f"{n_negative} of {len(f)} predictions of {which} rows are negative"
            raise ValueError(
                f"{what if n_negative else f'all predictions of {which} rows are zero'}; Poisson needs expected "
                "counts. Predict on the scale of the outcome, or clip at a small positive number yourself."
            )


@dataclass(frozen=True)
class Multinomial(Regression):
    """Log-odds of each class against a base class; predictions are class probabilities.

    Args:
        formula, covariates: as in `OLS`; the outcome is a column of two or more classes.
        base: the class the others are compared with; default: the first in sorted order.
        classes: all classes, base first; default: those among the labeled rows, sorted.
    """

    base: object = None
    classes: tuple | None = None

    surrogate = "classes"
    scale = "log odds of each class against the base class"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(self.classes))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example(cls("level ~ x"), ["q0", "q1", "q2"], has_units=False),)

    @property
    def model(self) -> CanonicalGLM:
        return CanonicalGLM(Softmax(), self.n_responses) if self.n_responses > 1 else CanonicalGLM(Logit())

    @property
    def n_responses(self) -> int:
        return len(self.classes or ()) - 1

    def resolve(self, labeled: pd.DataFrame) -> Multinomial:
        if not self.has_plain_outcome:
            raise ValueError(f"the outcome of {str(self)!r} must be a column of classes, not a transformation.")
        column = labeled[self.outcome_columns[0]]
        classes = list(known_classes(column, self.classes))
        if self.base is not None and self.base not in classes:
            known_classes(column, (*classes, self.base))
        if self.base is not None:
            classes.sort(key=lambda c: c != self.base)  # stable: the others keep their order
        return replace(self, classes=tuple(classes), base=classes[0])

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        column = labeled[self.outcome_columns[0]]
        return indicators(column, (self.classes or ())[1:])

    def parameters(self, terms: list[str]) -> list[str]:
        return [f"{c}: {term}" for c in (self.classes or ())[1:] for term in terms]

    def check_predictions(self, f: np.ndarray, which: str) -> None:
        total = f.sum(axis=1)
        n_outside = int(((f < 0).any(axis=1) | (total > 1 + 1e-6)).sum())
        if n_outside:
            raise ValueError(
                f"{n_outside} of {len(f)} predictions of {which} rows are no class probabilities (negative, or summing "
                "to more than 1). Pass one column for each class."
            )
