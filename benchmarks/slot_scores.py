"""What the network alone is worth on real tables, as far as a time budget goes."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.tables import load_protocol, ours, read_index, score_cell
from icl.releases.folder import load_release
from icl.training.validation import kind_of, real_metrics, real_tables

METRICS = ["logloss", "auc", "acc", "r2", "crps", "nll"]
N_MEMBERS = 4


def scored(release: Path, tables: Path | None, device: torch.device, seconds: float) -> pd.DataFrame:
    """A row for each table, without companions; the order is the same at each call, so that two calls share tables.

    Args:
        release: folder of the weights.
        tables: folder of the benchmark tables; None scores the small ones that scikit-learn carries.
        seconds: no table but the first begins later.
    """
    end, rows = time.monotonic() + seconds, []
    if tables is None:
        model = load_release(release, device)
        for item in real_tables():
            kind = "clf" if kind_of(item.batch) == "classification" else "reg"
            found = real_metrics(model, item.batch.to(device))
            found = {{"log_loss": "logloss"}.get(name, name): value for name, value in found.items()}
            rows.append({"dataset": item.name.removeprefix("val/real/"), "task": kind} | found)
        return pd.DataFrame(rows)
    load_protocol(tables)
    index = read_index(tables, tiers="1").to_dict("records")
    factory = ours(str(release), N_MEMBERS, companions=(), device=str(device), random_state=0)
    for place in np.random.default_rng(0).permutation(len(index)):
        if rows and time.monotonic() > end:
            break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scikit-learn about single tables
            row, _, _ = score_cell(tables, index[place], factory, "raw", 0)
        rows.append({name: row[name] for name in ("dataset", "task", "error", *METRICS) if name in row})
    return pd.DataFrame(rows)


def means(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Means by weights, over the tables that all of them answered."""
    kept = [name for name in METRICS if name in rows]
    answered = rows[rows[kept].notna().any(axis=1)] if kept else rows[:0]
    shared = answered.groupby("dataset").weights.nunique()
    common = answered[answered.dataset.isin(shared[shared == rows.weights.nunique()].index)]
    table = common.groupby("weights")[kept].mean()
    counts = common.groupby("weights").dataset.nunique()
    return {
        str(which): {"tables": int(counts[which])} | {k: round(float(v), 5) for k, v in line.items()}
        for which, line in table.iterrows()
    }
