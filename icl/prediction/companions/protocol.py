"""What a companion is given and what it answers.

A companion is a classical model on the labelled rows whose answers the network sees as further columns. In the context
a row carries the answer of a companion that did not see this row's own label, so the column is about as good there as
among the queries. Nothing else about a companion matters to the rest.

Dimension key: N context rows, M query rows, F columns of the table, T answers of a companion.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

LEAST_SHARE = 1 / 75
"""A share below it looks like this one in log-odds, where a finite sample cannot tell them apart."""
# Rows of a level, some of which any companion learns from.
_MANY = 20
# Standard deviations of the target: answers beyond would overflow where the network squares them.
_FURTHEST = 1e6


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

    def unseen(self, rows: np.ndarray, without: np.ndarray) -> np.ndarray:
        """The cells of some rows, without the levels that no row but those of `without` holds: as a query has them.

        Else a level that one row holds, which no companion learns from its other rows, would look known there, while
        about as many queries hold levels that no row holds (Good & Turing), which are missing.

        Args:
            rows: (N,) bool, or numbers of rows.
            without: (N,) bool, of rows that a companion did not learn from.
        """
        cells_nF = np.array(self.cells_NF[rows])
        for j in self._rare:
            known = np.zeros(int(self.n_levels_F[j]) + 1, bool)
            known[_codes(self.cells_NF[~without, j])] = True
            cells_nF[~known[_codes(cells_nF[:, j])], j] = np.nan
        return cells_nF

    @functools.cached_property
    def _rare(self) -> list[int]:
        """Columns with a level of fewer than 20 rows: of others, what companions learn from holds every level."""
        columns = np.flatnonzero(self.n_levels_F > 0).tolist()
        counts = {j: np.bincount(_codes(self.cells_NF[:, j]) + 1)[1:] for j in columns}
        return [j for j in columns if ((counts[j] > 0) & (counts[j] < _MANY)).any()]

    def take(self, rows: np.ndarray) -> Labelled:
        """Some of the rows."""
        group_N, weight_N = (None if x is None else x[rows] for x in (self.group_N, self.weight_N))
        return replace(self, cells_NF=self.cells_NF[rows], y_N=self.y_N[rows], group_N=group_N, weight_N=weight_N)

    def indicators(self) -> np.ndarray:
        """(N, T) targets as numbers: themselves, or the indicators of the classes (of the second one, of two)."""
        if self.n_classes is None:
            return self.y_N[:, None].astype(float)
        return np.eye(self.n_classes)[self.y_N][:, 1 if self.n_classes == 2 else 0 :]

    def shown(self, shares_MT: np.ndarray) -> np.ndarray:
        """(M, T) float32 answers as the network shall see them: log-odds of the shares of classes, numbers as is."""
        if self.n_classes is None:
            return np.clip(shares_MT, -_FURTHEST, _FURTHEST).astype(np.float32)
        shares_MT = np.clip(shares_MT, 0, 1)
        shares_MT = _log_odds(shares_MT)
        return shares_MT.astype(np.float32)

    def shares(self, shown_MT: np.ndarray) -> np.ndarray:
        """(M, T) shares of classes that answers as `shown` stand for."""
        odds_MT = np.exp(shown_MT.astype(float))
        return np.clip((odds_MT * (1 + LEAST_SHARE) - LEAST_SHARE) / (1 + odds_MT), 0, 1)


def _codes(cells_N: np.ndarray) -> np.ndarray:
    """(N,) codes as whole numbers; of a missing cell -1, the last place."""
    return np.where(np.isnan(cells_N), -1, cells_N).astype(int)


def _log_odds(shares_MT: np.ndarray) -> np.ndarray:
    return np.log(shares_MT + LEAST_SHARE) - np.log(1 - shares_MT + LEAST_SHARE)


def shares_of(shown_MT: np.ndarray) -> np.ndarray:
    """(M, T) shares of classes, from answers as `Labelled.shown` makes them."""
    odds_MT = np.exp(shown_MT.astype(float))
    return np.clip((odds_MT * (1 + LEAST_SHARE) - LEAST_SHARE) / (1 + odds_MT), 0, 1)


def narrowed(shown_MC: np.ndarray, answers_C: np.ndarray) -> np.ndarray:
    """(M, T) float32 answers to a question about some of the classes (`icl.prediction.hierarchy`).

    Args:
        shown_MC: answers for all classes, as `Labelled.shown` makes them.
        answers_C: which answer to the question each class stands for; -1 for classes that are not asked about.
    """
    n_answers = int(answers_C.max()) + 1
    shares_MC = shares_of(shown_MC)
    # A question that no share speaks for is answered evenly.
    sums_MA = np.stack([shares_MC[:, answers_C == a].sum(1) for a in range(n_answers)], 1) + LEAST_SHARE / n_answers
    shares_MA = sums_MA / sums_MA.sum(1, keepdims=True)
    return _log_odds(shares_MA[:, 1:] if n_answers == 2 else shares_MA).astype(np.float32)


class Companion(Protocol):
    """A model fitted on labelled rows.

    Attributes:
        context_NS: out-of-context answers for the labelled rows, as `Labelled.shown` makes them; no columns if they
            were not asked for.
    """

    context_NS: np.ndarray

    def __call__(self, rows_MF: np.ndarray) -> np.ndarray:
        """(M, T) float32 answers for rows that are not in the context; each row's by itself."""
        ...


@dataclass(frozen=True)
class Kind:
    """A kind of companion: how it is fitted, and what that takes."""

    fit: Callable[..., Companion]
    """From the labelled rows, a seed, and whether answers for the labelled rows out of context are wanted."""
    seconds: Callable[..., float]
    """Time of one core that fitting takes, from the numbers of rows, columns and classes (None for a number), and
    whether the labelled rows get answers out of context too (they do).

    Fitted to eight shapes of 100 to 4,000 rows on one core of an AMD EPYC, within a third; other machines differ.
    """
    seconds_a_query: float
    """Time of one core that an answer to a row takes, about."""
