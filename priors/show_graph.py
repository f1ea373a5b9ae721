"""A directed acyclic graph as a picture: roots on top, arrows downwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_graph(edges_HH: Tensor, ax: Axes) -> Axes:
    """Nodes by depth (longest path from a root) and number; each is placed below the middle of its parents.

    Args:
        edges_HH: bool, from row to column, nodes in topological order.
    """
    depth = depths(edges_HH)
    n_nodes = len(depth)
    place = [(0.0, 0.0)] * n_nodes
    for level in range(max(depth) + 1):
        nodes = [i for i in range(n_nodes) if depth[i] == level]

        def middle(node: int) -> float:
            parents = edges_HH[:, node].nonzero().flatten().tolist()
            return sum(place[p][0] for p in parents) / len(parents) if parents else float(node)

        for slot, node in enumerate(sorted(nodes, key=middle)):
            # Every other row is shifted a bit, so that arrows do not run through nodes.
            place[node] = ((slot + 1) / (len(nodes) + 1) + 0.03 * (-1) ** level, -float(level))
    for parent, child in edges_HH.nonzero().tolist():
        arrow = {"arrowstyle": "-|>", "color": "0.6", "lw": 0.8, "shrinkA": 7, "shrinkB": 7, "mutation_scale": 8}
        ax.annotate("", xy=place[child], xytext=place[parent], arrowprops=arrow)
    x, y = zip(*place)
    ax.scatter(x, y, s=130, color="white", edgecolors="black", linewidths=0.8, zorder=3)
    for node in range(n_nodes):
        ax.text(*place[node], str(node), ha="center", va="center", fontsize="xx-small", zorder=4)
    ax.set(xlim=(-0.03, 1.03), ylim=(-max(depth) - 0.4, 0.4), yticks=range(0, -max(depth) - 1, -1), xticks=[])
    ax.set_yticklabels([str(level) for level in range(max(depth) + 1)], fontsize="x-small")
    ax.set(
        xlabel=f"{n_nodes} nodes, {int(edges_HH.sum())} edges; a graph of this law", ylabel="longest path from a root"
    )
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    return ax


def depths(edges_HH: Tensor) -> list[int]:
    """Length of the longest path that ends in each node; parents come before their children."""
    depth = torch.zeros(len(edges_HH), dtype=torch.long)
    for node in range(len(edges_HH)):
        parents = depth[edges_HH[:, node].bool()]
        depth[node] = parents.max() + 1 if len(parents) else 0
    return depth.tolist()
