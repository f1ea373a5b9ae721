"""The whole network in one file: a transformer over cells that reads labelled rows and answers for the others.

Dimension key: B tasks, R rows = N context + M query, S rows after thinking rows are prepended, F features,
G feature groups, T tokens per row = G + 1 target token, E embedding, H heads, C classes, K bins.

Sources:
    Hollmann et al. (2025), doi:10.1038/s41586-024-08328-6 (alternating attention over features and rows);
    Pfefferle et al. (2025), nanoTabPFN, arXiv:2511.03634; thinking rows and repeated feature grouping follow the
    public speed runs and reports of that family.
"""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from einops import rearrange, repeat
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from icl import kernels
from icl.distribution import CategoricalPredictive, HistogramPredictive, histogram_edges

GROUP_OFFSETS = (0, 1, 3)
RANK_FREQUENCIES = (1, 2, 4)
CHANNELS = 4 + 2 * len(RANK_FREQUENCIES)  # value, rank, missing, categorical, and waves of the rank
# Tokens that pass through a block at once where no gradient is kept: what a row needs for itself is then small, and on
# a CPU stays in the cache. CUDA's attention takes 65,535 rows of at least two tokens at a time.
SLICE_TOKENS = {"cpu": 8_192, "cuda": 131_000}
MIN_SLICE_ROWS = 512  # on a CPU; fewer would keep attention over rows from its stride


