"""Pictures of an imputation: chains round by round, and what was drawn beside what was observed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

# Chains drawn as lines of their own.
_MOST_LINES = 20


def plot_trace(means_TM: np.ndarray, column: Hashable, ax: Any = None) -> Any:
    """Mean of what each of M chains drew in each of T rounds."""
    ax = _axes(ax)
    rounds = np.arange(1, len(means_TM) + 1)
    ax.plot(rounds, means_TM[:, :_MOST_LINES], color="tab:blue", alpha=0.4, lw=1, marker="." if len(rounds) < 3 else "")
    ax.set(xlabel="round", ylabel=f"mean of the draws of {column}", xticks=rounds if len(rounds) <= 20 else None or [])
    return ax


def plot_density(seen: np.ndarray, drawn_MG: np.ndarray, column: Hashable, ax: Any = None) -> Any:
    """Histogram of observed numbers in grey, that of each of M draws as a blue line."""
    ax = _axes(ax)
    edges = np.histogram_bin_edges(np.concatenate([seen, drawn_MG.ravel()]), bins=30)
    ax.hist(seen, edges, density=True, color="0.8", label=f"observed ({len(seen)})")
    for i, numbers in enumerate(drawn_MG[:_MOST_LINES]):
        heights = np.histogram(numbers, edges, density=True)[0]
        label = f"drawn ({drawn_MG.shape[1]})" if i == 0 else None
        ax.stairs(heights, edges, color="tab:blue", alpha=0.4, label=label)
    ax.set(xlabel=str(column), ylabel="density")
    ax.legend(frameon=False)
    return ax


def plot_bars(seen: np.ndarray, drawn_MG: np.ndarray, levels: Sequence[str], column: Hashable, ax: Any = None) -> Any:
    """Shares of levels among observed cells in grey, among those of each of M draws as blue points."""
    ax = _axes(ax)
    codes = np.arange(len(levels))
    ax.bar(codes, [np.mean(seen == code) for code in codes], color="0.8", label=f"observed ({len(seen)})")
    shares = np.array([[np.mean(numbers == code) for code in codes] for numbers in drawn_MG[:_MOST_LINES]])
    ax.plot(codes, shares.T, ".", color="tab:blue", alpha=0.4)
    ax.plot([], [], ".", color="tab:blue", label=f"drawn ({drawn_MG.shape[1]})")
    ax.set_xticks(codes, levels, rotation=90 if len(levels) > 6 else 0)
    ax.set(xlabel=str(column), ylabel="share of the cells")
    ax.legend(frameon=False)
    return ax


def plot_tipping(frame: Any, term: str, column: Hashable, ax: Any = None) -> Any:
    """Estimate and interval of a term against the shift of a column: where the interval meets zero, the answer tips.

    Args:
        frame: columns shift, estimate, lower, upper.
    """
    ax = _axes(ax)
    ax.fill_between(frame["shift"], frame["lower"], frame["upper"], color="tab:blue", alpha=0.2, lw=0)
    ax.plot(frame["shift"], frame["estimate"], color="tab:blue", marker=".")
    ax.axhline(0, color="black", lw=1)
    ax.axvline(0, color="0.7", lw=1, ls=":")
    ax.set(
        xlabel=f"shift of the imputed {column} (standard deviations, or log odds)", ylabel=f"{term} and its interval"
    )
    return ax


def _axes(ax: Any) -> Any:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(5, 3), layout="constrained")[1]
