"""How long an interval takes and how much memory, beside ppi-python on the same arrays in one run.

    pip install --target FOLDER --no-deps ppi-python==0.2.3 numba llvmlite
    python benchmarks/inference_speed.py --peer FOLDER

Writes benchmarks/inference_speed.md. Without --peer only our own times. Every call is made twice before it counts (the
peer compiles on its first call); the best of the repetitions is kept, for both.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from machine import describe

from icl.inference import OLS, Logistic, Mean, Quantile, infer
from icl.pages.table import Row, Table

HERE = Path(__file__).parent
NAMES = [f"x{j}" for j in range(10)]
N_LABELED, LEVEL = 1_000, 0.9


def draw(n_rows: int, seed: int) -> pd.DataFrame:
    """Ten covariates, a number and a binary outcome, predictions of both."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(n_rows, 10)), columns=NAMES)
    eta = table.to_numpy() @ np.linspace(-0.5, 0.5, 10)
    table["y"] = eta + rng.normal(size=n_rows)
    table["f"] = eta + 0.3 * (table["y"] - eta) + 0.5 * rng.normal(size=n_rows)
    table["event"] = (rng.random(n_rows) < 1 / (1 + np.exp(-eta))).astype(float)
    table["p"] = 1 / (1 + np.exp(-(eta + 0.5 * (table["event"] - 0.5) + 0.5 * rng.normal(size=n_rows))))
    return table


def best_of(call: Callable[[], object], repetitions: int) -> tuple[float, float, object]:
    """Seconds of the fastest call, on the wall and of the processor, and its answer; short calls repeat for half a
    second, since what else the machine does weighs more on them."""
    wall = cpu = np.inf
    begin, done = time.perf_counter(), 0
    while done < repetitions or time.perf_counter() - begin < 0.5:
        done += 1
        start, start_cpu = time.perf_counter(), time.process_time()
        answer = call()
        wall, cpu = min(wall, time.perf_counter() - start), min(cpu, time.process_time() - start_cpu)
    return wall, cpu, answer


def ours(estimand, labeled: pd.DataFrame, unlabeled: pd.DataFrame, f: str, **options) -> np.ndarray:
    """(2, P) bounds."""
    result = infer(estimand, labeled=labeled, unlabeled=unlabeled, predictions=f, level=LEVEL, **options)
    return result.interval().to_numpy().T


def compare(n_unlabeled: int, n_quantile: int, repetitions: int, with_peer: bool) -> list[dict]:
    """A row for each estimand: seconds of both programs on the same rows, and how far their bounds lie apart."""
    table = draw(N_LABELED + n_unlabeled, seed=0)
    L, U = table[:N_LABELED], table[N_LABELED:].drop(columns=["y", "event"])
    X, XU = (np.column_stack([np.ones(len(part)), part[NAMES].to_numpy()]) for part in (L, U))
    column = lambda part, name: part[name].to_numpy()
    V = U[:n_quantile]
    number = column(L, "y"), column(L, "f"), column(U, "f")
    binary = column(L, "event"), column(L, "p"), column(U, "p")
    if with_peer:
        import ppi_py
    cases = [
        ("mean", Mean("y"), U, "f", lambda: ppi_py.ppi_mean_ci(*number, alpha=1 - LEVEL)),
        ("OLS", OLS("y", covariates=NAMES), U, "f",
         lambda: ppi_py.ppi_ols_ci(X, number[0], number[1], XU, number[2], alpha=1 - LEVEL)),
        ("logistic", Logistic("event", covariates=NAMES), U, "p",
         lambda: ppi_py.ppi_logistic_ci(X, binary[0], binary[1], XU, binary[2], alpha=1 - LEVEL)),
        ("median", Quantile("y"), V, "f",
         lambda: ppi_py.ppi_quantile_ci(number[0], number[1], column(V, "f"), 0.5, alpha=1 - LEVEL)),
        ("median", Quantile("y"), U, "f", None),
    ]  # fmt: skip
    rows = []
    for name, estimand, unlabeled, f, peer in cases:
        row = {"estimand": name, "unlabeled rows": len(unlabeled)}
        call = partial(ours, estimand, L, unlabeled, f)
        call()
        row["ours (s)"], row["ours (CPU s)"], bounds = best_of(call, repetitions)
        if with_peer and peer is not None:
            row["compat (s)"], row["compat (CPU s)"], same = best_of(partial(call, compat="ppi_py"), repetitions)
            peer()
            row["peer (s)"], row["peer (CPU s)"], other = best_of(peer, repetitions)
            other = np.asarray(other, dtype=float).reshape(2, -1)
            width = other[1] - other[0]
            row["times faster"] = row["peer (s)"] / row["ours (s)"]
            row["times faster, CPU"] = row["peer (CPU s)"] / row["ours (CPU s)"]
            row["compat off by (share of width)"] = float((np.abs(same - other) / width).max())
            row["default width / peer's"] = float(((bounds[1] - bounds[0]) / width).mean())
        rows.append(row)
        print(row, flush=True)
    return rows


