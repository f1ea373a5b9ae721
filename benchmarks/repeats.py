"""Coverage of conformal intervals and sets where labelled rows are repeated or weighted, by class and over all.

    python benchmarks/repeats.py [--before CSV]

Rows are drawn with their outcome, 60 labelled and 50 new in each repetition; then the labelled ones are repeated, or
given weights. `--before` names the CSV of an earlier commit (PYTHONPATH=... python benchmarks/repeats.py --csv ...),
whose coverage then stands beside.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))

LEVEL, N, N_NEW = 0.9, 60, 50
HEAD = """# Repeated and weighted rows

Written by `python benchmarks/repeats.py`; every number is measured. {n} labelled rows of four columns, {m} new rows in
each of {reps} repetitions; checkpoint {checkpoint}, one member, nominal coverage {level:.0%}, `cv+` with 10 folds.
Coverage with its standard error over repetitions; **bold**: more than four of them below nominal. Width: of intervals,
in standard deviations of the outcome; size: of sets, in classes. `before`: commit 0a7b393, where folds tore copies
apart and weights were refused, in the first {reps_before} of these repetitions.

- *x k*: every labelled row is there k times. A copy tells nothing new: coverage and width should stay.
- *bootstrap*: as many rows drawn with replacement.
- *rare class x 5*: rows of a class that holds a tenth are there five times; coverage of new rows of that class, with
  `by_class=True`.
- *copies and weights 0 to 3*: whole-number weights, drawn at random.
- *shift*: new rows come from where the first column is larger, exp(a) times as often; weights are exp(a) or none.
"""


def draw(rng: np.random.Generator, n: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Features, a number, and one of three classes of which the last holds a tenth."""
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc"))
    X["kind"] = rng.choice(["red", "green", "blue"], n)
    signal = X["a"] + 0.5 * (X["kind"] == "red") + 0.3 * X["b"] * X["c"] + 0.7 * rng.standard_t(5, n)
    return X, signal.to_numpy(), np.array(["low", "mid", "top"])[np.digitize(signal, [0.0, 1.6])]


def shifted(rng: np.random.Generator, n: int):
    """New rows, drawn with chances exp(a)."""
    X, y, label = draw(rng, 40 * n)
    chance = np.exp(X["a"].to_numpy())
    rows = rng.choice(len(y), n, replace=False, p=chance / chance.sum())
    return X.iloc[rows], y[rows], label[rows]


def cases(rng: np.random.Generator, X: pd.DataFrame, label: np.ndarray) -> Iterator[tuple[str, np.ndarray, object]]:
    """(name, labelled rows shown, their weights)."""
    everything = np.arange(N)
    for k in (1, 2, 3, 5):
        yield f"x {k}", np.tile(everything, k), None
    yield "bootstrap", rng.integers(N, size=N), None
    yield "rare class x 5", np.repeat(everything, np.where(label == "top", 5, 1)), None
    yield "copies and weights 0 to 3", everything, rng.integers(0, 4, N)
    yield "shift, no weights", everything, None
    yield "shift, weights exp(a)", everything, np.exp(X["a"].to_numpy())


def repeat(rep: int, checkpoint: str) -> Iterator[dict]:
    from icl import ICLClassifier, ICLRegressor

    rng = np.random.default_rng([0, rep])
    while True:
        X, y, label = draw(rng, N)
        if min(np.unique(label, return_counts=True)[1]) >= 3 and len(np.unique(label)) == 3:
            break
    new = draw(rng, N_NEW)
    far = shifted(rng, N_NEW)
    for name, rows, weight in cases(rng, X, label):
        X_new, y_new, label_new = far if name.startswith("shift") else new
        settings = {"checkpoint": checkpoint, "n_estimators": 1, "random_state": rep}
        weighted = {} if weight is None else {"sample_weight": weight}
        try:
            if name != "rare class x 5":
                model = ICLRegressor(**settings).fit(X.iloc[rows], y[rows], **weighted)
                low, high = model.predict_interval(X_new, LEVEL).T
                inside = (low <= y_new) & (y_new <= high)
                yield {
                    "case": name,
                    "what": "interval",
                    "coverage": inside.mean(),
                    "size": (high - low).mean() / y.std(),
                }
            model = ICLClassifier(**settings).fit(X.iloc[rows], label[rows], **weighted)
        except TypeError:  # weights, before
            continue
        codes = np.searchsorted(model.classes_, label_new).clip(max=len(model.classes_) - 1)
        known = model.classes_[codes] == label_new
        sets = model.predict_set(X_new, LEVEL, allow_empty=True)
        inside = sets[np.arange(N_NEW), codes] & known
        yield {"case": name, "what": "set", "coverage": inside.mean(), "size": sets.sum(1).mean()}
        sets = model.predict_set(X_new, LEVEL, by_class=True, allow_empty=True)
        inside = sets[np.arange(N_NEW), codes] & known
        rare = label_new == "top"
        yield {"case": name, "what": "set by class", "coverage": inside.mean(), "size": sets.sum(1).mean()}
        if rare.any():
            yield {"case": name, "what": "rare class, by class", "coverage": inside[rare].mean(), "size": rare.sum()}


def tabulate(results: pd.DataFrame, before: pd.DataFrame | None) -> list[str]:
    lines = ["", "| rows | of | coverage | width or size | before | |", "|---|---|---|---|---|---|"]
    for (case, what), cell in results.groupby(["case", "what"], sort=False):
        cells = [_shown(cell, what)]
        old = None if before is None else before[(before["case"] == case) & (before["what"] == what)]
        cells.append("— | —" if old is None or old.empty else _shown(old, what))
        lines.append(f"| {case} | {what} | " + " | ".join(cells) + " |")
    return lines


def _shown(cell: pd.DataFrame, what: str) -> str:
    rates, sizes = cell["coverage"], cell["size"]
    if what.startswith("rare"):  # repetitions hold few such rows: each row counts
        mean = np.average(rates, weights=sizes)
        error = np.sqrt(np.sum(sizes**2 * (rates - mean) ** 2)) / sizes.sum()
        shown = ""
    else:
        mean, error = rates.mean(), rates.std() / np.sqrt(len(rates))
        shown = f"{sizes.replace(np.inf, np.nan).mean():.2f}"
    text = f"{mean:.3f} ({error:.3f})"
    return (f"**{text}**" if mean < LEVEL - 4 * error else text) + f" | {shown}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--reps", type=int, default=100)
    parser.add_argument("--csv", type=Path, default=Path("runs/repeats.csv"), help="results of repetitions; resumed")
    parser.add_argument("--before", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    options.csv.parent.mkdir(parents=True, exist_ok=True)
    done = set(pd.read_csv(options.csv)["rep"]) if options.csv.exists() else set()
    for rep in range(options.reps):
        if rep not in done:
            rows = pd.DataFrame(repeat(rep, options.checkpoint)).assign(rep=rep)
            rows.to_csv(options.csv, mode="a", header=not options.csv.exists(), index=False)
    results, before = pd.read_csv(options.csv), None
    if options.before:
        before = pd.read_csv(options.before)
    facts = {"n": N, "m": N_NEW, "reps": results["rep"].nunique(), "checkpoint": options.checkpoint, "level": LEVEL}
    facts["reps_before"] = 0 if before is None else before["rep"].nunique()
    text = "\n".join([HEAD.format(**facts), *tabulate(results, before)]) + "\n"
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
