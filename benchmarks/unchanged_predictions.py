"""Do predictions stay the same to the bit from one commit to the next? Answers of both, on ten tables, compared.

    PYTHONPATH=/path/to/the/commit/before python benchmarks/unchanged_predictions.py --save runs/before.npz
    python benchmarks/unchanged_predictions.py --against runs/before.npz

Only public names are used, so that one copy of this file asks both commits. Every answer is an array: probabilities,
means, quantiles, intervals, sets, cross-fitted folds, chosen temperatures, and the losses of `check_baseline`.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

CHECKPOINTS = ("nano", "base")
N_CONTEXT, N_QUERY = 80, 40


def tables(folder: Path | None, names: list[str]) -> Iterator[tuple[str, pd.DataFrame, pd.Series, bool]]:
    """(name, features, target, whether it is a class) of ten tables, eight of which scikit-learn carries."""
    from sklearn import datasets

    frames = {
        name: getattr(datasets, f"load_{name}")(as_frame=True).frame
        for name in ("iris", "wine", "breast_cancer", "digits", "diabetes", "linnerud")
    }
    for name, target, is_class in (
        ("iris", "target", True),
        ("wine", "target", True),
        ("breast_cancer", "target", True),
        ("digits", "target", True),
        ("diabetes", "target", False),
        ("linnerud", "Weight", False),
        ("wine", "alcohol", False),
        ("breast_cancer", "mean smoothness", False),
    ):
        yield f"{name}: {target}", frames[name].drop(columns=target), frames[name][target], is_class
    rng = np.random.default_rng(0)
    n = 200
    X = pd.DataFrame({"size": rng.normal(size=n), "count": rng.poisson(3, n), "day": pd.date_range("2024", periods=n)})
    X["kind"] = rng.choice(["red", "green", "blue"], n)
    X["ok"] = rng.random(n) < 0.3
    X.loc[rng.random(n) < 0.2, "size"] = np.nan
    signal = X["size"].fillna(0) + X["ok"] + 0.3 * rng.normal(size=n)
    yield "mixed: amount", X, 100 + 10 * signal, False
    yield "mixed: label", X, pd.Series(np.array(["low", "mid", "top"])[np.digitize(signal, [-0.5, 0.7])]), True
    if folder is not None:
        sys.path.append(str(Path(__file__).parents[1]))
        from benchmarks.tables import load_protocol

        index = pd.read_csv(folder / "index.csv").set_index("name")
        for name in names:
            record = index.loc[name]
            X, y = load_protocol(folder).load({"name": name, **record})
            yield name, X, y, record["task"] == "clf"


def answers(checkpoint: str, X: pd.DataFrame, y: pd.Series, is_class: bool) -> Iterator[tuple[str, np.ndarray]]:
    from icl import ICLClassifier, ICLRegressor

    order = np.random.default_rng(0).permutation(len(y))
    n_query = min(N_QUERY, len(y) // 3)
    context, query = order[n_query : n_query + N_CONTEXT], X.iloc[order[:n_query]]
    X, y = X.iloc[context], y.iloc[context]
    kind = ICLClassifier if is_class else ICLRegressor
    model = kind(checkpoint).fit(X, y)
    small = kind(checkpoint, n_estimators=2, random_state=3).fit(X, y)
    if is_class:
        yield "probabilities", model.predict_proba(query)
        yield "sets", small.predict_set(query, 0.8)
        yield "sets by class", small.predict_set(query, 0.7, by_class=True, score="aps", folds=3)
        yield "split sets", small.predict_set(query, 0.8, method="split")
    else:
        yield "means", model.predict(query)
        yield "quantiles", model.predict_quantiles(query, [0.1, 0.5, 0.9])
        yield "intervals", small.predict_interval(query, 0.8)
        yield "split intervals", small.predict_interval(query, 0.8, method="split")
    check = small.check_baseline()
    yield "baseline", np.array([check.loss, check.baseline_loss, check.std_error])
    yield "temperature", np.array(kind(checkpoint, n_estimators=2, calibrate=True).fit(X, y).temperature_)
    if not is_class or y.nunique() == 2:
        folds = np.arange(len(y)) % 4
        yield from zip(("labelled folds", "unlabelled folds"), small.predict_folds(X, y, folds, query))
    if is_class:
        binary = (y == y.mode()[0]).astype(int)
        yield "folds of one class", kind(checkpoint, 1).predict_folds(X, binary, np.arange(len(y)) % 3, query)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", type=Path, help="write the answers here")
    parser.add_argument("--against", type=Path, help="answers of an earlier commit")
    parser.add_argument("--checkpoints", default=",".join(CHECKPOINTS))
    parser.add_argument("--tables", type=Path, help="folder of further tables, with its index.csv")
    parser.add_argument("--names", default="", help="of tables in the folder, separated by commas")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    found = {}
    for checkpoint in options.checkpoints.split(","):
        for name, X, y, is_class in tables(options.tables, [n for n in options.names.split(",") if n]):
            for what, values in answers(checkpoint, X, y, is_class):
                found[f"{checkpoint}, {name}: {what}"] = np.asarray(values)
            print(f"{checkpoint}, {name}", file=sys.stderr, flush=True)
    if options.save:
        options.save.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(options.save, **{key.replace("/", "|"): values for key, values in found.items()})
    if options.against:
        sys.exit(compare(found, np.load(options.against)))


def compare(found: dict[str, np.ndarray], before) -> int:
    """Prints what differs; 1 if anything does, or if an answer of before is missing."""
    n_same, differs = 0, []
    for key in before.files:
        old, new = before[key], found.get(key.replace("|", "/"))
        if new is None:
            differs.append(f"{key}: not answered")
        elif old.dtype == new.dtype and old.tobytes() == new.tobytes():
            n_same += 1
        else:
            gap = np.abs(old.astype(float) - new.astype(float)).max() if old.shape == new.shape else np.inf
            differs.append(f"{key}: differs by {gap:.3g} at most")
    print(*differs, f"{n_same} of {len(before.files)} answers are the same to the bit.", sep="\n")
    return int(bool(differs))


if __name__ == "__main__":
    main()
