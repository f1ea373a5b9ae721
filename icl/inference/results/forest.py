"""Estimates and intervals as a forest plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from icl.inference.results.result import InferenceResult


STYLES = {
    "classical": ("0.45", "o"),
    "imputed": ("tab:red", "X"),
    "ppi": ("tab:cyan", "s"),
    "ppi++": ("tab:purple", "D"),
    "synsurr": ("tab:blue", "o"),
}


def forest_plot(
    result: InferenceResult, ax: Any = None, terms: Sequence[str] | None = None, level: float = 0.95, truth: Any = None
) -> Any:
    """Estimates and intervals of every method, grouped by term; the imputed answer is dashed and marked invalid.

    Args:
        ax: axes to draw on, which all terms share; default: a new figure, with a panel and a scale for each term.
        terms: which parameters; default: all, less the intercept where there are others.
        truth: known values, a number or a mapping from term to number, drawn as black lines.
    Returns:
        The axes; an array of them, one for each term, if several terms went to a new figure.
    """
    known = list(result.estimate.index)
    terms = [t for t in known if t != "Intercept" or len(known) == 1] if terms is None else list(terms)
    unknown = [t for t in terms if t not in known]
    if unknown or not terms:
        raise ValueError(f"terms= got {unknown or 'no term'}; the terms are {known}.")
    table = result.compare(level)
    if ax is not None:
        return _draw_terms(result, ax, table, terms, level, truth)
    import matplotlib.pyplot as plt

    n_methods = table.index.get_level_values("method").nunique()
    size = (7, 0.5 + (0.75 + 0.24 * n_methods) * len(terms))
    _, axes = plt.subplots(len(terms), 1, figsize=size, layout="constrained", squeeze=False)
    for panel, term in zip(axes[:, 0], terms, strict=True):
        _draw_terms(result, panel, table, [term], level, truth)
        if panel is not axes[0, 0] and panel.get_legend():
            panel.get_legend().remove()
    return axes[:, 0] if len(terms) > 1 else axes[0, 0]


def _draw_terms(
    result: InferenceResult, ax: Any, table: pd.DataFrame, terms: list[str], level: float, truth: Any
) -> Any:
    methods = list(dict.fromkeys(table.index.get_level_values("method")))
    step = len(methods) + 1
    for i, term in enumerate(terms):
        for j, method in enumerate(methods):
            _draw_interval(ax, table.loc[(method, term)], -(i * step + j), method, method == result.method)
        value = _truth_of(truth, term)
        if value is not None:
            span = [0.5 - i * step, 0.5 - i * step - len(methods)]
            ax.plot([value, value], span, color="black", lw=1, zorder=1, label="truth" if i == 0 else None)
        if len(terms) > 1:
            place = (1.01, -(i * step + (len(methods) - 1) / 2))
            ax.annotate(term, place, xycoords=("axes fraction", "data"), va="center")
        if i:
            ax.axhline(1 - i * step, color="0.9", lw=0.8, zorder=0)
    rows = [(-(i * step + j), method) for i in range(len(terms)) for j, method in enumerate(methods)]
    labels = [f"{method} (INVALID)" if method == "imputed" else method for _, method in rows]
    ax.set_yticks([y for y, _ in rows], labels, fontsize="small")
    for tick, (_, method) in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if method == result.method else "normal")
        tick.set_color("tab:red" if method == "imputed" else "black")
    ax.set_ylim(1 - step * len(terms), 1)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    what = f"{terms[0]} in {result.estimand}" if len(terms) == 1 < len(result.estimate) else str(result.estimand)
    ax.set_xlabel(f"{what}, {100 * level:g}% interval")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, loc="center left", bbox_to_anchor=(0, 1.02), fontsize="small", borderpad=0)
    return ax


def _draw_interval(ax: Any, row: pd.Series, y: float, method: str, is_chosen: bool) -> None:
    if not np.isfinite(row["estimate"]):
        return
    color, marker = STYLES.get(method, ("tab:blue", "o"))
    dashes = "-" if row["valid"] else (0, (2, 1.5))
    width = 2.4 if is_chosen else 1.4
    ax.plot([row["lower"], row["upper"]], [y, y], color=color, lw=width, ls=dashes, solid_capstyle="butt", zorder=2)
    ax.plot(row["estimate"], y, color=color, marker=marker, ms=6 if is_chosen else 5, ls="none", zorder=3)


def _truth_of(truth: Any, term: str) -> float | None:
    if truth is None or np.isscalar(truth):
        return truth
    return float(truth[term]) if term in truth else None
