"""Estimates and intervals as a forest plot: data in, axes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.pages.escape import figure as shown

if TYPE_CHECKING:
    import pandas as pd

STYLES = {
    "classical": ("0.45", "o"),
    "imputed": ("tab:red", "X"),
    "ppi": ("tab:cyan", "s"),
    "ppi++": ("tab:purple", "D"),
    "synsurr": ("tab:green", "v"),
    "shrunk": ("tab:blue", "o"),
}
NEAR = 0.25
"""A null value this far outside, as a share of the range that is drawn, is still worth a line."""


def forest_plot(
    table: pd.DataFrame,
    chosen: str,
    what: str,
    ax: Any = None,
    terms: Sequence[str] | None = None,
    level: float = 0.95,
    truth: Any = None,
    null: float | None = 0.0,
) -> Any:
    """Estimates and intervals of every method, grouped by term; the imputed answer is dashed and marked invalid.

    Args:
        table: estimate, lower, upper, valid by (method, term), as from `InferenceResult.compare`.
        chosen: the method in bold.
        what: was estimated, for the axis.
        ax: axes to draw on, which all terms share; default: a new figure, with a panel and a scale for each term.
        terms: which parameters; default: all, less the intercept where there are others.
        truth: known values, a number or a mapping from term to number, drawn as black lines.
        null: value of no effect, a grey line where the intervals come near it; None where no value means that, as
            for a mean: then zero is drawn only where an interval spans it.
    Returns:
        The axes; an array of them, one for each term, if several terms went to a new figure.
    """
    known = list(table.index.get_level_values("term").unique())
    terms = [t for t in known if t != "Intercept" or len(known) == 1] if terms is None else list(terms)
    unknown = [t for t in terms if t not in known]
    if unknown or not terms:
        raise ValueError(f"terms= got {unknown or 'no term'}; the terms are {known}.")

    def draw(panel: Any, some: list[str]) -> None:
        _draw_terms(panel, table, some, chosen, truth)
        _draw_null(panel, table, some, null)
        said = f"{shown(some[0], 40)} in {shown(what)}" if len(some) == 1 < len(known) else shown(what)
        panel.set_xlabel(f"{said}, {100 * level:g}% interval")

    if ax is not None:
        draw(ax, terms)
        return ax
    import matplotlib.pyplot as plt

    n_methods = table.index.get_level_values("method").nunique()
    size = (7, 0.5 + (0.75 + 0.24 * n_methods) * len(terms))
    _, axes = plt.subplots(len(terms), 1, figsize=size, layout="constrained", squeeze=False)
    for panel, term in zip(axes[:, 0], terms, strict=True):
        draw(panel, [term])
        if panel is not axes[0, 0] and panel.get_legend():
            panel.get_legend().remove()
    return axes[:, 0] if len(terms) > 1 else axes[0, 0]


def _draw_terms(ax: Any, table: pd.DataFrame, terms: list[str], chosen: str, truth: Any) -> None:
    methods = list(dict.fromkeys(table.index.get_level_values("method")))
    step = len(methods) + 1
    for i, term in enumerate(terms):
        for j, method in enumerate(methods):
            _draw_interval(ax, table.loc[(method, term)], -(i * step + j), method, method == chosen)
        value = _truth_of(truth, term)
        if value is not None:
            span = [0.5 - i * step, 0.5 - i * step - len(methods)]
            ax.plot([value, value], span, color="black", lw=1, zorder=1, label="truth" if i == 0 else None)
        if len(terms) > 1:
            place = (1.01, -(i * step + (len(methods) - 1) / 2))
            ax.annotate(shown(term, 40), place, xycoords=("axes fraction", "data"), va="center")
        if i:
            ax.axhline(1 - i * step, color="0.9", lw=0.8, zorder=0)
    rows = [(-(i * step + j), method) for i in range(len(terms)) for j, method in enumerate(methods)]
    labels = [f"{method} (INVALID)" if method == "imputed" else method for _, method in rows]
    ax.set_yticks([y for y, _ in rows], labels, fontsize="small")
    for tick, (_, method) in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if method == chosen else "normal")
        tick.set_color("tab:red" if method == "imputed" else "black")
    ax.set_ylim(1 - step * len(terms), 1)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, loc="center left", bbox_to_anchor=(0, 1.02), fontsize="small", borderpad=0)


def _draw_interval(ax: Any, row: pd.Series, y: float, method: str, is_chosen: bool) -> None:
    if not np.isfinite(row["estimate"]):
        return
    color, marker = STYLES.get(method, ("tab:blue", "o"))
    dashes = "-" if row["valid"] else (0, (2, 1.5))
    width = 2.4 if is_chosen else 1.4
    ax.plot([row["lower"], row["upper"]], [y, y], color=color, lw=width, ls=dashes, solid_capstyle="butt", zorder=2)
    ax.plot(row["estimate"], y, color=color, marker=marker, ms=6 if is_chosen else 5, ls="none", zorder=3)


def _draw_null(ax: Any, table: pd.DataFrame, terms: list[str], null: float | None) -> None:
    part = table[table.index.isin(terms, level="term")][["lower", "upper"]].to_numpy(dtype=float)
    part = part[np.isfinite(part).all(axis=1)]
    if not len(part):
        return
    value, room = (0.0, 0.0) if null is None else (null, NEAR)
    low, high = part[:, 0].min(), part[:, 1].max()
    if low - room * (high - low) < value < high + room * (high - low):
        ax.axvline(value, color="0.6", lw=1, ls=(0, (1, 2)), zorder=0, gid="null")


def _truth_of(truth: Any, term: str) -> float | None:
    if truth is None:
        return None
    if np.isscalar(truth):
        return float(truth)  # type: ignore[arg-type]
    return float(truth[term]) if term in truth else None
