"""Random directed acyclic graphs, many at once.

Dimension key: B tasks, H nodes, in topological order. `edges[b, i, j]` says that node i is a parent of node j.
"""

from __future__ import annotations

import torch
from torch import Tensor

from priors.draw import bernoulli, choice, log_uniform, normal, uniform

KINDS = ("erdos-renyi", "growing", "cauchy", "layered", "tree", "chain")


def draw_levels(n_nodes: int, n_levels: int, generator: torch.Generator) -> list[int]:
    """Sizes of `n_levels` groups of nodes, at least one each, `n_nodes` in all; edges only lead to later groups.

    All tasks of a batch share the groups, so that a graph costs one step per level instead of one per node.
    """
    if not 1 <= n_levels <= n_nodes:
        raise ValueError(f"{n_nodes} nodes make 1 to {n_nodes} levels, got n_levels={n_levels}.")
    extra = choice([1] * n_levels, (n_nodes - n_levels,), generator) if n_nodes > n_levels else None
    counts = torch.ones(n_levels, dtype=torch.long, device=generator.device)
    if extra is not None:
        counts = counts + torch.bincount(extra, minlength=n_levels)
    return counts.tolist()


def draw_edges(n_tasks: int, level_sizes: list[int], generator: torch.Generator, kind: str | None = None) -> Tensor:
    """(B, H, H) bool edges; each task draws the kind of its graph, or all have the `kind` given.

    Kinds:
        erdos-renyi: every allowed edge with one probability per task, log-uniform.
        growing: old nodes are hubs, by the static model of a growing network (Goh, Kahng & Kim 2001,
            doi:10.1103/PhysRevLett.87.278701).
        cauchy: log-odds are a Cauchy draw per parent plus one per child, so some nodes touch nearly all others.
        layered: parents sit in the level before.
        tree: one parent. chain: one parent, in the level before.

    Every node after the first level has a parent, except for a random few that become further roots.
    """
    g, B, H = generator, n_tasks, sum(level_sizes)
    level_H = torch.tensor([level for level, size in enumerate(level_sizes) for _ in range(size)], device=g.device)
    allowed_HH = level_H[:, None] < level_H
    previous_HH = level_H[:, None] == level_H - 1
    if kind is None:
        kind_B = choice([3, 2, 2, 2, 1, 1], (B, 1, 1), g)
    else:
        kind_B = torch.full((B, 1, 1), KINDS.index(kind), device=g.device)

    density_B11 = log_uniform(1 / max(H, 2), 0.8, (B, 1, 1), g)
    age_H = torch.arange(1, H + 1, device=g.device)
    hub_BH = age_H ** -uniform(0.4, 1.4, (B, 1), g)
    n_parents_B11 = log_uniform(1, 5, (B, 1, 1), g)
    # Shares are among all nodes, so a child sees about n_parents * (share of the mass that came before it).
    growing_BHH = n_parents_B11 * (hub_BH / hub_BH.sum(1, keepdim=True))[..., None]
    cauchy_B2H = torch.tan(torch.pi * (uniform(0.001, 0.999, (B, 2, H), g) - 0.5))
    cauchy_BHH = torch.sigmoid(cauchy_B2H[:, 0, :, None] + cauchy_B2H[:, 1, None, :] + normal((B, 1, 1), g) - 1)
    layered_BHH = previous_HH * uniform(0.3, 1, (B, 1, 1), g)
    p_BHH = torch.where(kind_B == 0, density_B11, 0.0)
    for k, other_BHH in ((1, growing_BHH), (2, cauchy_BHH), (3, layered_BHH)):
        p_BHH = torch.where(kind_B == k, other_BHH, p_BHH)
    further_roots_B1H = bernoulli(uniform(0, 0.15, (B, 1, 1), g), (B, 1, H), g)
    edge_BHH = bernoulli(p_BHH, (B, H, H), g) & allowed_HH & ~further_roots_B1H

    only_previous_B = (kind_B == 3) | (kind_B == 5)
    key_BHH = uniform(0.001, 1, (B, H, H), g) * torch.where(only_previous_B, previous_HH, allowed_HH)
    parent_B1H = key_BHH.argmax(1, keepdim=True)
    needs_B1H = (level_H > 0) & ~further_roots_B1H & ~edge_BHH.any(1, keepdim=True)
    return edge_BHH.scatter(1, parent_B1H, edge_BHH.gather(1, parent_B1H) | needs_B1H)


def descendants(edges_BHH: Tensor) -> Tensor:
    """(B, H, H) bool: `[b, i, j]` says that a directed path leads from i to j; no node descends from itself."""
    reach_BHH = edges_BHH.float()
    for _ in range(max(1, (edges_BHH.shape[-1] - 1).bit_length())):  # paths double in length
        reach_BHH = (reach_BHH + reach_BHH @ reach_BHH).clamp_max(1)
    return reach_BHH > 0
