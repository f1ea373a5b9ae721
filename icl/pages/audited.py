"""Pictures of an audit of synthetic rows: real grey, synthetic blue. Data in, figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.pages.escape import clip, figure
from icl.pages.figures import CONTEXT, QUERY

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_MOST_LEVELS, _BINS = 8, 24
_LONGEST = 18


def plot_columns(real: pd.DataFrame, synthetic: pd.DataFrame, names: Sequence, labels: Mapping) -> Figure:
    """Histograms of numbers, shares of levels, a panel for each column; `labels`: what stands below its name."""
    import matplotlib.pyplot as plt

    n_across = min(4, len(names))
    n_down = -(-len(names) // n_across)
    whole, axes = plt.subplots(
        n_down, n_across, figsize=(2.9 * n_across, 2.3 * n_down), layout="constrained", squeeze=False
    )
    for ax, name in zip(axes.flat, names):
        a, b = real[name].dropna(), synthetic[name].dropna()
        if a.dtype.kind in "iufM" and a.nunique() > 2:
            _histograms(ax, a, b)
            ax.set_yticks([])
        else:
            _bars(ax, a, b)
        ax.set_title(f"{figure(clip(str(name), 30))}\n{labels[name]}", fontsize=8, loc="left")
        ax.tick_params(labelsize=7)
        ax.spines[["top", "right", "left"]].set_visible(False)
    for ax in axes.flat[len(names) :]:
        ax.set_visible(False)
    return whole


def _histograms(ax: Any, a: pd.Series, b: pd.Series) -> None:
    x, z = (_numbers(column) for column in (a, b))
    inner = x if len(x) < 50 else x[(x >= np.quantile(x, 0.005)) & (x <= np.quantile(x, 0.995))]
    low, high = float(inner.min()), float(inner.max())
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    ax.hist(np.clip(x, low, high), edges, density=True, color=CONTEXT, alpha=0.6)
    if len(z):
        ax.hist(np.clip(z, low, high), edges, density=True, histtype="step", color=QUERY, lw=1.4)
    if a.dtype.kind == "M":
        ax.xaxis.set_major_formatter(lambda value, _: str(np.datetime64(int(value), "s"))[:10])
        ax.locator_params(axis="x", nbins=3)


def _numbers(column: pd.Series) -> np.ndarray:
    if column.dtype.kind == "M":
        return column.to_numpy().astype("datetime64[s]").astype("int64").astype(float)
    return column.to_numpy(dtype=float)


def _bars(ax: Any, a: pd.Series, b: pd.Series) -> None:
    shares = [column.astype(str).value_counts(normalize=True) for column in (a, b)]
    shown = list(shares[0].index[:_MOST_LEVELS])
    place = np.arange(len(shown))[::-1]
    ax.barh(place + 0.2, shares[0].reindex(shown), 0.38, color=CONTEXT)
    ax.barh(place - 0.2, shares[1].reindex(shown).fillna(0), 0.38, color=QUERY)
    ax.set_yticks(place, [figure(clip(level, _LONGEST)) for level in shown])
    ax.tick_params(axis="y", length=0)


def plot_pairs(real: pd.DataFrame, synthetic: pd.DataFrame) -> Figure:
    """Two matrices of associations between 0 and 1, and their difference."""
    import matplotlib.pyplot as plt

    side = 2.2 + 0.11 * len(real)
    whole, axes = plt.subplots(1, 3, figsize=(3 * side, side + 0.9), layout="constrained")
    for ax, frame, title in zip(axes, (real, synthetic, synthetic - real), ("real", "synthetic", "difference")):
        is_gap = title == "difference"
        values = frame.to_numpy().copy()
        np.fill_diagonal(values, np.nan)
        shown = ax.imshow(
            values, cmap="RdBu_r" if is_gap else "Blues", vmin=-0.5 if is_gap else 0, vmax=0.5 if is_gap else 1
        )
        ax.set_title(title, fontsize=9)
        ticks = np.arange(len(frame))
        labels = [figure(clip(str(name), 14)) for name in frame.columns]
        ax.set_xticks(ticks, labels, rotation=90, fontsize=6)
        ax.set_yticks(ticks, labels if ax is axes[0] else [""] * len(frame), fontsize=6)
        ax.tick_params(length=0)
        whole.colorbar(shown, ax=ax, shrink=0.7).ax.tick_params(labelsize=7)
    return whole


def plot_distances(found: np.ndarray, reference: np.ndarray, has_holdout: bool) -> Figure:
    """Cumulative shares of distances to the nearest training row."""
    import matplotlib.pyplot as plt

    whole, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    name = "held-out rows" if has_holdout else "training rows, to the others"
    for values, color, label in ((reference, CONTEXT, name), (found, QUERY, "synthetic rows")):
        ordered = np.sort(values)
        ax.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), where="post", color=color, lw=1.6, label=label)
    ax.set(xlabel="distance to the nearest training row (mean over columns)", ylabel="share of rows", ylim=(0, 1))
    far = float(np.quantile(np.concatenate([found, reference]), 0.99))
    ax.set_xlim(0, 1.05 * far if far > 0 else 1)
    ax.legend(frameon=False, fontsize="small")
    ax.spines[["top", "right"]].set_visible(False)
    return whole


def plot_scores_of_two(scores: np.ndarray, is_synthetic: np.ndarray) -> Figure:
    """Histograms of the probability of being synthetic, of real and of synthetic rows."""
    import matplotlib.pyplot as plt

    whole, ax = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
    edges = np.linspace(0, 1, 31).tolist()
    ax.hist(scores[~is_synthetic], edges, density=True, color=CONTEXT, alpha=0.6, label="real rows")
    ax.hist(scores[is_synthetic], edges, density=True, histtype="step", color=QUERY, lw=1.6, label="synthetic rows")
    ax.set(xlabel="probability of being synthetic, out of fold", ylabel="density of rows", xlim=(0, 1))
    ax.legend(frameon=False, fontsize="small")
    ax.spines[["top", "right"]].set_visible(False)
    return whole
