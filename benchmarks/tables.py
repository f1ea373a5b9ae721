"""What the scripts on real tables share: the folder of tables, one scored cell, a result file that can be resumed.

FOLDER holds `bench.py` (the protocol: splits, preparation, metrics, baselines), `index.csv` (a row a table),
`baselines.csv` and the tables. A *cell* is one (table, seed, number of context rows).
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd

from icl.atomic import write_atomically

MAX_CLASSES, MAX_FEATURES = 10, 100
METRICS = {"clf": ["auc", "acc", "logloss", "brier", "ece"], "reg": ["r2", "nrmse", "nll", "crps"]}
TITLES = {"clf": "Classification", "reg": "Regression"}


@functools.lru_cache
def load_protocol(folder: Path) -> Any:
    """The module `bench.py` of the folder.

    Raises:
        SystemExit: if the folder lacks one of the files that it should hold.
    """
    missing = [name for name in ("bench.py", "index.csv", "baselines.csv") if not (folder / name).is_file()]
    if missing:
        sys.exit(f"{folder} lacks {', '.join(missing)}; pass --tables with the folder of the benchmark tables.")
    spec = importlib.util.spec_from_file_location("bench", folder / "bench.py")
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():  # the protocol file silences all warnings when it is imported
        spec.loader.exec_module(module)
    return module


def read_index(folder: Path, tiers: str = "12", datasets: str = "", limit: int = 0) -> pd.DataFrame:
    """One row for each table that is scored, smallest first.

    Args:
        tiers: digits, "1" for tables of public benchmarks, "12" to add the other real ones.
        datasets: names separated by commas; all if empty.
        limit: keep this many, spread over the sizes; 0 keeps all.
    """
    index = pd.read_csv(folder / "index.csv").sort_values(["n", "name"], kind="stable")
    known = set(index.name)
    index = index[index.tier.astype(str).isin(list(tiers))]
    index = index[(index.p <= MAX_FEATURES) & ~(index.n_classes > MAX_CLASSES)]
    if datasets:
        wanted = datasets.split(",")
        if unknown := sorted(set(wanted) - known):
            sys.exit(f"index.csv has no table {', '.join(unknown)}.")
        index = index[index.name.isin(wanted)]
    if limit and limit < len(index):
        index = index.iloc[np.linspace(0, len(index) - 1, limit).round().astype(int)]
    return index


def weights_of(checkpoint: str) -> str:
    """The first 8 hexadecimal digits of the SHA-256 of a release's weights, which tell scores of old weights apart."""
    from icl.releases.names import WEIGHTS, resolve_checkpoint

    return hashlib.sha256((resolve_checkpoint(checkpoint) / WEIGHTS).read_bytes()).hexdigest()[:8]


class Classifier:
    """What the protocol asks of a classifier; keeps its last answer, for calibration."""

    def __init__(self, **options):
        from icl import ICLClassifier

        self.model = ICLClassifier(**options)

    def fit(self, X, y) -> Classifier:
        self.model.fit(X, y)
        self.classes_ = self.model.classes_
        return self

    def predict_proba(self, X) -> np.ndarray:
        self.proba = self.model.predict_proba(X)
        return self.proba


class Regressor:
    """What the protocol asks of a regressor; one forward pass answers all three questions, and is kept."""

    def __init__(self, **options):
        from icl import ICLRegressor

        self.model = ICLRegressor(**options)

    def fit(self, X, y) -> Regressor:
        self.model.fit(X, y)
        return self

    def predict(self, X) -> np.ndarray:
        self.distribution = self.model.predict_distribution(X)
        return self.distribution.mean.numpy().astype(float)

    def logpdf(self, X, y) -> np.ndarray:
        from icl.network.atoms import AtomicPredictive
        from icl.network.metrics import density_losses

        d = self.distribution
        # Baselines know no atoms: a log-mass does not compare with their densities.
        return -density_losses(d.as_histogram() if isinstance(d, AtomicPredictive) else d, y)

    def predict_quantiles(self, X, q) -> np.ndarray:
        return np.stack([self.distribution.icdf(float(level)).numpy() for level in q], 1)


def ours(checkpoint: str, n_estimators: int | str = "auto", **more) -> Callable[[str], Classifier | Regressor]:
    """Factory of the protocol: task ("clf" or "reg") -> unfitted estimator, with `more` options if given."""
    from icl.estimators.prior_limits import OutOfPriorWarning

    warnings.simplefilter("ignore", OutOfPriorWarning)  # where a model is bad is what the reports are about
    options = {"checkpoint": checkpoint, "n_estimators": n_estimators} | more
    return lambda task: (Classifier if task == "clf" else Regressor)(**options)


