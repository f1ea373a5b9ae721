"""More classes than the checkpoint has slots: the network alone, and with the columns of its companions.

    python benchmarks/many_classes.py --tables FOLDER [--checkpoint base] [--rows 1000] [--out FILE]

Tables of 13 to 30 classes made of tables at hand: digits by digit and ink, mfeat and pendigits by digit and a column,
numbers cut into equally filled classes, ages in rings as they are. Half of the rows (at most --rows) is context, as
many are asked about. A random forest stands beside. Writes benchmarks/many_classes.md.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

from benchmarks.machine import describe
from icl import ICLClassifier
from icl.network.metrics import class_scores

CONTENDERS = {"alone": (), "ridge": ("ridge",), "with companions": "auto"}


def cut(values: np.ndarray, n: int) -> np.ndarray:
    """(n_rows,) number of the class, of `n` equally filled ones."""
    return np.digitize(values, np.quantile(values, np.arange(1, n) / n))


def tables(folder: Path) -> dict[str, tuple[pd.DataFrame, np.ndarray]]:
    """Features and classes by name; features that made the classes are left out."""
    X, digit = load_digits(return_X_y=True)
    found = {"digits x ink, 20": (pd.DataFrame(X), digit * 2 + cut(X.sum(1), 2))}
    found["digits x ink, 30"] = (pd.DataFrame(X), digit * 3 + cut(X.sum(1), 3))
    for name in ("mfeat-fourier", "mfeat-zernike", "pendigits"):
        table = pd.read_parquet(folder / "clf" / f"{name}.parquet")
        digit = pd.factorize(table.pop("target"), sort=True)[0]
        column = table.pop(table.columns[-1]).to_numpy(dtype=float)
        found[f"{name} x its last column, 20"] = (table, digit * 2 + cut(column, 2))
    for name, n in (("kin8nm", 13), ("elevators", 15)):
        table = pd.read_parquet(folder / "reg" / f"{name}.parquet")
        found[f"{name} cut in {n}"] = (table, cut(table.pop("target").to_numpy(dtype=float), n))
    table = pd.read_parquet(folder / "reg" / "abalone.parquet")
    rings = table.pop("target").to_numpy(dtype=int)
    found["abalone by rings, 4 to 17"] = (table, np.clip(rings, 4, 17) - 4)
    return found


def score(X: pd.DataFrame, y: np.ndarray, companions, checkpoint: str, n_rows: int) -> dict:
    X = pd.get_dummies(X) if companions == "forest" else X
    order = np.random.default_rng(0).permutation(len(y))
    n = min(n_rows, len(y) // 2)
    context, query = order[:n], order[n : 2 * n]
    query = query[np.isin(y[query], y[context])]
    start = time.process_time()
    if companions == "forest":
        model = RandomForestClassifier(500, random_state=0).fit(X.iloc[context].to_numpy(), y[context])
        probs = model.predict_proba(X.iloc[query].to_numpy())
    else:
        model = ICLClassifier(checkpoint, companions=companions).fit(X.iloc[context], y[context])
        probs = model.predict_proba(X.iloc[query])
    seconds = time.process_time() - start
    return class_scores(probs, np.searchsorted(model.classes_, y[query]), least=1e-4) | {"seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--checkpoint", default="base")
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    lines = [
        "# More classes than slots",
        "",
        f"{options.checkpoint}, default members, at most {options.rows:,} context rows and as many queries, seed 0. "
        "`alone` is the network without companions, which before companions reached the hierarchy was the default "
        "there. Seconds of processor time of fit and prediction. `benchmarks/many_classes.py`",
        "",
        describe("torch", "scikit-learn"),
        "",
        "| table | " + " | ".join(f"{name}: log loss, accuracy, s" for name in [*CONTENDERS, "forest"]) + " |",
        "|:--|" + "--:|" * (len(CONTENDERS) + 1),
    ]
    every = []
    for name, (X, y) in tables(options.tables).items():
        own = [score(X, y, c, options.checkpoint, options.rows) for c in [*CONTENDERS.values(), "forest"]]
        every.append([[s["log_loss"], s["accuracy"], s["seconds"]] for s in own])
        lines.append(f"| {name} | " + " | ".join("{:.3f}, {:.3f}, {:.1f}".format(*row) for row in every[-1]) + " |")
        print(lines[-1], flush=True)
    means = np.mean(every, 0)
    lines += ["| mean | " + " | ".join("{:.3f}, {:.3f}, {:.1f}".format(*row) for row in means) + " |", ""]
    options.out.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
