"""Tables per second of every prior, beside tabicl's prior; or, with --check, whether their tables keep their promises.

    python benchmarks/priors.py [--tabicl FOLDER] [--seconds 1] [--rounds 5] [--device cpu]
    python benchmarks/priors.py --check [--n 10000]

Writes its section of benchmarks/priors.md. tabicl is a peer and no dependency: `pip install --no-deps --target FOLDER
tabicl xgboost-cpu`. On a CPU the clock is CPU time of this process on one thread, so other jobs disturb it little.
"""

from __future__ import annotations

import argparse
import cProfile
import importlib.metadata
import math
import os
import pstats
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from benchmarks.machine import describe
from priors import Prior, TaskShape, available_priors, make_prior
from priors.cli import build_prior

ROWS, FEATURES = 1024, 20
Contender = Callable[[int], int]  # sample number -> tables made


def families() -> dict[str, Prior]:
    """Every registered prior, and both kinds of target where it makes both."""
    found = {}
    for name in available_priors():
        for task in ("classification", "regression"):
            prior = build_prior(name, task, strict=False)
            found[f"{name}, {task}" if getattr(prior, "task", None) else name] = prior
    return found


def ours(prior: Prior, n_tasks: int, device: str) -> Contender:
    shape = TaskShape(n_tasks, ROWS, 700, FEATURES)
    return lambda k: len(prior.sample(shape, torch.Generator(device).manual_seed(k)).y)


def peers(folder: str | None, per_call: int = 2) -> tuple[dict[str, Contender], str]:
    """tabicl's priors at the same shape, and a note on them."""
    sys.path += [folder] if folder else []
    try:
        from tabicl.prior import PriorDataset
    except ImportError as error:
        return {}, f"tabicl could not be imported here ({error})."

    def contender(kind: str, regression: bool) -> Contender:
        data = PriorDataset(
            regression=regression, batch_size=per_call, batch_size_per_gp=1, min_features=FEATURES,
            max_features=FEATURES, max_classes=10, max_seq_len=ROWS, prior_type=kind, n_jobs=1,
        )  # fmt: skip
        return lambda k: len(data.get_batch()[0])

    kinds = ("graph_scm", "mix_scm", "mlp_scm")
    version = next((d.version for d in importlib.metadata.distributions(path=sys.path) if d.name == "tabicl"), "?")
    note = (
        f"tabicl {version}: `PriorDataset`, n_jobs=1, 20 features, 1,024 rows, at most 10 classes, else its defaults."
    )
    return {f"tabicl {kind}, classification": contender(kind, False) for kind in kinds}, note


def measure(contenders: dict[str, Contender], seconds: float, rounds: int, device: str) -> dict[str, list[float]]:
    """Tables per second in each round; contenders take turns, so that all meet the same machine."""

    def clock() -> float:
        if device != "cpu":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time() + sum(os.times()[2:4])  # user and system, with children

    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, sample in contenders.items():  # turn 0 warms up
            start, tables, calls = clock(), 0, 0
            # tabicl makes table by table, and some take ten times as long as others.
            wanted = seconds * (4 if name.startswith("tabicl") else 1) * (1 if turn else 0.1)
            while calls == 0 or clock() - start < wanted:
                tables += sample(1_000 * turn + calls)
                calls += 1
            if turn:
                rates[name].append(tables / (clock() - start))
            print(f"turn {turn} {name}: {tables / (clock() - start):.1f} tables/s", flush=True)
    return rates


def profile(n_tasks: int, n_batches: int = 24) -> list[str]:
    """The functions of ours in which the mixture spends its time, C code counted to its caller."""
    priors = [make_prior("mixture", task=task) for task in ("classification", "regression")]
    profiler = cProfile.Profile(builtins=False)
    shape = TaskShape(n_tasks, ROWS, 700, FEATURES)
    profiler.enable()
    for k in range(n_batches):
        priors[k % 2].sample(shape, torch.Generator().manual_seed(k))
    profiler.disable()
    own: Counter[str] = Counter()
    for (file, _, function), (_, _, seconds, _, _) in pstats.Stats(profiler).stats.items():
        own[f"`{Path(file).parent.name}/{Path(file).name}: {function}`"] += seconds
    total = sum(own.values())
    return [f"{k}. {name}: {seconds / total:.0%}" for k, (name, seconds) in enumerate(own.most_common(6), 1)]