STREAM = """
import sys, time
from pathlib import Path
from icl.inference import Logistic, OLS, Mean, infer
import pandas as pd, pyarrow.dataset
labeled, path, names = pd.read_parquet(sys.argv[1]), sys.argv[2], [f"x{j}" for j in range(10)]
# Not getrusage: its peak is inherited from the parent process.
peak_memory = lambda: int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
before = peak_memory()
for estimand, f in ((Mean("y"), "f"), (OLS("y", covariates=names), "f"), (Logistic("event", covariates=names), "p")):
    start = time.perf_counter()
    result = infer(estimand, labeled=labeled, unlabeled=path, predictions=f)
    peak = peak_memory()
    print(type(estimand).__name__, result.n_unlabeled, time.perf_counter() - start, peak, before, sep="\\t", flush=True)
"""


IMPORT = """
import time
start = time.perf_counter()
import icl.inference
print(time.perf_counter() - start)
"""

QUANTILE = """
import time
from pathlib import Path
import numpy as np, pandas as pd, scipy.special
from icl.inference import Quantile, infer
rng = np.random.default_rng(0)
y, other = rng.normal(size=(2, {n} + {N}))
labeled = pd.DataFrame(dict(y=y[:{n}], f=y[:{n}] + other[:{n}]))
unlabeled = pd.DataFrame(dict(f=y[{n}:] + other[{n}:]))
infer(Quantile("y"), labeled=labeled, unlabeled=unlabeled[:100], predictions="f").interval()  # imports what it needs
resident = lambda key: int(Path("/proc/self/status").read_text().split(key)[1].split()[0]) / 1024
Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
before, start = resident("VmRSS:"), time.perf_counter()
infer(Quantile("y"), labeled=labeled, unlabeled=unlabeled, predictions="f").interval()
print(time.perf_counter() - start, resident("VmHWM:") - before, sep="\\t")
"""


def promises(rows: list[dict], n_unlabeled: int, repetitions: int) -> list[dict]:
    """What was promised for one machine of two cores, beside what was measured; all in processes of their own."""

    def best(code: str) -> list[float]:
        command = [sys.executable, "-c", code]
        runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(repetitions)]
        return [min(column) for column in zip(*(map(float, out.split("\t")) for out in runs), strict=True)]

    seconds, mebibytes = best(QUANTILE.format(n=N_LABELED, N=n_unlabeled))
    logistic = next(row for row in rows if row["estimand"] == "logistic")
    found = [
        (f"logistic, {n_unlabeled:,} unlabeled rows, P = 11", logistic["ours (s)"], "s", 1.0),
        (f"median, {n_unlabeled:,} unlabeled rows", seconds, "s", 1.0),
        ("the same, memory beyond the table", mebibytes * 2**20 / 1e6, "MB", 200.0),
        ("import icl.inference", best(IMPORT)[0], "s", 0.5),
    ]
    for row in rows:
        if "times faster" in row:
            faster = min(row["times faster"], row["times faster, CPU"])
            at_least = 50.0 if row["estimand"] == "median" else 5.0
            found.append((f"{row['estimand']}, {row['unlabeled rows']:,} rows, beside the peer", faster,
                          "times faster", at_least))  # fmt: skip
    table = []
    for name, got, unit, bar in found:
        is_kept = got >= bar if unit == "times faster" else got <= bar
        side = "at least" if unit == "times faster" else "at most"
        table.append(
            {"": name, "measured": got, "promised": f"{side} {bar:g} {unit}", "kept": "yes" if is_kept else "NO"}
        )
    return table


