"""Zero-shot census: interval from 300 real incomes and an in-context model, against labels alone and against forests.

python benchmarks/census.py --data acs_2019_CA.parquet             # writes benchmarks/census.csv and census.md
python benchmarks/census.py --data ... --draws 10 --output /tmp/census

Every draw takes rows from the 207,807 people of the American Community Survey 2019, California, with replacement, so
that draws are independent samples of a population whose answers are known. 300 rows keep their income, the others lose
it. One cross-fit of each predictor serves all four estimands. Interrupt it at will: finished draws stay in the CSV.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import multiprocessing
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy: one thread for each of the processes

import numpy as np
import pandas as pd
from machine import describe
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import RandomForestRegressor

from icl.inference import OLS, Logistic, Mean, Quantile, Surrogate, cross_fit, infer
from icl.inference.inputs.cross_fit import quantile_thresholds

LEVEL, HIGH_INCOME = 0.90, 50_000.0
OUTCOME = "PINCP"
NOMINAL_COLUMNS = ["MAR", "CIT", "MIG", "MIL", "RAC1P", "COW"]
ESTIMANDS = {
    "mean income": (Mean(OUTCOME), OUTCOME),
    "OLS, age": (OLS(OUTCOME, covariates=["AGEP", "SEX"]), "AGEP"),
    "logistic, sex": (Logistic("high", covariates=["AGEP", "SEX"]), "SEX"),
    "median income": (Quantile(OUTCOME), f"{OUTCOME} q0.5"),
}
HEAD = """# Zero-shot census

Written by `python benchmarks/census.py`. {n_draws} draws of {n:,} labeled and {N:,} unlabeled rows from the 207,807
people of the American Community Survey 2019, California (personal income and {n_features} covariates). Truth: the same
estimate on all of them. Nominal coverage {level:.0%}, Monte Carlo error at nominal {error:.3f}; every interval from
`infer` with its defaults. `width`: mean width relative to labels alone; `worth`: labels that would give that width
without predictions. Predictors see the same rows and five folds; P(income <= t | x) of ICL and forest serves the
median and the logistic outcome (income above ${high:,.0f}); LightGBM, which has no predictive distribution, is fitted
again as a classifier.

