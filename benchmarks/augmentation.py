"""More rows of the rarest class on fifteen imbalanced tables: does a model learn better? Paired, with the verdict.

    python benchmarks/augmentation.py --tables FOLDER --output benchmarks/augmentation.csv   # resumes where it stopped
    python benchmarks/augmentation.py --report benchmarks/augmentation.csv

FOLDER holds clf/NAME.parquet with a column `target`. Of each table 400 rows, the rarest class against the rest. A model
learns from them as they are and with rows made by each method until the classes are even, in five folds. Probabilities
are put right for the changed shares. Seconds are of CPU.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

import icl
from icl.joint.augmenting.compare import gains

TABLES = (
    "abalone_19", "adult", "bank-marketing", "Bank_Customer_Churn", "blood-transfusion-service-center", "car",
    "chicago_taxi_tip", "cmc", "Fitness_Club", "flare", "mammography", "page-blocks", "seismic-bumps", "wilt", "yeast",
)  # fmt: skip
METHODS = ("none", "smote", "mixup", "icl")
ROWS, RAREST = 400, 20


def model(name: str):
    """A learner that takes gaps and levels."""
    levels, numbers = make_column_selector(dtype_exclude="number"), make_column_selector(dtype_include="number")
    if name == "boosting":
        codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        return make_pipeline(
            make_column_transformer((codes, levels), remainder="passthrough"),
            HistGradientBoostingClassifier(max_iter=60, early_stopping=False, random_state=0),
        )
    return make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), levels),
            (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        ),
        LogisticRegression(max_iter=1000),
    )


def rows_of(folder: Path, table: str) -> tuple[pd.DataFrame, pd.Series]:
    """400 rows, of which at least 20 are of the rarest class, and whether a row is."""
    whole = pd.read_parquet(folder / "clf" / f"{table}.parquet").drop_duplicates()
    y = whole.pop("target").astype(str)
    counts = y.value_counts()
    rarest = counts[counts >= RAREST].idxmin()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(whole))
    is_rare = (y == rarest).to_numpy()[order]
    n_rare = max(RAREST, round(ROWS * is_rare.mean()))
    chosen = np.concatenate([order[is_rare][:n_rare], order[~is_rare][: ROWS - n_rare]])
    X = whole.iloc[chosen].reset_index(drop=True)
    for name in X.select_dtypes(exclude="number"):
        X[name] = X[name].astype(object).where(X[name].notna(), "missing").astype(str)
    varied = [name for name in X if X[name].nunique() > 1]
    return X[varied], pd.Series(y.iloc[chosen].to_numpy() == rarest, name="is_rarest_class")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--only", default=",".join(TABLES))
    parser.add_argument("--models", default="boosting,logistic")
    parser.add_argument("--seconds", type=float, default=np.inf, help="of wall clock, after which no table begins")
    asked = parser.parse_args()
    if asked.report:
        print(report(pd.read_csv(asked.report)))
        return
    old = pd.read_csv(asked.output) if asked.output.exists() else pd.DataFrame({"table": [], "model": []})
    done, began = set(zip(old["table"], old["model"])), time.perf_counter()
    warnings.simplefilter("ignore")
    for table in asked.only.split(","):
        for name in asked.models.split(","):
            if (table, name) in done or time.perf_counter() - began > asked.seconds:
                continue
            X, y = rows_of(asked.tables, table)
            started = time.process_time()
            found = icl.compare_augmentation(model(name), X, y, METHODS[1:], amounts=(1.0,), metric="auc", orders=1)
            by_loss = gains(found.scores, METHODS[1:], "log_loss", 0.95)
            seconds = round(time.process_time() - started, 1)
            with asked.output.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                if not len(old) and not done:
                    writer.writerow(HEAD)
                for method in METHODS:
                    auc, loss = found.frame.loc[method], by_loss.loc[method]
                    numbers = [auc["auc"], auc["log_loss"], auc.get("gain"), auc.get("lower"), auc.get("upper")]
                    numbers += [
                        auc.get("p_value"),
                        loss.get("gain"),
                        loss.get("lower"),
                        loss.get("upper"),
                        loss.get("p_value"),
                    ]
                    writer.writerow([table, name, len(X), X.shape[1], int(y.sum()), method, *numbers, seconds])
            done.add((table, name))
            print(table, name, seconds, found, sep="\n", file=sys.stderr, flush=True)


HEAD = (
    "table", "model", "rows", "columns", "rare", "method", "auc", "log_loss", "auc_gain", "auc_lower", "auc_upper",
    "auc_p", "loss_gain", "loss_lower", "loss_upper", "loss_p", "seconds",
)  # fmt: skip


def report(rows: pd.DataFrame) -> str:
    """Tables of the file, for the page."""
    lines = [
        "| model | rows made by | AUC | log loss | better AUC on | p < .05 | worse, p < .05 | better log loss on | "
    ]
    lines[0] += "p < .05 | worse, p < .05 |"
    lines.append("|---|---|" + "---:|" * 8)
    for (name, method), own in rows.groupby(["model", "method"], sort=False):
        n, cells = len(own), [f"{own['auc'].mean():.4f}", f"{own['log_loss'].mean():.4f}"]
        for metric in ("auc", "loss"):
            gain, sure = own[f"{metric}_gain"], own[f"{metric}_p"] < 0.05
            counts = [(gain > 0).sum(), (sure & (gain > 0)).sum(), (sure & (gain < 0)).sum()]
            cells += [""] * 3 if method == "none" else [f"{count} of {n}" for count in counts]
        lines.append(f"| {name} | {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
