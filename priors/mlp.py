"""Random neural networks: targets that are functions of the columns, and tables read off a network's nodes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from priors.draw import bernoulli, integers, log_uniform, normal, permutation, standardise, student_t, uniform
from priors.features import as_columns, draw_columns
from priors.linear import draw_linear
from priors.mechanisms import activate
from priors.table import LatentTable, TablePrior
from priors.task import TaskShape


@dataclass(frozen=True)
class MLPPrior(TablePrior):
    """Causes run through a sparse random network; columns and target are nodes of it, or its input and output.

    In the causal mode columns and target are read off the nodes of all layers, so a column may be a cause, an effect
    or a sibling of the target. In the other mode the columns are the causes (a Bayesian neural network).

    Args:
        causal: share of the batches in the causal mode.
        max_layers: most layers after the causes.
        node_noise: range of the noise added to every node, in units of its signal, log-uniform per task.

    Source:
        Hollmann et al. (2023), TabPFN, arXiv:2207.01848, sections 4.1 and C.
    """

    causal: float = 0.7
    max_layers: int = 5
    node_noise: tuple[float, float] = (0.001, 0.3)

    def sample_latent(self, shape: TaskShape, n_outputs: int, generator: torch.Generator) -> LatentTable:
        B, R, F = shape.n_tasks, shape.n_rows, shape.n_features
        g = generator
        if not bool(bernoulli(self.causal, (), g)):
            columns = draw_columns(shape, g)
            return LatentTable(columns.X, columns.is_categorical, draw_mlp(columns.effect, n_outputs, g))

        nodes_BRH = self._nodes(B, R, F, g)
        H = nodes_BRH.shape[-1]
        # Later nodes make better targets more often than not.
        late_B1 = bernoulli(0.7, (B, 1), g)
        key_BH = uniform(0, 1, (B, H), g) + late_B1 * torch.linspace(0, 1, H, device=g.device)
        target_BT = key_BH.topk(min(n_outputs, H), dim=1).indices
        outputs_BRT = nodes_BRH.gather(2, target_BT[:, None].expand(B, R, -1))
        if n_outputs > H:
            outputs_BRT = torch.cat([outputs_BRT, draw_linear(nodes_BRH, n_outputs - H, g)], -1)

        # Columns: any nodes but the first output, at random or, in half of the tasks, neighbours in a block.
        start_B1 = integers(0, H - 1, (B, 1), g)
        distance_BH = (torch.arange(H, device=g.device) - start_B1) % H
        block_B1 = bernoulli(0.5, (B, 1), g)
        order_BH = torch.where(block_B1, distance_BH, permutation((B, H), g)).float()
        column_BF = order_BH.scatter(1, target_BT[:, :1], torch.inf).topk(F, dim=1, largest=False).indices
        column_BF = column_BF.gather(1, permutation((B, F), g))
        Z_BRF = standardise(nodes_BRH.gather(2, column_BF[:, None].expand(B, R, F)), 1)
        columns = as_columns(Z_BRF, g)
        return LatentTable(columns.X, columns.is_categorical, standardise(outputs_BRT, 1))

    def _nodes(self, B: int, R: int, F: int, g: torch.Generator) -> Tensor:
        """All nodes (B, R, H) after the causes, layer by layer, with H > F."""
        n_layers = int(integers(1, self.max_layers, (), g))
        width = max(3, -(-int((F + 1) * float(uniform(1, 2, (), g))) // n_layers), -(-(F + 1) // n_layers))
        n_causes = int(log_uniform(1, 2 + F, (), g))
        causes_BRC = normal((B, R, n_causes), g)
        heavy_B = bernoulli(0.15, (B,), g)
        heavy_I = heavy_B.nonzero()[:, 0]
        n_heavy = len(heavy_I)
        if n_heavy:
            df_B11 = log_uniform(2, 8, (n_heavy, 1, 1), g)
            causes_BRC[heavy_I] = student_t(df_B11, (n_heavy, R, n_causes), g)
        # A cause's own mean and scale, as in the paper: causes of a task are not alike.
        causes_BRC = normal((B, 1, n_causes), g) + causes_BRC * log_uniform(0.2, 2, (B, 1, n_causes), g)
        noise_B11 = log_uniform(*self.node_noise, (B, 1, 1), g)
        layer_BRH, layers = causes_BRC, []
        for _ in range(n_layers):
            layer_BRH = dense_layer(layer_BRH, width, g)
            own_B1H = noise_B11 * log_uniform(0.3, 3, (B, 1, width), g)
            layer_BRH = standardise(layer_BRH, 1) + own_B1H * normal((B, R, width), g)
            layers.append(layer_BRH)
        return torch.cat(layers, -1)


def dense_layer(V_BRF: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """(B, R, width): activations of sparse weighted sums; density, gain and activation are draws per task."""
    B, _, F = V_BRF.shape
    weight_BFH = normal((B, F, width), generator)
    kept_BFH = bernoulli(uniform(0.3, 1, (B, 1, 1), generator), (B, F, width), generator)
    kept_BFH.scatter_(1, integers(0, F - 1, (B, 1, width), generator), True)  # no node without a parent
    Z_BRH = standardise(torch.einsum("brf,bfh->brh", V_BRF, weight_BFH * kept_BFH), 1)
    gain_B11 = log_uniform(0.5, 3, (B, 1, 1), generator)
    return activate(Z_BRH * gain_B11 + normal((B, 1, width), generator), generator)


def draw_mlp(V_BRF: Tensor, n_outputs: int, generator: torch.Generator) -> Tensor:
    """(B, R, n_outputs): a random network of one to three hidden layers (Mueller et al. 2022, arXiv:2112.10510)."""
    B, _, F = V_BRF.shape
    width = int(log_uniform(4, 48, (), generator))
    H_BRH = V_BRF * log_uniform(0.05, 1, (B, 1, F), generator) ** uniform(0, 1.3, (B, 1, 1), generator)
    for _ in range(int(integers(1, 3, (), generator))):
        H_BRH = dense_layer(H_BRH, width, generator)
    return draw_linear(H_BRH, n_outputs, generator)