def restrict(rows: np.ndarray, y: np.ndarray, n: int, seed: int, is_classification: bool) -> np.ndarray:
    """`n` of the context rows at random; fewer are a subset of more.

    Every class keeps one row, so that no model is asked about a class that it cannot know.
    """
    order = np.random.default_rng(seed).permutation(rows)
    if is_classification:
        _, first = np.unique(y[order], return_index=True)
        order = np.concatenate([order[first], np.delete(order, first)])
    return order[:n]


def score_cell(
    folder: Path, record: dict, factory: Callable, prep: str, seed: int, n_context: int = 0
) -> tuple[dict, Any, np.ndarray]:
    """Fit on the context rows of one table and score on its query rows, as the protocol does.

    Args:
        record: a row of the index.
        factory: task -> estimator.
        prep: how the protocol prepares X ("raw", "ordinal", ...).
        n_context: keep this many context rows; 0 keeps all. The query rows stay the same.
    Returns:
        the row for the result file, the fitted estimator, and the (m,) targets of the query rows.
    """
    protocol, task = load_protocol(folder), record["task"]
    X, y = protocol.load(record)
    n_classes = 0
    if task == "clf":
        classes, y = np.unique(y.astype(str).to_numpy(), return_inverse=True)
        n_classes = len(classes)
    else:
        y = y.to_numpy(float)
    context, query = protocol.split(y, task, seed)
    if n_context:
        context = restrict(context, y, n_context, seed, task == "clf")
    row = {"dataset": record["name"], "task": task, "seed": seed, "n_train": len(context), "n_test": len(query)}
    row |= {"p": X.shape[1], "k": n_classes or "", "error": ""}
    estimator = None
    try:
        estimator = factory(task)
        prepare = protocol.Prep(prep).fit(X.iloc[context])
        X_query = prepare.transform(X.iloc[query])
        estimator.fit(prepare.transform(X.iloc[context]), y[context])
        if task == "clf":
            proba = np.zeros((len(query), n_classes))
            proba[:, np.asarray(estimator.classes_).astype(int)] = estimator.predict_proba(X_query)
            row |= protocol.clf_metrics(proba, y[query], n_classes)
        else:
            mean = np.asarray(estimator.predict(X_query), float).ravel()
            row |= protocol.reg_metrics(estimator, X_query, y[query], mean, y[context])
    except Exception as error:  # one table must not end the run; the report lists it and a later run tries again
        row["error"] = repr(error)[:200].replace("\n", " ")
    return row, estimator, y[query]


class ResultFile:
    """A CSV that is rewritten whole after every cell, sorted, so that an interrupted run continues.

    Args:
        keys: columns that tell rows apart.
        keep: columns and the value that rows of an earlier run need for being kept.
    """

    def __init__(self, path: Path, keys: list[str], keep: dict | None = None, fresh: bool = False):
        self.path, self.keys = path, keys
        self.rows: dict[tuple, dict] = {}
        if path.exists() and not fresh:
            frame = pd.read_csv(path, dtype={"weights": str, "members": str})
            for name, value in (keep or {}).items():
                frame = frame[frame[name] == value] if name in frame else frame[:0]
            if "error" in frame:
                frame = frame[frame.error.isna()]
            for row in frame.to_dict("records"):
                self.rows[tuple(row[k] for k in keys)] = row

    def __contains__(self, key: tuple) -> bool:
        return key in self.rows

    def add(self, row: dict) -> None:
        self.rows[tuple(row[k] for k in self.keys)] = row

    def frame(self) -> pd.DataFrame:
        frame = pd.DataFrame(self.rows.values())
        return frame.sort_values(self.keys, kind="stable", ignore_index=True) if len(frame) else frame

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Six digits: what several threads add up in another order differs beyond them.
        write_atomically(self.path, self.frame().to_csv(index=False, float_format="%.6g"))


def in_parallel(work: Callable, todo: Iterable, jobs: int, prefer: str = "threads") -> Iterable:
    """`work` of each item, in the order of completion, `jobs` at a time with one thread each."""
    import torch
    from joblib import Parallel, delayed

    def alone(item):
        if jobs > 1:
            torch.set_num_threads(1)
        return work(item)

    # Threads for our models: torch releases the lock, and every worker shares one copy of the weights.
    return Parallel(jobs, prefer=prefer, return_as="generator_unordered")(delayed(alone)(item) for item in todo)
