"""Tables that give the outcome away: columns known only beside it, copies of it, rows that are there more than once.

Cross-fitting keeps a label from the model that predicts its row. It cannot do so where another row or another column
carries the same label, and no interval is valid then.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.estimands import Estimand
from icl.inference.inputs.copies import SOME, comparable, plain_numbers, repeated, row_keys, telling
from icl.inference.inputs.design import Design
from icl.inference.inputs.sample import Sample

if TYPE_CHECKING:
    pass

CHANCE = 1e-6
"""Probability below which a difference between labeled and unlabeled rows is no accident, all columns together."""
LOOKED_FOR = 4
"""Copies of labeled rows that a look at a part of the unlabeled ones is to find, of those that would matter."""
COPY = 1e-3
"""Share of the variance of the outcome that a column leaves unexplained, below which it is taken for a copy."""


def follows_outcome(sample: Sample, columns: Sequence[Hashable], by_design: bool) -> dict[Hashable, str]:
    """The columns that are known where the outcome is known and not elsewhere (or the reverse), and how that shows.

    A value that stands for "not known" counts as missing: one that nearly all unlabeled rows share, few labeled ones.

    Args:
        by_design: labels were more likely on some rows than on others, or rows are not independent, so that a
            difference alone says nothing.
    """
    from scipy.stats import fisher_exact

    n, N = len(sample.labeled), len(sample.unlabeled)
    found = {}
    for name in columns:
        L, U = sample.labeled[name], sample.unlabeled[name]
        gone, what = (L.isna().to_numpy(), U.isna().to_numpy()), "missing"
        if not U.isna().any():  # a value in place of what is missing?
            filler = U.iloc[:: max(N // 200, 1)].mode().iloc[0]
            gone, what = ((filler == L).to_numpy(), (filler == U).to_numpy()), repr(filler)
            if gone[1].mean() < 0.95 or gone[0].mean() > 0.5:
                continue
        a, b = (int(part.sum()) for part in gone)
        total = b == N and a < n
        if by_design and not total:
            continue
        if fisher_exact(np.array([[a, n - a], [b, N - b]])).pvalue * max(len(columns), 1) < CHANCE:
            found[name] = f"{name} ({what} on {a / n:.0%} of labeled and {b / N:.0%} of unlabeled rows)"
    return found


def copies_of_outcome(sample: Sample, columns: Sequence[Hashable], y: np.ndarray) -> dict[Hashable, str]:
    """The numeric columns that give the outcome of labeled rows, and are something else on unlabeled ones."""
    from pandas.api.types import is_numeric_dtype
    from scipy.stats import ks_2samp

    found = {}
    outcomes = y[:, None] if y.ndim == 1 else y
    for name in columns:
        L, U = sample.labeled[name], sample.unlabeled[name]
        if not is_numeric_dtype(L.dtype) or not is_numeric_dtype(U.dtype):
            continue
        x, u = L.to_numpy(dtype=float), U.to_numpy(dtype=float)
        if not np.isfinite(x).all() or np.ptp(x) == 0:
            continue
        is_copy = len(x) > 3 and any(unexplained(column, x) < COPY for column in outcomes.T)
        if is_copy and ks_2samp(x, u[np.isfinite(u)]).pvalue * len(columns) < 1e-3:
            found[name] = f"{name} (the outcome of labeled rows, but not distributed so on unlabeled ones)"
    return found


def feature_notes(
    sample: Sample, y: np.ndarray, columns: list, design: Design, chosen: bool
) -> tuple[list, list[Diagnostic]]:
    """The columns that a predictor may see without giving the outcome away, and a note on those left out.

    Args:
        chosen: the caller named the columns; they stay, with a warning.
    """
    by_design = any(v is not None for v in (design.probability, design.propensity, design.strata, design.clusters))
    follow = follows_outcome(sample, columns, by_design)
    # Where labels were more likely on some rows, columns differ between the two kinds of rows without fault.
    others = [] if by_design else [name for name in columns if name not in follow]
    copies = copies_of_outcome(sample, others, y)
    action = (
        "features= names them, and predictions of labeled and unlabeled rows are then not of one kind: the interval is "
        "not valid unless they are left out."
        if chosen
        else "They were left out of the features; features=[...] (--features) would bring them back."
    )
    severity = "warning" if chosen else "note"
    notes = []
    if follow:
        what = f"columns are known where the outcome is known and hardly elsewhere: {', '.join(follow.values())}."
        notes.append(Diagnostic("follows_outcome", f"{what} {action}", severity))
    if copies:
        what = f"columns hold the outcome of labeled rows: {', '.join(copies.values())}."
        notes.append(Diagnostic("copies_outcome", f"{what} {action}", severity))
    if not chosen:
        columns = [name for name in columns if name not in follow and name not in copies]
    return columns, notes


def unexplained(y: np.ndarray, x: np.ndarray) -> float:
    """Share of the variance of y (n,) that a straight line in x (n,) leaves."""
    scale = [np.abs(v - v.mean()).max() for v in (y, x)]
    if not all(scale):
        return 1.0
    a, b = ((v - v.mean()) / s for v, s in zip((y, x), scale, strict=True))
    return float(max(1 - (a @ b) ** 2 / ((a @ a) * (b @ b)), 0.0))


def n_among(values: np.ndarray, few: np.ndarray) -> int:
    """How many of many numbers are among a few of the same type; most are ruled out by sixteen bits of theirs."""
    import pandas as pd

    if values.dtype == np.float64:
        seen = np.zeros(1 << 16, dtype=bool)
        seen[_bits(few)] = True
        values = values[seen[_bits(values)]]
    return int(pd.Series(values).isin(few).sum()) if len(values) else 0


def _bits(values: np.ndarray) -> np.ndarray:
    mixed = (values + 0.0).view(np.uint64)  # the sum makes one number of 0 and -0
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    mixed >>= np.uint64(48)
    return mixed


def in_both(sample: Sample, outcome: Sequence[Hashable]) -> int:
    """Labeled rows that are among the unlabeled ones too, by all columns that both have but the outcome."""
    from scipy.stats import binom

    L, U = sample.labeled, sample.unlabeled
    if not len(U) or len(L) < 4:
        return 0
    shared = [name for name in L.columns if name in U.columns and name not in outcome]
    least = max(3, SOME * len(L))
    # One column first: of many rows it is cheap to see that there is nothing to see.
    some = _some_rows(len(U), int(least / LOOKED_FOR))
    for name, x in plain_numbers(L):
        if name not in shared:
            continue
        values = U[name].to_numpy()
        if values.dtype != x.dtype:
            continue
        if (some is not None and not n_among(values[some], x)) or n_among(values, x) < least:
            return 0
    if not shared:
        return 0
    columns = telling(L[shared], len(L))
    if not columns:
        return 0
    ours, theirs = (comparable(part[columns[:1]])[0] for part in (L, U))
    candidates = U[theirs.isin(ours.unique()).to_numpy()]
    if len(candidates) < least:
        return 0
    found = int(np.isin(row_keys(L[shared]), row_keys(candidates[shared])).sum())
    if found < least:
        return 0
    # A fresh row is like one of them about as often as one of them is like another: often, if values were rounded.
    _, place, counts = np.unique(row_keys(U[shared]), return_inverse=True, return_counts=True)
    by_chance = max(float((counts[place] > 1).mean()), 1 / len(U))
    return found if binom.sf(found - 1, len(L), by_chance) < CHANCE else 0


def _some_rows(n_rows: int, k: int) -> np.ndarray | None:
    """One of every k rows, at a place among them that follows no pattern of the table; None for k < 2."""
    if k < 2 or n_rows < k:
        return None
    blocks = np.arange(0, n_rows - n_rows % k, k)
    return blocks + np.random.default_rng(0).integers(0, min(k, 2**16 - 1), len(blocks), dtype=np.uint16)


def row_notes(sample: Sample, estimand: Estimand, design: Design, predicts: bool) -> list[Diagnostic]:
    """What rows that are there more than once do to an analysis, which uses predictions or not.

    Raises:
        ValueError: where predictions would compare labeled rows with themselves among the unlabeled ones.
    """
    if predicts and (both := in_both(sample, estimand.outcome_columns)):
        raise ValueError(
            f"{both} of {len(sample.labeled)} labeled rows are among the unlabeled rows too (equal in every other "
            "column), so the two are no separate samples. Leave them out of the unlabeled rows: "
            "unlabeled.drop(labeled.index), or table.drop_duplicates(...)."
        )
    code = None if design.clusters is not None else repeated(sample.labeled, sample.unlabeled)
    if code is None:
        return []
    n, k = len(code), int(code.max()) + 1
    return [
        Diagnostic(
            "repeated_rows",
            f"the {n} labeled rows are {k} different ones, some of them several times. Each is counted as an "
            "observation of its own, so the interval is too narrow. Drop the copies, and say with "
            "Design(weights=...) how much a row counts.",
            "warning",
        )
    ]
