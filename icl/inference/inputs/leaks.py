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
from icl.inference.inputs.design import Design
from icl.inference.inputs.sample import Sample

if TYPE_CHECKING:
    import pandas as pd

CHANCE = 1e-6
"""Probability below which a difference between labeled and unlabeled rows is no accident, all columns together."""
COPY = 1e-3
"""Share of the variance of the outcome that a column leaves unexplained, below which it is taken for a copy."""
FINE = 0.9
"""A column with this many different values, for each different row, tells rows apart: equal rows are one row."""
SOME = 0.1
"""Share of rows that are there again, from which it is no slip."""


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
        else "They were left out of the features; features=[...] would bring them back."
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


def repeated(sample: Sample) -> np.ndarray | None:
    """(n,) which distinct row each labeled row is, if rows are there again that cannot be alike by chance; else None.

    By chance are alike rows of rounded numbers and few classes: then unlabeled rows are alike as often, and rows occur
    at different rates.
    """
    import pandas as pd

    L, U = sample.labeled, sample.unlabeled
    if len(L) < 4 or not L.shape[1]:
        return None
    code = pd.factorize(row_keys(L))[0]
    counts = np.bincount(code)
    again = len(L) - len(counts)
    if again < max(3, SOME * len(L)) or len(counts) < 4 or not _telling(L, len(counts)):
        return None
    shared = [name for name in L.columns if name in U.columns]
    if counts.min() < counts.max() and len(U) and shared:
        theirs = len(U) - len(np.unique(row_keys(U[shared])))
        if theirs / len(U) > again / len(L) / 2:
            return None
    return code


def in_both(sample: Sample, outcome: Sequence[Hashable]) -> int:
    """Labeled rows that are among the unlabeled ones too, by all columns that both have but the outcome."""
    from scipy.stats import binom

    L, U = sample.labeled, sample.unlabeled
    shared = [name for name in L.columns if name in U.columns and name not in outcome]
    if not len(U) or not shared or len(L) < 4:
        return 0
    telling = _telling(L[shared], len(L))
    if not telling:
        return 0
    # One column first: of many rows it is cheap to see that there is nothing to see.
    ours, theirs = (_comparable(part[telling[:1]])[0] for part in (L, U))
    candidates = U[theirs.isin(ours.unique()).to_numpy()]
    if len(candidates) < max(3, SOME * len(L)):
        return 0
    found = int(np.isin(row_keys(L[shared]), row_keys(candidates[shared])).sum())
    if found < max(3, SOME * len(L)):
        return 0
    # A fresh row is like one of them about as often as one of them is like another: often, if values were rounded.
    _, place, counts = np.unique(row_keys(U[shared]), return_inverse=True, return_counts=True)
    by_chance = max(float((counts[place] > 1).mean()), 1 / len(U))
    return found if binom.sf(found - 1, len(L), by_chance) < CHANCE else 0


def row_keys(frame: pd.DataFrame) -> np.ndarray:
    """(R,) 64 bits of each row, the same for equal rows."""
    import pandas as pd

    return pd.util.hash_pandas_object(_comparable(frame), index=False).to_numpy()


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
    code = None if design.clusters is not None else repeated(sample)
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


def _comparable(frame: pd.DataFrame) -> pd.DataFrame:
    """Cells that pandas can compare and hash: objects of any kind but text as their `repr`, columns numbered."""
    import pandas as pd

    columns = {}
    for j in range(frame.shape[1]):
        column = frame.iloc[:, j]
        is_odd = column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) not in ("string", "empty")
        columns[j] = column.map(repr) if is_odd else column
    return pd.DataFrame(columns)


def _telling(frame: pd.DataFrame, n_distinct: int) -> list:
    """Columns that tell nearly all of the distinct rows apart."""
    counts = _comparable(frame).nunique().to_numpy()
    return [name for name, count in zip(frame.columns, counts, strict=True) if count >= FINE * n_distinct]