def stream(n_rows: int) -> list[dict]:
    """Time and peak memory of a process of its own that reads `n_rows` unlabeled rows from Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        path, labeled, part = Path(folder) / "unlabeled.parquet", Path(folder) / "labeled.parquet", 500_000
        draw(N_LABELED, seed=1).to_parquet(labeled)
        writer = None
        for i in range(-(-n_rows // part)):
            rows = draw(min(part, n_rows - i * part), seed=100 + i).drop(columns=["y", "event"])
            block = pa.Table.from_pandas(rows, preserve_index=False)
            writer = writer or pq.ParquetWriter(path, block.schema)
            writer.write_table(block)
        writer.close()
        size = path.stat().st_size / 2**20
        command = [sys.executable, "-c", STREAM, str(labeled), str(path)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = []
    for line in lines:
        name, N, seconds, peak, before = line.split("\t")
        row = {"estimand": name, "unlabeled rows": int(N), "seconds": float(seconds), "peak memory (MiB)": float(peak)}
        rows.append({**row, "of which imports (MiB)": float(before), "file (MiB)": size})
        print(rows[-1], flush=True)
    return rows


def markdown(rows: list[dict]) -> str:
    """A table; numbers with three significant digits."""

    def show(value: object) -> str:
        if isinstance(value, float):
            return "" if np.isnan(value) else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
        return f"{value:,}" if isinstance(value, int) else str(value)

    frame = pd.DataFrame(rows)
    lines = [Row([show(v) for v in row]) for row in frame.itertuples(index=False)]
    return Table("", list(frame.columns), lines).to_markdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", type=Path, help="folder with ppi-python 0.2.3")
    parser.add_argument("--rows", type=int, default=1_000_000, help="unlabeled rows in memory")
    parser.add_argument("--quantile-rows", type=int, default=20_000, help="unlabeled rows of the peer's quantile")
    parser.add_argument("--stream-rows", type=int, default=10_000_000, help="unlabeled rows on disk; 0: skip")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "inference_speed.md")
    options = parser.parse_args()
    if options.peer:
        sys.path[:] = [p for p in sys.path if Path(p).resolve() != HERE]  # numba imports a `coverage`, not ours
        sys.path.append(str(options.peer))
    version = next(iter(importlib.metadata.distributions(name="ppi-python", path=[str(options.peer)])), None)
    text = [f"# Speed and memory of the inference layer\n\n{describe('numpy', 'scipy', 'pandas', 'pyarrow')}, "
            f"ppi-python {version.version if version else 'not run'}; {N_LABELED:,} labeled rows, P = 11; best of "
            f"{options.repetitions}. Reproduce: `python benchmarks/inference_speed.py --peer FOLDER`.\n"]  # fmt: skip
    rows = compare(options.rows, options.quantile_rows, options.repetitions, version is not None)
    text += ["## In memory, side by side\n", markdown(rows)]
    if version is not None:
        text.append("\n`compat` reproduces the peer; its median stands on a grid of 5,000 points, ours does not.")
    text += ["\n## Promised and measured\n", markdown(promises(rows, options.rows, options.repetitions))]
    if options.stream_rows:
        text.append("\n## Streamed from Parquet, in a process of its own\n")
        text.append(markdown(stream(options.stream_rows)))
    text.append(f"\nPeak memory of the process that ran the table in memory: "
                f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB.")  # fmt: skip
    options.out.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
