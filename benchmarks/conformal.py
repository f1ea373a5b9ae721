"""Coverage and size of conformal intervals and sets: three priors and three real tables, at 80, 90 and 95 %.

    python benchmarks/conformal.py                           # resumes runs/conformal.csv; writes conformal.md
    python benchmarks/conformal.py --reps 20 --results runs/try.csv --out runs/try.md
    python benchmarks/conformal.py --tables FOLDER --names wine_quality,abalone

A repetition draws a new table from a prior, or shuffles a real one, and shows the first `n` rows with labels; every
method gets the same ones. FOLDER holds `reg/NAME.parquet` and `clf/NAME.parquet` with a column `target`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd
import torch

from benchmarks.machine import describe
from icl import ICLClassifier, ICLRegressor
from icl.estimators.calibrated import SPLIT_SHARE
from icl.estimators.conformity import n_outside

LEVELS = (0.80, 0.90, 0.95)
N_FEATURES = 6
# (m, F) rows and labels of one repetition, from a generator and how many are wanted
Draw = Callable[[np.random.Generator, int], tuple[pd.DataFrame, np.ndarray]]

HEAD = """# Conformal intervals and sets

Written by `python benchmarks/conformal.py`; every number is measured. {n} labelled rows, {query} new rows in each of
{reps} repetitions; checkpoint {checkpoint}, one member. {machine}.

Coverage, its standard error over repetitions in brackets; **bold**: more than four standard errors below nominal.
Theory says for `split`: the attainable level, which is k / (number of scores + 1) at or next above the nominal one,
{split}, neither more nor less where scores have no ties. For `cv+` (attainable: {plus}): at least
the bound at the head of `icl/estimators/conformal.py`, and more than attainable where the folds' models differ much,
since an
average of p-values strays less than each of them. A real table is finite, and each repetition is a new shuffle of it,
which is what the theory speaks of.
"""
REGRESSION = """
## Intervals

Relative width: geometric mean over repetitions of the mean width, divided by that of `split` (half of the rows held
out) on the same rows; `model` is the model's own interval, without correction or guarantee.
"""
CLASSIFICATION = """
## Sets

