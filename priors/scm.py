"""Structural causal models: features and target are nodes of one random graph.

Nodes are computed level by level; a node reads a random subset of all earlier nodes, applies a random mechanism and
adds its own noise (Pearl 2009; as a prior over tables: Hollmann et al. 2023, arXiv:2207.01848). Because features may
be causes, effects or siblings of the target, columns are dependent in the ways real ones are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from priors.draw import bernoulli, integers, log_uniform, normal, standardise, student_t, uniform
from priors.features import as_columns
from priors.mechanisms import activate
from priors.table import LatentTable, TablePrior
from priors.task import TaskShape
from priors.tree import draw_trees


@dataclass(frozen=True)
class SCMPrior(TablePrior):
    """Random layered graphs; each level mixes activations of sparse sums with tree look-ups.

    Args:
        max_levels: most levels of nodes after the root causes.
        node_noise: range of a node's own noise, in units of its signal, log-uniform per task.
        tree_share: how often a level's nodes are tree look-ups rather than activations.
    """

    max_levels: int = 4
    node_noise: tuple[float, float] = (0.01, 0.7)
    tree_share: float = 0.3

    def sample_latent(self, shape: TaskShape, n_outputs: int, generator: torch.Generator) -> LatentTable:
        nodes_BRH, level_H = self.sample_nodes(shape, n_outputs, generator)
        B, _, H = nodes_BRH.shape
        g = generator
        # The target sits late in the graph more often than not; features are any other nodes.
        late_B = bernoulli(0.7, (B, 1), g)
        key_BH = uniform(0, 1, (B, H), g) + torch.where(late_B, level_H / level_H.max(), 0.0)
        order_BH = key_BH.argsort(1, descending=True)
        target_B = order_BH[:, :1]
        # Nodes near the target in index share parents with it; half of the tasks pick features at random,
        # half prefer a contiguous block, which makes strongly dependent columns.
        block_B = bernoulli(0.5, (B, 1), g)
        distance_BH = ((torch.arange(H, device=g.device) - target_B) % H).float() / H
        preference_BH = torch.where(block_B, -distance_BH, uniform(0, 1, (B, H), g))
        preference_BH = preference_BH.scatter(1, target_B, -torch.inf)
        columns_BF = preference_BH.topk(shape.n_features, dim=1).indices
        columns_BF = columns_BF.gather(1, uniform(0, 1, tuple(columns_BF.shape), g).argsort(1))

        R = shape.n_rows
        Z_BRF = standardise(nodes_BRH.gather(2, columns_BF[:, None].expand(B, R, -1)), 1)
        first_BR1 = nodes_BRH.gather(2, target_B[:, None].expand(B, R, 1))
        # Further outputs (other classes' scores) are mixtures of the target node and late nodes.
        mix_BHT = normal((B, H, n_outputs - 1), g) * (level_H / level_H.max())[:, None].square()
        mix_BHT = mix_BHT * bernoulli(0.2, (B, H, n_outputs - 1), g)
        others_BRT = torch.einsum("brh,bht->brt", nodes_BRH, mix_BHT)
        outputs_BRT = torch.cat([standardise(first_BR1, 1), standardise(others_BRT, 1)], -1)

        columns = as_columns(Z_BRF, g)
        return LatentTable(columns.X, columns.is_categorical, outputs_BRT)

    def sample_nodes(self, shape: TaskShape, n_outputs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """All nodes (B, R, H) in topological order and each node's level (H,)."""
        B, R, F = shape.n_tasks, shape.n_rows, shape.n_features
        g = generator
        n_levels = int(integers(1, self.max_levels, (), g))
        n_roots = int(log_uniform(2, 2 + F, (), g))
        width = max(4, -(-int((F + 1) * float(uniform(1.1, 2.0, (), g))) // n_levels))
        roots_BRK = normal((B, R, n_roots), g)
        df_B11 = log_uniform(2.5, 10, (B, 1, 1), g)
        roots_BRK = torch.where(bernoulli(0.2, (B, 1, 1), g), student_t(df_B11, (B, R, n_roots), g), roots_BRK)
        roots_BRK = torch.where(bernoulli(0.3, (B, 1, n_roots), g), uniform(-1.7, 1.7, (B, R, n_roots), g), roots_BRK)
        noise_B11 = log_uniform(*self.node_noise, (B, 1, 1), g)
        nodes, levels = [roots_BRK], [torch.zeros(n_roots, device=g.device)]
        for level in range(1, n_levels + 1):
            before_BRH = torch.cat(nodes, -1)
            if bool(bernoulli(self.tree_share, (), g)):
                signal_BRH = draw_trees(before_BRH, width, g, max_trees=4)
            else:
                signal_BRH = self._sum_of_parents(before_BRH, nodes[-1].shape[-1], width, g)
            own_BRH = noise_B11 * log_uniform(0.3, 3, (B, 1, width), g) * normal((B, R, width), g)
            nodes.append(standardise(standardise(signal_BRH, 1) + own_BRH, 1))
            levels.append(torch.full((width,), float(level), device=g.device))
        return torch.cat(nodes, -1), torch.cat(levels)

    @staticmethod
    def _sum_of_parents(before_BRH: Tensor, n_previous: int, width: int, g: torch.Generator) -> Tensor:
        """Activation of a sparse weighted sum of earlier nodes; most parents sit in the previous level."""
        B, _, H = before_BRH.shape
        density_B11 = log_uniform(0.08, 1, (B, 1, 1), g)
        edge_BHW = bernoulli(density_B11, (B, H, width), g)
        skip_B11 = torch.where(bernoulli(0.5, (B, 1, 1), g), 0.3, 0.0)
        edge_BHW[:, : H - n_previous] &= bernoulli(skip_B11, (B, H - n_previous, width), g)
        # Every node has at least one parent in the previous level.
        parent_B1W = integers(H - n_previous, H - 1, (B, 1, width), g)
        edge_BHW = edge_BHW.scatter(1, parent_B1W, True)
        weight_BHW = normal((B, H, width), g) * edge_BHW
        gain_B1W = log_uniform(0.5, 3, (B, 1, width), g)
        sum_BRW = standardise(torch.einsum("brh,bhw->brw", before_BRH, weight_BHW), 1)
        return activate(sum_BRW * gain_B1W + normal((B, 1, width), g), g)
