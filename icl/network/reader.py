"""A short way for query rows through a trained network: the context is read as ever, the questions by a student.

In `TabularTransformer` a query row costs what a context row costs, so a cached context saves no more than the share of
the context rows. A `Reader` answers from the same context with fewer blocks (of its own, which began as copies), every
second feature token, and feature tokens that attend to a sample of the context rows; the target token attends to all of
them. It is distilled: `icl.training.distillation` trains it to give the answers that the whole network gives.

Dimension key: B tasks, N context rows, S of them after thinking rows are prepended, P rows of them that feature tokens
attend to, M query rows, F features, G feature tokens shown to the reader, T = G + 1, E embedding.

Sources:
    Hinton, Vinyals & Dean (2015), arXiv:1503.02531 (distillation);
    Lee et al. (2019), arXiv:1810.00825 (attention to a few rows that have attended to all).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from icl.network.blocks import Block, score_head, slices
from icl.network.cells import CellEncoder, ColumnStatistics
from icl.network.model import TabularTransformer


@dataclass(frozen=True)
class ReaderConfig:
    """What a reader leaves out.

    Args:
        depths: blocks of the network whose context rows it reads, ascending; it has one block for each.
        stride: it shows every `stride`-th feature token; 2 still shows every feature
        (`icl.network.cells.GROUP_OFFSETS`).
        rows: thinking and context rows that its feature tokens attend to, at most.
    """

    depths: tuple[int, ...] = (0, 1, 3, 5)
    stride: int = 2
    rows: int = 384

    def __post_init__(self):
        object.__setattr__(self, "depths", tuple(self.depths))
        if not self.depths or list(self.depths) != sorted(set(self.depths)) or self.depths[0] < 0:
            raise ValueError(f"depths must be ascending block numbers from 0 on, got {self.depths}.")
        if self.stride not in (1, 2):
            raise ValueError(f"stride must be 1 or 2 (beyond, some features would be in no token), got {self.stride}.")
        if self.rows < 1:
            raise ValueError(f"rows must be at least 1, got {self.rows}.")


@dataclass(frozen=True)
class ReaderCache:
    """All that a reader takes from the context of B tasks.

    Attributes:
        features: (2, B, G, H, P, D) keys and values of each block but the last, which changes the target token alone.
        target: (2, B, 1, H, S, D) keys and values of each block.
    """

    columns: ColumnStatistics
    features: list[Tensor]
    target: list[Tensor]
    n_classes: int | Tensor | None

    @property
    def n_bytes(self) -> int:
        return sum(t.nbytes for t in [*vars(self.columns).values(), *self.features, *self.target])


class Reader(nn.Module):
    """Answers for a network, `trunk`, which reads the context; begins as a copy of the blocks it stands for.

    Args:
        trunk: trained; no gradient reaches it.
        shape: what to leave out.
    Raises:
        ValueError: if `shape` names blocks that the trunk has not.
    """

    # Reading a context takes the trunk's keys and values too, of one block at a time.
    cache_is_all = False

    def __init__(self, trunk: TabularTransformer, shape: ReaderConfig = ReaderConfig()):
        super().__init__()
        config = trunk.config
        if shape.depths[-1] >= config.n_layers:
            raise ValueError(f"the network has {config.n_layers} blocks, depths {shape.depths} name others.")
        self.trunk, self.config, self.shape = trunk, config, shape
        self.cells = CellEncoder(config)
        self.unknown = nn.Embedding(2, config.d_embed)  # 0 classification, 1 regression
        self.blocks = cast(Sequence[Block], nn.ModuleList([Block(config) for _ in shape.depths]))
        self.norm = nn.RMSNorm(2 * config.d_embed, eps=1e-6)
        self.class_head = score_head(2 * config.d_embed, config.max_classes)
        self.bin_head = score_head(2 * config.d_embed, config.n_bins)
        self._start_from(trunk)

    def _start_from(self, trunk: TabularTransformer) -> None:
        for name in ("cells", "norm", "class_head", "bin_head"):
            getattr(self, name).load_state_dict(getattr(trunk, name).state_dict())
        self.unknown.load_state_dict(trunk.target.unknown.state_dict())
        for block, depth in zip(self.blocks, self.shape.depths, strict=True):
            block.load_state_dict(trunk.blocks[depth].state_dict())

    @property
    def device(self) -> torch.device:
        return self.unknown.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.unknown.weight.dtype

    def own_state(self) -> dict[str, Tensor]:
        """Weights without the trunk's."""
        return {name: w for name, w in self.state_dict().items() if not name.startswith("trunk.")}

    def n_tokens(self, n_features: int) -> int:
        """Tokens of a context row, for tables of so many features; a query row has fewer."""
        return self.trunk.n_tokens(n_features)

    def n_query_tokens(self, n_features: int) -> int:
        """T, for tables of so many features."""
        return -(-(self.n_tokens(n_features) - 1) // self.shape.stride) + 1

    def cache_bytes(self, n_rows: int, n_features: int) -> int:
        """Of a `ReaderCache` of one task with so many context and thinking rows."""
        n_feature_keys = (self.n_query_tokens(n_features) - 1) * min(n_rows, self.shape.rows)
        return 8 * self.config.d_embed * (len(self.blocks) * (n_rows + n_feature_keys) - n_feature_keys)

    def forward(
        self,
        X_BRF: Tensor,
        y_BN: Tensor,
        is_categorical_BF: Tensor | None = None,
        n_classes: int | Tensor | None = None,
    ) -> Tensor:
        """Scores for the query rows; arguments and result as of `TabularTransformer.forward`.

        Gradients reach the reader's own weights, never the trunk's.
        """
        n_context = y_BN.shape[1]
        context = self.read_context(X_BRF[:, :n_context], y_BN, is_categorical_BF, n_classes)
        return self.answer(X_BRF[:, n_context:], context)

    def read_context(
        self,
        X_BNF: Tensor,
        y_BN: Tensor,
        is_categorical_BF: Tensor | None = None,
        n_classes: int | Tensor | None = None,
        trunk_keys: list[Tensor] | None = None,
    ) -> ReaderCache:
        """What `answer` needs of the context; arguments as in `forward`.

        A list `trunk_keys` receives what a `ContextCache` of the trunk holds, at the cost of what the reader skips.
        """
        with torch.no_grad():
            columns = self.trunk.column_statistics(X_BNF, is_categorical_BF)
        features: list[Tensor] = []
        target: list[Tensor] = []
        blocks = iter(self.blocks)
        for features_BPGE, target_BS1E in self._context_states(X_BNF, y_BN, columns, n_classes is None, trunk_keys):
            over_rows = next(blocks).over_rows
            # Contiguous once, not at every answer.
            if len(features) < len(self.blocks) - 1:
                features.append(over_rows.keys_values(features_BPGE).contiguous())
            target.append(over_rows.keys_values(target_BS1E).contiguous())
        return ReaderCache(columns, features, target, n_classes)

    def _context_states(
        self, X_BNF: Tensor, y_BN: Tensor, columns: ColumnStatistics, regression: bool, trunk_keys: list | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Tokens of the context rows at each of the depths, as the trunk makes its keys of them."""
        trunk, depths = self.trunk, self.shape.depths
        with torch.no_grad():
            x_BSTE = trunk.context_tokens(X_BNF, y_BN, columns, regression)
            rows_BP = self._sample(X_BNF, y_BN, regression)
            tasks_B1 = torch.arange(len(X_BNF), device=X_BNF.device)[:, None]
        for depth, block in enumerate(trunk.blocks):
            with torch.no_grad():
                block.mix_(x_BSTE)
            if depth in depths:
                # Copies: the blocks below write to the tokens.
                yield x_BSTE[tasks_B1, rows_BP, : -1 : self.shape.stride], x_BSTE[:, :, -1:].clone()
            if depth == depths[-1] and trunk_keys is None:
                return
            with torch.no_grad():
                keys_values = block.keys_values(x_BSTE)
                if trunk_keys is not None:
                    trunk_keys.append(keys_values)
                if depth < len(trunk.blocks) - 1:
                    block.update_(x_BSTE, keys_values)

    def _sample(self, X_BNF: Tensor, y_BN: Tensor, regression: bool) -> Tensor:
        """(B, P) rows that feature tokens attend to: the thinking rows, and context rows that a hash of them picks.

        The same rows are picked in whatever order they come, and others for each member of an ensemble, which shows
        the columns in another order. Of a rare class more are picked than its share, as in a case-control study:
        what tells it apart is seen, and the target token, which attends to all rows, knows how rare it is.
        """
        (B, N, F), n_first = X_BNF.shape, len(self.trunk.thinking)
        first_BK = torch.arange(n_first, device=X_BNF.device).expand(B, -1)
        n_picked = min(N, max(self.shape.rows - n_first, 1))
        if n_picked == N:
            picked_BP = torch.arange(N, device=X_BNF.device).expand(B, -1)
        else:
            g = torch.Generator().manual_seed(0)
            odd_F = (2 * torch.randint(2**61, (F + 1,), generator=g) + 1).to(X_BNF.device)
            shown_BNF = torch.cat([X_BNF.float().nan_to_num(nan=0.5), y_BN.float()[..., None]], -1)
            hash_BN = (shown_BNF.contiguous().view(torch.int32).long() * odd_F).sum(-1)  # wraps around
            order_BN = _mixed(hash_BN + odd_F[0] * _occurrence(hash_BN)).argsort(1)
            if not regression:
                order_BN = order_BN.gather(1, _turns(y_BN.gather(1, order_BN)).argsort(dim=1, stable=True))
            picked_BP = order_BN[:, :n_picked].sort(1).values
        return torch.cat([first_BK, n_first + picked_BP], 1)

    def answer(self, X_BMF: Tensor, context: ReaderCache) -> Tensor:
        """Scores (B, M, K) or (B, M, max_classes) of query rows."""
        if torch.is_grad_enabled() or not X_BMF.shape[1]:
            return self._answer(X_BMF, context)
        # All blocks on a slice of the rows: nothing of one query row is needed by another.
        limits = slices(X_BMF.shape[0], X_BMF.shape[1], self.n_query_tokens(X_BMF.shape[-1]), X_BMF.device)
        return torch.cat([self._answer(X_BMF[:, rows], context) for rows in limits], 1)

    def _answer(self, X_BMF: Tensor, context: ReaderCache) -> Tensor:
        x_BMTE = self._tokens(X_BMF, context)
        for block, *keys_values in zip(self.blocks, context.features, context.target):  # all but the last
            x_BMTE = _read(block, x_BMTE + block.over_features.within(x_BMTE), *keys_values)
            x_BMTE = block.feed_forward(x_BMTE)
        features_BMGE, target_BM1E = x_BMTE[:, :, :-1], x_BMTE[:, :, -1:]
        last = self.blocks[-1]
        target_BM1E = target_BM1E + last.over_features.within(x_BMTE, first=features_BMGE.shape[2])
        target_BM1E = last.feed_forward(target_BM1E + last.over_rows.read(target_BM1E, context.target[-1]))
        pooled_BME2 = self.norm(torch.cat([features_BMGE.mean(2), target_BM1E[:, :, 0]], -1))
        if context.n_classes is None:
            return self.bin_head(pooled_BME2)
        return self.trunk.only_classes(self.class_head(pooled_BME2), context.n_classes)

    def _tokens(self, X_BMF: Tensor, context: ReaderCache) -> Tensor:
        unknown_E = self.unknown.weight[int(context.n_classes is None)]
        cells_BMGE = self.cells(X_BMF, context.columns, self.shape.stride)
        return torch.cat([cells_BMGE, unknown_E.expand(*X_BMF.shape[:2], 1, -1)], 2)


def _turns(y_BN: Tensor) -> Tensor:
    """(B, N): the rank in which rows with these classes, in random order, are picked; the lower the earlier.

    A row's turn is its place, or where it would be if all classes alternated, if that is earlier.
    """
    classes_BNC = nn.functional.one_hot(y_BN.long())
    before_BN = (classes_BNC.cumsum(1) * classes_BNC).sum(-1) - 1
    n_present_B1 = classes_BNC.any(1).sum(-1, keepdim=True)
    return torch.minimum(before_BN * n_present_B1, torch.arange(y_BN.shape[1], device=y_BN.device))


def _occurrence(hash_BN: Tensor) -> Tensor:
    """(B, N): 0 for the first row of a hash, 1 for the next of the same, ..., so that copies of a row differ too."""
    sorted_BN, order_BN = hash_BN.sort(dim=1, stable=True)
    place_BN = torch.arange(hash_BN.shape[1], device=hash_BN.device).expand_as(hash_BN)
    is_first_BN = torch.cat([torch.ones_like(sorted_BN[:, :1]), sorted_BN.diff(dim=1)], 1) != 0
    run_BN = place_BN - (place_BN * is_first_BN).cummax(1).values
    return torch.empty_like(run_BN).scatter_(1, order_BN, run_BN)


def _mixed(hash_BN: Tensor) -> Tensor:
    """Every bit of the result depends on every bit of the argument."""
    for shift in (30, 27, 31):
        hash_BN = (hash_BN ^ (hash_BN >> shift)) * 0x1B873593_CC9E2D51
    return hash_BN ^ (hash_BN >> 32)


def _read(block: Block, x_BMTE: Tensor, features: Tensor, target: Tensor) -> Tensor:
    """The tokens after attention to the context rows; writes to `x_BMTE` where no gradient is kept."""
    if torch.is_grad_enabled():
        read = block.over_rows.read(x_BMTE[:, :, :-1], features), block.over_rows.read(x_BMTE[:, :, -1:], target)
        return x_BMTE + torch.cat(read, 2)
    for tokens, keys_values in ((x_BMTE[:, :, :-1], features), (x_BMTE[:, :, -1:], target)):
        tokens += block.over_rows.read(tokens, keys_values)
    return x_BMTE


Model = TabularTransformer | Reader
