"""Pictures of what explains predictions: data in, axes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from icl.pages.escape import figure
from icl.pages.figures import QUERY

MORE, LESS = "tab:blue", "tab:orange"


def plot_contributions(names: Sequence[str], values: np.ndarray, errors: np.ndarray, ax: Any, unit: str) -> Any:
    """Horizontal bars with whiskers of two standard errors; the first name on top, zero marked."""
    ax = _axes(ax, 0.9 + 0.32 * len(names))
    place = np.arange(len(names))[::-1]
    ax.barh(place, values, height=0.7, color=np.where(values >= 0, MORE, LESS), alpha=0.8, lw=0)
    if np.any(errors > 0):
        ax.errorbar(values, place, xerr=2 * errors, fmt="none", ecolor="0.3", elinewidth=1)
    ax.axvline(0, color="black", lw=1)
    ax.set_yticks(place, [figure(name) for name in names])
    ax.set_xlabel(unit)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return ax


def plot_dependence(
    grid: np.ndarray,
    average: np.ndarray,
    band: tuple[np.ndarray, np.ndarray] | None,
    rows: tuple[np.ndarray, np.ndarray],
    ax: Any,
    column: str,
    what: str,
) -> Any:
    """Average prediction along a column with its band; dotted, where the curves of nine rows in ten lie."""
    ax = _axes(ax, 3.4)
    x: Any = grid
    if not np.issubdtype(np.asarray(grid).dtype, np.number):
        x = np.arange(len(grid))
        ax.set_xticks(x, [figure(str(level)) for level in grid])
    if band is not None:
        ax.fill_between(x, *band, color=QUERY, alpha=0.25, lw=0, label="uncertainty of the average")
    for curve in rows:
        ax.plot(x, curve, color="0.6", lw=1, ls=":", label="nine rows in ten" if curve is rows[0] else None)
    ax.plot(x, average, color=QUERY, lw=1.8, marker="o", ms=3, label="average")
    ax.set(xlabel=figure(column), ylabel=figure(what))
    ax.legend(frameon=False, fontsize="small")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _axes(ax: Any, height: float) -> Any:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(6.4, height), layout="constrained")[1]
