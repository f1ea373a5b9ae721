"""Rows of Parquet shards predicted here and by workers of Ray: equal answers, rows a second, memory, a killed worker.

    python -m benchmarks.scale.predict --folder FOLDER [--of network linear] [--ways here ray-1 ray-2 ray-4 kill]

`network` is checkpoints/base answering by its fast reader, one member, 64 labelled rows of four columns, no companions:
the dearest part of a prediction, at its cheapest. `linear` does the same to shards with scikit-learn's least squares in
place of the network: what reading, writing and the engine cost by themselves. `kill` is ray-2 with one worker killed
(SIGKILL) when a quarter of the shards are done. A line for each run goes to benchmarks/scale/predict.jsonl; those that
are there are not run again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.machine import describe
from benchmarks.scale.measured import Measurements, family_of, memory_of, start_ray, watched
from icl.scale.shards import work_through

OUT = Path(__file__).with_name("predict.jsonl")
COLUMNS = ["a", "b", "c", "d"]
N_LABELLED = 64
ROWS = {"network": 500_000, "linear": 10_000_000}
N_SHARDS = 20


def draw(seed: int, n: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(rng.standard_normal((n, len(COLUMNS)), dtype=np.float32), columns=COLUMNS)


def labelled() -> tuple[pd.DataFrame, np.ndarray]:
    X = draw(0, N_LABELLED)
    noise = np.random.default_rng(1).standard_normal(N_LABELLED)
    return X, (X["a"] - X["b"] ** 2 + 0.3 * noise).to_numpy()


def write(folder: Path, n_rows: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    n = n_rows // N_SHARDS
    for k in range(N_SHARDS):
        path = folder / f"part-{k:03d}.parquet"
        if not (path.is_file() and pq.read_metadata(path).num_rows == n):
            rows = draw(10 + k, n).assign(id=np.arange(k * n, (k + 1) * n))
            rows.to_parquet(path.with_suffix(".partial"), index=False)
            path.with_suffix(".partial").rename(path)


@dataclass(frozen=True)
class LinearShard:
    """Least squares in the place of the network."""

    model: Any
    identity: dict

    def __call__(self, source: Path, target: Path) -> int:
        file = pq.ParquetFile(source)
        partial, writer = target.with_suffix(".partial"), None
        for batch in file.iter_batches(65_536):
            rows = batch.to_pandas()
            made = pa.table({"id": rows["id"], "prediction": self.model.predict(rows[COLUMNS])})
            writer = writer or pq.ParquetWriter(partial, made.schema)
            writer.write_table(made)
        assert writer is not None
        writer.close()
        partial.rename(target)
        return file.metadata.num_rows


def run(of: str, source: Path, out: Path, engine: str, workers: int) -> None:
    X, y = labelled()
    if of == "linear":
        from sklearn.linear_model import LinearRegression

        work = LinearShard(LinearRegression().fit(X, y), {"of": "linear"})
        work_through(work, source, out, engine, workers)
        return
    from icl import ICLRegressor

    model = ICLRegressor("base", n_estimators=1, companions=(), fast_queries=True, device="cpu").fit(X, y)
    model.predict_dataset(source, out, columns=["id"], engine=engine, workers=workers)


def kill_one_worker(out: Path, killed: list[int]) -> None:
    """Waits until a quarter of the shards are there, then kills one of the processes that make the others."""
    while len(list(out.glob("*.parquet"))) < N_SHARDS // 4:
        time.sleep(0.1)
    while not killed:
        for pid in family_of(os.getpid()):
            if memory_of(pid)[0].startswith("ray::MapWorker") and not killed:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
        time.sleep(0.1)


def difference(one: Path, other: Path) -> tuple[int, float]:
    """Rows, and the largest difference of two predictions of one row."""
    n, largest = 0, 0.0
    for path in sorted(one.glob("*.parquet")):
        a, b = pq.read_table(path), pq.read_table(other / path.name)
        assert a["id"].equals(b["id"])
        n += a.num_rows
        largest = max(largest, float(np.abs(a["prediction"].to_numpy() - b["prediction"].to_numpy()).max()))
    return n, largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--of", nargs="*", default=list(ROWS))
    parser.add_argument("--ways", nargs="*", default=["here", "ray-2", "kill", "ray-1", "ray-4"])
    parser.add_argument("--rows", type=int, help="in place of what each of them takes")
    options = parser.parse_args()
    measured = Measurements(OUT)
    for of in options.of:
        n_rows = options.rows or ROWS[of]
        source, here = options.folder / f"rows-{n_rows}", options.folder / f"{of}-{n_rows}-here"
        write(source, n_rows)
        for way in options.ways:
            if measured.find(of=of, way=way, rows=n_rows):
                continue
            out, workers = options.folder / f"{of}-{n_rows}-{way}", int(way[-1]) if way.startswith("ray") else 2
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            killed: list[int] = []
            if way != "here":
                ray = start_ray(workers)
            else:
                import torch

                torch.set_num_threads(2)
            if way == "kill":
                threading.Thread(target=kill_one_worker, args=(out, killed), daemon=True).start()
            with watched() as spent:
                run(of, source, out, "local" if way == "here" else "ray", workers)
            if way != "here":
                ray.shutdown()
            n_found, largest = difference(out, here)
            row = {"of": of, "way": way, "rows": n_rows, **spent, "rows_found": n_found, "killed": len(killed)}
            row |= {"largest_difference": largest, "files": len(list(out.glob("*.parquet")))}
            measured.add(row | {"machine": describe("torch", "ray", "pyarrow")})


if __name__ == "__main__":
    main()
