"""Score a checkpoint on the tables that stand in the TALENT collection too, beside the results published there.

    python benchmarks/talent.py --tables FOLDER [--checkpoint base] [--seeds 0,1,2] [--max_rows 1000] [--out benchmarks]

FOLDER/talent.csv names the tables and holds what peers reached on TALENT's one split; ours are stratified 80/20 splits,
so single tables are noise and means count. Contenders, a `quality` or a set of companions with a number of members, are
scored on the same rows. Scores go to OUT/talent.csv as they are made, so an interrupted run
continues. Choices were made on the *development* half of the tables, those of an even checksum of the family's name;
the other half is reported apart.
"""

from __future__ import annotations

import sys
import time
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

from benchmarks import compare
from benchmarks.machine import describe
from benchmarks.options import shared_parser
from benchmarks.tables import ResultFile, in_parallel, load_protocol, ours, weights_of

SCORES = {"clf": ["auc", "acc", "logloss"], "reg": ["r2", "crps", "nll"]}
CONTENDERS = ["alone:4", "fast", "default", "best"]


def is_development(family: str) -> bool:
    """Whether tables of this family were looked at while choices were made."""
    return zlib.crc32(family.encode()) % 2 == 0


def score(options) -> pd.DataFrame:
    """Score what OUT lacks; returns every row of talent.csv."""
    index = pd.read_csv(options.tables / "index.csv").set_index("name")
    names = options.datasets.split(",") if options.datasets else _talent(options.tables).table
    mark = {"weights": weights_of(options.checkpoint), "max_rows": options.max_rows}
    results = ResultFile(options.out / "talent.csv", ["dataset", "seed", "contender"], mark, options.fresh)
    cells = [
        (index.loc[name].to_dict() | {"name": name}, seed, contender)
        for seed in map(int, options.seeds.split(","))
        for name in names
        for contender in options.contenders
    ]

    def answer(cell: tuple[dict, int, str]) -> dict:
        record, seed, contender = cell
        start = time.perf_counter()
        row = _score_cell(options, record, seed, contender)
        place = {"dataset": record["name"], "family": record["family"], "task": record["task"], "seed": seed}
        return place | {"contender": contender} | row | mark | {"seconds": time.perf_counter() - start}

    todo = [cell for cell in cells if (cell[0]["name"], *cell[1:]) not in results]
    for row in in_parallel(answer, todo, options.jobs):
        results.add(row)
        results.save()
        shown = " ".join(f"{name} {row[name]:.4f}" for name in SCORES[row["task"]])
        print(
            f"{row['dataset']:24s} seed {row['seed']} {row['contender']:20s} {shown} {row['seconds']:.1f} s", flush=True
        )
    return results.frame()


def _score_cell(options, record: dict, seed: int, contender: str) -> dict:
    protocol, task = load_protocol(options.tables), record["task"]
    X, y = protocol.load(record)
    y = np.unique(y.astype(str), return_inverse=True)[1] if task == "clf" else y.to_numpy(float)
    sizes = (0.8, 0.2)
    if options.max_rows and 0.8 * len(y) > options.max_rows:
        sizes = (options.max_rows, min(int(0.2 * len(y)), max(options.max_rows, 500)))
    splitter = StratifiedShuffleSplit if task == "clf" else ShuffleSplit
    context, query = next(splitter(1, train_size=sizes[0], test_size=sizes[1], random_state=seed).split(X, y))
    prepare = protocol.Prep("raw").fit(X.iloc[context])
    model = ours(options.checkpoint, **_options_of(contender))(task)
    model.fit(prepare.transform(X.iloc[context]), y[context])
    X_query = prepare.transform(X.iloc[query])
    size = {"n_train": len(context), "n_test": len(query)}
    if task == "reg":
        mean = model.predict(X_query)
        return size | protocol.reg_metrics(model, X_query, y[query], mean, y[context])
    proba = np.zeros((len(query), int(y.max()) + 1))
    proba[:, model.classes_] = model.predict_proba(X_query)
    scores = protocol.clf_metrics(proba, y[query], proba.shape[1])
    if proba.shape[1] > 2:  # as TALENT has it: one class against the rest
        present = np.unique(y[query])
        scores["auc"] = np.mean([roc_auc_score(y[query] == k, proba[:, k]) for k in present])
    return size | scores


def _options_of(contender: str) -> dict:
    """Arguments of the estimator: of a word of `quality`, or companions:members."""
    companions, _, n_members = contender.partition(":")
    if not n_members:
        return {"quality": companions}
    companions = () if companions == "alone" else tuple(companions.split(","))
    return {"n_estimators": int(n_members), "companions": companions}


def _talent(folder: Path) -> pd.DataFrame:
    path = folder / "talent.csv"
    if not path.is_file():
        sys.exit(f"{folder} lacks talent.csv, which names the tables; or name tables by --datasets.")
    return pd.read_csv(path)


def report(rows: pd.DataFrame, options) -> str:
    """Means over tables of each contender, peers beside them; all tables, then each half; then table by table."""
    seeds = ", ".join(map(str, sorted(rows.seed.unique())))
    cut = f", at most {options.max_rows:,} rows to learn from" if options.max_rows else ""
    lines = [f"# {options.checkpoint} with companions, on real tables", ""]
    lines += [f"80/20 splits{cut}, seeds {seeds}; *companions:members*, or a `quality`."]
    lines[-1] += f" {describe('torch', 'scikit-learn')}"
    for task, part in rows.groupby("task"):
        scores = SCORES[task]
        table = part.groupby(["dataset", "family", "contender"])[[*scores, "seconds"]].mean()
        whole = table.unstack().dropna().stack(future_stack=True).reset_index()
        half = whole.family.map(is_development)
        halves = {"all": whole.index == whole.index, "development": half, "the other half": ~half}
        for title, chosen in halves.items():
            if not chosen.any():
                continue
            means = whole[chosen].groupby("contender")[[*scores, "seconds"]].mean()
            names = whole[chosen].dataset.unique()
            if task == "clf" and (options.tables / "talent.csv").is_file():
                peers = _talent(options.tables).set_index("table").reindex(names)
                theirs = {"auc": peers.tabpfn3_auc, "acc": peers.tabpfn3_acc, "logloss": peers.tabpfn3_ll}
                means.loc["TabPFN-3, its split"] = {name: column.mean() for name, column in theirs.items()}
            lines += ["", f"## {task}, {title}: {len(names)} tables", "", compare.markdown(means.reset_index())]
        main = scores[-1] if task == "clf" else "r2"
        single = whole.pivot(index="dataset", columns="contender", values=main)
        lines += ["", f"## {task}: {main}, table by table", "", compare.markdown(single.reset_index())]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    shared = ("tables", "checkpoint", "seeds", "datasets", "jobs", "fresh", "out")
    parser = shared_parser(__doc__, *shared, checkpoint="base", out=Path("benchmarks"))
    parser.add_argument("--max_rows", type=int, default=0, help="context rows at most; default: all of the 80 %%")
    parser.add_argument(
        "--contenders", nargs="+", default=CONTENDERS, help="a quality, or companions:members; alone for none"
    )
    options = parser.parse_args(arguments)
    text = report(score(options), options)
    (options.out / "talent.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
