"""Cells of real tables masked and drawn again, beside kNN, statsmodels MICE and miceforest; writes masked_cells.md.

    python benchmarks/masked_cells.py run --tables FOLDER      # resumable: a row for each table and method
    python benchmarks/masked_cells.py report

Of each table a sample of rows and columns; a fifth of the cells of every column is masked at random, and each method
draws m times. Numbers are scored by CRPS (fair for m draws) in standard deviations of the column, levels by the
accuracy of the best guess (the most frequent draw; of icl.impute `Imputations.mean()`) and the Brier score of shares.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy

import numpy as np
import pandas as pd
import torch

import icl

HERE = Path(__file__).parent
ROWS = HERE / "masked_cells.csv"
FIELDS = ("table", "method", "numbers", "crps", "levels", "accuracy", "brier", "seconds")
N_ROWS, N_COLUMNS, M, SHARE, MOST_LEVELS = 200, 6, 10, 0.2, 12


def sampled(path: Path, seed: int) -> pd.DataFrame:
    """At most so many rows and columns, without gaps: the target and the first usable features after shuffling."""
    table = pd.read_parquet(path)
    table = table.assign(**{name: _as_numbers(table[name]) for name in table})
    rng = np.random.default_rng([seed, len(table), table.shape[1]])
    usable = []
    for name in table:
        cells = table[name]
        is_number = pd.api.types.is_numeric_dtype(cells.dtype)
        if cells.isna().mean() < 0.05 and cells.nunique() > 1 and (is_number or cells.nunique() <= MOST_LEVELS):
            usable.append(name)
    features = [name for name in usable if name != "target"]
    kept = [features[i] for i in sorted(rng.permutation(len(features))[: N_COLUMNS - 1])]
    table = table[[*kept, *(["target"] if "target" in usable else [])]].dropna()
    table = table.iloc[rng.permutation(len(table))[:N_ROWS]].reset_index(drop=True)
    table = table[[name for name in table if table[name].nunique() > 1]]
    out = {}
    for name in table:
        is_number = pd.api.types.is_numeric_dtype(table[name].dtype)
        is_level = not is_number or (name == "target" and table[name].nunique() <= MOST_LEVELS)
        out[name] = table[name].astype(str).astype(object) if is_level else table[name].astype(float)
    return pd.DataFrame(out)


def _as_numbers(cells: pd.Series) -> pd.Series:
    """Text in which every cell is a number as numbers, as every method is to see it."""
    numbers = pd.to_numeric(cells, errors="coerce")
    return numbers if numbers.notna().sum() == cells.notna().sum() else cells


def is_level(column: pd.Series) -> bool:
    return column.dtype == object


def coded(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, list]]:
    """Levels as codes, for methods that take numbers only."""
    levels = {name: sorted(table[name].dropna().unique()) for name in table if is_level(table[name])}
    numbers = {name: table[name].map({v: float(i) for i, v in enumerate(levels[name])}) for name in levels}
    return table.assign(**numbers).astype(float), levels


def decoded(table: pd.DataFrame, levels: dict[str, list]) -> pd.DataFrame:
    back = {n: [v[int(np.clip(round(c), 0, len(v) - 1))] for c in table[n]] for n, v in levels.items()}
    return table.assign(**{name: pd.Series(cells, table.index, dtype=object) for name, cells in back.items()})


def by_icl(table: pd.DataFrame, seed: int) -> list[pd.DataFrame]:
    """The draws, and after them the best guess."""
    imputed = icl.impute(table, M, seed, rounds=2)
    return [*imputed, imputed.mean()]


def by_knn(table: pd.DataFrame, seed: int) -> list[pd.DataFrame]:
    """Draws are the cells of the ten nearest rows that know the column: gaps at the mean, codes of levels one-hot."""
    numbers, levels = coded(table)
    parts = [pd.get_dummies(table[n], dtype=float) if n in levels else numbers[[n]] for n in table]
    X = pd.concat([p.fillna(p.mean()) for p in parts], axis=1).to_numpy()
    X = (X - X.mean(axis=0)) / np.where(X.std(axis=0) > 0, X.std(axis=0), 1)
    distance = ((X[:, None] - X) ** 2).sum(axis=2)
    out = [table.copy() for _ in range(M)]
    for name in table:
        known = np.flatnonzero(table[name].notna())
        for row in np.flatnonzero(table[name].isna()):
            nearest = known[np.argsort(distance[row, known], kind="stable")[:M]]
            for i in range(M):
                out[i].loc[row, name] = table[name].iloc[nearest[i % len(nearest)]]
    return out


def by_statsmodels(table: pd.DataFrame, seed: int) -> list[pd.DataFrame]:
    from statsmodels.imputation.mice import MICEData

    np.random.seed(seed)  # noqa: NPY002 - it draws from the global generator
    numbers, levels = coded(table)
    names = {name: f"v{i}" for i, name in enumerate(numbers)}
    data, out = MICEData(numbers.rename(columns=names)), []
    for i in range(M):
        data.update_all(10 if i == 0 else 3)
        out.append(decoded(data.data[list(names.values())].set_axis(list(names), axis=1), levels))
    return out


def by_miceforest(table: pd.DataFrame, seed: int) -> list[pd.DataFrame]:
    import miceforest

    names = {name: f"v{i}" for i, name in enumerate(table)}
    typed = table.rename(columns=names)
    typed = typed.assign(**{n: typed[n].astype("category") for n in typed if is_level(typed[n])})
    kernel = miceforest.ImputationKernel(typed, num_datasets=M, random_state=seed)
    kernel.mice(5, verbose=False, num_threads=1)
    return [kernel.complete_data(i).set_axis(list(names), axis=1) for i in range(M)]


METHODS: dict[str, Callable[[pd.DataFrame, int], list[pd.DataFrame]]] = {
    "icl.impute": by_icl,
    "kNN": by_knn,
    "statsmodels MICE": by_statsmodels,
    "miceforest": by_miceforest,
}


def scores(truth: pd.DataFrame, masked: np.ndarray, drawn: list[pd.DataFrame]) -> tuple[int, float, int, float, float]:
    """Numbers scored and their CRPS, levels scored, their accuracy and Brier score: means over columns."""
    crps, accuracy, brier = [], [], []
    for j, name in enumerate(truth):
        rows = np.flatnonzero(masked[:, j])
        true = truth[name].to_numpy()[rows]
        values = np.stack([table[name].to_numpy()[rows] for table in drawn[:M]])
        if is_level(truth[name]):
            levels = sorted(truth[name].unique())
            shares = np.stack([(values == level).mean(axis=0) for level in levels], axis=1)
            hits = np.stack([true == level for level in levels], axis=1)
            best = drawn[M][name].to_numpy()[rows] if len(drawn) > M else np.array(levels)[shares.argmax(axis=1)]
            accuracy.append(float((best == true).mean()))
            brier.append(float(((shares - hits) ** 2).sum(axis=1).mean()))
        else:
            values = values.astype(float)
            pairs = np.abs(values[:, None] - values).sum(axis=(0, 1)) / (2 * M * (M - 1))
            crps.append(float((np.abs(values - true).mean(axis=0) - pairs).mean() / truth[name].std()))
    middle = lambda values: float(np.mean(values)) if values else np.nan
    return len(crps), middle(crps), len(accuracy), middle(accuracy), middle(brier)


def run(folder: Path, n_tables: int, minutes: float) -> None:
    index = pd.read_csv(folder / "index.csv").query("tier == 1 and p >= 4 and n >= 200").drop_duplicates("family")
    order = index.iloc[np.random.default_rng(0).permutation(len(index))][:n_tables]
    done = set()
    if ROWS.is_file():
        done = {(row["table"], row["method"]) for row in csv.DictReader(ROWS.open())}
    end = time.process_time() + 60 * minutes
    for name, file in zip(order["name"], order["file"]):
        for method, solve in METHODS.items():
            if (name, method) in done:
                continue
            if time.process_time() > end:
                return
            truth = sampled(folder / file, 0)
            masked = np.random.default_rng(1).random(truth.shape) < SHARE
            table = truth.mask(masked)
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    found = scores(truth, masked, solve(table, 0))
                except Exception as error:
                    print(f"{name}, {method}: {type(error).__name__}: {error}"[:200])
                    found = (0, np.nan, 0, np.nan, np.nan)
            numbers = [f"{v:.5g}" for v in (*found, time.process_time() - start)]
            is_new = not ROWS.is_file()
            with ROWS.open("a", newline="") as out:
                csv.writer(out, lineterminator="\n").writerows([FIELDS] * is_new + [[name, method, *numbers]])


def report() -> None:
    from benchmarks.machine import describe

    rows = pd.read_csv(ROWS).drop_duplicates(["table", "method"])
    whole = rows.groupby("table")["method"].transform("nunique") == len(METHODS)
    rows = rows[whole]
    names = list(dict.fromkeys(rows["table"]))
    lines = [
        "# Masked cells of real tables",
        "",
        f"{len(names)} tables (one a family, drawn with a fixed seed), at most {N_ROWS} rows and {N_COLUMNS} columns",
        f"of each; {SHARE:.0%} of the cells masked at random, {M} draws. CRPS of numbers in standard deviations of the",
        "column (lower is better); accuracy of the best guess for levels (the most frequent draw; of icl.impute",
        "`mean()`) and Brier score of the shares; means over columns. kNN draws the cells of the ten nearest rows. CPU",
        "seconds, one thread; each method's in the run that scored it. Counts are of tables on",
        "which icl.impute is better.",
        "",
        "`python benchmarks/masked_cells.py run --tables FOLDER`",
        "",
        describe("torch", "statsmodels", "miceforest"),
        "",
        "| method | median CRPS | icl better | median accuracy | no worse | median Brier | icl better | seconds |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    kinds = ("crps", "accuracy", "brier", "seconds")
    wide = {what: rows.pivot(index="table", columns="method", values=what) for what in kinds}
    for method in METHODS:
        cells = []
        for what, sign in (("crps", 1), ("accuracy", -1), ("brier", 1)):
            both = wide[what][list(dict.fromkeys(["icl.impute", method]))].dropna()
            cells.append(f"{both[method].median():.3f}")
            gap = sign * (both[method] - both["icl.impute"])
            won = int((gap > 0).sum()) if what != "accuracy" else int((gap >= 0).sum())
            cells.append("" if method == "icl.impute" else f"{won} of {len(both)}")
        lines.append(f"| {method} | {' | '.join(cells)} | {wide['seconds'][method].median():.1f} |")
    heads = [f"{method}, {what}" for what in ("CRPS", "accuracy") for method in METHODS]
    lines += ["", f"| table | {' | '.join(heads)} |"]
    lines.append("|---|" + "---:|" * (2 * len(METHODS)))
    for name in names:
        cells = [wide[what].loc[name, m] for what in ("crps", "accuracy") for m in METHODS]
        lines.append(f"| {name} | " + " | ".join("" if np.isnan(c) else f"{c:.3f}" for c in cells) + " |")
    (HERE / "masked_cells.md").write_text("\n".join([*lines, ""]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("--tables", type=Path, default=Path("../shared/bench"))
    parser.add_argument("--number", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=9.0, help="of CPU")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "run":
        run(args.tables, args.number, args.minutes)
    else:
        report()


if __name__ == "__main__":
    main()
