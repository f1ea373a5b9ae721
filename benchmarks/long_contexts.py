"""Contexts of many rows: seconds, memory and scores of the default, beside boosting and a forest on the same rows.

    python benchmarks/long_contexts.py --tables FOLDER [--names synthetic_30000x7 adult] [--threads 1] [--budget 20]

One JSON line for each table and contender goes to benchmarks/long_contexts.jsonl as it is done, so that an interrupted
run continues; benchmarks/long_contexts.md is made of them. Every contender runs in a process of its own. Two tables are
made: 30,000 rows of 7 numbers with 60 queries, and 50,000 rows of 200 numbers with 1,000; the others are real, 1,000
rows drawn at random are asked about and all others learnt from. With `--budget` the default is also run within so many
seconds. `--label` names the code where it is not that of today (`PYTHONPATH` says where it is).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
MADE = {"synthetic_30000x7": (30_000, 7, 60), "synthetic_50000x200": (50_000, 200, 1_000)}
TUNED_ON = ("synthetic_30000x7", "california_housing", "protein_casp", "adult", "mammography")
NAMES = [
    *MADE, "california_housing", "protein_casp", "adult", "mammography", "diamonds", "bike_hour_log", "house_8L",
    "bank-marketing", "online_shoppers_intention", "jm1",
]  # fmt: skip
RIVALS = ("boosting", "forest")


def made(name: str) -> tuple[pd.DataFrame, np.ndarray, bool, int]:
    """Products, a wave and a threshold in six columns, and noise; two classes in the wide one."""
    n_rows, n_columns, n_queries = MADE[name]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows + max(n_queries, 1_000), n_columns)).astype("f4")
    f = np.sin(2 * X[:, 0]) * X[:, 1] + np.abs(X[:, 2]) * (X[:, 3] > 0) + 0.5 * X[:, 4] * X[:, 5]
    y = f + 0.5 * rng.normal(size=len(f))
    table = pd.DataFrame(X).add_prefix("c")
    return (table, y, False, n_queries) if n_columns < 100 else (table, (y > 0).astype(int), True, n_queries)


def load(name: str, folder: Path) -> tuple[pd.DataFrame, np.ndarray, bool, int]:
    if name in MADE:
        return made(name)
    [path] = folder.glob(f"*/{name}.parquet")
    table = pd.read_parquet(path)
    y, classify = table.pop("target"), path.parent.name == "clf"
    return table, pd.factorize(y, sort=True)[0] if classify else y.to_numpy(dtype=float), classify, 1_000


def rival(contender: str, classify: bool):
    from sklearn.ensemble import (
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )

    if contender == "boosting":
        kind = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
        return kind(categorical_features="from_dtype", random_state=0)
    return (RandomForestClassifier if classify else RandomForestRegressor)(100, random_state=0, n_jobs=-1)


def for_scikit(X: pd.DataFrame, contender: str) -> pd.DataFrame:
    X = X.copy()
    for name in X.select_dtypes(exclude="number"):
        X[name] = X[name].astype(str).astype("category")
        if contender == "forest" or X[name].nunique() > 250:
            X[name] = X[name].cat.codes.astype(float)
    return X if contender == "boosting" else X.fillna(-999)


def one(name: str, contender: str, options: argparse.Namespace) -> dict:
    """Fit and predict; the time is that of the prediction of so many queries as the table asks."""
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(options.threads)
    X, y, classify, n_queries = load(name, options.tables)
    order = np.random.default_rng(0).permutation(len(y))
    query, context = order[:1_000], order[1_000:]
    row = {"table": name, "contender": contender, "n_rows": len(context), "threads": options.threads}
    if contender in RIVALS:
        X, model = for_scikit(X, contender), rival(contender, classify)
    else:
        from icl import ICLClassifier, ICLRegressor

        own = {"alone": {"companions": ()}, "budget": {"time_budget": (options.budget, n_queries)}}.get(contender, {})
        model = (ICLClassifier if classify else ICLRegressor)("base", **own)
        if hasattr(model, "time_estimate"):
            row["foreseen"] = model.time_estimate(len(context), X.shape[1], n_queries).seconds
        model.fit(X.iloc[:99], np.resize(y[:99], 99)) if len(np.unique(y[:99])) > 1 else None  # weights are read
    start, used = time.perf_counter(), time.process_time()
    model.fit(X.iloc[context], y[context])
    ask = model.predict_proba if classify else model.predict
    ask(X.iloc[query[:n_queries]])
    row |= {"wall": time.perf_counter() - start, "cpu": time.process_time() - used}
    row["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    row["left_out"] = list(getattr(model, "left_out_", []))
    answers = ask(X.iloc[query])
    if classify:
        from icl.network.metrics import class_scores

        return row | class_scores(answers, y[query], least=1e-4)
    return row | {"r2": 1 - float(np.mean((answers - y[query]) ** 2) / y[query].var())}


def report(rows: list[dict]) -> str:
    from benchmarks.machine import describe

    contenders = list(dict.fromkeys(row["contender"] for row in rows))
    lines = [
        "# Contexts of many rows",
        "",
        "base with its default (of more than 5,000 rows the network reads 2,500, companions learn from all others), "
        "scikit-learn's gradient boosting and forest as they come, on the same rows; seed 0. `cpu`: seconds of "
        "processor time of fit and prediction; `wall`: on the clock, beside whatever else ran. Choices were made on "
        + ", ".join(TUNED_ON)
        + "; the other tables are apart. `benchmarks/long_contexts.py`",
        "",
        describe("torch", "scikit-learn"),
        "",
        "| table | rows | contender | log loss | AUC | R2 | cpu, s | wall, s | foreseen, s | peak, MB | left out |",
        "|:--|--:|:--|--:|--:|--:|--:|--:|--:|--:|:--|",
    ]
    digits = {"log_loss": ".4f", "auc": ".4f", "r2": ".4f", "cpu": ".1f", "wall": ".1f", "foreseen": ".1f"}
    for name in dict.fromkeys(row["table"] for row in rows):
        for contender in contenders:
            for row in (r for r in rows if (r["table"], r["contender"]) == (name, contender)):
                cells = [f"{row[key]:{form}}" if key in row else "" for key, form in digits.items()]
                cells += [f"{row['peak_mb']:,.0f}", "; ".join(row["left_out"])]
                lines.append(f"| {name} | {row['n_rows']:,} | {contender} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument("--contenders", nargs="+", default=["default", *RIVALS], help="also: alone, budget")
    parser.add_argument("--budget", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--label", help="what the default is called, where the code is another one")
    parser.add_argument("--out", type=Path, default=HERE / "long_contexts.jsonl")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(*options.one, options)))
        return
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.is_file() else []
    for name in options.names:
        for contender in options.contenders:
            said = options.label if contender == "default" and options.label else contender
            said = f"budget of {options.budget:g} s" if contender == "budget" else said
            if any((row["table"], row["contender"]) == (name, said) for row in rows):
                continue
            again = [sys.executable, __file__, *sys.argv[1:], "--one", name, contender]
            done = subprocess.run(again, stdout=subprocess.PIPE, text=True, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]) | {"contender": said})
            print(rows[-1], flush=True)
            options.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options.out.with_suffix(".md").write_text(report(rows))


if __name__ == "__main__":
    main()
