"""Score a checkpoint on real tables, beside the scores of classical baselines on the same splits.

    python benchmarks/quality.py --tables FOLDER [--checkpoint nano] [--seeds 0] [--out checkpoints/nano]

FOLDER holds `bench.py` (the protocol: splits and metrics), `index.csv`, `baselines.csv` and the tables. One row per
table and seed is appended to OUT/results.csv as it is done, so an interrupted run continues; OUT/results.md compares
means over the tables that every model answered. Tables: tiers 1-2, at most 10 classes and 100 features.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed

from benchmarks.machine import describe
from icl import ICLClassifier, ICLRegressor

MAX_CLASSES, MAX_FEATURES = 10, 100
METRICS = {"clf": ["auc", "acc", "logloss", "brier", "ece"], "reg": ["r2", "nrmse", "nll", "crps"]}


class Regressor:
    """What the protocol asks of a regressor; one forward pass answers all three questions."""

    def __init__(self, **options):
        self.model = ICLRegressor(**options)

    def fit(self, X, y):
        self.model.fit(X, y)
        return self

    def predict(self, X):
        self.distribution = self.model.predict_distribution(X)
        return self.distribution.mean.numpy().astype(float)

    def logpdf(self, X, y):
        return self.distribution.log_prob(torch.as_tensor(y, dtype=self.distribution.edges.dtype)).numpy()

    def predict_quantiles(self, X, q):
        return np.stack([self.distribution.icdf(float(level)).numpy() for level in q], 1)


def load_protocol(folder: Path):
    spec = importlib.util.spec_from_file_location("bench", folder / "bench.py")
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():  # the protocol file silences all warnings when it is imported
        spec.loader.exec_module(module)
    return module


def score(options) -> pd.DataFrame:
    protocol = load_protocol(options.tables)
    index = pd.read_csv(options.tables / "index.csv").sort_values("n")
    index = index[index.tier.isin([1, 2]) & (index.p <= MAX_FEATURES) & ~(index.n_classes > MAX_CLASSES)]
    if options.datasets:
        index = index[index.name.isin(options.datasets.split(","))]
    out = options.out / "results.csv"
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = pd.read_csv(out).to_dict("records") if out.exists() else []
    done = {(r["dataset"], r["seed"]) for r in rows}
    settings = {"checkpoint": options.checkpoint, "n_estimators": options.n_estimators}

    def factory(task):
        return ICLClassifier(**settings) if task == "clf" else Regressor(**settings)

    def answer(record: dict, seed: int) -> dict:
        torch.set_num_threads(1 if options.jobs > 1 else torch.get_num_threads())
        return protocol.run_one(record, options.name, factory, "raw", seed)

    seeds = map(int, options.seeds.split(","))
    todo = [(r, seed) for seed in seeds for r in index.to_dict("records") if (r["name"], seed) not in done]
    # Threads, not processes: torch releases the lock, and every worker shares one copy of the weights.
    work = Parallel(options.jobs, prefer="threads", return_as="generator_unordered")
    for result in work(delayed(answer)(record, seed) for record, seed in todo):
        rows.append(result)
        pd.DataFrame(rows).to_csv(out, index=False)
        main = result.get("auc", result.get("r2", float("nan")))
        seconds = result.get("fit_s", 0) + result.get("pred_s", 0)
        print(f"{result['dataset']:45s} seed {result['seed']} {main:.4f} {seconds:.1f} s {result['error']}", flush=True)
    return pd.DataFrame(rows)


def compare(ours: pd.DataFrame, baselines: pd.DataFrame, task: str) -> tuple[pd.DataFrame, int]:
    """One row per model over the (table, seed) pairs that ours and every complete baseline answered."""
    scores = pd.concat([ours, baselines])
    scores = scores[(scores.task == task) & (scores.error.isna() | (scores.error == ""))]
    pairs = scores[scores.model == ours.model.iloc[0]][["dataset", "seed"]]
    scores = scores.merge(pairs)
    main = METRICS[task][0]
    answered = scores.pivot_table(index=["dataset", "seed"], columns="model", values=main)
    complete = [m for m in answered if answered[m].notna().mean() > 0.98]
    kept = answered[complete].dropna().index
    scores = scores.set_index(["dataset", "seed"]).loc[kept].reset_index()
    by_table = scores[scores.model.isin(complete)].groupby(["model", "dataset"])[METRICS[task]].mean()
    mean = by_table.groupby("model").mean()
    table = mean if task == "clf" else by_table.groupby("model").median().add_prefix("median ")
    wins = by_table[main].unstack(0)
    own = ours.model.iloc[0]
    table["ours better on"] = ["" if m == own else f"{(wins[own] > wins[m]).mean():.0%}" for m in table.index]
    table = table.sort_values(table.columns[0], ascending=False)
    return table.map(lambda v: v if isinstance(v, str) else "" if pd.isna(v) else f"{v:.4f}"), len(wins)


def report(ours: pd.DataFrame, options) -> str:
    baselines = pd.read_csv(options.tables / "baselines.csv")
    lines = [
        f"# {options.name} on real tables",
        "",
        f"Splits and metrics: at most 1,000 context and 1,000 query rows, seeds {options.seeds}; tables of tiers 1-2 "
        f"with at most {MAX_CLASSES} classes and {MAX_FEATURES} features; {options.n_estimators} members. "
        "Baselines: default settings, the same splits.",
        "",
        describe("torch", "scikit-learn"),
        "",
    ]
    failed = ours[ours.error.notna() & (ours.error != "")]
    for task, title in (("clf", "Classification (means over tables)"), ("reg", "Regression (medians over tables)")):
        if not (ours.task == task).any():
            continue
        for label, part in (("", ours), (", at most 200 context rows", ours[ours.n_train <= 200])):
            if (part.task == task).any():
                table, n = compare(part, baselines, task)
                lines += [f"## {title}{label}: {n} tables", "", table.to_markdown(disable_numparse=True), ""]
    seconds = (ours.fit_s + ours.pred_s).describe()
    lines.append(f"Fit + predict: median {seconds['50%']:.1f} s, longest {seconds['max']:.1f} s a table.")
    if len(failed):
        lines += ["", "Failed: " + "; ".join(f"{r.dataset}: {r.error}" for r in failed.itertuples())]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--name", default="icl-nano")
    parser.add_argument("--n_estimators", type=int, default=4)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--datasets", default="", help="names, separated by commas; default: all")
    parser.add_argument("--jobs", type=int, default=2, help="tables at a time, one thread each")
    parser.add_argument("--out", type=Path, default=Path("checkpoints/nano"))
    options = parser.parse_args()
    ours = score(options)
    text = report(ours, options)
    (options.out / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
