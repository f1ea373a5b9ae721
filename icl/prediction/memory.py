"""What a forward pass takes, estimated before it is run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from icl.network import kernels
from icl.network.blocks import MIN_SLICE_ROWS, SLICE_TOKENS
from icl.network.reader import Model

# Float32 copies of a slice's tokens alive at the peak of a block: residual, normed, query, key, value, hidden layer ...
_SLICE_COPIES = 10


# Scratch space of oneDNN and what the allocator holds back: 10-25 MB were resident beyond the tensors.
_OVERHEAD = 20_000_000


@dataclass(frozen=True)
class Footprint:
    """Bytes that contexts of one shape take on the model's device, estimated.

    Attributes:
        row: one row of all the contexts, as one float32 copy of its tokens.
        n_context: rows, thinking rows among them.
        cache: keys and values that later answers need.
        work: what slices of rows take on their way through a block, whatever the number of rows.
        cache_is_all: whether reading a context takes no keys and values beside its cache.
    """

    row: int
    n_context: int
    n_slice: int
    cache: int
    work: int
    cache_is_all: bool

    @classmethod
    def of(cls, model: Model, n_context: int, n_features: int, n_contexts: int) -> Footprint:
        config = model.config
        n_tokens = n_contexts * model.n_tokens(n_features)
        n_rows = n_context + config.n_thinking_rows
        row = 4 * config.d_embed * n_tokens
        cache = n_contexts * model.cache_bytes(n_rows, n_features)
        n_slice = max(slice_tokens(model.device) // n_tokens, MIN_SLICE_ROWS)
        work = min(n_slice, n_rows) * row * _SLICE_COPIES + 8 * max(kernels.TILE, 128 * n_rows) + _OVERHEAD
        return cls(row, n_rows, n_slice, cache, work, model.cache_is_all)

    def one_pass(self, n_query: int, keep: bool) -> int:
        """Beside a cache: the context while it is read, with one block's keys and values if none are kept, and the
        query rows that are answered at once."""
        context = self.n_context * self.row * (1 if keep and self.cache_is_all else 3)
        return context + min(n_query, self.n_slice) * self.row + self.work

    def n_query(self, free: float, keep: bool) -> int:
        """Query rows that `free` bytes have room for; a slice at least, since the context cannot be split."""
        return max(int((free - self.one_pass(0, keep)) // self.row), self.n_slice)


def slice_tokens(device: torch.device) -> int:
    return SLICE_TOKENS["cpu" if device.type == "cpu" else "cuda"]
