"""Floating-point operations of a forward pass, in closed form.

Matrix products and attention are counted; element-wise work is not, it costs memory traffic.

Dimension key as in `icl/network/model.py`: B tasks, R rows = N context + M query, S rows with thinking rows, T tokens
per row, E embedding.
"""

from __future__ import annotations

from icl.network.cells import GROUP_OFFSETS, n_channels, n_groups
from icl.network.config import TabularConfig


def forward_flops(
    config: TabularConfig, n_tasks: int, n_context: int, n_query: int, n_features: int, regression: bool
) -> float:
    """Of one pass over `n_tasks` contexts and their queries."""
    B, N, M, F = n_tasks, n_context, n_query, n_features
    E, R, K = config.d_embed, N + M, config.n_thinking_rows
    G = n_groups(config, F)
    T, S, n_keys = G + 1, R + K, N + K
    encoder = 2 * B * R * G * E * (n_channels(config) * config.group_size * len(GROUP_OFFSETS) + E)
    encoder += 2 * B * N * 3 * E if regression else 0
    blocks = 0.0
    for last in [False] * (config.n_layers - 1) + [True]:
        Q = M if last else S  # rows that go on: after the last block nothing reads the context
        blocks += B * S * T * (8 * E**2 + 4 * T * E)  # over features: four projections, scores and their use
        blocks += B * T * (4 * Q * E**2 + 4 * n_keys * E**2 + 4 * Q * n_keys * E)  # over rows
        blocks += 4 * config.mlp_ratio * B * Q * T * E**2
    n_outputs = config.n_bins if regression else config.max_classes
    head = 2 * B * M * (4 * E**2 + 2 * E * n_outputs)
    return encoder + blocks + head
