"""Score a checkpoint on real tables, beside the scores of classical baselines on the same splits.

    python benchmarks/quality.py --tables FOLDER [--checkpoint nano] [--seeds 0,1,2] [--out checkpoints/nano]

One row for each table and seed goes to OUT/results.csv as it is done, so an interrupted run continues; rows of other
weights are scored again, and `--fresh` scores everything again. OUT/results.md compares on the cells that every model
answered, OUT/calibration.csv is what benchmarks/calibration.py draws. Tables: tiers 1-2, at most 10 classes and 100
features; only the seeds that the baselines have.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd
import torch

from benchmarks import calibration, compare
from benchmarks.machine import describe
from benchmarks.options import SCORING, complete, shared_parser
from benchmarks.tables import (
    MAX_CLASSES,
    MAX_FEATURES,
    TITLES,
    ResultFile,
    in_parallel,
    ours,
    read_index,
    score_cell,
    weights_of,
)

SHOWN = ["linear", "rf", "lgbm", "catboost"]
"""Baselines of the tables by group."""


def score(options) -> pd.DataFrame:
    """Score what OUT lacks; returns every row of results.csv."""
    index = read_index(options.tables, options.tiers, options.datasets, options.limit)
    baselines = pd.read_csv(options.tables / "baselines.csv", usecols=["dataset", "seed"]).drop_duplicates()
    known = set(baselines.itertuples(index=False, name=None))
    mark = {"weights": weights_of(options.checkpoint), "members": str(options.n_estimators)}
    mark["quality"] = options.quality
    results = ResultFile(
        options.out / "results.csv", ["dataset", "seed"], mark | {"model": options.name}, options.fresh
    )
    counts = ResultFile(options.out / "calibration.csv", ["dataset", "seed"], mark, options.fresh)
    alone = {"companions": ()} if options.alone else {}
    factory = ours(options.checkpoint, options.n_estimators, quality=options.quality, **alone)

    def answer(cell: tuple[dict, int]) -> tuple[dict, dict | None, float]:
        start = time.perf_counter()
        row, estimator, y = score_cell(options.tables, cell[0], factory, "raw", cell[1])
        row = {"dataset": row.pop("dataset"), "task": row.pop("task"), "model": options.name} | row | mark
        return row, _calibration(row, estimator, y) if not row["error"] else None, time.perf_counter() - start

    cells = [(r, seed) for seed in map(int, options.seeds.split(",")) for r in index.to_dict("records")]
    keys = [(r["name"], seed) for r, seed in cells]
    done = {key for key in keys if key in results and key in counts}
    # The largest last: what is wrong shows early.
    todo = [cell for cell, key in zip(cells, keys) if key in known and key not in done]
    for row, counted, seconds in in_parallel(answer, todo, options.jobs):
        results.add(row)
        if counted:
            counts.add(counted)
        results.save()
        counts.save()
        main = row.get("auc", row.get("r2", float("nan")))
        print(f"{row['dataset']:45s} seed {row['seed']} {main:.4f} {seconds:.1f} s {row['error']}", flush=True)
    return results.frame()


def _calibration(row: dict, estimator, y) -> dict:
    kept = {name: row[name] for name in ("dataset", "task", "seed", "n_train", "weights", "members", "quality")}
    if row["task"] == "clf":
        proba = np.zeros((len(y), row["k"]))  # a class that the context lacks has probability 0
        proba[:, estimator.classes_] = estimator.proba
        return kept | calibration.reliability_counts(proba, y)
    d = getattr(estimator.distribution, "as_histogram", lambda: estimator.distribution)()  # atoms would jump
    return kept | calibration.pit_counts(d.cdf(torch.as_tensor(y, dtype=d.edges.dtype)).numpy())


def report(own_scores: pd.DataFrame, options) -> str:
    own = own_scores.model.iloc[0]
    baselines = pd.read_csv(options.tables / "baselines.csv")
    peers = options.tables / "peers.csv"
    others = pd.concat([baselines, pd.read_csv(peers)] if peers.exists() else [baselines])
    index = pd.read_csv(options.tables / "index.csv").set_index("name")
    seeds = ", ".join(map(str, sorted(own_scores.seed.unique())))
    lines = [
        f"# {own} on real tables",
        "",
        f"Splits and metrics: at most 1,000 context and 1,000 query rows, seeds {seeds}; tables of tiers 1-2 with at "
        f"most {MAX_CLASSES} classes and {MAX_FEATURES} features; quality {own_scores.quality.iloc[0]!r}, members "
        f"{own_scores.members.iloc[0]}. Baselines: "
        "default settings, the same splits. Seeds are averaged inside a table and tables inside a family (tables that "
        "share rows); *each table* counts every table once instead. Gains are positive where ours is better, with the "
        "95% interval of a paired bootstrap over families; * excludes 0. In means, an R2 counts as at least 0, an NLL "
        "or log loss as at most 10.",
        "",
        describe("torch", "scikit-learn"),
        "",
    ]
    for task, title in TITLES.items():
        if not (own_scores.task == task).any():
            continue
        average = "means" if task == "clf" else "medians"
        for label, part in (("", own_scores), (", at most 200 context rows", own_scores[own_scores.n_train <= 200])):
            if part.empty or not (part.task == task).any():
                continue
            scores = compare.common_cells(pd.concat([part, baselines]), own, task)
            head = f"{scores.dataset.nunique()} tables, {index.family[scores.dataset.unique()].nunique()} families"
            lines += [f"## {title}{label}: {head} ({average})", ""]
            lines += [compare.markdown(compare.score_table(scores, own, task, index.family), "model"), ""]
            lines += ["Mean gain of ours:", ""]
            lines += [compare.markdown(compare.difference_table(scores, own, task, index.family), "over"), ""]
        partial = compare.partial_table(pd.concat([own_scores, others]), own, task, index.family)
        if len(partial):
            lines += [f"## {title}: models that answered some of the tables", "", compare.markdown(partial), ""]
        scores = compare.common_cells(pd.concat([own_scores, baselines]), own, task)
        lines += [f"## {title}: by kind of table", "", "Our mean, and our gain over others ± one standard error.", ""]
        lines += [compare.markdown(compare.group_table(scores, own, task, index, SHOWN)), ""]
        lines += [f"## {title}: furthest behind the best other model", ""]
        lines += ["The best of many on the very rows that are scored: part of each difference is luck.", ""]
        lines += [compare.markdown(compare.largest_losses(scores, own, task, index)), ""]
    failed = own_scores[own_scores.error.notna() & (own_scores.error != "")]
    if len(failed):
        lines += ["Failed: " + "; ".join(f"{r.dataset}: {r.error}" for r in failed.itertuples()), ""]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = shared_parser(__doc__, *SCORING)
    parser.add_argument("--alone", action="store_true", help="the network by itself, without companions; needs --out")
    options = parser.parse_args(arguments)
    if options.alone and not options.out:
        parser.error("--alone needs --out: results.csv of the checkpoint holds the scores with ridge columns.")
    options = complete(options)
    text = report(score(options), options)
    (options.out / "results.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
