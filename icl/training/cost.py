"""What a batch costs before it is run: floating-point operations, tokens and activation memory, in closed form.

Dimension key as in `icl/network/model.py`: B tasks, R rows = N context + M query, S rows with thinking rows, T tokens
per row, E embedding. Matrix products and attention are counted; element-wise work is not, it costs memory traffic.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from icl.network.cells import GROUP_OFFSETS, n_channels, n_groups
from icl.network.config import TabularConfig
from icl.network.cost import forward_flops
from priors import ShapeSampler, TaskShape
from priors.stream import at_step, seeded_generator

# Forward, and twice that for the gradients of inputs and of weights; the recomputation inside attention kernels is not
# useful work and does not count (the convention of model FLOP utilisation: Chowdhery et al. 2022, arXiv:2204.02311).
TRAINING_PASSES = 3
_N_SHAPES = 256  # drawn to average over; the mean cost of a step is then known to a few percent


@dataclass(frozen=True)
class Cost:
    """Of one training pass over a batch, or of several batches."""

    flops: float
    """Floating-point operations, forward and backward."""
    tokens: float
    """Tokens that run through the blocks: those of thinking rows and of the target included."""
    tables: float
    activation_bytes: float
    """What autograd keeps between forward and backward."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(a + b for a, b in zip(_numbers(self), _numbers(other), strict=True)))

    def __mul__(self, factor: float) -> Cost:
        return Cost(*(factor * a for a in _numbers(self)))


def _numbers(cost: Cost) -> tuple[float, float, float, float]:
    return cost.flops, cost.tokens, cost.tables, cost.activation_bytes


def training_cost(
    config: TabularConfig, shape: TaskShape, regression: bool, matmul_bytes: int = 4, keeps_weights: bool = False
) -> Cost:
    """Cost of forward and backward over one batch.

    Args:
        config: of the model.
        shape: of the batch.
        regression: which head is used.
        matmul_bytes: size of the numbers that matrix products read; 4, or 2 under bf16 autocast.
        keeps_weights: whether backward finds the weights of attention kept, as in bf16 on a CPU
            (`icl.network.kernels.fused_attention`); else its kernel makes them anew.
    """
    B, R, N, F = shape.n_tasks, shape.n_rows, shape.n_context, shape.n_features
    M, K = R - N, config.n_thinking_rows
    T = n_groups(config, F) + 1
    return Cost(
        flops=TRAINING_PASSES * forward_flops(config, B, N, M, F, regression),
        tokens=B * (R + K) * T,
        tables=B,
        activation_bytes=_kept_bytes(config, B, R + K, N + K, M, T, matmul_bytes, keeps_weights),
    )


def _kept_bytes(
    config: TabularConfig, B: int, S: int, n_keys: int, M: int, T: int, matmul_bytes: int, keeps_weights: bool
) -> float:
    """Bytes of the tensors that backward needs."""
    E, H, m = config.d_embed, config.n_heads, matmul_bytes
    # Of a query and head: one number for each key, or the logarithm of their sum.
    over_features, over_rows = (H * T * m, H * n_keys * m) if keeps_weights else (4 * H, 4 * H)
    n_inputs = n_channels(config) * config.group_size * len(GROUP_OFFSETS)
    norm = 2 * 4 * E + E * m  # input and normalised input in float32, output as the product reads it
    kept = B * (S - config.n_thinking_rows) * (T - 1) * (n_inputs + 2 * E) * 4  # in float32
    for last in [False] * (config.n_layers - 1) + [True]:
        Q = M if last else S
        kept += B * T * S * (norm + 4 * E * m + over_features)  # over features: q, k, v, output
        # Over rows q is kept before and after its scaling; k and v exist for the context only.
        kept += B * T * (S * norm + Q * (3 * E * m + over_rows) + n_keys * 2 * E * m)
        kept += B * T * Q * (norm + 2 * config.mlp_ratio * E * m)
    return kept


def mean_cost(
    config: TabularConfig, shapes: ShapeSampler, n_batches: int, matmul_bytes: int = 4, keeps_weights: bool = False
) -> tuple[Cost, Cost]:
    """Expected cost of a step of `n_batches` batches, and the cost of the batch that takes most memory.

    Drawn with a generator of its own; the curriculum of `shapes` is taken at its end.
    """
    generator = seeded_generator(0)
    final = at_step(shapes, 2**62)
    costs = [
        training_cost(config, final.sample(generator), True, matmul_bytes, keeps_weights) for _ in range(_N_SHAPES)
    ]
    total = _sum(costs) * (n_batches / len(costs))
    return total, max(costs, key=lambda cost: cost.activation_bytes)


def _sum(costs: Iterable[Cost]) -> Cost:
    total = Cost(0.0, 0.0, 0.0, 0.0)
    for cost in costs:
        total = total + cost
    return total
