"""False alarms of a mean that is looked at after every batch, and labels saved; writes benchmarks/monitor.md.

python benchmarks/monitor.py --streams 300
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy

import numpy as np
import pandas as pd

from icl.inference import Mean, monitor

N_BATCHES, LABELS, ROWS, SHARE = 60, 20, 100, 0.8
CLAIMS = (0.7, 0.75)


def stream(rng: np.random.Generator, accuracy: float) -> list[pd.DataFrame]:
    out = []
    for _ in range(N_BATCHES):
        y = (rng.random(ROWS) < SHARE) * 1.0
        f = np.where(rng.random(ROWS) < accuracy, y, 1 - y)
        out.append(pd.DataFrame({"ok": np.where(np.arange(ROWS) < LABELS, y, np.nan), "f": f}))
    return out


def one(seed: int) -> dict[str, float]:
    rng = np.random.default_rng([7, seed])
    batches = stream(rng, 0.9)
    found: dict[str, float] = {}
    y = np.concatenate([b["ok"].dropna() for b in batches])
    n = LABELS * np.arange(2, N_BATCHES + 1)
    means = np.cumsum(y)[n - 1] / n
    found["fixed"] = bool((np.abs(means - SHARE) > 1.96 * np.sqrt(means * (1 - means) / n)).any())
    for name, predictions in (("labels", None), ("predictions", "f")):
        watch = monitor(Mean("ok"), 0.95, predictions=predictions)
        for batch in batches:
            watch.update(batch)
        frame = watch.to_frame()
        found[f"{name}: missed"] = bool(((frame["lower"] > SHARE) | (frame["upper"] < SHARE)).any())
        found[f"{name}: alarm"] = watch.alarm()[0]
        found[f"{name}: width"] = float(np.ptp(watch.interval()))
        for claim in CLAIMS:
            first = np.flatnonzero(frame["lower"] > claim)
            found[f"{name}: > {claim}"] = LABELS * (first[0] + 1) if len(first) else np.nan
    return found


def needed(claim: float, power: float = 0.9) -> float:
    """Labels that a test at a fixed n, one-sided .025, needs to show the claim with this probability."""
    z = 1.959964 + {0.9: 1.281552}[power]
    return float(np.ceil(z**2 * SHARE * (1 - SHARE) / (SHARE - claim) ** 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--rows", type=Path, help="CSV of streams so far, so that a run may be cut into pieces")
    arguments = parser.parse_args()
    streams, rows = arguments.streams, arguments.rows
    done = pd.read_csv(rows) if rows is not None and rows.exists() else pd.DataFrame()
    table = pd.concat([done, pd.DataFrame([one(seed) for seed in range(len(done), streams)])], ignore_index=True)
    if rows is not None:
        table.to_csv(rows, index=False)
    error = np.sqrt(0.05 * 0.95 / streams)
    lines = [
        "# A mean that is looked at after every batch", "",
        f"{streams} streams of {N_BATCHES} batches of {ROWS} rows, {LABELS} of them labeled; true share {SHARE}; "
        f"predictions right on 90% of rows; level .95 (one Monte Carlo error of .05: {error:.3f}). Written by "
        "`benchmarks/monitor.py`.",
        "", "| | ever wrong about the mean | alarm without change | width at the end |", "|---|---|---|---|",
        f"| fixed 95% interval, looked at each time | {table['fixed'].mean():.3f} | | |",
    ]  # fmt: skip
    for name in ("labels", "predictions"):
        missed, alarm, width = (table[f"{name}: {what}"].mean() for what in ("missed", "alarm", "width"))
        lines.append(f"| sequence, {name} | {missed:.3f} | {alarm:.3f} | {width:.4f} |")
    lines += ["", "Labels until a claim is decided (median; in brackets how many streams got there), beside those that"]
    lines += ["a test at a fixed time, which may be looked at once, needs for a power of .9.", ""]
    lines += ["| claim | labels alone | with predictions | fixed n |", "|---|---|---|---|"]
    for claim in CLAIMS:
        cells = []
        for name in ("labels", "predictions"):
            when = table[f"{name}: > {claim}"]
            cells.append(f"{when.fillna(np.inf).median():.0f} ({when.notna().mean():.0%})")
        lines.append(f"| mean > {claim} | {cells[0]} | {cells[1]} | {needed(claim):.0f} |")
    text = "\n".join(lines) + "\n"
    (Path(__file__).parent / "monitor.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
