"""Folds of cross-fitting: dealt once, the same for every use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Folds:
    """The fold of each labeled row, whose model must not see it, and what each model says about unlabeled rows."""

    of_row: np.ndarray
    """(n,) from 0 to K - 1."""
    share: np.ndarray
    """(K, N) of each fold model in the prediction of each unlabeled row; columns sum to one."""

    @property
    def number(self) -> int:
        """K."""
        return len(self.share)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """Each fold and the mask (n,) of the rows that it holds out."""
        return ((k, self.of_row == k) for k in range(self.number))


def deal(
    n: int,
    N: int,
    folds: int,
    seed: int,
    *,
    strata: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    groups_unlabeled: np.ndarray | None = None,
) -> Folds:
    """Folds of n labeled rows; arguments as in `cross_fit`.

    Raises:
        ValueError: unless `folds` is a whole number from 2 to the number of rows, or of groups.
    """
    most, what = (n, "labeled rows") if groups is None else (len(np.unique(groups)), "clusters")
    if not isinstance(folds, (int, np.integer)) or not 2 <= folds <= most:
        raise ValueError(f"folds got {folds!r}; with {most} {what} it must be a whole number from 2 to {most}.")
    of_row = assign_folds(n, int(folds), seed, strata=strata, groups=groups)
    return Folds(of_row, _shares(of_row, groups, groups_unlabeled, int(folds), N))


def assign_folds(
    n_rows: int,
    folds: int,
    seed: int,
    *,
    strata: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """(n,) fold of each row: shuffled, sizes that differ by at most one, strata spread evenly, groups kept whole.

    With groups the sizes differ by as much as whole groups make necessary: the largest group goes first, each to the
    smallest fold so far. Not scikit-learn's StratifiedGroupKFold: it deals by the names of classes, and which of two
    classes is called 1 must not change an answer.
    """
    rng = np.random.default_rng(seed)
    if groups is not None:
        _, code = np.unique(groups, return_inverse=True)
        size = np.bincount(code)
        shuffled = rng.permutation(len(size))
        fold_of_group, load = np.empty(len(size), dtype=int), np.zeros(folds)
        for g in shuffled[np.argsort(-size[shuffled], kind="stable")]:
            fold_of_group[g] = load.argmin()
            load[fold_of_group[g]] += size[g]
        return fold_of_group[code]
    order = rng.permutation(n_rows)
    if strata is not None:
        # Strata in order of first appearance, so that the folds do not depend on which class is called 1.
        _, first, code = np.unique(np.asarray(strata)[order], return_index=True, return_inverse=True)
        order = order[np.argsort(first[code], kind="stable")]
    fold_of_row = np.empty(n_rows, dtype=int)
    fold_of_row[order] = np.arange(n_rows) % folds
    return fold_of_row


def _shares(
    of_row: np.ndarray, groups: np.ndarray | None, groups_unlabeled: np.ndarray | None, folds: int, N: int
) -> np.ndarray:
    share = np.full((folds, N), 1 / folds)
    if groups is None or groups_unlabeled is None:
        return share
    names, first = np.unique(groups, return_index=True)
    place = np.searchsorted(names, groups_unlabeled).clip(max=len(names) - 1)
    known = np.flatnonzero(names[place] == groups_unlabeled)
    share[:, known] = 0
    share[of_row[first[place[known]]], known] = 1
    return share
