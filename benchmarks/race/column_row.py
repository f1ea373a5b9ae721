"""The other serious design: columns are summarised first, then rows, then a transformer over whole rows.

Dimension key as in `icl/network/model.py`; further: I inducing points, A row tokens, W = A * E the width of a row.

A cell meets the other cells of its column only through I learned inducing points, which read the context rows. A row
meets its features once and is then a single vector. Attention costs O(R I F) + O(R F^2) + O(R N), where alternating
attention costs O(R N F).

Sources:
    Qu et al. (2025), TabICL, arXiv:2502.05564 (column, row and in-context stages); Lee et al. (2019), Set Transformer,
    arXiv:1810.00825 (inducing points). Deviations: cells carry value, rank and flags as in `icl/network/model.py`
    instead of
    rotary positions, rows start from the mean of their cells, thinking rows, RMSNorm, zero-initialised outputs.
"""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from icl.network import kernels
from icl.network.blocks import Attention, score_head, zero_linear
from icl.network.cells import CellEncoder, ColumnStatistics, TargetEncoder
from icl.network.config import TabularConfig
from icl.network.model import ContextCache, TabularTransformer


class ColumnRowConfig(TabularConfig):
    """Size of a `ColumnRowTransformer`.

    Args:
        d_cell: width of a cell; a row is `n_row_tokens` times as wide.
        d_head: width of an attention head, in every stage.
        n_inducing: inducing points of a column.
        n_row_tokens: learned tokens that collect a row.
        n_column_layers, n_feature_layers, n_row_layers: depth of the three stages.
        mlp_ratio, group_size, n_thinking_rows, max_classes, n_bins, max_features, max_context: as in `TabularConfig`.
    """

    model_type = "icl_column_row"

    def __init__(
        self,
        d_cell: int = 64,
        d_head: int = 32,
        n_inducing: int = 32,
        n_row_tokens: int = 2,
        n_column_layers: int = 2,
        n_feature_layers: int = 2,
        n_row_layers: int = 3,
        group_size: int = 1,
        **shared,
    ):
        # What the estimators know about memory is the width and the number of cells.
        super().__init__(d_embed=d_cell, n_heads=max(1, d_cell // d_head), group_size=group_size, **shared)
        self.d_cell, self.d_head, self.n_inducing, self.n_row_tokens = d_cell, d_head, n_inducing, n_row_tokens
        self.n_column_layers, self.n_feature_layers, self.n_row_layers = n_column_layers, n_feature_layers, n_row_layers
        for name in ("n_inducing", "n_row_tokens", "n_column_layers", "n_feature_layers", "n_row_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")

    def rows(self) -> TabularConfig:
        """The same limits at the width of a row."""
        width = self.d_cell * self.n_row_tokens
        return TabularConfig(
            d_embed=width,
            n_heads=max(1, width // self.d_head),
            mlp_ratio=self.mlp_ratio,
            max_classes=self.max_classes,
            n_bins=self.n_bins,
        )


class Layer(nn.Module):
    """Attention to given keys and values, then an MLP; pre-norm and residual."""

    def __init__(self, config: TabularConfig, over_rows: bool):
        super().__init__()
        self.attention = Attention(config, over_rows=True)
        if not over_rows:
            # The softmax is sharpened with the number of rows only; a constant 0 leaves it alone.
            n_heads = len(self.attention.log_scale)
            del self.attention.log_scale
            self.attention.register_buffer("log_scale", torch.zeros(n_heads), persistent=False)
        self.norm = nn.RMSNorm(config.d_embed, eps=1e-6)
        self.up = nn.Linear(config.d_embed, config.mlp_ratio * config.d_embed, bias=False)
        self.down = zero_linear(config.mlp_ratio * config.d_embed, config.d_embed)

    def keys_values(self, x_BRTE: Tensor) -> Tensor:
        """(2, B, T, H, R, D) of rows to attend to."""
        return self.attention.keys_values(x_BRTE)

    def forward(self, x_BRTE: Tensor, keys_values: Tensor) -> Tensor:
        """Rows after reading the rows whose `keys_values` these are; each of the T tokens reads its own column."""
        x_BRTE = x_BRTE + self.attention.read(x_BRTE, keys_values)
        return x_BRTE + kernels.linear(kernels.linear(self.norm(x_BRTE), self.up, gelu=True), self.down)


class ColumnLayer(nn.Module):
    """Set attention over a column: inducing points read the context cells, every cell reads the inducing points."""

    def __init__(self, config: ColumnRowConfig):
        super().__init__()
        self.inducing = nn.Parameter(torch.randn(config.n_inducing, config.d_cell) * 0.5)
        self.gather = Layer(config, over_rows=True)
        self.spread = Layer(config, over_rows=False)

    def summarise(self, x_BNGE: Tensor) -> Tensor:
        """(2, B, G, H, I, D): what cells take from the context cells of their column."""
        inducing_BIGE = repeat(self.inducing, "i e -> b i g e", b=x_BNGE.shape[0], g=x_BNGE.shape[2])
        return self.spread.keys_values(self.gather(inducing_BIGE, self.gather.keys_values(x_BNGE)))


class ColumnRowTransformer(nn.Module):
    """Column stage, row stage, in-context stage; inputs, outputs and heads are those of `TabularTransformer`."""

    # What the driver of forward passes asks for; as if every layer had all tokens.
    n_tokens, cache_bytes = TabularTransformer.n_tokens, TabularTransformer.cache_bytes
    cache_is_all = True
    device, dtype = TabularTransformer.device, TabularTransformer.dtype
    _init_weights = TabularTransformer._init_weights

    def __init__(self, config: ColumnRowConfig):
        super().__init__()
        self.config = config
        rows = config.rows()
        self.cells = CellEncoder(config)
        self.cell_target, self.row_target = TargetEncoder(config), TargetEncoder(rows)
        self.row_tokens = nn.Parameter(torch.randn(config.n_row_tokens, config.d_cell) * 0.5)
        self.thinking = nn.Parameter(torch.randn(config.n_thinking_rows, rows.d_embed) * 0.5)
        # Muon takes the matrices of modules whose names end in `blocks`.
        self.column_blocks = nn.ModuleList([ColumnLayer(config) for _ in range(config.n_column_layers)])
        self.feature_blocks = nn.ModuleList([Layer(config, False) for _ in range(config.n_feature_layers)])
        self.collect = nn.Linear(config.d_cell, rows.d_embed, bias=False)
        self.row_blocks = nn.ModuleList([Layer(rows, True) for _ in range(config.n_row_layers)])
        self.norm = nn.RMSNorm(rows.d_embed, eps=1e-6)
        self.class_head = score_head(rows.d_embed, config.max_classes)
        self.bin_head = score_head(rows.d_embed, config.n_bins)
        self.apply(self._init_weights)

    def forward(
        self,
        X_BRF: Tensor,
        y_BN: Tensor,
        is_categorical_BF: Tensor | None = None,
        n_classes: int | Tensor | None = None,
    ) -> Tensor:
        """Scores for the query rows; arguments and result as for `TabularTransformer.forward`."""
        n_context = y_BN.shape[1]
        context = self.read_context(X_BRF[:, :n_context], y_BN, is_categorical_BF, n_classes)
        return self.answer(X_BRF[:, n_context:], context)

    def read_context(
        self,
        X_BNF: Tensor,
        y_BN: Tensor,
        is_categorical_BF: Tensor | None = None,
        n_classes: int | Tensor | None = None,
    ) -> ContextCache:
        """What `answer` needs of the context: keys and values of each column layer, then of each row layer."""
        if is_categorical_BF is None:
            is_categorical_BF = torch.zeros_like(X_BNF[:, 0], dtype=torch.bool)
        columns, regression, cache = ColumnStatistics.of(X_BNF, is_categorical_BF), n_classes is None, []
        # Each column sees the targets, so that what it tells about them is summarised before columns meet.
        cells_BNGE = self.cells(X_BNF, columns) + self.cell_target.known(y_BN, regression)[:, :, None]
        for block in self.column_blocks:
            cache.append(block.summarise(cells_BNGE))
            cells_BNGE = block.spread(cells_BNGE, cache[-1])
        rows_BNW = self.collect_rows(cells_BNGE) + self.row_target.known(y_BN, regression)
        rows_BSW = torch.cat([self.thinking.expand(len(rows_BNW), -1, -1), rows_BNW], 1)
        rows_BS1W = rows_BSW[:, :, None]
        for block in self.row_blocks:
            cache.append(block.keys_values(rows_BS1W))
            # Nothing reads the context rows after the last block.
            if block is not self.row_blocks[-1]:
                rows_BS1W = block(rows_BS1W, cache[-1])
        return ContextCache(columns, cache, n_classes)

    def answer(self, X_BMF: Tensor, context: ContextCache) -> Tensor:
        """Scores of query rows. They read the context only, so an answer does not depend on the other queries."""
        cache, shape, regression = iter(context.keys_values), X_BMF.shape[:2], context.n_classes is None
        cells_BMGE = self.cells(X_BMF, context.columns) + self.cell_target.missing(*shape, regression)[:, :, None]
        for block in self.column_blocks:
            cells_BMGE = block.spread(cells_BMGE, next(cache))
        rows_BMW = self.collect_rows(cells_BMGE) + self.row_target.missing(*shape, regression)
        rows_BM1W = rows_BMW[:, :, None]
        for block in self.row_blocks:
            rows_BM1W = block(rows_BM1W, next(cache))
        query_BMW = self.norm(rows_BM1W[:, :, 0])
        if regression:
            return self.bin_head(query_BMW)
        slots_C = torch.arange(self.config.max_classes, device=query_BMW.device)
        limit_B11 = torch.as_tensor(context.n_classes, device=query_BMW.device).reshape(-1, 1, 1)
        return self.class_head(query_BMW).masked_fill(slots_C >= limit_B11, -torch.inf)

    def collect_rows(self, cells_BRGE: Tensor) -> Tensor:
        """(B, R, W): one vector for each row, collected from its cells by attention over features."""
        B, R, _, _ = cells_BRGE.shape
        features_ZG1E = rearrange(cells_BRGE, "b r g e -> (b r) g 1 e")
        collected_ZA1E = repeat(self.row_tokens, "a e -> z a 1 e", z=B * R)
        for block in self.feature_blocks[:-1]:
            tokens_ZT1E = torch.cat([features_ZG1E, collected_ZA1E], 1)
            tokens_ZT1E = block(tokens_ZT1E, block.keys_values(tokens_ZT1E))
            features_ZG1E, collected_ZA1E = tokens_ZT1E.split([features_ZG1E.shape[1], len(self.row_tokens)], 1)
        last = self.feature_blocks[-1]
        tokens_ZT1E = torch.cat([features_ZG1E, collected_ZA1E], 1)
        collected_ZA1E = last(collected_ZA1E, last.keys_values(tokens_ZT1E))
        # A direct path from the cells: at the start, when every block is the identity, row tokens know nothing.
        direct_BRW = kernels.linear(cells_BRGE.mean(2), self.collect)
        return rearrange(collected_ZA1E, "(b r) a 1 e -> b r (a e)", b=B) + direct_BRW

    predict_distribution = TabularTransformer.predict_distribution
