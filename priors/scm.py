"""Structural causal models: features and target are read off the nodes of one random graph.

A node reads its parents, applies a random mechanism and adds its own noise (Pearl 2009). As a prior over tables:
Hollmann et al. (2023), arXiv:2207.01848; graphs and mechanisms of the variety of Qu et al. (2025), TabICL,
arXiv:2502.05564. Features may be causes, effects or siblings of the target, so columns depend on each other in the
ways real ones do.

Dimension key: B tasks, R rows, H nodes, D columns of a node, C = H D columns in all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from priors.draw import (
    apply_by_kind,
    bernoulli,
    choice,
    integers,
    log_uniform,
    normal,
    permutation,
    standardise,
    uniform,
)
from priors.features import as_columns
from priors.graphs import draw_edges, draw_levels
from priors.mechanisms import Mechanism, Standardiser, draw_mechanism, draw_style
from priors.table import LatentTable, TablePrior
from priors.task import TaskShape

# Exogenous noise of standard deviation 1 as functions of one normal draw: cheaper than gammas, and the same normal
# draws serve observational and interventional tables. Tukey's h = .15 has a kurtosis of about 10.
NOISES = (
    lambda z: z,
    lambda z: z * torch.exp(0.075 * z.square()) * 0.7**0.75,
    lambda z: 3**0.5 * torch.erf(z / 2**0.5),  # uniform
    lambda z: 0.4 * z + z.sign() * 0.65134,  # two humps
    lambda z: (torch.exp(0.5 * z.clamp(-4, 4)) - 1.1331) / 0.6039,  # log-normal
)


@dataclass
class Level:
    """Nodes computed together: their mechanism (none for the first level), and weights of signal and noise."""

    n_nodes: int
    mechanism: Mechanism | None
    standardise: Standardiser
    signal_BC1: Tensor
    noise_BC1: Tensor
    noise_kind_BC: Tensor


@dataclass
class StructuralCausalModel:
    """B sampled models that can be asked for rows again and again, with or without interventions.

    Attributes:
        edges: (B, H, H) bool, `edges[b, i, j]` if node i is a parent of node j.
        level_sizes: nodes per level, in topological order; they add up to H.
        n_dims: D, the columns of each node.
    """

    edges: Tensor
    level_sizes: list[int]
    n_dims: int
    levels: list[Level]

    @classmethod
    def draw(
        cls,
        n_tasks: int,
        generator: torch.Generator,
        n_nodes: int = 8,
        n_levels: int = 4,
        n_dims: int = 1,
        node_noise: tuple[float, float] = (0.01, 0.7),
        n_calibration: int | None = 512,
    ) -> StructuralCausalModel:
        """Random models.

        Args:
            node_noise: range of a node's own noise, in units of its signal, log-uniform per task.
            n_calibration: rows that set the mechanisms' scales and thresholds; None leaves that to the first sample.
        """
        g, B, D = generator, n_tasks, n_dims
        sizes = draw_levels(n_nodes, n_levels, g)
        edges_BHH = draw_edges(B, sizes, g)
        style = draw_style(B, n_nodes, D, g)
        task_noise_B11 = log_uniform(*node_noise, (B, 1, 1), g)
        noise_palette_B2 = choice([6, 2, 1.5, 1, 1], (B, 2), g)
        levels, start = [], 0
        for k, W in enumerate(sizes):
            nodes = slice(start, start + W)
            parents_BPW = edges_BHH[:, :start, nodes].repeat_interleave(D, 1).float()
            has_parents_BC1 = edges_BHH[:, :, nodes].any(1).repeat_interleave(D, 1)[..., None]
            noise_BC1 = task_noise_B11 * log_uniform(0.3, 3, (B, W * D, 1), g)
            total_BC1 = (1 + noise_BC1.square()).sqrt()
            kind_BC = noise_palette_B2.gather(1, integers(0, 1, (B, W * D), g))
            levels.append(
                Level(
                    n_nodes=W,
                    mechanism=draw_mechanism(parents_BPW, D, style, g) if k else None,
                    standardise=Standardiser(),
                    signal_BC1=has_parents_BC1 / total_BC1,
                    noise_BC1=torch.where(has_parents_BC1, noise_BC1 / total_BC1, 1.0),
                    noise_kind_BC=kind_BC,
                )
            )
            start += W
        model = cls(edges_BHH, sizes, D, levels)
        if n_calibration is not None:
            model.sample(n_calibration, g)
        return model

    def sample(self, n_rows: int, generator: torch.Generator, do: Mapping[int, float | Tensor] | None = None) -> Tensor:
        """(B, R, H, D) values of all nodes, each of mean 0 and standard deviation about 1 without interventions.

        Args:
            do: node -> value that it is set to, whatever its parents say; a number, or a tensor that broadcasts to
                (B, R, D). The noise of a row depends on the generator alone, so the same generator state gives
                the same rows with and without the intervention: counterfactual pairs.
        Raises:
            ValueError: for a node that does not exist.
        """
        columns_BCR = self._columns(n_rows, generator, do or {})
        return rearrange(columns_BCR, "b (h d) r -> b r h d", d=self.n_dims)

    def _columns(self, R: int, g: torch.Generator, do: Mapping[int, float | Tensor]) -> Tensor:
        B, H, D = len(self.edges), sum(self.level_sizes), self.n_dims
        unknown = [node for node in do if not 0 <= node < H]
        if unknown:
            raise ValueError(f"cannot set nodes {unknown}: the models have nodes 0 to {H - 1}.")
        columns_BCR = normal((B, H * D, R), g)
        start = 0
        for level in self.levels:
            own = slice(start * D, (start + level.n_nodes) * D)
            value_BCR = level.noise_BC1 * apply_by_kind(columns_BCR[:, own], level.noise_kind_BC, NOISES)
            if level.mechanism is not None:
                signal_BCR = level.standardise(level.mechanism(columns_BCR[:, : start * D]))
                value_BCR = value_BCR + level.signal_BC1 * signal_BCR.clamp(-20, 20)
            columns_BCR[:, own] = value_BCR
            for node, value in do.items():
                if start <= node < start + level.n_nodes:
                    value = torch.as_tensor(value, dtype=columns_BCR.dtype, device=g.device).expand(B, R, D)
                    columns_BCR[:, node * D : (node + 1) * D] = value.mT
            start += level.n_nodes
        return columns_BCR


@dataclass(frozen=True)
class SCMPrior(TablePrior):
    """Tables read off random structural causal models.

    Args:
        max_nodes: most nodes of a graph; their number is log-uniform from 2. A node has as many columns as it takes.
        max_levels: most levels after the roots.
        node_noise: range of a node's own noise, in units of its signal, log-uniform per task.
    """

    max_nodes: int = 32
    max_levels: int = 8
    node_noise: tuple[float, float] = (0.01, 0.5)

    def __post_init__(self):
        super().__post_init__()
        if self.max_nodes < 2 or self.max_levels < 1:
            raise ValueError(f"a graph needs 2 nodes and a level of children at least, got {self}.")

    def sample_latent(self, shape: TaskShape, n_outputs: int, generator: torch.Generator) -> LatentTable:
        B, R, F = shape.n_tasks, shape.n_rows, shape.n_features
        g = generator
        n_nodes = int(log_uniform(2, self.max_nodes + 0.99, (), g))
        n_levels = 1 + min(n_nodes - 1, int(log_uniform(1, self.max_levels + 0.99, (), g)))
        n_dims = -(-int((F + 1) * float(uniform(1, 1.8, (), g)) + 1) // n_nodes)
        model = StructuralCausalModel.draw(B, g, n_nodes, n_levels, n_dims, self.node_noise, n_calibration=None)
        columns_BCR = model._columns(R, g, {})
        C = columns_BCR.shape[1]

        # The target sits late in the graph more often than not; features are any other columns, at random or, in
        # most tasks, a contiguous block, which makes strongly dependent columns.
        position_C = torch.linspace(0, 1, C, device=g.device)
        late_B1 = bernoulli(0.7, (B, 1), g)
        target_B1 = (uniform(0, 1, (B, C), g) + late_B1 * position_C).argmax(1, keepdim=True)
        distance_BC = (torch.arange(C, device=g.device) - target_B1 + integers(0, F, (B, 1), g)) % C
        order_BC = torch.where(bernoulli(0.8, (B, 1), g), distance_BC, permutation((B, C), g)).float()
        feature_BF = order_BC.scatter(1, target_B1, torch.inf).topk(F, dim=1, largest=False).indices
        feature_BF = feature_BF.gather(1, permutation((B, F), g))
        Z_BFR = standardise(columns_BCR.gather(1, feature_BF[..., None].expand(B, F, R)), 2)

        outputs = [standardise(columns_BCR.gather(1, target_B1[..., None].expand(B, 1, R)), 2)]
        if n_outputs > 1:
            # Further outputs (other classes' scores) are mixtures of late columns.
            mix_BTC = normal((B, n_outputs - 1, C), g) * position_C.square()
            mix_BTC = mix_BTC * bernoulli(0.2, (B, n_outputs - 1, C), g)
            outputs.append(standardise(mix_BTC @ columns_BCR, 2))
        table = as_columns(Z_BFR.mT.contiguous(), g)
        return LatentTable(table.X, table.is_categorical, torch.cat(outputs, 1).mT)
