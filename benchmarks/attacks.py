"""Coverage and width of 90% intervals on the processes that once broke them, beside labels alone.

python benchmarks/attacks.py                                   # writes benchmarks/attacks.csv and .md
PYTHONPATH=/path/to/another/checkout python benchmarks/attacks.py --label before    # adds a column

Cases are seeded by name and repetition, so that two checkouts see the same rows. Finished cases stay in the CSV.
"""

from __future__ import annotations

import argparse
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy

import numpy as np
import pandas as pd

from icl.inference import OLS, Design, Mean, Quantile, Statistic, infer

LEVEL = 0.90
MEAN, SLOPE, GIVEN = Mean("y"), OLS("y", covariates=["x"]), {"predictions": "f"}


class Ridge:
    """Ridge regression that fits all folds in one call; an infinite penalty predicts the mean of its labels."""

    def __init__(self, penalty: float) -> None:
        self.penalty = penalty

    def fit(self, X, y):
        X = np.asarray(X, dtype=float)
        self.center, self.mean = X.mean(axis=0), y.mean()
        off = X - self.center
        penalty = np.diag(np.full(X.shape[1], min(self.penalty, 1e6)))
        self.slopes = np.linalg.solve(off.T @ off + penalty, off.T @ (y - self.mean)) * np.isfinite(self.penalty)
        return self

    def predict(self, X):
        return self.mean + (np.asarray(X, dtype=float) - self.center) @ self.slopes

    def predict_folds(self, X, y, fold_of_row, X_unlabeled):
        f, by_fold = np.empty(len(y)), []
        for k in range(fold_of_row.max() + 1):
            model = Ridge(self.penalty).fit(X[fold_of_row != k], y[fold_of_row != k])
            f[fold_of_row == k] = model.predict(X[fold_of_row == k])
            by_fold.append(model.predict(X_unlabeled))
        return f, np.stack(by_fold)


@dataclass(frozen=True)
class Case:
    """`draw(rng, n + N)` gives a table whose first n outcomes are seen; what is estimated; what the truth is."""

    finding: str
    name: str
    n: int
    N: int
    draw: Callable
    estimand: object
    truth: float
    options: dict
    term: str | None = None
    """The one that counts; default: all."""


def _weak(signal: float = 0.0, n_noise: int = 5) -> Callable:
    def draw(rng, M):
        Z, e = rng.normal(size=(n_noise, M)), rng.normal(size=M)
        y = np.sqrt(signal / n_noise) * Z.sum(axis=0) + np.sqrt(1 - signal) * e
        return {"y": y} | {f"z{j}": z for j, z in enumerate(Z)}

    return draw


def _slope(signal: float) -> Callable:
    def draw(rng, M):
        x, z, e = rng.normal(size=(3, M))
        return {"y": x + signal * z + e, "x": x, "z": z}

    return draw


def _stored(make: Callable) -> Callable:
    def draw(rng, M):
        x, e, o = rng.normal(size=(3, M))
        y, f = make(rng, x, e, o)
        return {"y": y, "f": f, "x": x}

    return draw


def _sparse(rng, x, e, o):
    z = (rng.uniform(size=len(x)) < 0.05) * 1.0
    return e + 5 * z, z


def _groups(p: float, G: int) -> Callable:
    def draw(rng, M):
        f = np.clip(p * rng.uniform(0.2, 1.8, size=M), 0, 1)
        return {"y": (rng.uniform(size=M) < f) * 1.0, "f": f, "g": np.resize(np.arange(G), M)}

    return draw


def _clusters(sizes: tuple[int, int], n_labeled: int) -> Callable:
    def draw(rng, M):
        size = rng.integers(sizes[0], sizes[1] + 1, 400)
        g = np.repeat(np.arange(400), size)
        effect = rng.normal(size=400)[g]
        f = effect + rng.normal(size=len(g))
        y = 0.8 * f + 0.7 * rng.normal(size=400)[g] + 0.7 * rng.normal(size=len(g))
        some = g < 10 * n_labeled
        return {"y": np.where(g < n_labeled, y, np.nan)[some], "f": f[some], "g": g[some]}

    return draw


