"""The whole network in one file: a transformer over cells that reads labelled rows and answers for the others.

Dimension key: B tasks, R rows = N context + M query, S rows after thinking rows are prepended, F features,
G feature groups, T tokens per row = G + 1 target token, E embedding, H heads, C classes, K bins.

Sources:
    Hollmann et al. (2025), doi:10.1038/s41586-024-08328-6 (alternating attention over features and rows);
    Pfefferle et al. (2025), nanoTabPFN, arXiv:2511.03634; thinking rows and repeated feature grouping follow the
    public speed runs and reports of that family.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from einops import repeat
from torch import Tensor, nn

from icl.network import kernels
from icl.network.blocks import Block, row_slices, score_head
from icl.network.cells import CellEncoder, ColumnStatistics, TargetEncoder, n_groups
from icl.network.config import TabularConfig
from icl.network.distribution import CategoricalPredictive, HistogramPredictive
from icl.network.metrics import predictive


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


class TabularTransformer(nn.Module):
    """One trunk, two heads: class scores, or a histogram over the standardised target.

    `icl.network.pretrained` makes a model of transformers of it, whose import takes as long as that of torch.
    """

    cache_is_all = True  # reading a context takes no keys and values but those of its cache

    def __init__(self, config: TabularConfig):
        super().__init__()
        self.config = config
        self.build(config)
        self.apply(self._init_weights)

    def build(self, config: TabularConfig) -> None:
        """The modules and parameters; weights are drawn after it."""
        self.cells = CellEncoder(config)
        self.target = TargetEncoder(config)
        self.thinking = nn.Parameter(torch.randn(config.n_thinking_rows, config.d_embed) * 0.5)
        self.blocks = cast(Sequence[Block], nn.ModuleList([Block(config) for _ in range(config.n_layers)]))
        self.norm = nn.RMSNorm(2 * config.d_embed, eps=1e-6)
        self.class_head = score_head(2 * config.d_embed, config.max_classes)
        self.bin_head = score_head(2 * config.d_embed, config.n_bins)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.thinking.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.thinking.dtype

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=1 / math.sqrt(module.in_features))
            if getattr(module, "starts_at_zero", False):
                nn.init.zeros_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.5)

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
        # Never in bf16: with 8 bits of a target or of a cell, gradients were off by up to a quarter.
        with kernels.without_autocast(X_BRF.device):
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
        return self._scores(self._answered(X_BMF, context), context.n_classes)

    @torch.no_grad()
    def embed(self, X_BMF: Tensor, context: ContextCache) -> Tensor:
        """(B, M, 2E) what the heads read of each query row: the mean of its feature tokens, then its target token."""
        return self._pooled(self._answered(X_BMF, context))

    def _answered(self, X_BMF: Tensor, context: ContextCache) -> Tensor:
        """(B, M, T, E) of query rows, after the last block."""
        regression = context.n_classes is None
        x_BMTE = self._tokens(X_BMF, context.columns, self.target.missing(X_BMF.shape[0], X_BMF.shape[1], regression))
        read = iter(context.keys_values)
        for block in self.blocks:
            block.mix_(x_BMTE)
            # No name, and no zip, holds on to these while the next block's come to be.
            block.update_(x_BMTE, next(read))
        return x_BMTE

    @torch.no_grad()
    def attention(self, X_BMF: Tensor, context: ContextCache) -> Tensor:
        """(B, M, N) share of each context row in what the target token of a query row reads from them; sums to 1.

        The mean over blocks and heads. What is read from thinking rows, which stand for no row, is left out.
        """
        missing_BME = self.target.missing(X_BMF.shape[0], X_BMF.shape[1], context.n_classes is None)
        x_BMTE = self._tokens(X_BMF, context.columns, missing_BME)
        total = torch.zeros(())
        for block, keys_values in zip(self.blocks, context.keys_values):
            block.mix_(x_BMTE)
            total = total + block.over_rows.shares(x_BMTE[:, :, -1], keys_values[0][:, -1])
            block.update_(x_BMTE, keys_values)
        shares_BMN = total[..., len(self.thinking) :]
        return shares_BMN / shares_BMN.sum(-1, keepdim=True)

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

    def in_groups(self, least_groups: int) -> TabularTransformer:
        """A network of the same weights, not copies, that shows narrow tables in at least so many groups."""
        if least_groups == self.config.least_groups:
            return self
        alike, cells, config = copy.copy(self), copy.copy(self.cells), copy.copy(self.config)
        config.least_groups = least_groups
        alike._modules = self._modules | {"cells": cells}
        alike.config = cells.config = config
        return alike

    def column_statistics(self, X_BNF: Tensor, is_categorical_BF: Tensor | None) -> ColumnStatistics:
        if is_categorical_BF is None:
            is_categorical_BF = torch.zeros_like(X_BNF[:, 0], dtype=torch.bool)
        return ColumnStatistics.of(X_BNF, is_categorical_BF)

    def context_tokens(self, X_BNF: Tensor, y_BN: Tensor, columns: ColumnStatistics, regression: bool) -> Tensor:
        """(B, S, T, E) of thinking and context rows, before the first block."""
        return self._tokens(X_BNF, columns, self.target.known(y_BN, regression), thinking=True)

    def n_tokens(self, n_features: int) -> int:
        """T, for tables of so many features."""
        return n_groups(self.config, n_features) + 1

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
        for part in row_slices(x_BSTE[:, n_first:]):
            rows = slice(start, start + part.shape[1])
            part[:, :, :-1] = self.cells(X_BRF[:, rows], columns)
            start += part.shape[1]
        return x_BSTE

    def _pooled(self, x_BMTE: Tensor) -> Tensor:
        return self.norm(torch.cat([x_BMTE[:, :, :-1].mean(2), x_BMTE[:, :, -1]], -1))

    def _scores(self, x_BMTE: Tensor, n_classes: int | Tensor | None) -> Tensor:
        pooled_BME2 = self._pooled(x_BMTE)
        if n_classes is None:
            return self.bin_head(pooled_BME2)
        return self.only_classes(self.class_head(pooled_BME2), n_classes)

    def parts_of(self, kind: str) -> list[nn.Parameter]:
        """Parameters that only tasks of this kind, "classification" or "regression", read."""
        classes, numbers = (self.class_head, self.target.classes), (self.bin_head, self.target.number)
        modules = classes if kind == "classification" else numbers
        return [parameter for module in modules for parameter in module.parameters()]

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
        return predictive(scores, y_BN, n_classes)
