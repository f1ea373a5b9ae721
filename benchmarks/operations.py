"""Kernels and host syncs of a prior batch and of a training step, and graphs of torch.compile, counted on a CPU.

    python benchmarks/operations.py [--steps 25] [--out benchmarks/operations.md] [--lines 20]

What a GPU would be given one by one is counted as it is dispatched: every operation that is neither a view nor an
empty allocation is a kernel. A sync is what makes the host wait for the device: reading a number (`item`, `tolist`,
`bool`), indexing by a mask, `nonzero`, and operations that check their input on the host (`multinomial` of one draw,
`cholesky`). `--lines` names the lines of the priors that cost most.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections import Counter
from dataclasses import replace
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.machine import describe
from icl.network import kernels
from icl.network.config import TabularConfig
from icl.network.model import TabularTransformer
from icl.training.compiled import compile_blocks
from icl.training.optim import MuonAdamW, OptimConfig
from icl.training.pretraining import task_loss
from icl.training.steps import sample_step
from priors import CompanionColumns, MixturePrior, Prior, ShapeSampler, draw
from priors.stream import one_thread, seeded_generator

PRIORS: list[Prior] = [MixturePrior(task="classification"), MixturePrior(task="regression")]
SHAPES = ShapeSampler(n_cells=32_000, max_tasks=128, rows=(32, 1024), features=(2, 64), mean_features=9.0)
"""Of configs/base.yaml."""
_ROOT = str(Path(__file__).parents[1])
_FREE = {"empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided", "detach", "lift_fresh", "alias"}
_WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "linalg_cholesky", "linalg_eigh"}


class Count(TorchDispatchMode):
    """Counts what is dispatched inside it; attributes kernels, syncs and (where asked) lines of code."""

    def __init__(self, by_line: bool = False):
        super().__init__()
        self.kernels, self.syncs, self.by_line = 0, 0, by_line
        self.lines: Counter[tuple[str, str]] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name not in _FREE and not _is_view(func):
            self.kernels += 1
            self._note("kernels")
        if _waits(name, args):
            self.syncs += 1
            self._note("syncs")
        return func(*args, **(kwargs or {}))

    def read(self) -> None:
        """Numbers were read in bulk, which is not dispatched on a CPU."""
        self.syncs += 1
        self._note("syncs")

    def _note(self, what: str) -> None:
        if self.by_line:
            frames = [f for f in traceback.extract_stack() if f"{_ROOT}/priors/" in f.filename]
            frames = [f for f in frames if not f.filename.endswith("draw.py")] or frames
            if frames:
                place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
                self.lines[what, f"{place} {frames[-1].line}"] += 1


def _is_view(func) -> bool:
    return any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)


def _waits(name: str, args) -> bool:
    if name in ("index", "index_put", "index_put_", "_unsafe_index"):
        return any(x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1])
    if name == "multinomial":
        return args[1] == 1 or not (len(args) > 2 and args[2])
    return name in _WAITS


def counted(work, by_line: bool = False) -> Count:
    """What `work()` dispatches."""
    whole, torch.Tensor.tolist = torch.Tensor.tolist, _tolist  # type: ignore[method-assign]
    _counters.append(Count(by_line))
    draw.AS_ACCELERATOR = True
    try:
        with _counters[-1]:
            work()
    finally:
        draw.AS_ACCELERATOR = False
        torch.Tensor.tolist = whole  # type: ignore[method-assign]
    return _counters.pop()


_counters: list[Count] = []
_plain_tolist = torch.Tensor.tolist


def _tolist(tensor: torch.Tensor):
    _counters[-1].read()
    return _plain_tolist(tensor)


def prior_batches(n_steps: int, companions: CompanionColumns | None, by_line: bool = False) -> list[Count]:
    """One count for each batch of so many steps."""
    found = []
    for step in range(n_steps):
        for k, prior in enumerate(PRIORS):
            shape, g = SHAPES.sample(seeded_generator(step, k)), seeded_generator(step, k, 1)

            def work(prior=prior, shape=shape, g=g):
                batch = prior.sample(shape, g)
                if companions is not None:
                    companions.shown(batch, companions.drawn(batch.n_context, g), g)

            with one_thread():
                found.append(counted(work, by_line))
    return found


def shared_draws(n_draws: int) -> list[Count]:
    """One count for each batch where a draw makes those of eight steps (`--data.draws_together 8`)."""
    found = []
    for number in range(n_draws):
        for k, prior in enumerate(PRIORS):
            shape = SHAPES.sample(seeded_generator(number, k))
            many, g = replace(shape, n_tasks=8 * shape.n_tasks), seeded_generator(number, k, 1)
            with one_thread():
                whole = counted(lambda prior=prior, many=many, g=g: prior.sample(many, g))
            whole.kernels, whole.syncs = round(whole.kernels / 8), round(whole.syncs / 8)
            found.append(whole)
    return found


def training_steps(n_steps: int) -> dict[str, list[Count]]:
    """Forward and backward of a batch, and the optimiser's step, at base's width."""
    model = TabularTransformer(TabularConfig(d_embed=96, n_layers=6, n_heads=3))
    optimizer = MuonAdamW(model, OptimConfig())
    shapes = ShapeSampler(n_cells=1_000, rows=(32, 64), features=(2, 8))
    found: dict[str, list[Count]] = {"forward and backward of a batch": [], "optimiser's step": []}
    for step in range(n_steps):
        for batch in sample_step(PRIORS, shapes, 0, step):
            found["forward and backward of a batch"].append(
                counted(lambda batch=batch: task_loss(model, batch).backward())
            )
        found["optimiser's step"].append(counted(optimizer.step))
        optimizer.zero_grad()
    return found


def graphs(n_batches: int, most_rows: int | None = None) -> int:
    """Graphs that torch.compile takes from the blocks over so many batches, run without a compiler.

    `most_rows`: rows that attention takes at a time, as on a GPU; the graphs of more pieces are others.
    """
    n_graphs = 0

    def backend(graph, inputs):
        nonlocal n_graphs
        n_graphs += 1
        return graph.forward

    torch.compiler.reset()
    model = TabularTransformer(TabularConfig(d_embed=96, n_layers=6, n_heads=3))
    compile_blocks(model, backend=backend)
    shapes = ShapeSampler(n_cells=1_500, max_tasks=128, rows=(32, 512), features=(2, 64), mean_features=9.0)
    with mock.patch.dict(kernels.MOST_ROWS, {} if most_rows is None else {"cpu": most_rows}):
        for step in range(n_batches // 2):
            for batch in sample_step(PRIORS, shapes, 0, step):
                task_loss(model, batch)
    torch.compiler.reset()
    return n_graphs


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=25, help="of two batches")
    parser.add_argument("--lines", type=int, default=0, help="print so many of the dearest lines")
    parser.add_argument("--batches", type=int, default=100, help="for the graphs; 0 leaves them out")
    parser.add_argument("--out", type=Path, help="Markdown file to write too")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = {"prior batch": prior_batches(options.steps, None, options.lines > 0)}
    rows["prior batch, one draw for eight"] = shared_draws(max(1, options.steps // 4))
    rows["prior batch, all with companions"] = prior_batches(options.steps, CompanionColumns(share=1.0))
    rows |= training_steps(4)
    lines = [
        "# Kernels and host syncs",
        "",
        f"{describe('torch')}; counted as they are dispatched on a CPU, shapes of configs/base.yaml.",
        "",
        "| what | kernels, mean | most | host syncs, mean | most |",
        "|---|---|---|---|---|",
    ]
    for label, counts in rows.items():
        kernels, syncs = [c.kernels for c in counts], [c.syncs for c in counts]
        mean_kernels, mean_syncs = sum(kernels) / len(counts), sum(syncs) / len(counts)
        lines.append(f"| {label} | {mean_kernels:,.0f} | {max(kernels):,} | {mean_syncs:,.1f} | {max(syncs):,} |")
    if options.batches:
        whole, cut = graphs(options.batches), graphs(options.batches, most_rows=384)
        lines += [
            "",
            f"Graphs of torch.compile, for the six blocks together, over {options.batches} batches of 1,500 cells: "
            f"{whole}; {cut} where attention takes 384 rows at a time, as many times less as the batches are smaller "
            f"than 256,000 cells.",
        ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.lines:
        total = sum((c.lines for c in rows["prior batch"]), Counter())
        n = len(rows["prior batch"])
        for what in ("syncs", "kernels"):
            own = Counter({place: count for (kind, place), count in total.items() if kind == what})
            for place, count in own.most_common(options.lines):
                print(f"{count / n:8.1f} {what} a batch  {place}")
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
