"""A mean, least squares and a median with 1e8 unlabeled rows: streamed here and through Ray.

    python -m benchmarks.scale.infer --folder FOLDER [--rows 100000000] [--only here] [--workers 1 2 4]

Writes the rows (12 bytes each: x, z and the prediction f in float32, in shards of five million) to FOLDER/unlabeled
once, and what was measured to benchmarks/scale/infer.jsonl, a line for each estimand and way; those that are there are
not measured again. `benchmarks/scale/report.py` makes the page.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.machine import describe
from benchmarks.scale.measured import Measurements, start_ray, watched
from icl.inference import OLS, Mean, Quantile, infer

OUT = Path(__file__).with_name("infer.jsonl")
SHARD = 5_000_000
N_LABELED = 1_000
ESTIMANDS = {"mean": Mean("y"), "ols": OLS("y", covariates=["x", "z"]), "median": Quantile("y")}


def draw(seed: int, n: int) -> dict[str, np.ndarray]:
    """y = .5 x - .3 z + e; f knows it but for noise, and is off by a tenth."""
    rng = np.random.default_rng(seed)
    x, z, e = (rng.standard_normal(n, dtype=np.float32) for _ in range(3))
    y = np.float32(0.5) * x - np.float32(0.3) * z + e
    f = y + np.float32(0.5) * rng.standard_normal(n, dtype=np.float32) + np.float32(0.1)
    return {"x": x, "z": z, "f": f, "y": y}


def write(folder: Path, n_rows: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(-(-n_rows // SHARD)):
        path = folder / f"part-{k:04d}.parquet"
        n = min(SHARD, n_rows - k * SHARD)
        if path.is_file() and pq.read_metadata(path).num_rows == n:
            continue
        columns = draw(k + 1, n)
        del columns["y"]
        # Random digits do not pack: plain pages are as small, and quicker to read.
        pq.write_table(
            pa.table(columns), path.with_suffix(".partial"), row_group_size=500_000, compression=None,
            use_dictionary=False,
        )  # fmt: skip
        path.with_suffix(".partial").rename(path)
        print(path, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--only", choices=["write", "here", "ray"])
    parser.add_argument("--estimands", nargs="*", default=list(ESTIMANDS))
    parser.add_argument("--workers", nargs="*", type=int, default=[1, 2])
    options = parser.parse_args()
    unlabeled = options.folder / f"unlabeled-{options.rows}"
    write(unlabeled, options.rows)
    labeled = pd.DataFrame(draw(0, N_LABELED)).astype(float)
    measured = Measurements(OUT)
    ways = [("here", 1)] if options.only == "here" else [("ray", w) for w in options.workers]
    ways = [] if options.only == "write" else ways if options.only else [("here", 1), *ways]
    for way, workers in ways:
        todo = [e for e in options.estimands if not measured.find(way=way, workers=workers, of=e, rows=options.rows)]
        if not todo:
            continue
        source: object = str(unlabeled)
        if way == "ray":
            ray = start_ray(workers)
            source = ray.data.read_parquet(str(unlabeled))
        for name in todo:
            with watched() as spent:
                result = infer(ESTIMANDS[name], labeled=labeled, unlabeled=source, predictions="f")
                interval = result.interval()
            row = {"way": way, "workers": workers, "of": name, "rows": options.rows, **spent}
            row["estimate"] = result.estimate.tolist()
            row["covariance"] = result.covariance.to_numpy().tolist()
            row["interval"] = interval.to_numpy().tolist()
            row["machine"] = describe("numpy", "pandas", "pyarrow", "ray")
            measured.add(row)
        if way == "ray":
            ray.shutdown()


if __name__ == "__main__":
    main()
