"""Where a network falls behind simple models on the tasks of its own prior, family by family.

    python benchmarks/families.py [--weights base FOLDER ...] [--batches 5]

A family whose tasks a ridge regression, a forest or a small neural network reads better than the network does is one
that it has not learnt: it needs more of it, or its first. Networks answer alone, as one member. Numbers: mean R2, at
least -1. Classes: mean share of the errors of the majority class that are avoided, at least -1. Categorical columns go
to the simple models as codes. Writes benchmarks/families.md.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.machine import describe
from icl import ICLClassifier, ICLRegressor, OutOfPriorWarning
from priors import TaskShape
from priors.mixture import FAMILIES, FURTHER

SHAPE = TaskShape(8, 700, 500, 12)
SIMPLE = ["linear", "trees", "mlp"]


def simple(task: str) -> dict:
    """The models that a family should hold no secrets from."""
    if task == "regression":
        return {
            "linear": make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 13))),
            "trees": ExtraTreesRegressor(100, random_state=0),
            "mlp": make_pipeline(
                StandardScaler(), MLPRegressor(hidden_layer_sizes=(64,), max_iter=300, random_state=0)
            ),
        }
    return {
        "linear": make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
        "trees": ExtraTreesClassifier(100, random_state=0),
        "mlp": make_pipeline(StandardScaler(), MLPClassifier(hidden_layer_sizes=(64,), max_iter=300, random_state=0)),
    }


def score(answer: np.ndarray, y: np.ndarray, y_context: np.ndarray, task: str) -> float:
    """R2, or the share of the majority's errors that are avoided; at least -1."""
    if task == "regression":
        error, constant = np.square(answer - y).mean(), np.square(y_context.mean() - y).mean()
    else:
        error, constant = (answer != y).mean(), (np.bincount(y_context).argmax() != y).mean()
    return max(-1.0, 1 - float(error) / max(float(constant), 1 / len(y)))


def of_family(family: type, task: str, weights: list[str], n_batches: int) -> Iterator[dict]:
    """A row for each task."""
    prior = family(task=task, missing=0.0)
    network = ICLRegressor if task == "regression" else ICLClassifier
    for step in range(n_batches):
        batch = prior.sample(SHAPE, torch.Generator().manual_seed(step))
        for X, y in zip(batch.X.numpy(), batch.y.numpy(), strict=True):
            n = batch.n_context
            if len(np.unique(y[:n])) < 2:
                continue
            # Targets of a forest or a network are to have a scale that its defaults suit.
            told = y if task == "classification" else (y - y[:n].mean()) / y[:n].std()
            models = simple(task) | {
                name: network(name, n_estimators=1, random_state=0, companions=()) for name in weights
            }
            found = {name: model.fit(X[:n], told[:n]).predict(X[n:]) for name, model in models.items()}
            yield {name: score(answer, told[n:], told[:n], task) for name, answer in found.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", nargs="+", default=["base"], help="names of releases, or their folders")
    parser.add_argument("--batches", type=int, default=5, help="of eight tasks, from each family and kind of target")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/families.md"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for expected in (ConvergenceWarning, OutOfPriorWarning):
        warnings.simplefilter("ignore", expected)
    names = [Path(name).name for name in options.weights]
    lines = ["# Networks and simple models on the families of the prior", ""]
    lines += [f"{describe('torch', 'scikit-learn')}; {SHAPE.n_context} rows to learn from, {SHAPE.n_features} columns,"]
    lines += [f"{8 * options.batches} tasks of each family. Reproduce: `python benchmarks/families.py --weights"]
    lines += [
        f"{' '.join(names)} --batches {options.batches}`. *Behind*: the best simple model less the last network.",
        "",
    ]
    for title, task in (("Numbers, R2", "regression"), ("Classes, share of errors avoided", "classification")):
        lines += [f"## {title}", "", f"| family | {' | '.join([*SIMPLE, *names])} | behind |"]
        lines += ["|---|" + "---:|" * (len(SIMPLE) + len(names) + 1)]
        for family in [*FAMILIES, *FURTHER]:
            rows = pd.DataFrame(of_family(family, task, options.weights, options.batches))
            mean = rows.mean()
            behind = (rows[SIMPLE].mean().max() - mean[options.weights[-1]]).round(3)
            cells = " | ".join(f"{mean[name]:.3f}" for name in [*SIMPLE, *options.weights])
            lines.append(f"| {family.__name__.removesuffix('Prior').lower()} | {cells} | {behind:+.3f} |")
            print(lines[-1], flush=True)
        lines.append("")
    options.out.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
