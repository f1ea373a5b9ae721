"""Figures: data in, axes out. Context grey, query blue, truth black; nothing is estimated or written here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

QUERY, CONTEXT, TRUTH = "tab:blue", "0.6", "black"
SMOOTHED = 25
"""Logged steps that one point of the smoothed training curve averages."""


def plot_calibration(nominal: np.ndarray, observed: np.ndarray, ax: Any, label: str | None = None) -> Any:
    """Observed against nominal coverage, both fractions; the diagonal is perfect, above it intervals are too wide."""
    ax.plot([0, 1], [0, 1], color=TRUTH, lw=1)
    ax.plot(nominal, observed, color=QUERY, marker="o", ms=4, label=label)
    ax.set(xlabel="nominal coverage (fraction)", ylabel="observed coverage (fraction)", xlim=(0, 1), ylim=(0, 1))
    ax.set_aspect("equal")
    return _plain(ax)


def plot_pit(density: np.ndarray, ax: Any, error: np.ndarray | None = None) -> Any:
    """Histogram of F(truth), the probability integral transform; flat at 1 if the distributions are calibrated.

    Args:
        density: (n_bins,) share of truths in each of n_bins equal bins of [0, 1], times n_bins. High in the middle:
            too wide; high at the ends: too narrow; sloping: shifted.
        error: (n_bins,) standard errors, drawn as whiskers.
    """
    edges = np.linspace(0, 1, len(density) + 1)
    ax.bar(edges[:-1], density, np.diff(edges), align="edge", color=QUERY, alpha=0.45, edgecolor="white", lw=0.5)
    if error is not None:
        ax.errorbar((edges[:-1] + edges[1:]) / 2, density, yerr=error, fmt="none", elinewidth=0.8, ecolor="0.3")
    ax.axhline(1, color=TRUTH, lw=1)
    ax.set(xlabel="F(truth) under the predictive distribution", ylabel="density of query rows", xlim=(0, 1))
    ax.set_ylim(0, max(1.5, 1.08 * float(np.max(density if error is None else density + error))))
    return _plain(ax)


def plot_reliability(
    predicted: np.ndarray, observed: np.ndarray, share: np.ndarray, ax: Any, error: np.ndarray | None = None
) -> Any:
    """Observed frequency against predicted probability, one point a bin; points on the diagonal are calibrated.

    Args:
        predicted, observed: (n_bins,) mean probability and frequency, fractions; NaN where a bin is empty.
        share: (n_bins,) share of rows in equal bins of [0, 1], drawn as grey bars from below; the tallest is .3 high.
        error: (n_bins,) standard errors of `observed`.
    """
    edges = np.linspace(0, 1, len(share) + 1)
    ax.bar(edges[:-1], 0.3 * share / np.max(share), np.diff(edges), align="edge", color=CONTEXT, alpha=0.4, lw=0)
    ax.plot([0, 1], [0, 1], color=TRUTH, lw=1)
    ax.errorbar(predicted, observed, yerr=error, color=QUERY, marker="o", ms=4, elinewidth=1)
    ax.set(xlabel="predicted probability (grey: share of rows)", ylabel="observed frequency")
    ax.set(xlim=(0, 1), ylim=(0, 1.02))
    ax.set_aspect("equal")
    return _plain(ax)


def plot_predictive_band(
    truth: np.ndarray, median: np.ndarray, low: np.ndarray, high: np.ndarray, ax: Any, unit: str = "outcome"
) -> Any:
    """Median and band of each row's predictive distribution against its true value; rows in order of the median.

    Args:
        truth, median, low, high: (M,) in the same unit.
        unit: what the vertical axis shows, with its unit.
    """
    order = np.argsort(median, kind="stable")
    rank = np.arange(1, len(order) + 1)
    ax.fill_between(rank, low[order], high[order], color=QUERY, alpha=0.2, lw=0, label="90% band")
    ax.plot(rank, median[order], color=QUERY, lw=1.8, label="median")
    ax.plot(rank, truth[order], color=TRUTH, marker="o", ms=2.2, ls="none", label="truth")
    ax.set(xlabel="held-out rows, ordered by predicted median", ylabel=unit, xlim=(0.5, max(len(order), 2) + 0.5))
    ax.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, fontsize="small")
    return _plain(ax)


def plot_scores(
    means: pd.DataFrame,
    stds: pd.DataFrame | None,
    ax: Any,
    xlabel: str,
    base: float = 0.0,
    highlight: str | None = None,
) -> Any:
    """Horizontal bars, a group for each row of `means` and a bar for each column.

    Args:
        means: index = groups (settings), columns = methods.
        stds: of the same shape, drawn as whiskers; None for none.
        xlabel: the score with its unit and direction.
        base: score of a model that knows nothing, where the bars start.
        highlight: method drawn in blue; the others are greys.
    """
    methods, n_groups = list(means.columns), len(means)
    height = 0.8 / len(methods)
    greys = iter(np.linspace(0.55, 0.8, max(len(methods), 2)))
    spread = np.zeros(means.shape) if stds is None else np.nan_to_num(stds.to_numpy())
    low, high = min(base, np.nanmin(means - spread)), max(base, np.nanmax(means + spread))
    room = max(high - low, 1e-3)
    for j, method in enumerate(methods):
        color = QUERY if method == highlight else str(round(float(next(greys)), 2))
        place = np.arange(n_groups) + (j - (len(methods) - 1) / 2) * height
        values: np.ndarray = means[method].to_numpy()
        ax.barh(place, values - base, height * 0.92, left=base, color=color, label=method)
        if stds is not None:
            ax.errorbar(values, place, xerr=spread[:, j], fmt="none", elinewidth=1, ecolor="0.25")
        ends: np.ndarray = np.maximum(values + spread[:, j], base)
        for y, end, value in zip(place, ends, values):
            ax.text(end + 0.02 * room, y, f"{value:.3f}", va="center", fontsize=7.5)
    ax.axvline(base, color=TRUTH, lw=0.8)
    ax.set_yticks(np.arange(n_groups), list(means.index))
    ax.set(xlabel=xlabel, xlim=(low - 0.03 * room if low < base else low, high + 0.15 * room))
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    ax.legend(frameon=False, ncols=len(methods), loc="lower left", bbox_to_anchor=(0, 1), fontsize="small")
    _plain(ax).spines["left"].set_visible(False)
    return ax


def plot_training_curve(log: pd.DataFrame, axes: Sequence[Any]) -> Sequence[Any]:
    """Loss against tasks seen: classification on the first axes, regression on the second.

    Args:
        log: `pandas.read_csv` of the metrics.csv that training writes: step, tasks_seen, {train,val}/{classification,
            regression}_loss; a cell is empty where nothing was logged. Several parts of a resumed run may be
            concatenated.
        axes: two axes.
    Raises:
        ValueError: if a column is missing.
    """
    tasks = ("classification", "regression")
    needed = ["step", "tasks_seen", *(f"train/{task}_loss" for task in tasks)]
    missing = [name for name in needed if name not in log.columns]
    if missing:
        raise ValueError(f"the training log has no column {missing}; expected the metrics.csv of a training run.")
    log = log.sort_values("step", kind="stable")
    # Validation rows may come without the count of tasks, which grows steadily with the step.
    known = log.dropna(subset=["tasks_seen"])
    seen = np.interp(log["step"], known["step"], known["tasks_seen"]) if len(known) else log["step"].to_numpy()
    for ax, task in zip(axes, tasks):
        train = log[f"train/{task}_loss"].to_numpy(dtype=float)
        has = ~np.isnan(train)
        ax.plot(seen[has], train[has], color=CONTEXT, lw=0.6, alpha=0.5, label="training, single steps")
        if has.sum() >= 2 * SMOOTHED:
            # Each step shows other tasks, so a single one says little.
            kernel = np.full(SMOOTHED, 1 / SMOOTHED)
            smooth = (np.convolve(values, kernel, "valid") for values in (seen[has], train[has]))
            ax.plot(*smooth, color="0.3", lw=1.2, label=f"training, mean of {SMOOTHED}")
        if f"val/{task}_loss" in log:
            held_out = log[f"val/{task}_loss"].to_numpy(dtype=float)
            has_val = ~np.isnan(held_out)
            ax.plot(seen[has_val], held_out[has_val], color=QUERY, lw=1.8, marker="o", ms=3, label="validation")
        if has.any():
            # The first steps are far above everything that follows, and would flatten it.
            low, high = np.percentile(train[has], [0.5, 95])
            room = 0.1 * max(high - low, 1e-3)
            ax.set_ylim(low - room, high + room)
        ax.set(xlabel="synthetic tasks seen", ylabel="loss (nats per query row)", title=task)
        ax.locator_params(axis="x", nbins=5)
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        ax.legend(frameon=False, fontsize="small")
        _plain(ax)
    return axes


def plot_learning_curve(
    tasks_seen: np.ndarray, score: np.ndarray, others: dict[str, float], ax: Any, ylabel: str
) -> Any:
    """Score on real tables against the synthetic tasks that each snapshot had seen, log scale; others as level lines.

    Args:
        tasks_seen, score: (n,) of each snapshot, in any order.
        others: name and score of models that do not change.
        ylabel: the score with its direction.
    """
    order = np.argsort(tasks_seen)
    ax.plot(np.asarray(tasks_seen)[order], np.asarray(score)[order], color=QUERY, marker="o", ms=4, label="ours")
    for name, level in others.items():
        ax.axhline(level, color=CONTEXT, lw=1)
        ax.annotate(
            name, (1, level), xycoords=("axes fraction", "data"), xytext=(3, 0), textcoords="offset points",
            va="center", fontsize="small",
        )  # fmt: skip
    ax.set_xscale("log", subs=[])
    ax.xaxis.get_major_locator().set_params(subs=(1, 2, 5))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.set(xlabel="synthetic tasks seen (log scale)", ylabel=ylabel)
    return _plain(ax)


def _plain(ax: Any) -> Any:
    ax.spines[["top", "right"]].set_visible(False)
    return ax
