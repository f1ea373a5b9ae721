"""Cells and targets -> embeddings: scales, statistics of columns, encoders."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from einops import rearrange
from torch import Tensor, nn

from icl.network import kernels
from icl.network.config import TabularConfig

GROUP_OFFSETS = (0, 1, 3)


def n_channels(config: TabularConfig) -> int:
    """Numbers that describe a cell: value, rank, missing, categorical, and sine and cosine of each wave of the rank."""
    return 4 + 2 * config.n_rank_waves


def n_groups(config: TabularConfig, n_features: int) -> int:
    """Tokens that show the features of a row."""
    return max(-(-n_features // config.group_size), min(n_features, config.least_groups))


@dataclass(frozen=True)
class TargetScale:
    """Location and scale (B, 1) of a regression target, from its context rows."""

    loc: Tensor
    scale: Tensor


def target_scale(y_BN: Tensor) -> TargetScale:
    """Mean and standard deviation of the context targets; the scale of a constant target is 1."""
    loc = y_BN.mean(1, keepdim=True)
    scale = (y_BN - loc).square().mean(1, keepdim=True).sqrt()
    return TargetScale(loc, torch.where(scale > 1e-12 * loc.abs().clamp_min(1e-30), scale, torch.ones_like(scale)))


@dataclass(frozen=True)
class ColumnStatistics:
    """What describing a cell takes from the context: its column's location, scale and sorted values.

    Attributes:
        mean_B1F, std_B1F: of the known context values.
        constant_B1F: columns that are constant up to rounding.
        count_B1F: known values, at least 1.
        sorted_BFN: ascending, missing ones last as infinity.
        is_categorical_BF: bool.
    """

    mean_B1F: Tensor
    std_B1F: Tensor
    constant_B1F: Tensor
    count_B1F: Tensor
    sorted_BFN: Tensor
    is_categorical_BF: Tensor

    @classmethod
    def of(cls, X_BNF: Tensor, is_categorical_BF: Tensor) -> ColumnStatistics:
        known_BNF = ~X_BNF.isnan()
        count_B1F = known_BNF.sum(1, keepdim=True).clamp_min(1)
        mean_B1F = X_BNF.nan_to_num().sum(1, keepdim=True) / count_B1F
        deviation_BNF = (X_BNF.nan_to_num() - mean_B1F) * known_BNF
        std_B1F = (deviation_BNF.square().sum(1, keepdim=True) / count_B1F).sqrt()
        candidates_BNF = X_BNF.masked_fill(~known_BNF, torch.inf)
        sorted_BFN = rearrange(candidates_BNF, "b n f -> b f n").contiguous().sort(-1).values
        constant_B1F = std_B1F <= 1e-6 * mean_B1F.abs()
        return cls(mean_B1F, std_B1F, constant_B1F, count_B1F, sorted_BFN, is_categorical_BF)


class CellEncoder(nn.Module):
    """Table cells -> feature tokens (B, R, G, E).

    Everything is measured against the context rows, so the answer does not depend on units or on other queries.
    """

    def __init__(self, config: TabularConfig):
        super().__init__()
        self.config = config
        n_inputs = n_channels(config) * config.group_size * len(GROUP_OFFSETS)
        self.project = nn.Linear(n_inputs, config.d_embed)
        self.mix = nn.Linear(config.d_embed, config.d_embed, bias=False)

    def forward(self, X_BRF: Tensor, columns: ColumnStatistics, stride: int = 1) -> Tensor:
        """(B, R, G, E), of every `stride`-th token."""
        hidden_BRGE = kernels.linear(self.group(X_BRF, columns, stride), self.project)
        return hidden_BRGE + kernels.linear(nnf.gelu(hidden_BRGE), self.mix)

    def group(self, X_BRF: Tensor, columns: ColumnStatistics, stride: int = 1) -> Tensor:
        """(B, R, G, inputs): the channels of the features that a token shows."""
        cells_BRFC = self.describe(X_BRF, columns, self.config.n_rank_waves)
        n_features, size = X_BRF.shape[-1], self.config.group_size
        G = n_groups(self.config, n_features)
        token_G = torch.arange(0, G, stride, device=X_BRF.device)
        first_G = token_G * size if (G - 1) * size < n_features else token_G * n_features // G
        # Circular offsets show each feature to several tokens, in different company; no padding is needed.
        # Made on the device: a list of numbers would be sent there at every step.
        own_K = torch.arange(size, device=X_BRF.device)
        offset_O = torch.cat([o * size + own_K for o in GROUP_OFFSETS])
        index_GO = (first_G[:, None] + offset_O) % n_features
        return rearrange(cells_BRFC[:, :, index_GO], "b r g o c -> b r g (o c)")

    @staticmethod
    def describe(X_BRF: Tensor, columns: ColumnStatistics, n_rank_waves: int) -> Tensor:
        """(B, R, F, channels): what a cell is, relative to the context values of its column.

        Waves of the rank have 1/2, 1, 2, 4, ... periods between the least and the greatest value.
        """
        missing_BRF = X_BRF.isnan()
        # A column that is constant up to rounding carries nothing: its cells become 0, not amplified noise.
        scale_B1F = torch.where(columns.constant_B1F, torch.ones_like(columns.std_B1F), columns.std_B1F)
        z_BRF = (X_BRF - columns.mean_B1F) / scale_B1F
        z_BRF = z_BRF.masked_fill(missing_BRF | columns.constant_B1F, 0.0)
        value_BRF = 5 * torch.tanh(z_BRF / 5)

        # Mid-rank among the known context values, in [-1, 1]: blind to outliers and to monotone units.
        cells_BFR = rearrange(X_BRF.nan_to_num(), "b r f -> b f r").contiguous()
        below_BFR = torch.searchsorted(columns.sorted_BFN, cells_BFR)
        below_BFR = below_BFR + torch.searchsorted(columns.sorted_BFN, cells_BFR, right=True)
        rank_BRF = rearrange(below_BFR, "b f r -> b r f").to(X_BRF.dtype) / columns.count_B1F - 1
        rank_BRF = rank_BRF.masked_fill(missing_BRF, 0.0)

        flags_BRF = columns.is_categorical_BF[:, None, :].expand_as(X_BRF).to(X_BRF.dtype)
        waves = [f(math.pi / 2 * 2**k * rank_BRF) for k in range(n_rank_waves) for f in (torch.sin, torch.cos)]
        return torch.stack([value_BRF, rank_BRF, missing_BRF.to(X_BRF.dtype), flags_BRF, *waves], -1)


class TargetEncoder(nn.Module):
    """Context targets -> one token per row; query rows get a learned 'unknown' token."""

    def __init__(self, config: TabularConfig):
        super().__init__()
        self.classes = nn.Embedding(config.max_classes, config.d_embed)
        self.number = nn.Linear(3, config.d_embed)
        self.unknown = nn.Embedding(2, config.d_embed)  # 0 classification, 1 regression

    def known(self, y_BN: Tensor, regression: bool) -> Tensor:
        """(B, N, E) for context rows."""
        if not regression:
            return self.classes(y_BN)
        s = target_scale(y_BN)
        z_BN = (y_BN - s.loc) / s.scale
        return self.number(torch.stack([z_BN, 3 * torch.tanh(z_BN / 3), torch.tanh(z_BN)], -1))

    def missing(self, n_tasks: int, n_query: int, regression: bool) -> Tensor:
        """(B, M, E) for query rows."""
        return self.unknown.weight[int(regression)].expand(n_tasks, n_query, -1)
