"""Density ratios for prediction intervals of another population than that of the labelled rows.

The covariates of new rows may be distributed otherwise; how the target depends on them must be alike. A classifier of
the same kind learns to tell labelled from new rows, each judged by one that was fitted without it; its odds, times
n / m, are the density ratio with which labelled rows count as if they were new ones.

Source: Tibshirani, Barber, Candes & Ramdas (2019), arXiv:1904.06019, for a known ratio and one context.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

SHIFTS = (None, "covariate")
FOLDS = 5
SHOWN = 4
"""New rows shown to the classifier for each labelled one."""
MOST = 50.0
"""Ratios are cut off here, so that no labelled row outweighs all others."""


def check_shift(shift: str | None) -> None:
    """ValueError for a shift that is not known."""
    if shift not in SHIFTS:
        raise ValueError(f"shift must be None or 'covariate', got {shift!r}.")


def density_ratios(
    classifier: Any, labeled: pd.DataFrame, new: pd.DataFrame, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) and (m,) density of new rows over that of labelled ones, 1 on average over labelled rows.

    Warns where the labelled rows, so weighted, are worth fewer than a fifth of their number.
    """
    n, m = len(labeled), len(new)
    rows = pd.concat([labeled, new[labeled.columns]], ignore_index=True)
    is_new = np.arange(n + m) >= n
    rng = np.random.default_rng(seed)
    fold = np.empty(n + m, dtype=int)
    for kind in (False, True):  # as many of both kinds in every fold
        at = rng.permutation(np.flatnonzero(is_new == kind))
        fold[at] = np.arange(len(at)) % FOLDS
    odds = np.empty(n + m)
    for k in range(FOLDS):
        held = fold == k
        ours, others = np.flatnonzero(~held & ~is_new), np.flatnonzero(~held & is_new)
        shown = rng.permutation(others)[: SHOWN * max(len(ours), 50)]
        train = np.concatenate([ours, shown])
        model = classifier.fit(rows.iloc[train], is_new[train].astype(int))
        if not held.any():
            continue
        p = np.clip(np.asarray(model.predict_proba(rows.iloc[held]))[:, 1], 1e-6, 1 - 1e-6)
        odds[held] = p / (1 - p) * len(ours) / max(len(shown), 1)
    ratio = np.minimum(odds, MOST)
    scale = ratio[:n].mean()
    ratio = ratio / scale
    worth = ratio[:n].sum() ** 2 / (ratio[:n] @ ratio[:n])
    if worth < n / 5:
        warnings.warn(
            f"weighted to look like the new rows, the {n} labelled ones count for {worth:.0f}: they hardly overlap, "
            "and intervals are wide where nobody was labelled, up to infinite. Label rows that resemble the new ones.",
            UserWarning,
            stacklevel=4,
        )
    return ratio[:n], ratio[n:]