def _probabilities(low: float, high: float) -> Callable:
    def draw(rng, M):
        x, e, o = rng.normal(size=(3, M))
        p = low * (high / low) ** (1 / (1 + np.exp(-1.5 * x)))
        y = x + e
        return {"y": np.where(rng.uniform(size=M) < p, y, np.nan), "f": y + o, "p": p}

    return draw


def _quad(rng, x, e, o):
    return x + e, (x + 0.3 * e) ** 2


def _correlated(rng, x, e, o):
    y = 0.5 * x + np.sqrt(0.75) * e
    return y, y + o


def cases() -> list[Case]:
    return [*_cross_fitted(), *_stored_predictions(), *_designs(), *_good()]


def _cross_fitted() -> Iterator[Case]:
    ridge = lambda penalty, folds, **more: {"predictor": Ridge(penalty), "folds": folds, **more}
    for n, folds in ((15, 5), (20, 5), (20, 20), (30, 2)):
        yield Case("1", f"mean, mean of labels, {folds} folds", n, 200, _weak(), MEAN, 0, ridge(np.inf, folds))
    for folds in (2, 5, 10, 30):
        both = ridge(100, folds, features=["x", "z"])
        yield Case("1", f"mean, ridge on noise, {folds} folds", 30, 200, _weak(), MEAN, 0, ridge(100, folds))
        yield Case("1", f"slope, ridge on noise, {folds} folds", 30, 200, _slope(0), SLOPE, 1, both, "x")
    for folds in (5, 30):
        useful, noise = ridge(1, folds, features=["x", "z"]), ridge(100, folds)
        yield Case("1", f"mean, useful ridge, {folds} folds", 30, 200, _weak(0.5), MEAN, 0, ridge(1, folds))
        yield Case("1", f"slope, useful ridge, {folds} folds", 30, 200, _slope(1), SLOPE, 1, useful, "x")
        yield Case("1", f"median, ridge on noise, {folds} folds", 30, 200, _weak(), Quantile("y"), 0, noise)
    by_cluster = ridge(np.inf, 5, features=["f"], design=Design(clusters="g"))
    yield Case("1", "mean of 10 clusters, mean of labels", 0, 0, _clusters((6, 6), 10), MEAN, 0, by_cluster)


def _stored_predictions() -> Iterator[Case]:
    for p, m in ((0.05, 30), (0.03, 100)):
        name = f"3 groups, share {p}, {m} labels each"
        yield Case("3", name, 3 * m, 400, _groups(p, 3), Mean("y", by="g"), p, GIVEN)
    skewed = _stored(lambda rng, x, e, o: (x + e, np.exp(1.5 * x)))
    for n, N in ((15, 400), (20, 400), (30, 400), (60, 30)):
        yield Case("7", f"mean, f = (x + .3e)^2, N = {N}", n, N, _stored(_quad), MEAN, 0, GIVEN)
    for n in (15, 20, 40):
        yield Case("7", "mean, f = exp(1.5 x)", n, 400, skewed, MEAN, 0, GIVEN)
    yield Case("7", "mean, f = 1 on 5% of rows", 40, 1_000, _stored(_sparse), MEAN, 0.25, GIVEN)
    correlation = Statistic(lambda d: np.corrcoef(d["y"].to_numpy(), d["x"].to_numpy())[0, 1], "y", ["x"], n_draws=199)
    yield Case("10", "correlation .5", 20, 200, _stored(_correlated), correlation, 0.5, GIVEN)


def _designs() -> Iterator[Case]:
    normal_90 = 1.2815515655446004
    clusters = GIVEN | {"design": Design(clusters="g")}
    for q, truth in ((0.5, 0.0), (0.9, normal_90 * np.sqrt(2 * 0.64 + 2 * 0.49))):
        name = f"quantile {q}, 15 clusters of 2 to 19"
        yield Case("8", name, 0, 0, _clusters((2, 19), 15), Quantile("y", q), truth, clusters)
    known = GIVEN | {"design": Design(probability="p")}
    low, name = -normal_90 * np.sqrt(2), "quantile .1, probabilities .05 to .3"
    yield Case("8", name, 0, 600, _probabilities(0.05, 0.3), Quantile("y", 0.1), low, known)


