"""What races: networks and single-ingredient changes of the alternating design, none of which is an option of `icl`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from benchmarks.race.column_row import ColumnRowConfig, ColumnRowTransformer
from icl.network.cells import CellEncoder, ColumnStatistics, n_channels
from icl.network.config import TabularConfig
from icl.network.model import TabularTransformer
from icl.training.optim import MuonAdamW, OptimConfig

PLAIN_CHANNELS = [0, 2, 3]  # value, missing, categorical


class PlainCells(CellEncoder):
    """Cells without the rank and its waves."""

    @staticmethod
    def describe(X_BRF: Tensor, columns: ColumnStatistics, n_rank_waves: int) -> Tensor:
        cells_BRFC = CellEncoder.describe(X_BRF, columns, n_rank_waves)
        kept_C = torch.zeros(cells_BRFC.shape[-1], dtype=cells_BRFC.dtype, device=cells_BRFC.device)
        kept_C[PLAIN_CHANNELS] = 1
        return cells_BRFC * kept_C


class OwnGroupCells(CellEncoder):
    """Tokens of a feature group by itself: the channels are ordered by offset, and the first offset is 0."""

    def group(self, X_BRF: Tensor, columns: ColumnStatistics, stride: int = 1) -> Tensor:
        return super().group(X_BRF, columns, stride)[..., : self.project.in_features]


def without_rank_channels(model: TabularTransformer) -> None:
    model.cells.__class__ = PlainCells


def without_feature_offsets(model: TabularTransformer) -> None:
    own = nn.Linear(n_channels(model.config) * model.config.group_size, model.config.d_embed)
    model._init_weights(own)
    model.cells.project = own
    model.cells.__class__ = OwnGroupCells


def without_log_n_scale(model: TabularTransformer) -> None:
    """The scales start at 0, which is no scaling, and stay there."""
    for block in model.blocks:
        block.over_rows.log_scale.requires_grad_(False)


class AdamWOnly(MuonAdamW):
    """AdamW for the matrices of the blocks too, everything else as it was."""

    def __init__(self, model: nn.Module, config: OptimConfig):
        super().__init__(model, config)
        [muon] = self.muon.param_groups
        self.muon = torch.optim.AdamW(
            muon["params"], lr=config.lr_adamw, betas=(0.9, 0.98), weight_decay=config.weight_decay
        )
        self.param_groups = self.muon.param_groups + self.adamw.param_groups


@dataclass(frozen=True)
class Candidate:
    """A network with its optimiser.

    Attributes:
        change: what differs from the alternating design, in words, for the report.
        sizes: fields of the configuration that differ from those of `configs/nano.yaml`.
        patch: applied to the new network.
        column_row: build a `ColumnRowTransformer`; `sizes` are then fields of `ColumnRowConfig`.
        optimizer: takes a model and an `OptimConfig`.
    """

    change: str
    sizes: dict[str, int] = field(default_factory=dict)
    patch: Callable[[TabularTransformer], None] | None = None
    column_row: bool = False
    optimizer: type[MuonAdamW] = MuonAdamW

    def build(self, nano: dict[str, int], seed: int = 0) -> nn.Module:
        """The network with initial weights of `seed`; `nano`: fields of `TabularConfig`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if self.column_row:
                shared = {k: nano[k] for k in ("mlp_ratio", "n_thinking_rows", "n_bins") if k in nano}
                return ColumnRowTransformer(ColumnRowConfig(**(shared | self.sizes)))
            model = TabularTransformer(TabularConfig(**(nano | self.sizes)))
            if self.patch is not None:
                self.patch(model)
            return model


CANDIDATES: dict[str, Candidate] = {
    "alternating": Candidate("nothing, `configs/nano.yaml` as it is"),
    "column-row": Candidate("column set attention -> row tokens -> row transformer", column_row=True),
    "no-thinking-rows": Candidate("no learned rows before the context", {"n_thinking_rows": 0}),
    "adamw": Candidate("AdamW for the matrices too, no Muon", optimizer=AdamWOnly),
    "ungrouped": Candidate("one feature per token instead of 3", {"group_size": 1}),
    "no-rank-channels": Candidate("cells without rank and waves of the rank", patch=without_rank_channels),
    "no-feature-offsets": Candidate("a token sees its own 3 features only", patch=without_feature_offsets),
    "no-log-n-scale": Candidate("softmax without the learned multiple of log n", patch=without_log_n_scale),
    "mlp-ratio-4": Candidate("MLP 4 times as wide as a token instead of 2", {"mlp_ratio": 4}),
    "wider-shallower": Candidate(
        "3 layers of width 128 instead of 4 of 96", {"d_embed": 128, "n_heads": 4, "n_layers": 3}
    ),
    "column-row-grouped": Candidate(
        "column-row with 3 features per token and a fourth row layer",
        {"group_size": 3, "n_row_layers": 4},
        column_row=True,
    ),
}
