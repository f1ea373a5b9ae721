"""Means and least squares: estimates that are linear in the outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.estimands.base import Estimand, Example, as_numbers, as_tuple, refuse_own
from icl.inference.estimands.equations import CanonicalGLM
from icl.inference.estimands.families import Identity
from icl.inference.estimands.formula import Regression

if TYPE_CHECKING:
    import pandas as pd


def intercept(n_rows: int) -> np.ndarray:
    """(R, 1) ones that take no memory: a view of a single one."""
    return np.broadcast_to(1.0, (n_rows, 1))


@dataclass(frozen=True)
class Mean(Estimand):
    """The mean of a numeric column, or the share of rows whose column equals `event`.

    Args:
        column: the outcome; numbers, booleans, or anything if `event` is given. A list of columns gives their means
            together, with the covariance between them; each then needs predictions of its own.
        event: estimate the share of this value; its surrogate is the predicted probability, not the predicted label.
        by: a column, or several, of groups: the mean within each of them. Contrasts between groups are linear
            combinations of these terms.
    """

    column: str | tuple[str, ...] | list[str]
    event: Any = None
    by: str | tuple[str, ...] | None = None
    groups: tuple | None = None
    """Values of `by`, in the order of the terms; read off the labeled rows."""

    def __post_init__(self) -> None:
        if isinstance(self.column, list):
            object.__setattr__(self, "column", tuple(self.column))
        if isinstance(self.by, list):
            object.__setattr__(self, "by", tuple(self.by))
        if self.event is not None and len(as_tuple(self.column)) > 1:
            raise ValueError(f"Mean got {len(self.column)} columns and event={self.event!r}; an event has one column.")
        refuse_own(as_tuple(self.column), () if self.by is None else as_tuple(self.by), str(self))

    default_std_error = "jackknife"

    def __str__(self) -> str:
        columns = ", ".join(map(str, as_tuple(self.column)))
        what = f"mean of {columns}" if self.event is None else f"share of {columns} = {self.event!r}"
        return what if self.by is None else f"{what} by {', '.join(map(str, as_tuple(self.by)))}"

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        return as_tuple(self.column)

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        return () if self.by is None else as_tuple(self.by)

    @property
    def n_responses(self) -> int:
        return len(as_tuple(self.column))

    @property
    def model(self) -> CanonicalGLM:
        return CanonicalGLM(Identity(), self.n_responses)

    @property
    def limits(self) -> tuple[float, float]:
        return super().limits if self.event is None else (0.0, 1.0)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (
            Example(cls("y"), "f"),
            Example(cls("level", event=2.0), "q2", has_units=False),
            Example(cls(["y", "event"]), ["f", "p"]),
            Example(cls("y", by="group"), "f"),
        )

    def resolve(self, labeled: pd.DataFrame) -> Mean:
        if self.by is None or self.groups is not None:
            return self
        keys = labeled[list(as_tuple(self.by))].drop_duplicates()
        try:
            keys = keys.sort_values(list(keys.columns))
        except TypeError:  # numbers beside text
            keys = keys.iloc[keys.map(lambda v: (type(v).__name__, str(v))).apply(tuple, axis=1).argsort()]
        groups = tuple(keys.itertuples(index=False, name=None))
        return Mean(self.column, self.event, self.by, groups)

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        if self.n_responses > 1:
            return np.column_stack([as_numbers(labeled[c], f"Mean({c!r}, event=...)") for c in self.column])
        column = self.outcome_columns[0]
        if self.event is None:
            return as_numbers(labeled[column], f"Mean({column!r}, event=...), in a line 'share: {column} = LABEL'")
        y = (labeled[column] == self.event).to_numpy(dtype=float)
        if not y.any():
            seen = sorted(repr(v.item() if isinstance(v, np.generic) else v) for v in labeled[column].unique())[:6]
            raise ValueError(
                f"no labeled row has {column} = {self.event!r}; the labels are {', '.join(seen)}. "
                "Check the spelling and the type. If the event is real, pass a column of 0 and 1 without event=: the "
                "interval of its share then starts at 0."
            )
        return y

    def design(self, frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
        if self.by is None:
            return intercept(len(frame)), ["Intercept"]
        import pandas as pd

        keys, groups = as_tuple(self.by), self.groups or ()  # of `resolve`
        if len(keys) == 1:
            code = pd.Index([g[0] for g in groups]).get_indexer(frame[keys[0]])
        else:
            code = pd.MultiIndex.from_tuples(groups).get_indexer(pd.MultiIndex.from_frame(frame[list(keys)]))
        if (code < 0).any():
            unseen = frame.loc[code < 0, list(keys)].drop_duplicates()
            some = "; ".join(", ".join(f"{k}={v}" for k, v in zip(keys, row)) for row in unseen.head(4).to_numpy())
            more = f" and {len(unseen) - 4:,} more" if len(unseen) > 4 else ""
            raise ValueError(
                f"the groups {some}{more} have {int((code < 0).sum()):,} unlabeled rows and no labeled one, so their "
                "mean is not identified. Label rows of them, merge them with others, or leave these rows out."
            )
        X = np.zeros((len(frame), len(groups)))
        X[np.arange(len(frame)), code] = 1
        return X, [", ".join(f"{k}={v}" for k, v in zip(keys, group)) for group in groups]

    def designs(self, labeled: pd.DataFrame, unlabeled: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str]]:
        if self.by is None:
            return intercept(len(labeled)), intercept(len(unlabeled)), ["Intercept"]
        return super().designs(labeled, unlabeled)

    def parameters(self, terms: list[str]) -> list[str]:
        outcomes = [str(c) if self.event is None else f"{c}={self.event}" for c in self.outcome_columns]
        if self.by is None:
            return outcomes
        return terms if len(outcomes) == 1 else [f"{c}: {term}" for c in outcomes for term in terms]

    def degrees_of_freedom(self, n_labeled: int, n_terms: int, tuned: bool) -> int:
        return n_labeled - n_terms - tuned


@dataclass(frozen=True)
class OLS(Regression):
    """Coefficients of the best linear approximation of the outcome, which need not be linear; see `Regression`."""

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example(cls("y ~ x + C(group)"), "f"), Example(cls("y", covariates=["x", "z"]), "f"))

    @property
    def model(self) -> CanonicalGLM:
        return CanonicalGLM(Identity())
