"""Pictures of tasks: data in, axes out. Context grey, query blue, truth black."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from priors.show_graph import plot_graph
from priors.task import Prior, TaskBatch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUERY, CONTEXT, TRUTH = "tab:blue", "0.6", "black"
# Neither the blue of queries nor the grey of the context.
CLASS_COLORS = (
    "#e6550d",
    "#31a354",
    "#756bb1",
    "#111111",
    "#fdae6b",
    "#a1d99b",
    "#bcbddc",
    "#d62728",
    "#8c564b",
    "#e7ba52",
)
MAX_SHOWN = 12
"""Features of which the overview panels show the first few."""


def draw_tasks(
    prior: Prior, batches: list[TaskBatch], figure: Figure, title: str = "", graphs: list[Tensor] | None = None
) -> Figure:
    """One line of panels for the first task of each batch; sets the size of the figure.

    Args:
        graphs: (H, H) edges from row to column, nodes in topological order; one for each batch.
    """
    band = hasattr(prior, "posterior_predictive") and batches[0].shape.n_features == 1
    panels = ["scatter", "target", "marginals", "missing", "correlation"] + (["graph"] if graphs else [])
    figure.set_size_inches(3.4 * len(panels), 3.2 * len(batches) + 0.5)
    lines = textwrap.wrap(title, 38 * len(panels))
    figure.suptitle("\n".join(lines[:2]) + (" ..." if len(lines) > 2 else ""), fontsize="medium", ha="left", x=0.01)
    grid = figure.add_gridspec(len(batches), len(panels))
    plots = {"target": plot_target, "missing": plot_missing, "correlation": plot_correlation, "scatter": plot_scatter}
    for row, batch in enumerate(batches):
        for column, panel in enumerate(panels):
            cell = grid[row, column]
            if panel == "marginals":
                plot_marginals(batch, cell, figure)
                continue
            ax = figure.add_subplot(cell)
            if panel == "graph" and graphs:
                plot_graph(graphs[row], ax)
            elif panel == "scatter" and band:
                plot_posterior(prior, batch, ax)
            else:
                plots[panel](batch, ax)
            if column == 0 and panel == "scatter":
                ax.set_title(_summary(batch), fontsize="small", loc="left")
    return figure


def plot_scatter(batch: TaskBatch, ax: Axes) -> Axes:
    """The two features most associated with the target, coloured by it; query rows have a blue rim.

    Discrete features are jittered, so that rows do not hide each other.
    """
    X_RF, y_R, classify = batch.X[0], batch.y[0], batch.n_classes is not None
    order = association(X_RF, y_R, classify).argsort(descending=True).tolist()
    columns = [_jittered(X_RF[:, j], seed=j) for j in order[:2]] + [torch.linspace(0, 1, len(y_R))]
    names = [f"feature {j}" for j in order[:2]] + ["row order"]
    if classify:
        colors_R = [CLASS_COLORS[c % len(CLASS_COLORS)] for c in y_R.tolist()]
    else:
        from matplotlib import colormaps

        colors_R = list(colormaps["plasma"](_rank(y_R.float()).numpy()))
    n = batch.n_context
    for part, style in ((slice(None, n), {"s": 14}), (slice(n, None), {"s": 26, "edgecolors": QUERY})):
        x, y = columns[0][part].numpy(), columns[1][part].numpy()
        ax.scatter(x, y, c=colors_R[part], linewidths=1.1 if "edgecolors" in style else 0, **style)
    note = "class" if classify else "rank of target"
    ax.set(xlabel=f"{names[0]} (colour: {note}; blue rim: query)", ylabel=names[1])
    ax.xaxis.label.set_fontsize("small")
    return _plain(ax)


def plot_posterior(prior: Any, batch: TaskBatch, ax: Axes) -> Axes:
    """One feature: context and query rows, and the exact answer: mean and band, or the chance of class 1."""
    n, classes = batch.n_context, batch.n_classes
    x, y = batch.X[0, :, 0], batch.y[0]
    grid = torch.linspace(float(x.min()), float(x.max()), 200)
    X_BRF, y_BR = torch.cat([x, grid])[None, :, None], torch.cat([y, y.new_zeros(len(grid))])[None]
    one = TaskBatch(X_BRF, y_BR, n, batch.is_categorical[:1], None if classes is None else classes[:1])
    dist = prior.posterior_predictive(one)
    m = len(x) - n  # queries first, then the grid
    note = "target: class"
    if classes is None:
        mean_M, half_M = dist.mean[0], 1.96 * dist.stddev[0]
        low, high = (mean_M - half_M)[m:].numpy(), (mean_M + half_M)[m:].numpy()
        ax.fill_between(grid.numpy(), low, high, color=TRUTH, alpha=0.12, lw=0, label="exact mean ± 1.96 std")
        inside = float(((y[n:].double() - mean_M[:m]).abs() <= half_M[:m]).double().mean())
        note = f"{inside:.0%} of queries inside"
    else:
        mean_M, y = dist.probs[0, :, 1], _jittered(y.float(), seed=0)
    ax.plot(grid.numpy(), mean_M[m:].numpy(), color=TRUTH, lw=1, label=None if classes is None else "exact P(class 1)")
    ax.scatter(x[:n].numpy(), y[:n].numpy(), s=9, color=CONTEXT, label="context")
    ax.scatter(x[n:].numpy(), y[n:].numpy(), s=9, color=QUERY, label="query")
    ax.set(xlabel=f"feature 0 ({note})", ylabel="target")
    ax.legend(frameon=False, fontsize="x-small")
    return _plain(ax)


def plot_target(batch: TaskBatch, ax: Axes) -> Axes:
    """Shares of the target's classes or values, context against query."""
    plot_histogram(batch.y_context[0].float(), batch.y_query[0].float(), batch.n_classes is not None, ax)
    ax.set(xlabel="target (class)" if batch.n_classes is not None else "target", ylabel="share of rows")
    if batch.n_classes is not None:
        ax.set_xticks(range(int(batch.n_classes[0])))
    ax.legend(frameon=False, fontsize="x-small", ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
    return _plain(ax)


def plot_marginals(batch: TaskBatch, cell: Any, figure: Figure) -> None:
    """Small histograms of up to nine features; bars for levels, a `c` marks columns flagged categorical."""
    shown = min(batch.shape.n_features, 9)
    width = 1 if shown == 1 else 2 if shown <= 4 else 3
    grid = cell.subgridspec(-(-shown // width), width)
    for j in range(shown):
        ax = figure.add_subplot(grid[j // width, j % width])
        column_R = batch.X[0, :, j]
        levels = column_R[~column_R.isnan()].unique()
        discrete = bool(batch.is_categorical[0, j]) or len(levels) <= 12
        plot_histogram(column_R[: batch.n_context], column_R[batch.n_context :], discrete, ax)
        flag = " c" if batch.is_categorical[0, j] else ""
        ax.set_title(f"{j}{flag}", fontsize="x-small", pad=2)
        ax.set_yticks([])
        ax.tick_params(labelsize="xx-small", length=2)
        ax.locator_params(axis="x", nbins=3)
        _plain(ax).spines["left"].set_visible(False)
        if j == 0:
            ax.set_ylabel("share of rows", fontsize="x-small")


def plot_histogram(context: Tensor, query: Tensor, discrete: bool, ax: Axes) -> Axes:
    """Shares within context and within query; one bar a level, or common bins."""
    parts = {"context": context[~context.isnan()], "query": query[~query.isnan()]}
    every = torch.cat(list(parts.values()))
    if not len(every):
        return ax
    if discrete:
        levels = every.unique()
        place = levels if len(levels) < 2 or levels.diff().min() >= 1 else torch.arange(len(levels))
        for shift, (name, values) in zip((-0.2, 0.2), parts.items()):
            share = (values[:, None] == levels).float().sum(0) / max(len(values), 1)
            color = CONTEXT if name == "context" else QUERY
            ax.bar((place + shift).numpy(), share.numpy(), 0.4, color=color, label=name)
        return ax
    low, high = float(every.min()), float(every.max())
    n_bins = min(30, max(6, round(1.5 * len(every) ** 0.5)))
    edges = torch.linspace(low, high if high > low else low + 1, n_bins + 1).tolist()
    for name, values in parts.items():
        style = {"color": CONTEXT} if name == "context" else {"histtype": "step", "color": QUERY, "lw": 1.2}
        ax.hist(values.numpy(), edges, weights=[1 / max(len(values), 1)] * len(values), label=name, **style)
    return ax


def plot_missing(batch: TaskBatch, ax: Axes) -> Axes:
    """Missing cells in black, rows downwards; the blue line parts context from query."""
    missing_RF = batch.X[0, :, :MAX_SHOWN].isnan()
    share = float(batch.X[0].isnan().float().mean())
    ax.imshow(missing_RF.numpy(), aspect="auto", cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
    ax.axhline(batch.n_context - 0.5, color=QUERY, lw=1.2)
    ax.set(xlabel=f"feature ({share:.1%} of cells missing)", ylabel="row")
    _ticks(ax.xaxis, missing_RF.shape[1])
    return ax


def plot_correlation(batch: TaskBatch, ax: Axes) -> Axes:
    """Pearson correlations of features and target (last), over rows where both are there."""
    columns_RP = torch.cat([batch.X[0, :, :MAX_SHOWN], batch.y[0, :, None].float()], 1)
    image = ax.imshow(correlation(columns_RP).numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
    n = columns_RP.shape[1]
    ax.axhline(n - 1.5, color=TRUTH, lw=0.8)
    ax.axvline(n - 1.5, color=TRUTH, lw=0.8)
    _ticks(ax.xaxis, n - 1, last="y")
    _ticks(ax.yaxis, n - 1, last="y")
    ax.figure.colorbar(image, ax=ax, shrink=0.8, label="correlation").ax.tick_params(labelsize="x-small")
    return ax


def correlation(columns_RP: Tensor) -> Tensor:
    """(P, P) pairwise-complete Pearson correlations; 0 where a column is constant."""
    there = (~columns_RP.isnan()).double()
    values = columns_RP.double().nan_to_num()
    n = (there.T @ there).clamp_min(1)
    mean = values.T @ there / n  # mean[i, j]: of column i where j is there too
    covariance = values.T @ values / n - mean * mean.T
    variance = (values.square().T @ there / n - mean.square()).clamp_min(0)
    scale = (variance * variance.T).sqrt()
    return torch.where(scale > 1e-12, covariance / scale.clamp_min(1e-12), 0.0).clamp(-1, 1)


def association(X_RF: Tensor, y_R: Tensor, classify: bool) -> Tensor:
    """(F,) strength in [0, 1]: rank correlation with the target, or the largest one with a class indicator."""
    ranks_RF = torch.stack([_rank(column) for column in X_RF.T], 1)
    targets = torch.nn.functional.one_hot(y_R).double() if classify else _rank(y_R.float())[:, None].double()
    n = X_RF.shape[1]
    return correlation(torch.cat([ranks_RF.double(), targets], 1))[:n, n:].abs().max(1).values


def _rank(values: Tensor) -> Tensor:
    """Ranks in [0, 1]; ties share the first, missing stays missing."""
    there = ~values.isnan()
    out = torch.full_like(values, torch.nan)
    present = values[there].contiguous()
    out[there] = torch.searchsorted(present.sort().values, present).to(values.dtype) / max(len(present) - 1, 1)
    return out


def _jittered(column: Tensor, seed: int) -> Tensor:
    levels = column[~column.isnan()].unique()
    if not 1 < len(levels) <= 12:
        return column
    spread = 0.3 * float(levels.diff().min())
    return column + spread * (torch.rand(len(column), generator=torch.Generator().manual_seed(10**9 + seed)) - 0.5)


def _summary(batch: TaskBatch) -> str:
    shape = batch.shape
    kind = "regression" if batch.n_classes is None else f"{int(batch.n_classes[0])} classes"
    return f"{shape.n_context} + {shape.n_rows - shape.n_context} rows, {shape.n_features} features, {kind}"


def _ticks(axis: Any, n: int, last: str | None = None) -> None:
    places = list(range(0, n, 1 if n <= 8 else 2))
    axis.set_ticks(
        [*places, *([n] if last else [])], [*map(str, places), *([last] if last else [])], fontsize="x-small"
    )


def _plain(ax: Axes) -> Axes:
    ax.spines[["top", "right"]].set_visible(False)
    return ax
