"""Seconds of a training step in float32, all in bf16, and in bf16 with attention in float32 (`Bf16WhereFast`).

    python benchmarks/training_step.py --out benchmarks/training_step.md

Forward and backward on the same prior tasks, the ways in turn, on one thread; seconds are those that the process
computed, for others may use the cores. The share of the peak is that of the floating-point operations that
`icl.training.cost` counts, of the fastest float32 product seen.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import torch.nn.functional as nnf

from benchmarks.machine import describe
from icl.network import kernels
from icl.network.config import TabularConfig
from icl.network.model import TabularTransformer
from icl.training.cost import training_cost
from icl.training.precision import has_bf16_units
from icl.training.pretraining import task_loss
from icl.training.steps import sample_step
from icl.training.throughput import peak_flops
from priors import MixturePrior, ShapeSampler, TaskBatch, TaskShape

PRIORS = [MixturePrior(task="classification"), MixturePrior(task="regression")]
WIDTHS = {96: 3, 192: 3}  # width: heads
TIMES = ("float32", "bf16", "bf16, attention in float32")


def batches_of_base(n_steps: int) -> list[TaskBatch]:
    """Steps of configs/base.yaml with configs/two-cores.yaml."""
    shapes = ShapeSampler(n_cells=4000, max_tasks=32, rows=(32, 1024), features=(2, 64), mean_features=9.0)
    return [batch for step in range(n_steps) for batch in sample_step(PRIORS, shapes, 5, step)]


def large_batches(n_steps: int) -> list[TaskBatch]:
    """One task of 1,024 rows and 20 columns a batch."""
    shape, found = TaskShape(1, 1024, 768, 20), []
    for step in range(n_steps):
        for prior in PRIORS:
            found.append(prior.sample(shape, torch.Generator().manual_seed(step)))
    return found


def seconds(model: TabularTransformer, batches: list[TaskBatch], way: str) -> float:
    """Processor seconds of forward and backward over all batches."""
    fused = kernels.fused_attention
    if way == "bf16":
        kernels.fused_attention = nnf.scaled_dot_product_attention
    start = time.process_time()
    try:
        for batch in batches:
            with nullcontext() if way == "float32" else torch.autocast("cpu", torch.bfloat16):
                loss = task_loss(model, batch)
            loss.backward()
    finally:
        kernels.fused_attention = fused
    model.zero_grad()
    return time.process_time() - start


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="of base's shapes; half as many large ones")
    parser.add_argument("--out", type=Path, help="Markdown file to write too")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    peak = peak_flops(torch.device("cpu"), torch.float32)
    assert peak is not None
    units = "has" if has_bf16_units() else "has no"
    lines = [
        "# Seconds of a training step",
        "",
        f"{describe('torch')}; one thread; the processor {units} bf16 units; float32 peak {peak / 1e9:.0f} GFLOP/s.",
        f"Medians of {options.turns} turns, the ways in turn.",
        "",
        "| width | tasks | way | tasks/s | times float32 | share of the float32 peak |",
        "|---|---|---|---|---|---|",
    ]
    for width, n_heads in WIDTHS.items():
        torch.manual_seed(0)
        model = TabularTransformer(TabularConfig(d_embed=width, n_layers=6, n_heads=n_heads))
        for label, batches in (
            ("base on two cores", batches_of_base(options.steps)),
            ("1,024 x 20", large_batches(max(1, options.steps // 2))),
        ):
            spent: dict[str, list[float]] = {way: [] for way in TIMES}
            for way in TIMES:
                seconds(model, batches[:1], way)  # the first call of an operation sets it up
            for _ in range(options.turns):
                for way in TIMES:
                    spent[way].append(seconds(model, batches, way))
            costs = [training_cost(model.config, b.shape, b.n_classes is None, 4) for b in batches]
            flops, tables = sum(c.flops for c in costs), sum(c.tables for c in costs)
            for way in TIMES:
                median = statistics.median(spent[way])
                gain = statistics.median(spent["float32"]) / median
                lines.append(
                    f"| {width} | {label} | {way} | {tables / median:.1f} | {gain:.2f} | {flops / median / peak:.2f} |"
                )
                print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
