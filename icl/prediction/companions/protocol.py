"""What a companion is given and what it answers.

A companion is a classical model on the labelled rows whose answers the network sees as further columns. In the context
a row carries the answer of a companion that did not see this row's own label, so the column is about as good there as
among the queries. Nothing else about a companion matters to the rest.

Dimension key: N context rows, M query rows, F columns of the table, T answers of a companion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

# A share below it looks like this one in log-odds, where a finite sample cannot tell them apart.
_LEAST_SHARE = 1 / 75


@dataclass(frozen=True)
class Labelled:
    """The labelled rows as companions get them.

    Args:
        cells_NF: float32; missing ones NaN, categories as codes by falling frequency.
        n_levels_F: number of levels of a categorical column, 0 for a number.
        y_N: standardised targets, or classes 0..C-1.
        n_classes: C, or None for a numeric target.
        group_N: number of the unit of each row, whose rows are left out together; None if each is its own.
        weight_N: how much each row counts, 1 on average; None if all are alike.
    """

    cells_NF: np.ndarray
    n_levels_F: np.ndarray
    y_N: np.ndarray
    n_classes: int | None
    group_N: np.ndarray | None = None
    weight_N: np.ndarray | None = None

    @property
    def n_answers(self) -> int:
        """T: one for a number and for two classes, else one for each class."""
        return 1 if self.n_classes in (None, 2) else self.n_classes

    @property
    def groups(self) -> np.ndarray:
        """(N,) number of the group of each row, 0..G-1."""
        return np.arange(len(self.y_N)) if self.group_N is None else np.unique(self.group_N, return_inverse=True)[1]

    @property
    def weights(self) -> np.ndarray:
        """(N,) how much each row counts."""
        return np.ones(len(self.y_N)) if self.weight_N is None else self.weight_N

    def indicators(self) -> np.ndarray:
        """(N, T) targets as numbers: themselves, or the indicators of the classes (of the second one, of two)."""
        if self.n_classes is None:
            return self.y_N[:, None].astype(float)
        return np.eye(self.n_classes)[self.y_N][:, 1 if self.n_classes == 2 else 0 :]

    def shown(self, shares_MT: np.ndarray) -> np.ndarray:
        """(M, T) float32 answers as the network shall see them: log-odds of the shares of classes, numbers as is."""
        if self.n_classes is not None:
            shares_MT = np.clip(shares_MT, 0, 1)
            shares_MT = np.log(shares_MT + _LEAST_SHARE) - np.log(1 - shares_MT + _LEAST_SHARE)
        return shares_MT.astype(np.float32)


class Companion(Protocol):
    """A model fitted on labelled rows.

    Attributes:
        context_NS: out-of-context answers for the labelled rows, as `Labelled.shown` makes them.
    """

    context_NS: np.ndarray

    def __call__(self, rows_MF: np.ndarray) -> np.ndarray:
        """(M, T) float32 answers for rows that are not in the context; each row's by itself."""
        ...


@dataclass(frozen=True)
class Kind:
    """A kind of companion: how it is fitted, and what that takes."""

    fit: Callable[[Labelled, int], Companion]
    """From the labelled rows and a seed."""
    seconds: Callable[[int, int, int | None], float]
    """Time of one core that fitting takes, from the numbers of rows, columns and classes (None for a number).

    Fitted to eight shapes of 100 to 4,000 rows on one core of an AMD EPYC, within a third; other machines differ.
    """
