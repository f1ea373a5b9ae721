"""Seconds of a training step in float32, in bf16 as autocast has it, with attention by products, and compiled.

    python benchmarks/training_step.py [--out FILE]
    LD_PRELOAD=.../libjemalloc.so.2 python benchmarks/training_step.py --stream 60 --keep --compile --width 192

Tasks are of the default mixture, in the shapes of the configurations (`priors.MixturePrior`; two batches a step).
benchmarks/training_step.md holds two outputs of it, and words. The second form takes successive steps in the shapes of
configs/base-companions.yaml, with companion columns, as a run does, four batches a step, sampling included: memory that
comes and goes in many sizes costs the allocator of the C library more the longer it runs. `--keep`: with
`icl.training.allocator.KeepMemory`. `--compile`: with the blocks compiled (`--model.compile true` of train.py).

Forward and backward on the same prior tasks, the ways in turn, on one thread; seconds are those that the process
computed, for others may use the cores. The share of the peak is that of the floating-point operations that
`icl.training.cost` counts, of the fastest float32 product seen.
"""

from __future__ import annotations

import argparse
import copy
import os
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
from icl.training.allocator import give_back, jemalloc_control, never_give_back, resident_bytes
from icl.training.compiled import compile_blocks
from icl.training.cost import training_cost
from icl.training.precision import has_bf16_units
from icl.training.pretraining import task_loss
from icl.training.steps import sample_step
from icl.training.throughput import peak_flops
from priors import CompanionColumns, MixturePrior, ShapeSampler, TaskBatch, TaskShape

PRIORS = [MixturePrior(task="classification"), MixturePrior(task="regression")]
LARGER = ShapeSampler(
    n_cells=8000, max_tasks=32, most_cells=20480, rows=(32, 2048), features=(2, 64), mean_features=12.0
)
WIDTHS = {96: 3, 192: 3}  # width: heads
MOST_BYTES = 6.5e9


WAYS = ["float32", "bf16, as autocast has it", "bf16, attention by products", "the same, blocks compiled"]
"""`Bf16WhereFast` takes the third, with `--model.compile true` the last."""


def batches_of_base(n_steps: int) -> list[TaskBatch]:
    """In the shapes of configs/base.yaml with configs/two-cores.yaml."""
    shapes = ShapeSampler(n_cells=4000, max_tasks=32, rows=(32, 1024), features=(2, 64), mean_features=9.0)
    return [batch for step in range(n_steps) for batch in sample_step(PRIORS, shapes, 5, step)]


def batches_of_base_companions(n_steps: int) -> list[TaskBatch]:
    """In the shapes of configs/base-companions.yaml over those, before companions widen them."""
    return [batch for step in range(n_steps) for batch in sample_step(PRIORS, LARGER, 5, step)]


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
    if way == WAYS[1]:
        kernels.fused_attention = nnf.scaled_dot_product_attention
    start = time.process_time()
    try:
        for batch in batches:
            with nullcontext() if way == WAYS[0] else torch.autocast("cpu", torch.bfloat16):
                loss = task_loss(model, batch)
            loss.backward()
    finally:
        kernels.fused_attention = fused
    model.zero_grad()
    return time.process_time() - start


def stream(n_steps: int, width: int, keeps: bool, compiles: bool) -> str:
    """Processor seconds of sampling and of training, a step, over the last half of the steps."""
    model = TabularTransformer(TabularConfig(d_embed=width, n_layers=6, n_heads=WIDTHS[width]))
    control, spent = jemalloc_control(), []
    if compiles:
        compile_blocks(model)
    if keeps and control is None:
        raise SystemExit("--keep is for jemalloc, which does not serve this process: set LD_PRELOAD.")
    if keeps:
        never_give_back(control)
    for step in range(n_steps):
        start = time.process_time()
        batches = sample_step(PRIORS * 2, LARGER, 7, step, companions=CompanionColumns(share=0.7, as_by_default=0.8))
        sampled = time.process_time() - start
        spent.append((sampled, seconds(model, batches, WAYS[2])))
        if keeps and resident_bytes() > MOST_BYTES:
            give_back(control)
    sampling, training = (statistics.mean(part) for part in zip(*spent[n_steps // 2 :]))
    allocator = Path(os.environ.get("LD_PRELOAD") or "the C library").name
    told = " ".join([allocator, os.environ.get("MALLOC_CONF", ""), "with KeepMemory" if keeps else ""]).strip()
    return (
        f"Allocator: {told}; width {width}, blocks {'' if compiles else 'not '}compiled, {n_steps} steps, "
        f"seconds a step of the last half: "
        f"sampling {sampling:.2f}, forward and backward {training:.2f}; "
        f"{resident_bytes() / 1e9:.1f} GB held at the end."
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="of base's shapes; half as many large ones")
    parser.add_argument("--out", type=Path, help="Markdown file to write too")
    parser.add_argument("--stream", type=int, default=0, help="successive steps, sampling included; nothing else")
    parser.add_argument("--width", type=int, default=96, choices=list(WIDTHS), help="of --stream")
    parser.add_argument("--keep", action="store_true", help="keep freed memory in --stream, up to 6.5 GB")
    parser.add_argument("--compile", action="store_true", help="compile the blocks in --stream")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.stream:
        print(f"{describe('torch')}\n{stream(options.stream, options.width, options.keep, options.compile)}")
        return
    peak = peak_flops(torch.device("cpu"), torch.float32)
    assert peak is not None
    notes: list[str] = []
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
        compiled = copy.deepcopy(model)
        compile_blocks(compiled)
        models = dict.fromkeys(WAYS, model) | {WAYS[3]: compiled}
        compiling = 0.0
        for label, batches in (
            ("base on two cores", batches_of_base(options.steps)),
            ("base-companions", batches_of_base_companions(options.steps)),
            ("1,024 x 20", large_batches(max(1, options.steps // 2))),
        ):
            spent: dict[str, list[float]] = {way: [] for way in WAYS}
            for way in WAYS:  # the first call of an operation sets it up, and that of a kind of shapes compiles
                first, start = batches if way == WAYS[3] else batches[:1], time.perf_counter()
                seconds(models[way], first, way)
            compiling += time.perf_counter() - start
            for _ in range(options.turns):
                for way in WAYS:
                    spent[way].append(seconds(models[way], batches, way))
            costs = [training_cost(model.config, b.shape, b.n_classes is None, 4) for b in batches]
            flops, tables = sum(c.flops for c in costs), sum(c.tables for c in costs)
            for way in WAYS:
                median = statistics.median(spent[way])
                gain = statistics.median(spent["float32"]) / median
                lines.append(
                    f"| {width} | {label} | {way} | {tables / median:.1f} | {gain:.2f} | {flops / median / peak:.2f} |"
                )
                print(lines[-1], flush=True)
        notes.append(f"Compiling at width {width} took {compiling:.0f} s.")
    text = "\n".join([*lines, "", *notes]) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
