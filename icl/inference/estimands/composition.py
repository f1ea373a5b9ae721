"""The share of each class of a column."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from icl.inference.estimands.base import Estimand, Example
from icl.inference.estimands.equations import CanonicalGLM
from icl.inference.estimands.families import Identity
from icl.inference.estimands.linear import intercept

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Shares(Estimand):
    """The share of each class of a column, which add up to one; predictions are class probabilities, or classes.

        Shares("party")                                        # with a classifier, or a column for each class
        infer(Shares("topic"), table, predictions="judge")     # a column that names the class of each row

    Of two classes, or of one class among others, `Mean(column, event=...)` is the same; under
    `Transport(shift="label")` the share of one class among more than two needs all of them, hence this.

    Args:
        column: the outcome, two or more classes.
        classes: all classes; default: those among the labeled rows, sorted.
    """

    column: str
    classes: tuple | None = None

    default_std_error = "jackknife"
    surrogate = "classes"

    def __post_init__(self) -> None:
        if isinstance(self.classes, list):
            object.__setattr__(self, "classes", tuple(self.classes))

    def __str__(self) -> str:
        return f"shares of {self.column}"

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        return ()

    @property
    def n_responses(self) -> int:
        return len(self.classes or ())

    @property
    def model(self) -> CanonicalGLM:
        return CanonicalGLM(Identity(), self.n_responses)

    @property
    def limits(self) -> tuple[float, float]:
        return 0.0, 1.0

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example(cls("level"), ["q0", "q1", "q2"], has_units=False),)

    def resolve(self, labeled: pd.DataFrame) -> Shares:
        return replace(self, classes=known_classes(labeled[self.column], self.classes))

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        return indicators(labeled[self.column], self.classes or ())

    def design(self, frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
        return intercept(len(frame)), ["Intercept"]

    def designs(self, labeled: pd.DataFrame, unlabeled: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str]]:
        return intercept(len(labeled)), intercept(len(unlabeled)), ["Intercept"]

    def parameters(self, terms: list[str]) -> list[str]:
        return [f"{self.column}={c}" for c in self.classes or ()]

    def check_predictions(self, f: np.ndarray, which: str) -> None:
        n_wrong = int(((f < 0).any(axis=1) | (np.abs(f.sum(axis=1) - 1) > 1e-6)).sum())
        if n_wrong:
            raise ValueError(
                f"{n_wrong} of {len(f)} predictions of {which} rows are no class probabilities (negative, or not "
                f"summing to 1). Use a classifier, or pass a column for each of {list(self.classes or ())}, in this "
                "order, or a single column that names the predicted class."
            )

    def degrees_of_freedom(self, n_labeled: int, n_terms: int, tuned: bool) -> int:
        return n_labeled - n_terms - tuned


def known_classes(column: pd.Series, classes: tuple | None = None) -> tuple:
    """`classes`, or the sorted values of a column of labels.

    Raises:
        ValueError: for classes that no label shows, labels that are no class, and a column that is none of classes.
    """
    if isinstance(classes, str) or (classes is not None and len({*classes}) < len(classes)):
        raise ValueError(f"classes= got {classes!r}; pass a tuple of different classes, such as ('a', 'b').")
    seen = sorted(column.dropna().unique().tolist(), key=lambda v: (str(type(v)), v))
    found = tuple(seen if classes is None else classes)
    if absent := [c for c in found if c not in seen]:
        raise ValueError(
            f"no labeled row has {column.name} in {absent}; the labels are {seen[:12]}. Label rows of these classes, "
            "or leave them out."
        )
    if unknown := [c for c in seen if c not in found]:
        raise ValueError(f"labeled rows have classes {unknown}, which classes={list(found)} leaves out.")
    if not 2 <= len(found) <= max(2, len(column) // 3):
        raise ValueError(
            f"{column.name!r} has {len(found)} different values on {len(column)} labeled rows; two or more classes "
            "with several rows each are needed. For numbers, use OLS or Mean."
        )
    return found


def indicators(column: pd.Series, classes: tuple) -> np.ndarray:
    """(R, K) one for the class that a row has."""
    return np.column_stack([(column == c).to_numpy(dtype=float) for c in classes])


def predicted_classes(estimand: Estimand, parts: list[pd.Series]) -> list[np.ndarray]:
    """Indicators of the classes that the parts of a column predict; empty if it holds something else.

    Raises:
        ValueError: for a column of text, or of some classes, that names others too.
    """
    classes = getattr(estimand, "classes", None) if estimand.surrogate == "classes" else None
    if not classes:
        return []
    are_numbers = all(part.dtype.kind in "fiub" for part in parts)
    if are_numbers and (estimand.n_responses == 1 or not any(part.isin(classes).any() for part in parts)):
        return []  # a probability, of the second of two classes or one of several
    unknown = [value for part in parts for value in part[~part.isin(classes)].drop_duplicates().tolist()[:3]]
    if unknown:
        raise ValueError(
            f"predictions={parts[0].name!r} holds {unknown[:4]}, which are none of the classes {list(classes)[:12]} of "
            "labeled rows. Pass a column of predicted classes, or a column of probabilities for each class, in this "
            "order."
        )
    return [indicators(part, classes) for part in parts]