def _good() -> Iterator[Case]:
    for n in (20, 100):
        for quality, noise in (("correlation .98", 0.3), ("correlation .71", 1.4)):
            rows = _stored(lambda rng, x, e, o, noise=noise: (x + e, x + e + noise * o))
            yield Case("good", f"mean, {quality}", n, 1_000, rows, MEAN, 0, GIVEN)
            yield Case("good", f"slope, {quality}", n, 1_000, rows, SLOPE, 1, GIVEN, "x")


def run(case: Case, reps: int) -> dict[str, float]:
    """Coverage and mean width under the default, and of labels alone."""
    seed = zlib.crc32(f"{case.finding}/{case.name}/{case.n}".encode())
    hits = {"default": [], "labels": []}
    width = {"default": [], "labels": []}
    for r in range(reps):
        table = case.draw(np.random.default_rng([seed, r]), case.n + case.N)
        if case.n:
            table["y"] = np.where(np.arange(case.n + case.N) < case.n, table["y"], np.nan)
        for name, weight in (("default", "auto"), ("labels", 0)):
            interval = infer(case.estimand, table, weight=weight, **case.options).interval(LEVEL)
            interval = interval if case.term is None else interval.loc[[case.term]]
            hits[name] += list((interval["lower"] <= case.truth) & (case.truth <= interval["upper"]))
            width[name] += list(interval["upper"] - interval["lower"])
    wide, alone = (np.array(width[name]) for name in ("default", "labels"))
    finite = np.isfinite(wide) & np.isfinite(alone)
    ratio = wide[finite].mean() / alone[finite].mean()
    count = len(hits["labels"])
    return {"covered": np.mean(hits["default"]), "labels": np.mean(hits["labels"]), "width": ratio, "intervals": count}


def report(table: pd.DataFrame) -> str:
    labels = list(dict.fromkeys(table["label"]))
    lines = [
        "# What once broke the intervals",
        "",
        '90% intervals of the default (`weight="auto"`) and of labels alone, on the same rows. Width: mean, over that',
        f"of labels alone. One Monte Carlo error at .90 and {int(table['reps'].max())} repetitions: "
        f"{np.sqrt(0.09 / table['reps'].max()):.3f}. Written by `benchmarks/attacks.py`.",
        "",
        "| finding | case | n | labels alone | " + " | ".join(f"{x} | width {x}" for x in labels) + " |",
        "|---|---|---|---|" + "---|---|" * len(labels),
    ]
    for (finding, name, n), part in table.groupby(["finding", "case", "n"], sort=False):
        part = part.set_index("label")
        cells = []
        for x in labels:
            known = x in part.index
            cells += [f"{part.loc[x, 'covered']:.3f}", f"{part.loc[x, 'width']:.2f}"] if known else ["", ""]
        size = "" if not int(n) else n
        lines.append(f"| {finding} | {name} | {size} | {part['labels'].iloc[-1]:.3f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=1_000)
    parser.add_argument("--label", default="now", help="column: which code is measured")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(""), help="stem of .csv and .md")
    options = parser.parse_args()
    csv = options.output.with_suffix(".csv")
    known = pd.read_csv(csv, dtype={"finding": str}) if csv.is_file() else pd.DataFrame()
    rows = known.to_dict("records")
    done = {(row["label"], row["case"], row["n"]) for row in rows}
    for case in cases():
        if (options.label, case.name, case.n) in done:
            continue
        facts = {"label": options.label, "finding": case.finding, "case": case.name, "n": case.n, "reps": options.reps}
        rows.append(facts | run(case, options.reps))
        pd.DataFrame(rows).round(4).to_csv(csv, index=False)
        print(rows[-1], flush=True)
    text = report(pd.DataFrame(rows))
    options.output.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
