"""Synthetic rows of ten real tables: two-sample AUC, what a model of them loses, memorised rows, beside peers.

    python benchmarks/generation.py --tables FOLDER --output benchmarks/generation.csv      # resumes where it stopped
    python benchmarks/generation.py --report benchmarks/generation.csv

FOLDER holds clf/NAME.parquet and reg/NAME.parquet with a column `target`. Of each table and seed, 300 rows are shown to
a generator and 300 others are held out for the audit. Peers: SDV's GaussianCopula and CTGAN with their defaults, where
the Python that runs this has SDV (it is no dependency of this project); a Gaussian copula of our own (normal scores of
ranks, their correlations, levels as intervals) and the real rows of a third sample are always there. Seconds are of
CPU.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

import icl

TABLES = (
    "clf/titanic", "clf/adult", "clf/Bank_Customer_Churn", "clf/diabetes", "clf/cmc",
    "clf/blood-transfusion-service-center", "reg/abalone", "reg/insurance_charges", "reg/concrete", "reg/space_ga",
)  # fmt: skip
METHODS = ("icl", "quick", "copula", "GaussianCopula", "CTGAN", "real")
FIELDS = (
    "table", "seed", "method", "n", "columns", "seconds", "auc", "lower", "upper", "loss_real", "loss_synthetic",
    "cost", "cost_lower", "cost_upper", "exact", "expected_exact", "near", "expected_near", "p_near", "is_excess",
    "covered", "expected_covered", "pairs", "pairs_by_chance", "columns_beyond", "error",
)  # fmt: skip


def copula(rows: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """A Gaussian copula: normal scores of ranks, levels as intervals of them, gaps by themselves."""
    rng = np.random.default_rng(seed)
    scores = []
    for name in rows:
        codes = (
            rows[name]
            if rows[name].dtype.kind in "iuf"
            else rows[name].astype("category").cat.codes.replace(-1, np.nan)
        )
        filled = codes.fillna(codes.median()).to_numpy(dtype=float)
        jitter = filled + 1e-9 * rng.normal(size=len(filled)) * (np.ptp(filled) or 1)
        scores.append(norm.ppf(rankdata(jitter) / (len(filled) + 1)))
    drawn = norm.cdf(rng.multivariate_normal(np.zeros(rows.shape[1]), np.corrcoef(scores), size=n, method="cholesky"))
    out = {}
    for j, name in enumerate(rows):
        seen = rows[name].dropna()
        if seen.dtype.kind in "iuf":
            values = np.quantile(seen, drawn[:, j], method="nearest" if (seen % 1 == 0).all() else "linear")
        else:
            ordered = seen.astype("category")
            values = ordered.sort_values().to_numpy()[(drawn[:, j] * len(seen)).astype(int)]
        out[name] = pd.Series(values).mask(rng.random(n) < rows[name].isna().mean())
    return pd.DataFrame(out).astype({name: rows[name].dtype for name in rows})


def of_sdv(name: str) -> Callable[[pd.DataFrame, int, int], pd.DataFrame]:
    def draw(rows: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
        import torch
        from sdv.metadata import Metadata
        from sdv.single_table import CTGANSynthesizer, GaussianCopulaSynthesizer

        np.random.seed(seed)  # noqa: NPY002 - what the peer draws from
        torch.manual_seed(seed)
        kinds = {c: {"sdtype": "numerical" if rows[c].dtype.kind in "iuf" else "categorical"} for c in rows}
        metadata = Metadata.load_from_dict({"tables": {"rows": {"columns": kinds}}, "relationships": []})
        make = GaussianCopulaSynthesizer if name == "GaussianCopula" else CTGANSynthesizer
        synthesizer = make(metadata)
        synthesizer.fit({"rows": rows})  # SDV 2; older versions take and give the table itself
        return synthesizer.sample(n)["rows"]

    return draw


def learner(table: str):
    """Gradient boosting that takes gaps and levels: what learns from synthetic and from real rows."""
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    make = HistGradientBoostingClassifier if table.startswith("clf") else HistGradientBoostingRegressor
    return make_pipeline(
        make_column_transformer((codes, make_column_selector(dtype_exclude="number")), remainder="passthrough"),
        make(max_iter=60, early_stopping=False, random_state=0),
    )


def draws(method: str) -> Callable[[pd.DataFrame, int, int], pd.DataFrame]:
    if method == "icl":
        return lambda rows, n, seed: icl.generate(rows, n, seed=seed)
    if method == "quick":
        return lambda rows, n, seed: icl.generate(rows, n, seed=seed, model="quick")
    return copula if method == "copula" else of_sdv(method)


def one(folder: Path, table: str, seed: int, method: str, n: int) -> dict:
    rows = pd.read_parquet(folder / f"{table}.parquet")
    for name in rows.select_dtypes("category"):
        rows[name] = rows[name].astype(object)
    if table.startswith("clf"):
        rows["target"] = rows["target"].astype(str)
    order = np.random.default_rng(seed).permutation(len(rows))
    n = min(n, len(rows) // 3)
    train, holdout, third = (rows.iloc[order[k * n : (k + 1) * n]].reset_index(drop=True) for k in range(3))
    varied = [name for name in train if train[name].nunique() > 1 and holdout[name].notna().any()]
    train, holdout, third = train[varied], holdout[varied], third[varied]
    started = time.process_time()
    drawn = third if method == "real" else draws(method)(train, n, seed)[varied]
    seconds = time.process_time() - started
    found = icl.audit(train, drawn, holdout=holdout, target="target", predictor=learner(table), seed=seed)
    m, u = found.memorised, found.useful
    assert u is not None and found.pairs is not None
    return {
        "table": table, "seed": seed, "method": method, "n": n, "columns": len(varied), "seconds": round(seconds, 2),
        "auc": found.likeness.auc, "lower": found.likeness.lower, "upper": found.likeness.upper,
        "loss_real": u.real, "loss_synthetic": u.synthetic,
        "cost": u.cost, "cost_lower": u.lower, "cost_upper": u.upper,
        "exact": m.n_exact, "expected_exact": m.expected_exact, "near": m.near, "expected_near": m.expected_near,
        "p_near": m.p_near, "is_excess": m.is_excess, "covered": found.coverage.covered,
        "expected_covered": found.coverage.expected, "pairs": found.pairs.difference,
        "pairs_by_chance": found.pairs.by_chance,
        "columns_beyond": int((found.columns["distance"] > found.columns["by_chance"]).sum()), "error": "",
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--only", default=",".join(TABLES))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=np.inf, help="of wall clock, after which none begins")
    asked = parser.parse_args()
    if asked.report:
        print(report(pd.read_csv(asked.report)))
        return
    done = set()
    if asked.output.exists():
        old = pd.read_csv(asked.output)
        done = set(zip(old["table"], old["seed"], old["method"]))
    began = time.perf_counter()
    warnings.simplefilter("ignore")
    for seed in map(int, asked.seeds.split(",")):
        for table in asked.only.split(","):
            for method in asked.methods.split(","):
                if (table, seed, method) in done or time.perf_counter() - began > asked.seconds:
                    continue
                try:
                    row = one(asked.tables, table, seed, method, asked.rows)
                except Exception as error:  # a peer that fails on a table is a result
                    row = {
                        "table": table,
                        "seed": seed,
                        "method": method,
                        "error": f"{type(error).__name__}: {error}"[:200],
                    }
                is_new = not asked.output.exists()
                with asked.output.open("a", newline="", encoding="utf-8") as file:
                    writer = csv.DictWriter(file, FIELDS)
                    if is_new:
                        writer.writeheader()
                    writer.writerow(row)
                print(
                    table, seed, method, row.get("seconds"), row.get("auc"), row["error"], file=sys.stderr, flush=True
                )


def report(rows: pd.DataFrame) -> str:
    """Tables of the file, for the page."""
    rows = rows[rows["error"].isna()]
    methods = [name for name in METHODS if (rows["method"] == name).any()]
    wide = rows.pivot_table(index="table", columns="method", values="auc")[methods]
    lines = ["| table | " + " | ".join(methods) + " |", "|---|" + "---:|" * len(methods)]
    for table, values in wide.iterrows():
        best = values.drop("real", errors="ignore").min()
        cells = [f"**{v:.3f}**" if v == best else f"{v:.3f}" if v == v else "-" for v in values]
        lines.append(f"| {table} | " + " | ".join(cells) + " |")
    said = ["", "| method | AUC, mean | cost of learning from it, mean | rows equal to a training row (expected) | "]
    said[-1] += "near ones beside a training row | tables with an excess | covered (expected) | seconds, median |"
    said.append("|---|" + "---:|" * 7)
    for method in methods:
        own = rows[rows["method"] == method]
        said.append(
            f"| {method} | {own['auc'].mean():.3f} | {own['cost'].mean():+.3f} | "
            f"{own['exact'].sum():.0f} ({own['expected_exact'].sum():.0f}) | {own['near'].mean():.2f} "
            f"({own['expected_near'].mean():.2f}) | {own['is_excess'].astype(bool).sum()} of {len(own)} | "
            f"{own['covered'].mean():.3f} ({own['expected_covered'].mean():.3f}) | {own['seconds'].median():.1f} |"
        )
    return "\n".join([*lines, *said])


if __name__ == "__main__":
    main()
