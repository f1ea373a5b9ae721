"""What is said of a measure that rests on the tail of a distribution: too few rows there, or one too heavy.

Nominal .95 from labels alone, 3,000 samples each, mean above a quantile (CVaR): with 10 rows in the tail .90 covered
of a normal and of an exponential outcome, .83 of a log-normal one; with 20 rows .92, .93, .87; with 50 .94, .94, .91.
Where the variance is infinite (Pareto, index 1.6) .72 with 20 rows and .75 with 50: more rows hardly help.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from icl.inference.checks import Diagnostic

ROWS_IN_TAIL = 20.0
"""Rows, or equal ones that weighted rows count for, in the part of the distribution that a measure is about; measured
above."""
INFINITE_VARIANCE = 0.5
"""Shape of a generalised Pareto tail from which on it has no variance, so that no standard error means anything:
Davidson (2009), doi:10.1016/j.jeconom.2008.11.004, and Cowell & Flachaire (2007), doi:10.1016/j.jeconom.2007.01.001,
for the Gini coefficient."""
SHARE_OF_TAIL, FEWEST_IN_SHAPE = 0.1, 20
"""The largest rows by which the shape is judged. Of 200 rows (500 samples) it is called heavy in none of normal and
exponential outcomes, 7% of log-normal ones, 12% of Pareto ones with index 3, 58% with index 1.2."""


def tail_findings(y: np.ndarray, w: np.ndarray, parts: list[tuple[float, float]], name: str) -> Iterator[Diagnostic]:
    """Findings on labeled outcomes y (n,), in increasing order, that count with weights (n,).

    Args:
        parts: from and to which fraction of the distribution a measure adds rows up.
    """
    edges = np.cumsum(w) / w.sum()
    for low, high in parts:
        inside = (edges > low + 1e-12) & (edges <= high + 1e-12)
        worth = float(w[inside].sum() ** 2 / (w[inside] @ w[inside])) if inside.any() else 0.0
        if worth < ROWS_IN_TAIL:
            yield Diagnostic(
                "thin_tail",
                f"between the fractions {low:g} and {high:g} of {name!r} lie labeled rows that count for {worth:.0f}: "
                f"with fewer than {ROWS_IN_TAIL:g} there, 95% intervals covered .83 to .92, and are too low more often "
                "than too high. Label more rows, or ask for a larger part of the distribution.",
            )
    shape = tail_shape(y)
    if shape > INFINITE_VARIANCE:
        yield Diagnostic(
            "heavy_tail",
            f"the largest tenth of {name!r} falls off so slowly (shape {shape:.2f} of a generalised Pareto tail, from "
            f"{INFINITE_VARIANCE:g} on it has no variance) that a few rows to come may change everything; intervals "
            "that should cover .95 covered .7. Measures that do not follow the largest values, such as a quantile or "
            "Distribution(..., 'below', line), do not have this trouble.",
            "warning",
        )


def tail_shape(y: np.ndarray) -> float:
    """Shape of a generalised Pareto distribution for the excesses of the largest tenth of increasing y (n,), whatever
    its origin and units; -inf where there are too few.

    Source: probability-weighted moments, Hosking & Wallis (1987), doi:10.1080/00401706.1987.10488243.
    """
    excess = y - y[-int(SHARE_OF_TAIL * len(y)) - 1]
    excess = excess[excess > 0]  # fewer than a tenth where values are tied, as counts are
    k = len(excess)
    if k < FEWEST_IN_SHAPE:
        return -np.inf
    a0, a1 = excess.mean(), ((k - np.arange(1, k + 1) + 0.35) / k) @ excess / k
    return float(2 - a0 / (a0 - 2 * a1)) if a0 - 2 * a1 > 1e-12 * a0 else -np.inf
