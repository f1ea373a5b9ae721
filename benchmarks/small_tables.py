"""Few labelled rows: the benchmark tables cut to 50 and 200 context rows, their query rows as they are.

    python benchmarks/small_tables.py --tables FOLDER [--checkpoint nano] [--tiers 1] [--limit 40] [--jobs 2]

Context rows are drawn from those of the full protocol, at least one of each class; the 50 are among the 200. A table
that has no more rows than asked for is left out. Baselines are the protocol's own (default settings): logistic or
Bayesian ridge regression on scaled, one-hot columns, a random forest, histogram gradient boosting, and LightGBM and
CatBoost where they are installed. Their scores do not depend on the checkpoint and are kept in
benchmarks/small_tables.csv, ours in OUT/small_tables.csv; what is there is not computed again. Writes
OUT/results-small.md.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pandas as pd

from benchmarks import compare
from benchmarks.machine import describe
from benchmarks.options import SCORING, complete, shared_parser
from benchmarks.tables import (
    TITLES,
    ResultFile,
    in_parallel,
    load_protocol,
    ours,
    read_index,
    score_cell,
    weights_of,
)

SIZES = (50, 200)
BASELINES = {"linear": None, "rf": None, "hgb": None, "lgbm": "lightgbm", "catboost": "catboost"}
"""Names in the protocol, and the package that each needs beyond ours."""
KEYS = ["model", "n_context", "dataset", "seed"]


def installed_baselines() -> list[str]:
    absent = {n: p for n, p in BASELINES.items() if p and importlib.util.find_spec(p) is None}
    for name, package in absent.items():
        print(f"{name} is left out: {package} is not installed (it is in the optional group `bench`).", flush=True)
    return [name for name in BASELINES if name not in absent]


def score_baseline(folder: Path, record: dict, name: str, seed: int, n_context: int) -> dict:
    """One cell of a baseline; a function of its own, for worker processes."""
    protocol = load_protocol(folder)
    row, _, _ = score_cell(folder, record, protocol.builtin(name), protocol.PREP[name], seed, n_context)
    return row


def score(options) -> pd.DataFrame:
    """Score what the two files lack; returns the rows of ours and of the baselines on the chosen cells."""
    index = read_index(options.tables, options.tiers, options.datasets, options.limit)
    seeds = list(map(int, options.seeds.split(",")))
    sizes = list(map(int, options.sizes.split(",")))
    cells = [
        (record, seed, n)
        for seed in seeds
        for record in index.to_dict("records")
        for n in sizes
        if min(1000, record["n"] // 2) > n
    ]
    mark = {"weights": weights_of(options.checkpoint), "members": str(options.n_estimators)}
    own = ResultFile(options.out / "small_tables.csv", KEYS, mark, options.fresh)
    others = ResultFile(options.baselines, KEYS)
    load_protocol(options.tables)
    factory = ours(options.checkpoint, options.n_estimators)

    def answer(cell: tuple) -> tuple:
        record, seed, n = cell
        row, _, _ = score_cell(options.tables, record, factory, "raw", seed, n)
        return {"model": options.name, "n_context": n} | row | mark

    def answer_baseline(cell: tuple) -> dict:
        record, seed, n, name = cell
        return {"model": name, "n_context": n} | score_baseline(options.tables, record, name, seed, n)

    todo = [c for c in cells if (options.name, c[2], c[0]["name"], c[1]) not in own]
    names = installed_baselines()
    todo_others = [(*c, m) for c in cells for m in names if (m, c[2], c[0]["name"], c[1]) not in others]
    print(f"{len(todo)} of {len(cells)} cells of ours and {len(todo_others)} of the baselines to do", flush=True)
    # Trees hold Python's lock for part of their time: processes for them, threads for ours.
    stages = ((own, answer, todo, "threads"), (others, answer_baseline, todo_others, "processes"))
    for file, work, cells_left, prefer in stages:
        last = time.monotonic()
        for i, row in enumerate(in_parallel(work, cells_left, options.jobs, prefer), 1):
            file.add(row)
            if i == len(cells_left) or time.monotonic() > last + 10:
                file.save()
                last = time.monotonic()
                print(f"{i:5d} of {len(cells_left)} {row['model']} {row['dataset']}", flush=True)
    asked = {(n, record["name"], seed) for record, seed, n in cells}
    scores = pd.concat([own.frame(), others.frame()])
    keys = scores[["n_context", "dataset", "seed"]].itertuples(index=False, name=None)
    return scores[[key in asked for key in keys]]


def report(scores: pd.DataFrame, options) -> str:
    index = pd.read_csv(options.tables / "index.csv").set_index("name")
    lines = [
        f"# {options.name} on few labelled rows",
        "",
        f"Tables of tiers {', '.join(options.tiers)} cut to 50 or 200 context rows (at least one of each class), query "
        f"rows as in `results.md`, seeds {options.seeds}; members {options.n_estimators}. Baselines: the protocol's, "
        "default settings, on the same rows. Averages and intervals as in `results.md`.",
        "",
        describe("torch", "scikit-learn"),
        "",
    ]
    for task, title in TITLES.items():
        for n in sorted(scores.n_context.unique()):
            part = scores[scores.n_context == n]
            if not (part.task == task).any():
                continue
            part = compare.common_cells(part, options.name, task)
            head = f"{part.dataset.nunique()} tables, {index.family[part.dataset.unique()].nunique()} families"
            lines += [f"## {title}, {n} context rows: {head} ({'means' if task == 'clf' else 'medians'})", ""]
            lines += [compare.markdown(compare.score_table(part, options.name, task, index.family), "model"), ""]
            lines += ["Mean gain of ours:", ""]
            lines += [compare.markdown(compare.difference_table(part, options.name, task, index.family), "over"), ""]
    failed = scores[scores.error.notna() & (scores.error != "")]
    if len(failed):
        lines += [
            "Failed: " + "; ".join(f"{r.model} {r.dataset} {r.n_context}: {r.error}" for r in failed.itertuples())
        ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = shared_parser(__doc__, *SCORING)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="context rows, separated by commas")
    parser.add_argument("--baselines", type=Path, default=Path(__file__).with_suffix(".csv"), help="their result file")
    options = complete(parser.parse_args(arguments))
    text = report(score(options), options)
    (options.out / "results-small.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
