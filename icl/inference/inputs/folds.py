"""Folds of cross-fitting: dealt once, the same for every use."""

from __future__ import annotations

from typing import Any

import numpy as np


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
    smallest fold so far.
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


def check_folds(folds: Any, most: int, what: str) -> None:
    if not isinstance(folds, (int, np.integer)) or not 2 <= folds <= most:
        raise ValueError(f"folds got {folds!r}; with {most} {what} it must be a whole number from 2 to {most}.")


def fold_shares(
    fold_of_row: np.ndarray, groups: np.ndarray | None, groups_unlabeled: np.ndarray | None, folds: int, N: int
) -> np.ndarray:
    """(folds, N) share of each fold model in the prediction of each unlabeled row; columns sum to one."""
    share = np.full((folds, N), 1 / folds)
    if groups is None or groups_unlabeled is None:
        return share
    names, first = np.unique(groups, return_index=True)
    place = np.searchsorted(names, groups_unlabeled).clip(max=len(names) - 1)
    known = np.flatnonzero(names[place] == groups_unlabeled)
    share[:, known] = 0
    share[fold_of_row[first[place[known]]], known] = 1
    return share
