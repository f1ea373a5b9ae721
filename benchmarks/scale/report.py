"""The page benchmarks/scale.md from what infer.py, predict.py and training.py measured.

python -m benchmarks.scale.report
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from benchmarks.scale.measured import Measurements

HERE = Path(__file__).parent
OUT = HERE.with_suffix(".md")
NODES, CORES, ROWS = 100, 32, 10_000_000_000
SPARE = 0.8
"""Share of the cores' time that is work, where shards are many times as many as workers."""
STORAGE = 2.5e9
"""Bytes a second that one node reads, of a 25 Gbit network."""
BYTES_OF_INFER = 12
BYTES_OF_PREDICT = {"read": 24, "written": 12}
PASSES = {"infer, mean, all passes": 4, "infer, ols, all passes": 4, "infer, median, all passes": 3}
"""Over the rows, counted."""
WAYS = {"here": "in this process", "ray": "Ray"}


def infer_table(rows: list[dict]) -> list[str]:
    if not rows:
        return ["Not measured yet.", ""]
    lines = [
        "| of | where | seconds | of processors | peak MB, this process | a worker | from this process, at most |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        here = next((r for r in rows if (r["of"], r["rows"], r["way"]) == (row["of"], row["rows"], "here")), None)
        where = WAYS[row["way"]] + (f", {row['workers']} workers" if row["way"] == "ray" else "")
        apart = "" if here is None or row is here else f"{largest_apart(row, here):.1e}"
        peak = row["peak_mb"]
        lines.append(
            f"| {row['of']}, {row['rows']:.0e} rows | {where} | {row['seconds']:,.0f} | {row['cpu_seconds']:,.0f} | "
            f"{peak.get('this process', 0):,} | {peak.get('a worker', '')} | {apart} |"
        )
    return [*lines, ""]


def missing(rows: list[dict]) -> list[str]:
    """A sentence where Ray was not measured."""
    if any(row["way"] != "here" for row in rows):
        return []
    return [
        "**Through Ray: not measured yet.** The scripts take up where they were stopped. That the answers are the same "
        "is tested without Ray (tests/inference/test_infer_blocks.py: functions and sums travel as Ray sends them) and "
        "with it (`pytest -m slow tests/test_scale.py`).",
        "",
    ]


def largest_apart(row: dict, other: dict) -> float:
    """Relative difference of estimates, covariances and intervals."""
    found = 0.0
    for name in ("estimate", "covariance", "interval"):
        a, b = np.array(row[name]), np.array(other[name])
        found = max(found, float((np.abs(a - b) / np.abs(b).max()).max()))
    return found


def predict_table(rows: list[dict]) -> list[str]:
    if not rows:
        return ["Not measured yet.", ""]
    lines = [
        "| what | where | seconds | of processors | rows a second | a second of processors | peak MB: this process, a "
        "worker | rows found, from this process at most |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        way = row["way"]
        where = "in this process, 2 threads" if way == "here" else f"Ray, {way[-1]} workers"
        where = "Ray, 2 workers, one killed" if way == "kill" else where
        peak = row["peak_mb"]
        lines.append(
            f"| {row['of']}, {row['rows']:.0e} rows | {where} | {row['seconds']:,.0f} | {row['cpu_seconds']:,.0f} | "
            f"{row['rows'] / row['seconds']:,.0f} | {row['rows'] / row['cpu_seconds']:,.0f} | "
            f"{peak.get('this process', 0):,}, {peak.get('a worker', '-')} | {row['rows_found']:,}, "
            f"{row['largest_difference']:.0e} |"
        )
    return [*lines, ""]


def model_of(infer: list[dict], predict: list[dict]) -> list[str]:
    """The cost model, and what it says of 100 nodes and 1e10 rows."""
    lines = [
        f"Assumed on paper: {NODES} nodes of {CORES} cores like one of this machine's, {SPARE:.0%} of their time spent "
        f"at work (shards many times as many as workers, one straggler in twenty), {STORAGE / 1e9:g} GB/s of storage "
        "for each node, a driver that holds what comes back. Nobody has run this.",
        "",
        "| what | processor time a row | bytes a row | a core reads | cores of a node that its storage feeds | "
        f"{ROWS:.0e} rows on {NODES} nodes |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    costs = []
    for row in infer:
        if row["way"] == "here" and row["rows"] == max(r["rows"] for r in infer if r["of"] == row["of"]):
            costs.append((f"infer, {row['of']}, all passes", row["cpu_seconds"] / row["rows"], BYTES_OF_INFER))
    for row in predict:
        if row["way"] == "here":
            costs.append((f"predict, {row['of']}", row["cpu_seconds"] / row["rows"], BYTES_OF_PREDICT["read"]))
    for what, seconds, n_bytes in costs:
        passes = PASSES.get(what, 1)
        rate = passes * n_bytes / seconds  # bytes a second and core
        fed = STORAGE / rate
        cores = NODES * min(CORES * SPARE, fed)
        taken = ROWS * seconds / cores
        lines.append(
            f"| {what} | {1e6 * seconds:.2f} µs | {n_bytes} x {passes} | {rate / 1e6:,.1f} MB/s | {fed:,.0f} | "
            f"{taken:,.0f} s |"
        )
    return [*lines, ""]


def written(name: str, first: int) -> list[str]:
    """Lines of what another script of this folder wrote, without its title."""
    path = HERE / name
    return path.read_text(encoding="utf-8").rstrip().splitlines()[first:] if path.is_file() else ["Not measured yet."]


def main() -> None:
    infer, predict = (Measurements(HERE / f"{name}.jsonl").rows() for name in ("infer", "predict"))
    machines = list(dict.fromkeys(row["machine"] for row in [*infer, *predict]))
    lines = [
        "# Past one machine",
        "",
        "`benchmarks/scale/`: `infer.py`, `predict.py` and `training.py` measure, `report.py` writes this page.",
        "",
        *(f"{machine}." for machine in machines),
        "",
        "Two cores and nothing else at work. Seconds of processors are those of this process and of all that it "
        "started; a way through Ray counts the start of Ray, some four seconds of each core. Memory is what a process "
        "held by itself, or shared by its part (Linux' smaps), twice a second.",
        "",
        "## `infer` with unlabeled rows in Parquet",
        "",
        "1,000 labeled rows; x, z and the prediction f in float32, 12 bytes a row, 20 shards.",
        "",
        *infer_table(infer),
        *missing(infer),
        "## Prediction, shard by shard",
        "",
        "Four float32 columns and an id in, id and prediction out, 20 shards. *network*: `checkpoints/base` by its "
        "fast reader, one member, 64 labelled rows, no companions. *linear*: least squares in its place, which shows "
        "what reading, writing and the engine cost. A worker was killed at ten million rows of *linear* and at one "
        "million of *network*.",
        "",
        *predict_table(predict),
        *missing(predict),
        "## Cost model",
        "",
        *model_of(infer, predict),
        "Seconds are of work alone: starting workers, one straggler at the end and a cold storage come on top, and are "
        "more than the work of the first four.",
        "",
        "What saturates first: storage, where a row costs less than a microsecond (means, least squares); cores, "
        "everywhere else, above all with the network. What comes back to the driver is P x P numbers for each block in "
        "a pass, or about 12,000 counts for a quantile (100 kB): 1e10 rows in blocks of five million are 2,000 blocks, "
        "200 MB a pass. A fitted context of 1,000 rows and 20 columns is 160 kB in the object store, once a node.",
        "",
        "## Training",
        "",
        *written("training.md", 2),
        "",
        "By torchrun's own restarts:",
        "",
        *written("torchrun.md", 2),
        "",
        "## Without Ray",
        "",
        *written("imports.md", 0),
        "",
    ]
    OUT.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(OUT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
