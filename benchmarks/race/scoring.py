"""Real tables, and the time that a prediction takes."""

from __future__ import annotations

import copy
import os
import time
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.tables import load_protocol, ours, read_index

# (context rows, query rows, features)
SIZES = ((500, 250, 10), (1_000, 500, 50), (1_000, 1_000, 20))
MAX_ROWS = 2_000  # context and query rows that the protocol takes of a table


def choose_tables(folder: Path, max_cells: int = 0) -> list[dict]:
    """Public benchmark tables with at most `max_cells` cells after the protocol's cut."""
    index = read_index(folder, tiers="1")
    if max_cells:
        index = index[index.n.clip(upper=MAX_ROWS) * index.p <= max_cells]
    return index.to_dict("records")


def score(model: nn.Module, name: str, folder: Path, tables: list[dict]) -> pd.DataFrame:
    """One row per table: the protocol's metrics on its first split, one member; of the network by itself."""
    protocol = load_protocol(folder)
    rows = [protocol.run_one(table, name, ours(model, 1, companions=()), "raw", seed=0) for table in tables]
    failed = [f"{row['dataset']}: {row['error']}" for row in rows if row["error"]]
    if failed:
        raise RuntimeError(f"{name} failed on {len(failed)} of {len(rows)} tables: {'; '.join(failed)}")
    return pd.DataFrame(rows, columns=protocol.COLS)


def prediction_gflop(model: nn.Module, n_context: int, n_query: int, n_features: int) -> float:
    """Multiplications and additions of one classification forward pass in billions, attention included."""
    model = copy.deepcopy(model).to("meta")  # counts without computing
    X = torch.empty(1, n_context + n_query, n_features, device="meta")
    with FlopCounterMode(display=False) as counter:
        model(X, torch.empty(1, n_context, device="meta", dtype=torch.long), None, 2)
    return counter.get_total_flops() / 1e9


def prediction_costs(models: dict[str, nn.Module], n_repeats: int = 3, n_threads: int = 2) -> pd.DataFrame:
    """What one classification forward pass (one member) costs, for each of `SIZES`.

    Candidates take turns, so that a load on the machine meets them all.

    Returns:
        candidate, size, gflop, wall_s and cpu_s (of all threads; the least of `n_repeats` each), and load: jobs that
        wanted a processor meanwhile, ours among them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    generator = torch.Generator().manual_seed(0)
    best: dict[tuple[str, tuple[int, int, int]], tuple[float, float]] = {}
    try:
        for size in SIZES:
            n_context, n_query, n_features = size
            X = torch.randn(1, n_context + n_query, n_features, generator=generator)
            y = torch.randint(0, 2, (1, n_context), generator=generator)
            for repeat in range(n_repeats + 1):  # the first one warms up
                for name, model in models.items():
                    wall, cpu = time.perf_counter(), time.process_time()
                    with torch.inference_mode():
                        model(X, y, None, 2)
                    took = time.perf_counter() - wall, time.process_time() - cpu
                    if repeat:
                        best[name, size] = tuple(map(min, took, best.get((name, size), took)))
    finally:
        torch.set_num_threads(before)
    rows = [
        {
            "candidate": name,
            "size": f"{size[0]}x{size[2]}+{size[1]}",
            "gflop": prediction_gflop(models[name], *size),
            "wall_s": wall,
            "cpu_s": cpu,
        }
        for (name, size), (wall, cpu) in best.items()
    ]
    return pd.DataFrame(rows).assign(load=os.getloadavg()[0])
