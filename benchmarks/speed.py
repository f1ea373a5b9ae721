"""Seconds and memory of fit + predict, and of a second predict: ours, tabicl and a random forest, side by side.

    python benchmarks/speed.py [--checkpoints nano base] [--tabicl FOLDER] [--threads 2] [--repeats 3]
    python benchmarks/speed.py --shapes --files 10000    # a quick look at the last section alone

Writes benchmarks/speed.md; its last section is `icl predict` on files with ever more rows. Every contender lives in a
process of its own, with its weights loaded, and they take turns, so that all meet the same machine; one sleeps while
another works. A checkpoint that is not there is replaced by random weights of the size in configs/NAME.yaml: time does
not depend on weights. tabicl is a peer and no dependency: `pip install --no-deps --target FOLDER tabicl xgboost-cpu`;
it runs with random weights of its default size.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

# context rows, columns, query rows
SHAPES = [(500, 10, 250), (1000, 20, 1000), (1000, 50, 500), (5000, 20, 1000), (1000, 20, 100)]
MEMBERS = 4
# After the name of a checkpoint: its reader answers (`icl.network.reader`).
FAST = "/fast"
HEADER = "| contender | fit + predict, s | tabicl / it | second predict, s | first / second | peak memory, MB |"


def table(n_context: int, n_features: int, n_query: int):
    """Numbers with 5 % of the cells missing, and two classes that depend on four columns."""
    import numpy as np

    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_context + n_query, n_features))
    y = (X[:, 0] + X[:, 1] * X[:, 2] - X[:, 3] ** 2 + rng.normal(size=len(X)) > -1).astype(int)
    X[rng.random(X.shape) < 0.05] = np.nan
    return X[:n_context], y[:n_context], X[n_context:]


def build(name: str, tabicl: str | None):
    """A function that makes a fresh estimator, and what to call it."""
    if name == "forest":
        from sklearn.ensemble import RandomForestClassifier

        return (lambda: RandomForestClassifier(n_jobs=-1, random_state=0)), "scikit-learn random forest, 100 trees"
    if name == "tabicl":
        return _tabicl(tabicl)
    checkpoint, _, max_rows = name.partition("@")
    from icl import ICLClassifier

    if checkpoint.endswith(FAST):
        release = checkpoint.removesuffix(FAST)
        said = f"icl-{release}, fast_queries"
        return (lambda: ICLClassifier(release, n_estimators=MEMBERS, device="cpu", fast_queries=True)), said
    model, said = _checkpoint(checkpoint)
    options = {"max_rows": int(max_rows)} if max_rows else {}
    said += f", each member sees {int(max_rows):,} context rows" if max_rows else ""
    return (lambda: ICLClassifier(model, n_estimators=MEMBERS, device="cpu", **options)), said


def _checkpoint(name: str):
    import torch
    import yaml

    from icl.network.config import TabularConfig
    from icl.network.model import TabularTransformer
    from icl.releases.folder import load_release

    if (ROOT / "checkpoints" / name / "model.safetensors").is_file():
        return load_release(name, "cpu"), f"icl-{name}"
    torch.manual_seed(0)
    fields = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())["model"]["model"]
    return TabularTransformer(TabularConfig(**fields)).eval(), f"icl-{name} (random weights)"


def _tabicl(folder: str | None):
    sys.path += [folder] if folder else []
    import importlib.metadata

    import torch
    from tabicl import TabICLClassifier
    from tabicl._model.tabicl import TabICL

    torch.manual_seed(0)
    model = TabICL().eval()

    def make():
        estimator = TabICLClassifier(n_estimators=MEMBERS, device="cpu", allow_auto_download=False)

        def load() -> None:  # from memory, as ours: no reading of a file at every fit
            estimator.model_, estimator.model_config_, estimator.model_path_ = model, {}, None

        estimator._load_model = load
        return estimator

    version = next((d.version for d in importlib.metadata.distributions(path=sys.path) if d.name == "tabicl"), "?")
    return make, f"tabicl {version} (random weights)"


def serve(name: str, tabicl: str | None, threads: int) -> None:
    """Worker: read shapes from stdin, write seconds and peak memory to stdout, one JSON line each."""
    out = sys.stdout
    sys.stdout = sys.stderr
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(threads)
    make, said = build(name, tabicl)
    n_parameters = next((sum(p.numel() for p in m.parameters()) for m in _models(make())), 0)
    X, y, X_query = table(200, 10, 50)
    make().fit(X, y).predict_proba(X_query)
    print(json.dumps({"said": said, "n_parameters": n_parameters}), file=out, flush=True)
    for line in sys.stdin:
        X, y, X_query = table(*json.loads(line))
        idle = _memory_mb("VmRSS")
        _reset_peak()
        estimator = make()
        start = time.perf_counter()
        estimator.fit(X, y).predict_proba(X_query)
        middle = time.perf_counter()
        peak = _memory_mb("VmHWM")
        if name != "tabicl":  # keeps nothing between predictions unless asked, and takes the longest
            estimator.predict_proba(X_query)
        end = time.perf_counter() if name != "tabicl" else float("nan")
        answer = {"first": middle - start, "second": end - middle, "peak": peak, "idle": idle}
        print(json.dumps(answer), file=out, flush=True)


def _models(estimator) -> list:
    if hasattr(estimator, "_load_model"):
        estimator._load_model()
    if getattr(estimator, "fast_queries", False):
        from icl.releases.reader_file import load_reader

        return [load_reader(estimator.checkpoint)]
    found = [getattr(estimator, name, None) for name in ("checkpoint", "model_")]
    return [model for model in found if hasattr(model, "parameters")]


def _memory_mb(field: str) -> float:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith(field)), float("nan"))


def _reset_peak() -> None:
    with contextlib.suppress(OSError):  # then the peak is that of all shapes so far
        Path("/proc/self/clear_refs").write_text("5")


class Worker:
    """A contender in a process of its own."""

    def __init__(self, name: str, options: argparse.Namespace):
        command = [sys.executable, __file__, "--serve", name, "--threads", str(options.threads)]
        command += ["--tabicl", options.tabicl] if options.tabicl else []
        env = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.name, self.about = name, self._read()

    def _read(self) -> dict | None:
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def run(self, shape) -> dict | None:
        self.process.stdin.write(json.dumps(shape) + "\n")
        self.process.stdin.flush()
        return self._read()


def measure(workers: list[Worker], shapes: list, repeats: int) -> dict:
    """{(shape, contender): list of measurements}; contenders take turns."""
    found: dict = {}
    for shape in shapes:
        for turn in range(repeats):
            for worker in workers:
                if "@" in worker.name and int(worker.name.split("@")[1]) >= shape[0]:
                    continue
                result = worker.run(shape)
                if result is None:
                    sys.exit(f"{worker.name} stopped at {shape}; its message is above.")
                found.setdefault((shape, worker.name), []).append(result)
                print(f"{shape} turn {turn} {worker.name}: {result}", flush=True)
    return found


def predict_file(checkpoint: str, n_query: int, threads: int) -> dict:
    """Seconds and peak memory of an `icl predict` process: 1,000 labelled rows of 20 columns, CSV in and out."""
    import pandas as pd

    X, y, X_query = table(1000, 20, n_query)
    names = [f"x{j}" for j in range(X.shape[1])]
    with tempfile.TemporaryDirectory() as folder:
        known, unknown, out = (Path(folder) / f"{name}.csv" for name in ("known", "unknown", "out"))
        pd.DataFrame(X, columns=names).assign(y=y).to_csv(known, index=False)
        pd.DataFrame(X_query, columns=names).to_csv(unknown, index=False)
        command = [sys.executable, "-m", "icl.commands.main", "predict", str(known), str(unknown), "--target", "y"]
        command += ["--checkpoint", checkpoint.removesuffix(FAST), "--output", str(out)]
        command += ["--fast"] if checkpoint.endswith(FAST) else []
        env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status or len(pd.read_csv(out)) != n_query:
            sys.exit(f"icl predict ended with status {status} on {n_query} rows; its message is above.")
        megabytes = unknown.stat().st_size / 1e6
    measured = {"rows": n_query, "file": megabytes, "seconds": seconds, "peak": usage.ru_maxrss / 1e3}
    print(checkpoint, measured, flush=True)
    return measured


def report_files(found: dict[str, list[dict]]) -> list[str]:
    """Section of the report on `predict_file`; nothing where nothing was measured."""
    if not any(found.values()):
        return []
    lines = [
        "## `icl predict` from file to file",
        "",
        "1,000 labelled rows of 20 columns, CSV in and out, everything included (interpreter, imports, checks, the "
        "linear baseline). Memory is the peak of the process and must not grow with the file.",
        "",
        "| checkpoint | rows | file, MB | seconds | peak memory, MB |",
        "|:--|--:|--:|--:|--:|",
    ]
    for checkpoint, runs in found.items():
        lines += [
            f"| {checkpoint} | {r['rows']:,} | {r['file']:.0f} | {r['seconds']:.0f} | {r['peak']:,.0f} |" for r in runs
        ]
    return [*lines, ""]


def report(workers: list[Worker], found: dict, files: dict, options: argparse.Namespace) -> str:
    from benchmarks.machine import describe

    lines = [
        "# Seconds and memory of a prediction",
        "",
        f"fit + predict_proba of two classes, {MEMBERS} members, {options.threads} threads; medians of "
        f"{options.repeats} turns, contenders in turn, each in its own process with its weights in memory. Peak memory "
        "is of the process (resident, imports and weights included) in fit and first predict; in brackets what it held "
        "before, for earlier shapes too. `benchmarks/speed.py`",
        "",
        describe("torch", "scikit-learn", "numpy"),
        "",
    ]
    for shape in dict.fromkeys(shape for shape, _ in found):
        n_context, n_features, n_query = shape
        lines += [
            f"## {n_context:,} x {n_features} context, {n_query:,} queries",
            "",
            HEADER,
            "|:--|--:|--:|--:|--:|--:|",
        ]

        def median(name: str, what: str, shape=shape) -> float:
            runs = found.get((shape, name), [])
            return statistics.median(run[what] for run in runs) if runs else float("nan")

        for worker in workers:
            if (shape, worker.name) not in found:
                continue
            first, second = median(worker.name, "first"), median(worker.name, "second")
            rival = median("tabicl", "first") / first
            ratio = f"{rival:.1f}" if worker.name != "tabicl" and rival == rival else ""
            peak = f"{median(worker.name, 'peak'):,.0f} ({median(worker.name, 'idle'):,.0f} before)"
            said = worker.about["said"]
            again = f"{second:.2f} | {first / second:.1f}" if second == second else " | "
            lines.append(f"| {said} | {first:.2f} | {ratio} | {again} | {peak} |")
        lines.append("")
    lines += report_files(files)
    sizes = [f"{w.about['said']} {w.about['n_parameters'] / 1e6:.2f}M" for w in workers if w.about["n_parameters"]]
    lines += [
        f"Parameters: {'; '.join(sizes)}. The second predict answers the same rows again, ours from the cached "
        "context. In the network itself a query row costs what a context row costs, so a cache can save the share of "
        "the context rows and no more: (context + queries) / queries, which is 3 for 500 + 250 and 11 for 1,000 + 100. "
        "With fast_queries a distilled reader answers the queries by a shorter way (`icl/network/reader.py`).",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--checkpoints", nargs="+", default=["nano", "base", "base/fast"], help="NAME, NAME/fast or NAME@MAX_ROWS"
    )
    parser.add_argument("--tabicl", help="folder that holds the package")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shapes", nargs="*", help="such as 500x10+250; default: all five")
    parser.add_argument("--files", nargs="*", type=int, default=[10_000, 100_000], help="rows for `icl predict`")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve, options.tabicl, options.threads)
    shapes = SHAPES
    if options.shapes is not None:
        shapes = [tuple(int(n) for n in s.replace("+", "x").split("x")) for s in options.shapes]
    started = [Worker(name, options) for name in [*options.checkpoints, "tabicl", "forest"]] if shapes else []
    workers = [worker for worker in started if worker.about is not None]
    for worker in set(started) - set(workers):
        print(f"{worker.name} could not start and is left out; its message is above.", flush=True)
    found = measure(workers, shapes, options.repeats)
    for worker in workers:
        worker.process.stdin.close()
        worker.process.wait()
    released = [name for name in options.checkpoints if (ROOT / "checkpoints" / name.removesuffix(FAST)).is_dir()]
    files = {name: [predict_file(name, n, options.threads) for n in options.files] for name in released}
    options.out.write_text(report(workers, found, files, options))
    print(options.out.read_text())


if __name__ == "__main__":
    main()