def throughput(options: argparse.Namespace) -> str:
    contenders = {}
    for name, prior in families().items():
        contenders[name] = ours(prior, options.n_tasks, options.device)
    for task in ("classification", "regression"):
        contenders[f"mixture, {task}, one task a batch"] = ours(make_prior("mixture", task=task), 1, options.device)
    theirs, note = peers(options.tabicl) if options.device == "cpu" else ({}, "")
    rates = measure(contenders | theirs, options.seconds, options.rounds, options.device)
    best = max((statistics.median(rates[name]) for name in theirs), default=math.nan)
    where = "one CPU core" if options.device == "cpu" else torch.cuda.get_device_name()
    lines = [
        f"## Throughput on {where}",
        "",
        f"{ROWS:,} rows x {FEATURES} features, {options.n_tasks} tasks a batch, one run; median and range of "
        f"{options.rounds} rounds of {options.seconds:g} s. {note}",
        "",
        describe("torch", "numpy"),
        "",
        "| prior | tables/s | range | times the fastest of tabicl's |",
        "|---|---|---|---|",
    ]
    for name, values in sorted(rates.items(), key=lambda item: -statistics.median(item[1])):
        middle = statistics.median(values)
        ratio = f"{middle / best:.1f}" if best == best else "not measured"
        lines.append(f"| {name} | {middle:.1f} | {min(values):.1f}-{max(values):.1f} | {ratio} |")
    if not theirs:
        lines += ["", "Measured elsewhere (two-core machine, one core): 6.3 (graph), 6.2 (mix), 7.5 (MLP) tables/s."]
    if options.device == "cpu":
        lines += [
            "",
            "Where the default mixture spends its time (both kinds of target):",
            "",
            *profile(options.n_tasks),
        ]
    return "\n".join(lines) + "\n"


def check(options: argparse.Namespace) -> str:
    """Counts of broken promises over random shapes."""
    rows = []
    for name, prior in families().items():
        start, counts, k = time.perf_counter(), Counter(), 0
        while counts["tasks"] < options.n:
            counts.update(flaws(prior, shape_number(k, options.n - counts["tasks"]), k))
            k += 1
        seconds = time.perf_counter() - start
        rows.append((name, counts))
        print(f"{name}: {dict(counts)} {seconds:.0f} s", flush=True)
    kinds = ["tasks", "columns", "missing cells", *FLAWS]
    lines = [
        "## Promises",
        "",
        f"At least {options.n:,} tasks of every prior, rows log-uniform on 24-2,048, features on 2-100, among them "
        "2 features x 24 rows and 100 features x 2,048 rows. Counts of what must not be; a constant column holds a "
        "single value, missing cells aside.",
        "",
        describe("torch"),
        "",
        "| prior | " + " | ".join(kinds) + " |",
        "|---" * (len(kinds) + 1) + "|",
        *("| " + " | ".join([name, *(f"{counts[kind]:,}" for kind in kinds)]) + " |" for name, counts in rows),
    ]
    return "\n".join(lines) + "\n"


FLAWS = (
    "infinite cells",
    "constant columns",
    "empty columns",
    "bad codes",
    "bad targets",
    "constant targets",
    "tasks without a class in the context",
)


def shape_number(k: int, wanted: int, max_cells: int = 400_000) -> TaskShape:
    """The k-th random shape; the first two are the corners."""
    g = torch.Generator().manual_seed(k)
    u, v, w = torch.rand(3, generator=g).tolist()
    n_rows, n_features = round(24 * (2048 / 24) ** u), round(2 * 50**v)
    if k < 2:
        n_rows, n_features = ((24, 2), (2048, 100))[k]
    n_context = min(max(round(n_rows * (0.3 + 0.6 * w)), 4), n_rows - 4)
    return TaskShape(max(1, min(32, wanted, max_cells // (n_rows * n_features))), n_rows, n_context, n_features)


def flaws(prior: Prior, shape: TaskShape, seed: int) -> dict[str, int]:
    batch = prior.sample(shape, torch.Generator().manual_seed(seed))
    X_BRF, missing = batch.X, batch.X.isnan()
    low = X_BRF.masked_fill(missing, torch.inf).amin(1)
    high = X_BRF.masked_fill(missing, -torch.inf).amax(1)
    empty = missing.all(1)
    codes = X_BRF[batch.is_categorical[:, None].expand_as(X_BRF) & ~missing]
    found = {
        "tasks": shape.n_tasks,
        "columns": shape.n_tasks * shape.n_features,
        "missing cells": missing.sum(),
        "infinite cells": X_BRF.isinf().sum(),
        "empty columns": empty.sum(),
        "constant columns": ((low == high) & ~empty).sum(),
        "bad codes": ((codes < 0) | (codes != codes.round())).sum(),
        "bad targets": (~batch.y.double().isfinite()).any(1).sum(),
        "constant targets": (batch.y == batch.y[:, :1]).all(1).sum(),
    }
    if batch.n_classes is not None:
        present = torch.nn.functional.one_hot(batch.y_context, int(batch.y.max()) + 2).any(1)
        wanted = torch.arange(present.shape[1]) < batch.n_classes[:, None]
        found["tasks without a class in the context"] = (present != wanted).any(1).sum()
    return {kind: int(count) for kind, count in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--n", type=int, default=10_000, help="tasks of each prior to check")
    parser.add_argument("--tabicl", help="folder into which tabicl was installed")
    parser.add_argument("--n_tasks", type=int, default=16, help="tasks of a batch")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    section = check(options) if options.check else throughput(options)
    title = section.split("\n")[0]
    old = options.out.read_text(encoding="utf-8") if options.out.is_file() else "# Priors: speed and promises\n"
    head, *parts = old.split("\n## ")
    kept = [f"## {part.rstrip()}\n" for part in parts if f"## {part}".split("\n")[0] != title]
    sections = sorted([*kept, section], key=lambda text: text.startswith("## Promises"))
    options.out.write_text("\n".join([head.rstrip() + "\n", *sections]), encoding="utf-8")
    print(section)


if __name__ == "__main__":
    main()
