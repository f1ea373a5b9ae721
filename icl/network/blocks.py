"""Attention over rows and over columns, and the block of both."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from einops import rearrange
from torch import Tensor, nn

from icl.network import kernels
from icl.network.config import TabularConfig

# Tokens that pass through a block at once where no gradient is kept: what a row needs for itself is then small, and on
# a CPU stays in the cache. CUDA's attention takes 65,535 rows of at least two tokens at a time.
SLICE_TOKENS = {"cpu": 8_192, "cuda": 131_000}


MIN_SLICE_ROWS = 512  # on a CPU; fewer would keep attention over rows from its stride


class Attention(nn.Module):
    """Multi-head attention over the second-to-last axis; keys may come from a prefix, queries from a suffix."""

    def __init__(self, config: TabularConfig, over_rows: bool):
        super().__init__()
        self.n_heads = config.n_heads
        self.norm = nn.RMSNorm(config.d_embed, eps=1e-6)
        self.query = nn.Linear(config.d_embed, config.d_embed, bias=False)
        self.key_value = nn.Linear(config.d_embed, 2 * config.d_embed, bias=False)
        self.out = zero_linear(config.d_embed, config.d_embed)
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
        out = kernels.fused_attention(q, k, v)
        return kernels.linear(rearrange(out, "z h l d -> z l (h d)"), self.out)

    def _sharpness(self, n_keys: int) -> Tensor:
        """(H,) factor on the queries."""
        assert self.log_scale is not None, "over rows only"
        if torch.compiler.is_compiling():
            # A logarithm by Python would be a constant, and every length of context a graph of its own.
            log_n = torch.scalar_tensor(n_keys, dtype=torch.double, device=self.log_scale.device).log()
            return 1 + self.log_scale * (log_n - math.log(128)).to(self.log_scale.dtype)
        return 1 + self.log_scale * (math.log(n_keys) - math.log(128))

    def within(self, x_BRTE: Tensor, first: int = 0) -> Tensor:
        """What the tokens from `first` on take from all tokens of their row, (B, R, T - first, E)."""
        x_ZTE = self.norm(x_BRTE.flatten(0, 1))
        if first:
            q = kernels.linear(x_ZTE[:, first:], self.query).unflatten(-1, (self.n_heads, -1))
            k, v = kernels.linear(x_ZTE, self.key_value).unflatten(-1, (2, self.n_heads, -1)).unbind(2)
        else:
            qkv = kernels.product(x_ZTE, torch.cat([self.query.weight, self.key_value.weight]))
            q, k, v = qkv.unflatten(-1, (3, self.n_heads, -1)).unbind(2)
        out = kernels.linear(kernels.attend_within(q, k, v).flatten(-2), self.out)
        return out.unflatten(0, x_BRTE.shape[:2])

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

    def shares(self, x_BME: Tensor, keys_BHKD: Tensor) -> Tensor:
        """(B, M, K) how much of each key row the rows take in `read`, averaged over heads; sums to 1 over K."""
        d_head = x_BME.shape[-1] // self.n_heads
        q_BHMD = rearrange(self.query(self.norm(x_BME)), "b m (h d) -> b h m d", h=self.n_heads)
        scale_H = self._sharpness(keys_BHKD.shape[-2]) / math.sqrt(d_head)
        scores_BHMK = q_BHMD * scale_H[:, None, None] @ keys_BHKD.transpose(-1, -2)
        return scores_BHMK.softmax(-1).mean(1)


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
        self.down = zero_linear(config.mlp_ratio * config.d_embed, config.d_embed)

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
        for part in row_slices(x_BRTE):
            part += self.over_features.within(part)

    def keys_values(self, x_BRTE: Tensor) -> Tensor:
        """(2, B, T, H, R, D), of rows after `mix_`."""
        B, R, T, E = x_BRTE.shape
        H = self.over_rows.n_heads
        out = x_BRTE.new_empty(2, B, T, H, R, E // H)
        start = 0
        for part in row_slices(x_BRTE):
            out[:, :, :, :, start : start + part.shape[1]] = self.over_rows.keys_values(part)
            start += part.shape[1]
        return out

    def update_(self, x_BRTE: Tensor, keys_values: Tensor) -> None:
        """Attention over rows and MLP, of rows after `mix_`."""
        for part in row_slices(x_BRTE):
            part += self.over_rows.read(part, keys_values)
            part += kernels.linear(kernels.linear(self.norm(part), self.up, gelu=True), self.down)


def slices(n_tasks: int, n_rows: int, n_tokens: int, device: torch.device) -> Iterator[slice]:
    """Successive rows, about SLICE_TOKENS tokens in each slice."""
    limit, least = (SLICE_TOKENS["cpu"], MIN_SLICE_ROWS) if device.type == "cpu" else (SLICE_TOKENS["cuda"], 1)
    if n_rows:
        n_slices = -(-n_rows // max(limit // (n_tasks * n_tokens), least))
        step = -(-n_rows // n_slices)
        yield from (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def row_slices(x_BRTE: Tensor) -> Iterator[Tensor]:
    """Views of successive rows."""
    n_tasks, n_rows, n_tokens, _ = x_BRTE.shape
    yield from (x_BRTE[:, rows] for rows in slices(n_tasks, n_rows, n_tokens, x_BRTE.device))


def zero_linear(n_inputs: int, n_outputs: int) -> nn.Linear:
    """What ends a branch: zero at first, so that every block starts as the identity."""
    linear = nn.Linear(n_inputs, n_outputs, bias=False)
    vars(linear)["starts_at_zero"] = True  # `TabularTransformer` draws and clears the weights
    return linear


def score_head(n_inputs: int, n_outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_inputs, n_inputs), nn.GELU(), nn.Linear(n_inputs, n_outputs))