Sets may be empty (`allow_empty=True`): that is where two-sided coverage is meant. Size: mean number of classes.
`never empty` is the default, which adds the best class to an empty set. Where the model is right more often than the
level asks, `never empty` covers more than nominal and the others leave rows without any class. A new row whose class
has no labelled row is in no set, and counted as missed.
"""


def of_prior(name: str, **options) -> Draw:
    def draw(rng: np.random.Generator, n_rows: int):
        from priors import TaskShape, make_prior

        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        batch = make_prior(name, **options).sample(TaskShape(1, n_rows, n_rows // 3, N_FEATURES), generator)
        X = pd.DataFrame(batch.X[0].double().numpy())
        for j in np.flatnonzero(batch.is_categorical[0].numpy()):
            X[j] = X[j].astype("category")
        order = rng.permutation(n_rows)  # exchangeable, whatever the prior does with its context
        return X.iloc[order], batch.y[0].numpy()[order]

    return draw


def of_table(X: pd.DataFrame, y: np.ndarray) -> Draw:
    def draw(rng: np.random.Generator, n_rows: int):
        rows = rng.permutation(len(y))[:n_rows]
        return X.iloc[rows], y[rows]

    return draw


def sources(options) -> Iterator[tuple[str, str, Draw]]:
    """task, name, draw"""
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

    if options.tables:
        for task in ("reg", "clf"):
            for file in sorted((options.tables / task).glob("*.parquet")):
                if file.stem in options.names:
                    table = pd.read_parquet(file)
                    yield task, file.stem, of_table(table.drop(columns="target"), table["target"].to_numpy())
        return
    cancer, diabetes, wine, iris = (
        load(as_frame=True) for load in (load_breast_cancer, load_diabetes, load_wine, load_iris)
    )
    means = cancer.data.iloc[:, :10]  # of three blocks of ten that say much the same
    yield "reg", "prior: linear", of_prior("linear")
    yield "reg", "prior: gp", of_prior("gp")
    yield "reg", "prior: mixture", of_prior("mixture", task="regression")
    yield "reg", "diabetes", of_table(diabetes.data, diabetes.target.to_numpy())
    yield "reg", "wine: alcohol", of_table(wine.data.drop(columns="alcohol"), wine.data["alcohol"].to_numpy())
    yield "reg", "tumours: texture", of_table(means.drop(columns="mean texture"), means["mean texture"].to_numpy())
    yield "clf", "prior: clusters", of_prior("clusters", task="classification")
    yield "clf", "prior: tree", of_prior("tree", task="classification")
    yield "clf", "prior: mixture", of_prior("mixture", task="classification")
    yield "clf", "breast cancer", of_table(means, cancer.target.to_numpy())
    yield "clf", "wine", of_table(wine.data, wine.target.to_numpy())
    yield "clf", "iris", of_table(iris.data, iris.target.to_numpy())


def repeat(task: str, draw: Draw, rep: int, options) -> Iterator[dict]:
    """Coverage and size of every method and level in one repetition."""
    rng = np.random.default_rng([options.seed, rep])
    n = options.n
    X, y = draw(rng, n + options.query)
    while len(np.unique(y[:n])) < 2:  # nothing to fit; the same for all methods
        X, y = draw(rng, n + options.query)
    settings = {"checkpoint": options.checkpoint, "n_estimators": 1, "random_state": rep}
    model = (ICLRegressor if task == "reg" else ICLClassifier)(**settings).fit(X[:n], y[:n])
    query, truth = X[n:], y[n:]
    if task == "reg":
        own = model.predict_distribution(query)
    for method in ("cv+", "split"):
        calibration = model._calibration(method, options.folds)
        [block] = model._query_blocks(query, calibration)  # one pass for all levels
        for level in LEVELS:
            if task == "reg":
                answers = {method: model._interval(calibration, block, level)}
                if method == "cv+":
                    ends = [own.icdf((1 - level) / 2), own.icdf((1 + level) / 2)]
                    answers["model"] = np.column_stack([e.numpy() for e in ends])
                for name, ends in answers.items():
                    inside = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
                    size = np.mean(ends[:, 1] - ends[:, 0]) / y.std()
                    yield {"method": name, "level": level, "coverage": inside.mean(), "size": size}
            else:
                known = np.searchsorted(model.classes_, truth).clip(max=len(model.classes_) - 1)
                is_known = model.classes_[known] == truth  # a class without a labelled row is in no set
                for score, empty in (("lac", True), ("aps", True), ("lac", False)):
                    sets = model._set(calibration, block, level, score, False, empty)
                    inside = sets[np.arange(len(known)), known] & is_known
                    name = f"{method} {score}" + ("" if empty else " never empty")
                    yield {"method": name, "level": level, "coverage": inside.mean(), "size": sets.sum(1).mean()}


def run(options) -> pd.DataFrame:
    file = options.results
    file.parent.mkdir(parents=True, exist_ok=True)
    done = pd.read_csv(file) if file.exists() else pd.DataFrame(columns=["task", "source", "rep"])
    seen = set(zip(done["task"], done["source"], done["rep"]))
    start = time.perf_counter()
    # Repetitions outside, sources inside: an interrupted run has all sources.
    for rep in range(options.reps):
        for task, name, draw in options.sources:
            if (task, name, rep) in seen:
                continue
            started = time.perf_counter()
            rows = pd.DataFrame(repeat(task, draw, rep, options))
            seconds = time.perf_counter() - started
            rows = rows.assign(task=task, source=name, rep=rep, seconds=seconds)
            rows.to_csv(file, mode="a", header=not file.exists(), index=False)
        if rep % 10 == 9:
            print(f"{rep + 1} repetitions, {time.perf_counter() - start:.0f} s", flush=True)
    results = pd.read_csv(file)
    return results[results["rep"] < options.reps]


def tabulate(results: pd.DataFrame, task: str) -> list[str]:
    """A line for each source and level, a column for each method."""
    part = results[results["task"] == task]
    if part.empty:
        return []
    part = part.sort_values("rep")
    methods = list(dict.fromkeys(part["method"]))
    lines = ["| | level | " + " | ".join(methods) + " |", "|---" * (2 + len(methods)) + "|"]
    for (source, level), cell in part.groupby(["source", "level"], sort=False):
        sizes = cell.pivot(index="rep", columns="method", values="size")
        cells = []
        for method in methods:
            covered = cell.loc[cell["method"] == method, "coverage"]
            error = covered.std() / np.sqrt(len(covered))
            text = f"{covered.mean():.3f} ({error:.3f})"
            if covered.mean() < level - 4 * error:
                text = f"**{text}**"
            if task == "reg":
                ratio = np.exp(np.log(sizes[method] / sizes["split"]).mean())
                text += "" if method == "split" else f" {ratio:.2f}"
            else:
                text += f" {sizes[method].mean():.2f}"
            cells.append(text)
        lines.append(f"| {source} | {level:.0%} | " + " | ".join(cells) + " |")
    return lines


def attainable(method: str, level: float, n: int) -> float:
    """The least level at or above the nominal one that ranks among the scores can give: k / (number of scores + 1)."""
    if method == "model":
        return level
    n_scores = round(n * SPLIT_SHARE) if method.startswith("split") else n
    return 1 - n_outside(n_scores, level) / (n_scores + 1)


def summary(results: pd.DataFrame, n: int) -> list[str]:
    """How far coverage lies from the level that ranks can give, on either side, over all cells."""
    lines = [""]
    for method, part in results.groupby("method", sort=False):
        groups = part.groupby(["source", "level"])["coverage"]
        levels = groups.mean().index.get_level_values("level")
        gap = groups.mean() - [attainable(method, level, n) for level in levels]
        errors = gap / (groups.std() / np.sqrt(groups.size()))
        lines.append(
            f"- `{method}`: coverage less attainable {gap.min():+.3f} to {gap.max():+.3f} over {len(gap)} cells, mean "
            f"{gap.mean():+.3f}; {int((errors < -4).sum())} more than four standard errors below, "
            f"{int((errors > 4).sum())} above."
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--reps", type=int, default=500)
    parser.add_argument("--n", type=int, default=60, help="labelled rows")
    parser.add_argument("--query", type=int, default=20, help="new rows in a repetition")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tables", type=Path, help="folder of real tables in place of the built-in sources")
    parser.add_argument("--names", default="", help="of tables in the folder, separated by commas")
    parser.add_argument("--results", type=Path, default=Path("runs/conformal.csv"), help="of each repetition; resumed")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    options.names = options.names.split(",")
    torch.set_num_threads(options.threads)
    options.sources = list(sources(options))
    results = run(options)
    lines = [
        HEAD.format(
            n=options.n, query=options.query, reps=results["rep"].nunique(), checkpoint=options.checkpoint,
            machine=describe("torch", "scikit-learn"),
            **{
                key: ", ".join(f"{attainable(method, level, options.n):.3f}" for level in LEVELS)
                for key, method in (("split", "split"), ("plus", "cv+"))
            },
        )
    ]  # fmt: skip
    for task, head in (("reg", REGRESSION), ("clf", CLASSIFICATION)):
        if table := tabulate(results, task):
            lines += [head, *table, *summary(results[results["task"] == task], options.n)]
    text = "\n".join(lines) + "\n"
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