class TabularConfig(PretrainedConfig):
    """Size and limits of a `TabularTransformer`; unknown keys are errors.

    Args:
        d_embed: width of a token.
        n_layers: blocks of feature attention, row attention and MLP.
        n_heads: attention heads; must divide `d_embed`.
        mlp_ratio: hidden width of the MLP in units of `d_embed`.
        group_size: features per token.
        n_thinking_rows: learned rows prepended to the context.
        max_classes: class slots of the classification head.
        n_bins: bins of the regression head.
        max_features: estimators refuse wider tables.
        max_context: estimators warn beyond this many context rows.
    """

    model_type = "icl_tabular"

    def __init__(
        self,
        d_embed: int = 96,
        n_layers: int = 4,
        n_heads: int = 3,
        mlp_ratio: int = 2,
        group_size: int = 3,
        n_thinking_rows: int = 16,
        max_classes: int = 10,
        n_bins: int = 128,
        max_features: int = 100,
        max_context: int = 1_000,
        **kwargs,
    ):
        _refuse_unknown(kwargs)
        super().__init__(**kwargs)
        self.d_embed, self.n_layers, self.n_heads, self.mlp_ratio = d_embed, n_layers, n_heads, mlp_ratio
        self.group_size, self.n_thinking_rows = group_size, n_thinking_rows
        self.max_classes, self.n_bins = max_classes, n_bins
        self.max_features, self.max_context = max_features, max_context
        if d_embed % n_heads:
            raise ValueError(f"n_heads must divide d_embed, got d_embed={d_embed} and n_heads={n_heads}.")
        for name in ("d_embed", "n_layers", "n_heads", "mlp_ratio", "group_size", "n_bins", "max_features"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if max_classes < 2:
            raise ValueError(f"max_classes must be at least 2, got {max_classes}.")


def _refuse_unknown(options: dict) -> None:
    """Raise for options that neither this configuration nor transformers' own bookkeeping knows."""
    bookkeeping = {*PretrainedConfig().to_dict(), "model_type", "torch_dtype", "attn_implementation", "name_or_path"}
    own = list(inspect.signature(TabularConfig.__init__).parameters)[1:-1]
    unknown = [key for key in options if key not in bookkeeping and not key.startswith("_")]
    if unknown:
        close = difflib.get_close_matches(unknown[0], own, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"the options are {', '.join(own)}."
        raise ValueError(f"TabularConfig has no option {', '.join(map(repr, unknown))}; {hint}")


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
        self.group_size = config.group_size
        n_inputs = CHANNELS * config.group_size * len(GROUP_OFFSETS)
        self.project = nn.Linear(n_inputs, config.d_embed)
        self.mix = nn.Linear(config.d_embed, config.d_embed, bias=False)

    def forward(self, X_BRF: Tensor, columns: ColumnStatistics, stride: int = 1) -> Tensor:
        """(B, R, G, E), of every `stride`-th token."""
        hidden_BRGE = kernels.linear(self.group(X_BRF, columns, stride), self.project)
        return hidden_BRGE + kernels.linear(nnf.gelu(hidden_BRGE), self.mix)

    def group(self, X_BRF: Tensor, columns: ColumnStatistics, stride: int = 1) -> Tensor:
        """(B, R, G, inputs): the channels of the features that a token shows."""
        cells_BRFC = self.describe(X_BRF, columns)
        n_features = X_BRF.shape[-1]
        n_groups = -(-n_features // self.group_size)
        first_G = torch.arange(0, n_groups, stride, device=X_BRF.device) * self.group_size
        # Circular offsets show each feature to several tokens, in different company; no padding is needed.
        offsets = [o * self.group_size + k for o in GROUP_OFFSETS for k in range(self.group_size)]
        index_GO = (first_G[:, None] + torch.tensor(offsets, device=X_BRF.device)) % n_features
        return rearrange(cells_BRFC[:, :, index_GO], "b r g o c -> b r g (o c)")

    @staticmethod
    def describe(X_BRF: Tensor, columns: ColumnStatistics) -> Tensor:
        """(B, R, F, CHANNELS): what a cell is, relative to the context values of its column."""
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
        waves = [f(math.pi / 2 * k * rank_BRF) for k in RANK_FREQUENCIES for f in (torch.sin, torch.cos)]
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


class Attention(nn.Module):
    """Multi-head attention over the second-to-last axis; keys may come from a prefix, queries from a suffix."""

    def __init__(self, config: TabularConfig, over_rows: bool):
        super().__init__()
        self.n_heads = config.n_heads
        self.norm = nn.RMSNorm(config.d_embed, eps=1e-6)
        self.query = nn.Linear(config.d_embed, config.d_embed, bias=False)
        self.key_value = nn.Linear(config.d_embed, 2 * config.d_embed, bias=False)
        self.out = nn.Linear(config.d_embed, config.d_embed, bias=False)
        # Softmax over more rows spreads thinner; a learned multiple of log n counters it (Chiang & Cholak 2022).
        self.log_scale = nn.Parameter(torch.zeros(config.n_heads)) if over_rows else None

    def forward(self, x_ZLE: Tensor, n_keys: int | None = None, first_query: int = 0) -> Tensor:
        x_ZLE = self.norm(x_ZLE)
        keys_ZKE = x_ZLE if n_keys is None else x_ZLE[:, :n_keys]
        q = rearrange(kernels.linear(x_ZLE[:, first_query:], self.query), "z l (h d) -> z h l d", h=self.n_heads)
        kv = kernels.linear(keys_ZKE, self.key_value)
        k, v = rearrange(kv, "z l (two h d) -> two z h l d", two=2, h=self.n_heads)
        if self.log_scale is not None:
            q = q * self._sharpness(keys_ZKE.shape[1])[:, None, None]
        out = nnf.scaled_dot_product_attention(q, k, v)
        return kernels.linear(rearrange(out, "z h l d -> z l (h d)"), self.out)

    def _sharpness(self, n_keys: int) -> Tensor:
        """(H,) factor on the queries."""
        return 1 + self.log_scale * (math.log(n_keys) - math.log(128))

    # Without gradients, over rows: keys and values once per context, then queries against them.

    def keys_values(self, x_BRTE: Tensor) -> Tensor:
        """(2, B, T, H, R, D)"""
        kv = kernels.linear(self.norm(x_BRTE), self.key_value)
        return rearrange(kv, "b r t (two h d) -> two b t h r d", two=2, h=self.n_heads)

    def read(self, x_BRTE: Tensor, keys_values: Tensor) -> Tensor:
        """What the rows take from the rows whose `keys_values` these are; (B, R, T, E)."""
        d_head = x_BRTE.shape[-1] // self.n_heads
        scale_H = self._sharpness(keys_values.shape[-2]) / math.sqrt(d_head)
        weight_EE = self.query.weight * scale_H.repeat_interleave(d_head)[:, None]
        q = kernels.product(self.norm(x_BRTE), weight_EE).unflatten(-1, (self.n_heads, d_head))
        return kernels.linear(kernels.attend(q, *keys_values).flatten(-2), self.out)


class Block(nn.Module):
    """Attention over the tokens of a row, attention over the rows of a token, MLP; all pre-norm and residual.

    Two ways through it: `forward` takes all rows of a task at once and keeps gradients; `mix_`, `keys_values` and
    `update_` work in place on slices of rows, for context and query rows apart.
    """

    def __init__(self, config: TabularConfig):
        super().__init__()
        self.over_features = Attention(config, over_rows=False)
        self.over_rows = Attention(config, over_rows=True)
        self.norm = nn.RMSNorm(config.d_embed, eps=1e-6)
        self.up = nn.Linear(config.d_embed, config.mlp_ratio * config.d_embed, bias=False)
        self.down = nn.Linear(config.mlp_ratio * config.d_embed, config.d_embed, bias=False)

    def forward(self, x_BSTE: Tensor, n_keys: int, first_query: int = 0) -> Tensor:
        """The rows from `first_query` on, after attention to the first `n_keys` rows."""
        B = x_BSTE.shape[0]
        rows = rearrange(x_BSTE, "b s t e -> (b s) t e")
        x_BSTE = x_BSTE + rearrange(self.over_features(rows), "(b s) t e -> b s t e", b=B)
        columns = rearrange(x_BSTE, "b s t e -> (b t) s e")
        # Keys come from context rows only, so a query's answer cannot depend on which queries share its batch.
        rows_BSTE = rearrange(self.over_rows(columns, n_keys, first_query), "(b t) s e -> b s t e", b=B)
        return self.feed_forward(x_BSTE[:, first_query:] + rows_BSTE)

    def feed_forward(self, x: Tensor) -> Tensor:
        """x + MLP(x)."""
        return x + kernels.linear(kernels.linear(self.norm(x), self.up, gelu=True), self.down)

    def mix_(self, x_BRTE: Tensor) -> None:
        """Attention over the tokens of each row."""
        for part in _slices(x_BRTE):
            attention = self.over_features
            qkv_E3 = torch.cat([attention.query.weight, attention.key_value.weight])
            qkv = kernels.product(attention.norm(part), qkv_E3)
            q, k, v = rearrange(qkv, "b r t (three h d) -> three (b r) t h d", three=3, h=attention.n_heads)
            out = rearrange(kernels.attend_within(q, k, v), "(b r) t h d -> b r t (h d)", r=part.shape[1])
            part += kernels.linear(out, attention.out)

    def keys_values(self, x_BRTE: Tensor) -> Tensor:
        """(2, B, T, H, R, D), of rows after `mix_`."""
        B, R, T, E = x_BRTE.shape
        H = self.over_rows.n_heads
        out = x_BRTE.new_empty(2, B, T, H, R, E // H)
        start = 0
        for part in _slices(x_BRTE):
            out[:, :, :, :, start : start + part.shape[1]] = self.over_rows.keys_values(part)
            start += part.shape[1]
        return out

    def update_(self, x_BRTE: Tensor, keys_values: Tensor) -> None:
        """Attention over rows and MLP, of rows after `mix_`."""
        for part in _slices(x_BRTE):
            part += self.over_rows.read(part, keys_values)
            part += kernels.linear(kernels.linear(self.norm(part), self.up, gelu=True), self.down)


def slices(n_tasks: int, n_rows: int, n_tokens: int, device: torch.device) -> Iterator[slice]:
    """Successive rows, about SLICE_TOKENS tokens in each slice."""
    limit, least = (SLICE_TOKENS["cpu"], MIN_SLICE_ROWS) if device.type == "cpu" else (SLICE_TOKENS["cuda"], 1)
    if n_rows:
        n_slices = -(-n_rows // max(limit // (n_tasks * n_tokens), least))
        step = -(-n_rows // n_slices)
        yield from (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def _slices(x_BRTE: Tensor) -> Iterator[Tensor]:
    """Views of successive rows."""
    yield from (x_BRTE[:, rows] for rows in slices(*x_BRTE.shape[:3], x_BRTE.device))


@dataclass(frozen=True)
class ContextCache:
    """All that answering takes from the context of B tasks; see `TabularTransformer.read_context`."""

    columns: ColumnStatistics
    keys_values: Iterable[Tensor]  # one of (2, B, T, H, K, D) for each block
    n_classes: int | Tensor | None

    @property
    def n_bytes(self) -> int:
        tensors = [*vars(self.columns).values(), *self.keys_values]
        return sum(t.nbytes for t in tensors)


class TabularTransformer(PreTrainedModel):
    """One trunk, two heads: class scores, or a histogram over the standardised target."""

    config_class = TabularConfig
    cache_is_all = True  # reading a context takes no keys and values but those of its cache
    base_model_prefix = "icl_tabular"

    def __init__(self, config: TabularConfig):
        super().__init__(config)
        self.cells = CellEncoder(config)
        self.target = TargetEncoder(config)
        self.thinking = nn.Parameter(torch.randn(config.n_thinking_rows, config.d_embed) * 0.5)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.n_layers)])
        self.norm = nn.RMSNorm(2 * config.d_embed, eps=1e-6)
        self.class_head = score_head(2 * config.d_embed, config.max_classes)
        self.bin_head = score_head(2 * config.d_embed, config.n_bins)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=1 / math.sqrt(module.in_features))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.5)
        # Zero-initialised outputs make every block start as the identity.
        if isinstance(module, Attention):
            nn.init.zeros_(module.out.weight)
        elif isinstance(module, Block):
            nn.init.zeros_(module.down.weight)

    def forward(
        self,
        X_BRF: Tensor,
        y_BN: Tensor,
        is_categorical_BF: Tensor | None = None,
        n_classes: int | Tensor | None = None,
    ) -> Tensor:
        """Scores for the query rows.

        Args:
            X_BRF: cells; NaN is missing, categories are integer codes; the first N = y.shape[1] rows are context.
            y_BN: targets of the context rows: float in any units (regression) or int64 classes.
            is_categorical_BF: bool; None means all numeric.
            n_classes: None for regression; else the number of classes, an int or a (B,) tensor.
        Returns:
            (B, M, K) bin scores, or (B, M, max_classes) class scores with -inf beyond `n_classes`.
        """
        n_context = y_BN.shape[1]
        X_BNF, X_BMF = X_BRF[:, :n_context], X_BRF[:, n_context:]
        if not torch.is_grad_enabled():
            # Block by block, for context and query rows side by side: the cache of one block is alive at a time.
            columns = self.column_statistics(X_BNF, is_categorical_BF)
            blocks = self._read_blocks(X_BNF, y_BN, columns, n_classes is None)
            return self.answer(X_BMF, ContextCache(columns, blocks, n_classes))
        cells_BRGE = self.cells(X_BRF, self.column_statistics(X_BNF, is_categorical_BF))
        known_BNE = self.target.known(y_BN, n_classes is None)
        target_BRE = torch.cat([known_BNE, self.target.missing(len(X_BMF), X_BMF.shape[1], n_classes is None)], 1)
        x_BRTE = torch.cat([cells_BRGE, target_BRE[:, :, None]], 2)
        x_BSTE = torch.cat([self._thinking_rows(*x_BRTE.shape[::2]), x_BRTE], 1)
        n_keys = len(self.thinking) + n_context
        for block in self.blocks[:-1]:
            x_BSTE = block(x_BSTE, n_keys)
        # Nothing reads the context rows after the last block.
        query_BMTE = self.blocks[-1](x_BSTE, n_keys, first_query=n_keys)
        return self._scores(query_BMTE, n_classes)

    @torch.no_grad()
    def read_context(
        self,
        X_BNF: Tensor,
        y_BN: Tensor,
        is_categorical_BF: Tensor | None = None,
        n_classes: int | Tensor | None = None,
    ) -> ContextCache:
        """What `answer` needs of the context, so that further queries cost no more than themselves.

        Arguments as in `forward`. The cache takes 8 bytes x n_layers x d_embed for each token of the context.
        """
        columns = self.column_statistics(X_BNF, is_categorical_BF)
        return ContextCache(columns, list(self._read_blocks(X_BNF, y_BN, columns, n_classes is None)), n_classes)

    @torch.no_grad()
    def answer(self, X_BMF: Tensor, context: ContextCache) -> Tensor:
        """Scores (B, M, K) or (B, M, max_classes) of query rows, as `forward` would give them; takes no gradient."""
        regression = context.n_classes is None
        x_BMTE = self._tokens(X_BMF, context.columns, self.target.missing(*X_BMF.shape[:2], regression))
        read = iter(context.keys_values)
        for block in self.blocks:
            block.mix_(x_BMTE)
            # No name, and no zip, holds on to these while the next block's come to be.
            block.update_(x_BMTE, next(read))
        return self._scores(x_BMTE, context.n_classes)

    def _read_blocks(
        self, X_BNF: Tensor, y_BN: Tensor, columns: ColumnStatistics, regression: bool
    ) -> Iterator[Tensor]:
        """Keys and values of the context and thinking rows in each block."""
        x_BSTE = self.context_tokens(X_BNF, y_BN, columns, regression)
        for depth, block in enumerate(self.blocks):
            block.mix_(x_BSTE)
            keys_values = block.keys_values(x_BSTE)
            yield keys_values
            # Nothing reads the context rows after the last block.
            if depth < len(self.blocks) - 1:
                block.update_(x_BSTE, keys_values)
            del keys_values

    def column_statistics(self, X_BNF: Tensor, is_categorical_BF: Tensor | None) -> ColumnStatistics:
        if is_categorical_BF is None:
            is_categorical_BF = torch.zeros_like(X_BNF[:, 0], dtype=torch.bool)
        return ColumnStatistics.of(X_BNF, is_categorical_BF)

    def context_tokens(self, X_BNF: Tensor, y_BN: Tensor, columns: ColumnStatistics, regression: bool) -> Tensor:
        """(B, S, T, E) of thinking and context rows, before the first block."""
        return self._tokens(X_BNF, columns, self.target.known(y_BN, regression), thinking=True)

    def n_tokens(self, n_features: int) -> int:
        """T, for tables of so many features."""
        return -(-n_features // self.config.group_size) + 1

    def cache_bytes(self, n_rows: int, n_features: int) -> int:
        """Of the `ContextCache` of one task with so many context and thinking rows."""
        return 8 * self.config.d_embed * self.config.n_layers * n_rows * self.n_tokens(n_features)

    def _thinking_rows(self, n_tasks: int, n_tokens: int) -> Tensor:
        return repeat(self.thinking, "s e -> b s t e", b=n_tasks, t=n_tokens)

    def _tokens(self, X_BRF: Tensor, columns: ColumnStatistics, target_BRE: Tensor, thinking: bool = False) -> Tensor:
        """(B, R, T, E) of cells and target, after the thinking rows if asked."""
        B, R, F = X_BRF.shape
        n_first, T = len(self.thinking) if thinking else 0, self.n_tokens(F)
        x_BSTE = target_BRE.new_empty(B, n_first + R, T, self.config.d_embed)
        x_BSTE[:, :n_first] = self._thinking_rows(B, T) if thinking else 0
        x_BSTE[:, n_first:, -1] = target_BRE
        start = 0
        for part in _slices(x_BSTE[:, n_first:]):
            rows = slice(start, start + part.shape[1])
            part[:, :, :-1] = self.cells(X_BRF[:, rows], columns)
            start += part.shape[1]
        return x_BSTE

    def _scores(self, x_BMTE: Tensor, n_classes: int | Tensor | None) -> Tensor:
        pooled_BME2 = self.norm(torch.cat([x_BMTE[:, :, :-1].mean(2), x_BMTE[:, :, -1]], -1))
        if n_classes is None:
            return self.bin_head(pooled_BME2)
        return self.only_classes(self.class_head(pooled_BME2), n_classes)

    @staticmethod
    def only_classes(scores_BMC: Tensor, n_classes: int | Tensor) -> Tensor:
        """-inf for the slots beyond each task's classes."""
        slots_C = torch.arange(scores_BMC.shape[-1], device=scores_BMC.device)
        limit_B11 = torch.as_tensor(n_classes, device=scores_BMC.device).reshape(-1, 1, 1)
        return scores_BMC.masked_fill(slots_C >= limit_B11, -torch.inf)

    def predict_distribution(
        self,
        X_BRF: Tensor,
        y_BN: Tensor,
        is_categorical_BF: Tensor | None = None,
        n_classes: int | Tensor | None = None,
    ) -> CategoricalPredictive | HistogramPredictive:
        """The predictive distribution of each query row, batch shape (B, M), in the units of `y_BN`."""
        scores = self(X_BRF, y_BN, is_categorical_BF, n_classes)
        if n_classes is not None:
            return CategoricalPredictive(scores)
        s = target_scale(y_BN)
        return HistogramPredictive(scores, histogram_edges(self.config.n_bins).to(scores), s.loc, s.scale)


def score_head(n_inputs: int, n_outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_inputs, n_inputs), nn.GELU(), nn.Linear(n_inputs, n_outputs))


AutoConfig.register(TabularConfig.model_type, TabularConfig, exist_ok=True)
AutoModel.register(TabularConfig, TabularTransformer, exist_ok=True)