- {machine}; processes of one thread: {jobs}.
- seconds: one cross-fit (5 fits, predictions of {n:,} + {N:,} rows), processor time, mean over draws.
- outside four Monte Carlo errors: {verdict}.
"""


class QuantileForest(RegressorMixin, BaseEstimator):
    """A random forest that also gives the distribution of the outcomes that share its leaves (Meinshausen 2006)."""

    def __init__(self, n_trees: int = 100, min_samples_leaf: int = 5, random_state: int = 0):
        self.n_trees, self.min_samples_leaf, self.random_state = n_trees, min_samples_leaf, random_state

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> QuantileForest:
        self.forest_ = RandomForestRegressor(
            self.n_trees, min_samples_leaf=self.min_samples_leaf, random_state=self.random_state
        ).fit(codes(X), y)
        self.leaves_, self.y_ = self.forest_.apply(codes(X)), np.asarray(y, dtype=float)
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        return self.forest_.predict(codes(X))

    def predict_distribution(self, X: pd.DataFrame) -> Leaves:
        return Leaves(self, self.forest_.apply(codes(X)), self.predict(X))


class Leaves:
    """Predictive distributions of rows by the leaves they fall into."""

    def __init__(self, model: QuantileForest, leaves: np.ndarray, mean: np.ndarray):
        self.model, self.leaves, self.mean = model, leaves, mean

    def cdf(self, t: float) -> np.ndarray:
        below, total = (self.model.y_ <= t).astype(float), np.zeros(len(self.leaves))
        for tree in range(self.leaves.shape[1]):
            fitted = self.model.leaves_[:, tree]
            share = np.bincount(fitted, below) / np.maximum(np.bincount(fitted), 1)
            total += share[self.leaves[:, tree]]
        return total / self.leaves.shape[1]


def codes(X: pd.DataFrame) -> np.ndarray:
    """Categories as the numbers that stand in the file."""
    return X.astype(float).to_numpy()


def load(path: Path) -> pd.DataFrame:
    people = pd.read_parquet(path).drop(columns="INTERCEPT")
    people["high"] = (people[OUTCOME] > HIGH_INCOME).astype(float)
    for name in NOMINAL_COLUMNS:
        people[name] = people[name].astype("category")
    return people


def predictors(names: list[str], checkpoint: str | None, members: int) -> dict:
    found = {}
    if "icl" in names:
        from icl import ICLRegressor

        found["icl"] = ICLRegressor(checkpoint, n_estimators=members, random_state=0)
    if "forest" in names:
        found["forest"] = QuantileForest()
    if "lightgbm" in names and importlib.util.find_spec("lightgbm"):
        from lightgbm import LGBMRegressor

        found["lightgbm"] = LGBMRegressor(
            n_estimators=100, learning_rate=0.05, num_leaves=15, n_jobs=1, verbose=-1, random_state=0
        )
    return found


def one_draw(job: tuple) -> list[dict]:
    """All estimates of one draw: a row for each (predictor, estimand)."""
    draw, path, n, N, names, checkpoint, members = job
    import torch

    torch.set_num_threads(1)
    global PEOPLE
    if "PEOPLE" not in globals():
        PEOPLE = load(path)
    rng = np.random.default_rng([7, draw])
    rows = PEOPLE.iloc[rng.integers(0, len(PEOPLE), n + N)].reset_index(drop=True)
    labeled, unlabeled = rows[:n], rows[n:]
    records = [_record(draw, "labels alone", name, None, labeled, unlabeled, 0.0) for name in ESTIMANDS]
    for predictor, model in predictors(names, checkpoint, members).items():
        start = time.process_time()
        surrogates = predict(model, labeled, unlabeled, draw)
        seconds = time.process_time() - start
        records += [_record(draw, predictor, name, surrogates[name], labeled, unlabeled, seconds) for name in ESTIMANDS]
    return records


def predict(model, labeled: pd.DataFrame, unlabeled: pd.DataFrame, seed: int) -> dict[str, Surrogate]:
    """What stands in for the outcome of each estimand, from one cross-fit (two without a predictive distribution)."""
    y = labeled[OUTCOME].to_numpy()
    XL, XU = (part.drop(columns=[OUTCOME, "high"]) for part in (labeled, unlabeled))
    thresholds = np.union1d(quantile_thresholds(y, 0.5), [HIGH_INCOME])
    income = cross_fit(model, XL, y, XU, seed=seed, thresholds=thresholds)
    if income.has_distribution:
        below_L, below_U = income.cdf(HIGH_INCOME)
        high = Surrogate(1 - below_L, 1 - below_U, income.source)
    else:
        from lightgbm import LGBMClassifier

        high = cross_fit(LGBMClassifier(**model.get_params()), XL, labeled["high"].to_numpy(), XU, seed=seed)
    return dict(zip(ESTIMANDS, (income, income, high, income), strict=True))


def _record(draw, predictor, name, surrogate, labeled, unlabeled, seconds) -> dict:
    estimand, term = ESTIMANDS[name]
    unlabeled = unlabeled.drop(columns=[OUTCOME, "high"])
    result = infer(estimand, labeled=labeled, unlabeled=unlabeled, predictions=surrogate, level=LEVEL)
    lower, upper = result.interval().loc[term]
    return {
        "draw": draw, "predictor": predictor, "estimand": name, "method": result.method,
        "estimate": result.estimate[term], "lower": lower, "upper": upper,
        "correlation": result.correlation[term], "seconds": seconds,
    }  # fmt: skip


def tabulate(records: pd.DataFrame, truth: dict[str, float]) -> pd.DataFrame:
    """Coverage, width, root mean squared error, seconds: one row for each (estimand, predictor)."""
    records = records.assign(truth=records["estimand"].map(truth), width=records["upper"] - records["lower"])
    records["covered"] = (records["lower"] <= records["truth"]) & (records["truth"] <= records["upper"])
    records["error"] = records["estimate"] - records["truth"]
    groups = records.groupby(["estimand", "predictor"], sort=False)
    table = groups.agg(
        coverage=("covered", "mean"),
        width=("width", "mean"),
        rmse=("error", lambda e: math.sqrt(np.mean(e**2))),
        correlation=("correlation", "mean"),
        seconds=("seconds", "mean"),
        draws=("draw", "size"),
    ).reset_index()
    alone = table[table["predictor"] == "labels alone"].set_index("estimand")["width"]
    table["relative"] = table["width"] / table["estimand"].map(alone)
    noise = np.sqrt(LEVEL * (1 - LEVEL) / table["draws"])
    table["off"] = (table["coverage"] - LEVEL).abs() > 4 * noise
    return table


def as_markdown(table: pd.DataFrame, n: int) -> list[str]:
    lines = [
        "| estimand | predictor | coverage | mean width | width | worth | RMSE | correlation | seconds |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    last = None
    for row in table.itertuples():
        digits = 3 if row.width < 10 else 0
        coverage = f"**{row.coverage:.3f}**" if row.off else f"{row.coverage:.3f}"
        is_alone = row.predictor == "labels alone"
        lines.append(
            f"| {'' if row.estimand == last else row.estimand} | {row.predictor} | {coverage} | "
            f"{row.width:,.{digits}f} | {row.relative:.2f} | {n / row.relative**2:.0f} | {row.rmse:,.{digits}f} | "
            f"{'' if is_alone else f'{row.correlation:.2f}'} | {'' if is_alone else f'{row.seconds:.1f}'} |"
        )
        last = row.estimand
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="acs_2019_CA.parquet")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--labeled", type=int, default=300)
    parser.add_argument("--rows", type=int, default=20_000, help="labeled and unlabeled rows of a draw")
    parser.add_argument("--predictors", default="icl,forest,lightgbm", help="lightgbm is left out if not installed")
    parser.add_argument("--checkpoint", default=None)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(""), help="stem of .csv and .md")
    options = parser.parse_args()
    n, N, names = options.labeled, options.rows - options.labeled, options.predictors.split(",")
    people = load(options.data)
    truth = {name: float(infer(e, people).estimate[term]) for name, (e, term) in ESTIMANDS.items()}
    csv = options.output.with_suffix(".csv")
    # Draws of another size are other draws: start afresh.
    key = f"{n},{N},{options.checkpoint},{options.members},{options.predictors}"
    known = pd.read_csv(csv) if csv.is_file() else pd.DataFrame(columns=["draw", "key"])
    known = known[(known["key"] == key) & (known["draw"] < options.draws)]
    todo = sorted(set(range(options.draws)) - set(known["draw"]))
    jobs = [(d, options.data, n, N, names, options.checkpoint, options.members) for d in todo]
    parts, start = [known] if len(known) else [], time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for i, records in enumerate(pool.imap_unordered(one_draw, jobs), 1):
            parts.append(pd.DataFrame(records).assign(key=key))
            pd.concat(parts).to_csv(csv, index=False)
            spent = time.perf_counter() - start
            print(
                f"\r{i} of {len(jobs)} draws, {spent:.0f} s, {spent / i * (len(jobs) - i):.0f} s to go ",
                end="",
                flush=True,
            )
    print()
    records = pd.concat(parts).sort_values(["draw"], kind="stable")
    table = tabulate(records, truth)
    off = [f"{r.estimand} by {r.predictor} ({r.coverage:.3f})" for r in table[table["off"]].itertuples()]
    packages = (
        "numpy",
        "pandas",
        "scikit-learn",
        "torch",
        *(["lightgbm"] if "lightgbm" in set(table["predictor"]) else []),
    )
    head = HEAD.format(
        n_draws=options.draws, n=n, N=N, n_features=people.shape[1] - 2, level=LEVEL, high=HIGH_INCOME,
        error=math.sqrt(LEVEL * (1 - LEVEL) / options.draws), machine=describe(*packages), jobs=options.jobs,
        verdict=", ".join(off) or "none",
    )  # fmt: skip
    options.output.with_suffix(".md").write_text("\n".join([head, *as_markdown(table, n), ""]), encoding="utf-8")
    print("\n".join(as_markdown(table, n)))


if __name__ == "__main__":
    main()
