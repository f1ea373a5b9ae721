"""Coverage and width of 90% intervals: methods x estimands x labeled rows x quality of the predictions, and designs.

python benchmarks/coverage.py                 # writes benchmarks/coverage.csv, .md and .png; two processes
python benchmarks/coverage.py --reps 100 --output /tmp/coverage

Seeded by case and repetition. Interrupt it at will: finished cases stay in the CSV and are not repeated.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy: one thread for each of the processes

import numpy as np
import pandas as pd
from coverage_report import ALSO, HIGH, LEVEL, METHODS, N_UNLABELED, QUALITIES, SIZES, draw_figure, report
from scipy.special import expit

from icl.inference import OLS, Design, Logistic, Mean, Quantile, choose, infer

ESTIMANDS = {
    "mean": (Mean("y"), "y"),
    "slope": (OLS("y", covariates=["x"]), "x"),
    "logistic slope": (Logistic("high", covariates=["x"]), "x"),
    "median": (Quantile("y"), "y q0.5"),
}


@dataclass(frozen=True)
class Case:
    """One line of a table: `run(case, reps, checkpoint)` yields a record for each repetition and method."""

    section: str
    estimand: str
    n: int
    predictions: str

    @property
    def seed(self) -> int:
        # Predictions of three qualities see the same rows.
        return zlib.crc32(f"{self.section}/{self.n}".encode())


def rows_of(seed: int, r: int, n_rows: int) -> dict[str, np.ndarray]:
    """Heteroskedastic outcomes, nonlinear in x, and three predictions, also as probabilities of a high outcome."""
    rng = np.random.default_rng([seed, r])
    x, noise, other = rng.normal(size=(3, n_rows))
    y = 1 + 0.8 * x + 0.4 * (x**2 - 1) + (0.6 + 0.4 * np.abs(x)) * noise
    biased = 5 - 0.5 * y + x + 0.3 * x**2 + 0.5 * other
    rows = {
        "x": x,
        "y": y,
        "high": (y > HIGH).astype(float),
        "useless": other,
        "biased": biased,
        "good": y + 0.3 * other,
    }
    sharpness = {"useless": (0, 1), "biased": (4.5, 1), "good": (HIGH, 4)}
    return rows | {f"p_{name}": expit(k * (rows[name] - c)) for name, (c, k) in sharpness.items()}


@cache
def truths() -> dict[str, float]:
    """Answers in the population: exact for mean and slope, from two million rows for the others."""
    rows = rows_of(0, 0, 2_000_000)
    logistic = infer(Logistic("high", covariates=["x"]), {k: rows[k] for k in ("x", "high")}).estimate["x"]
    return {"mean": 1.0, "slope": 0.8, "logistic slope": float(logistic), "median": float(np.median(rows["y"]))}


def stored_predictions(case: Case, reps: int, checkpoint: str) -> Iterator[dict]:
    estimand, term = ESTIMANDS[case.estimand]
    truth = truths()[case.estimand]
    outcome = "high" if case.estimand == "logistic slope" else "y"
    for r in range(reps):
        rows = rows_of(case.seed, r, case.n + N_UNLABELED)
        f = rows[f"p_{case.predictions}" if outcome == "high" else case.predictions]
        y = np.where(np.arange(len(f)) < case.n, rows[outcome], np.nan)
        table = {"x": rows["x"], outcome: y}
        yield from _methods(infer(estimand, table, predictions=f, level=LEVEL), term, truth)
        try:
            peer = infer(estimand, table, predictions=f, level=LEVEL, compat="ppi_py")
        except ValueError:  # its loss at weight 1 is not convex: some logistic draws have no minimum
            continue
        yield {"method": "ppi++ as ppi_py"} | score(peer.interval().loc[term], truth)


def fitted_models(case: Case, reps: int, checkpoint: str) -> Iterator[dict]:
    from sklearn.ensemble import RandomForestRegressor

    is_forest = case.predictions.startswith("forest")
    N = 1_500 if is_forest else 300
    for r in range(reps):
        rng = np.random.default_rng([case.seed, r])
        X = rng.normal(size=(case.n + N, 5))
        y = 1 + X[:, 0] + np.sin(2 * X[:, 1]) + X[:, 2] * X[:, 3] + rng.normal(size=len(X))
        features = pd.DataFrame(X, columns=[f"x{j}" for j in range(5)])
        n = case.n
        table = features.assign(y=np.where(np.arange(len(X)) < n, y, np.nan))
        if is_forest:
            model = RandomForestRegressor(20, random_state=r)
        else:
            from icl import ICLRegressor

            model = ICLRegressor(checkpoint, n_estimators=1)
        if case.predictions.endswith("5 folds"):
            result = infer(Mean("y"), table, predictor=model, level=LEVEL, seed=r)
        elif case.predictions.endswith("on one half"):
            f = model.fit(features[: n // 2], y[: n // 2]).predict(features)[n // 2 :]
            result = infer(Mean("y"), table[n // 2 :], predictions=f, level=LEVEL)
        else:
            result = infer(Mean("y"), table, predictions=model.fit(features[:n], y[:n]).predict(features), level=LEVEL)
        yield from _methods(result, "y", 1.0)


def designs(case: Case, reps: int, checkpoint: str) -> Iterator[dict]:
    make = DESIGN_CASES[case.predictions]
    for r in range(reps):
        estimand, term, truth, table, design = make(np.random.default_rng([case.seed, r]), case.n, r)
        for method, given in (("with the design", design), ("ignored", None)):
            result = infer(estimand, table, predictions="f", design=given, level=LEVEL)
            yield {"method": method} | score(result.interval().loc[term], truth)


def _curved(rng: np.random.Generator, n_rows: int) -> pd.DataFrame:
    x, e, u = rng.normal(size=(3, n_rows))
    return pd.DataFrame({"x": x, "y": x + 0.7 * e, "f": 0.5 * x**2 + x + 0.7 * e + 0.4 * u})


def _active(rng, n, r):
    table = _curved(rng, 1_200)
    table["p"] = 0.06 + 0.24 * expit(2 * table["x"])
    table["y"] = table["y"].where(rng.uniform(size=1_200) < table["p"])
    return OLS("y", covariates=["x"]), "x", 1.0, table, Design(probability="p")


def _estimated(rng, n, r):
    from sklearn.linear_model import LogisticRegression

    table = _curved(rng, 1_200)
    table["y"] = table["y"].where(rng.uniform(size=1_200) < 0.06 + 0.24 * expit(2 * table["x"]))
    return Mean("y"), "y", 0.0, table, Design(propensity=LogisticRegression(), features=["x"])


def _strata(rng, n, r):
    table = _curved(rng, 900)
    table["region"] = np.digitize(table["x"], [0.0])
    rank = table.groupby("region").cumcount()
    table["y"] = table["y"].where(rank < np.where(table["region"] == 0, 25, 100))
    return Mean("y"), "y", 0.0, table, Design(strata="region")


def _clusters(rng, n, r):
    school = np.repeat(np.arange(150), 8)
    effect, shared = rng.normal(size=(2, 150))
    f = effect[school] + rng.normal(size=1_200)
    table = pd.DataFrame({"f": f, "school": school, "y": f + 0.8 * shared[school] + 0.5 * rng.normal(size=1_200)})
    return Mean("y"), "y", 0.0, table.assign(y=table["y"].where(school < 40)), Design(clusters="school")


def _few_clusters(rng, n, r):
    school = np.repeat(np.arange(150), rng.choice([3, 6, 12], 150))
    effect, shared = rng.normal(size=(2, 150))
    f = effect[school] + rng.normal(size=len(school))
    y = f + 0.8 * shared[school] + 0.5 * rng.normal(size=len(school))
    table = pd.DataFrame({"f": f, "school": school, "y": np.where(school < 12, y, np.nan)})
    return Mean("y"), "y", 0.0, table, Design(clusters="school")


def _chosen(rng, n, r):
    f = rng.uniform(size=1_000) ** 3
    y, seen = (rng.uniform(size=1_000) < f).astype(float), np.arange(1_000) < 60
    table = pd.DataFrame({"f": f, "y": y})
    choice = choose(infer(Mean("y"), table.assign(y=table["y"].where(seen)), predictions="f"), 120, seed=r)
    seen[choice.rows] = True
    return Mean("y"), "y", 0.25, table.assign(y=table["y"].where(seen)), choice.design


DESIGN_CASES = {
    "known probabilities (OLS slope)": _active,
    "estimated probabilities (mean)": _estimated,
    "strata at 2 rates (mean)": _strata,
    "40 of 150 clusters (mean)": _clusters,
    "12 of 150 clusters of 3, 6 or 12 (mean)": _few_clusters,
    "60 at random, 120 by choose() (share)": _chosen,
}


def shares(case: Case, reps: int, checkpoint: str) -> Iterator[dict]:
    p = float(case.estimand.removeprefix("share "))
    signal = {"weak": 1.0, "strong": 3.0}[case.predictions]
    grid = np.linspace(-8, 8, 2_001)
    density = np.exp(-(grid**2) / 2) / np.exp(-(grid**2) / 2).sum()
    offsets = np.linspace(-14, 6, 401)
    offset = np.interp(p, [(density * expit(a + signal * grid)).sum() for a in offsets], offsets)
    for r in range(reps):
        rng = np.random.default_rng([case.seed, r])
        f = expit(offset + signal * rng.normal(size=case.n + N_UNLABELED))
        y = (rng.uniform(size=len(f)) < f).astype(float)
        result = infer(Mean("y"), {"y": np.where(np.arange(len(f)) < case.n, y, np.nan)}, predictions=f, level=LEVEL)
        yield {"method": "no event", "covered": not y[: case.n].any(), "width": np.nan}
        for kind in ("auto", "exact", "score", "t"):
            yield {"method": kind} | score(result.interval(kind=kind).iloc[0], p)
        yield {"method": "classical"} | score(result.compare().loc[("classical", "y")], p)


RUNS: dict[str, Callable] = {
    "stored": stored_predictions, "models": fitted_models, "designs": designs, "shares": shares,
}  # fmt: skip


def sizes_of(estimand: str) -> list[int]:
    return sorted({*SIZES[estimand], *ALSO.get(estimand, ())})


def cases() -> list[Case]:
    out = [Case("stored", e, n, q) for e in ESTIMANDS for n in sizes_of(e) for q in QUALITIES]
    out += [Case("models", "mean", 150, f"forest, {how}") for how in ("5 folds", "on one half", "in-sample")]
    out += [Case("models", "mean", 60, f"in-context, {how}") for how in ("5 folds", "in-sample")]
    out += [Case("designs", "", 0, name) for name in DESIGN_CASES]
    sizes = ((0.05, 50), (0.05, 100), (0.1, 30), (0.1, 100), (0.02, 200))
    return out + [Case("shares", f"share {p}", n, q) for p, n in sizes for q in ("weak", "strong")]


def _methods(result, term: str, truth: float) -> Iterator[dict]:
    rows = result.compare().xs(term, level="term")
    yield from ({"method": m} | score(rows.loc[m], truth) for m in METHODS if m in rows.index)
    valid = rows[rows["valid"]].dropna(subset=["lower", "upper"])
    yield {"method": "narrowest"} | score(valid.loc[(valid["upper"] - valid["lower"]).idxmin()], truth)
    yield {"method": "auto"} | score(result.interval().loc[term], truth)


def score(row: pd.Series, truth: float) -> dict:
    return {"covered": row["lower"] <= truth <= row["upper"], "width": row["upper"] - row["lower"]}


def one_case(job: tuple) -> pd.DataFrame:
    """Coverage and mean width of every method of a case."""
    case, reps, checkpoint = job
    start = time.process_time()
    groups = pd.DataFrame(RUNS[case.section](case, reps, checkpoint)).groupby("method", sort=False)
    table = groups.agg(coverage=("covered", "mean"), width=("width", "mean"), reps=("covered", "size")).reset_index()
    facts = {"section": case.section, "estimand": case.estimand, "n": case.n, "predictions": case.predictions}
    return table.assign(**facts, seconds=time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=1_000, help="repetitions of each case")
    parser.add_argument("--model-reps", type=int, default=1_000, help="repetitions of each case that fits a model")
    parser.add_argument("--checkpoint", default="nano", help="of the in-context model")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--sections", default=",".join(RUNS), help="which parts to run")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(""), help="stem of .csv, .md, .png")
    options = parser.parse_args()
    csv, names = options.output.with_suffix(".csv"), ["section", "estimand", "n", "predictions"]
    known = pd.read_csv(csv, keep_default_na=False) if csv.is_file() else pd.DataFrame(columns=[*names, "asked"])
    jobs, asked = [], {"models": options.model_reps}
    done = set(known[[*names, "asked"]].astype(str).itertuples(index=False, name=None))
    for case in cases():
        reps = asked.get(case.section, options.reps)
        is_done = (case.section, case.estimand, str(case.n), case.predictions, str(reps)) in done
        if case.section in options.sections.split(",") and not is_done:
            jobs.append((case, reps, options.checkpoint))
    parts, start = [known] if len(known) else [], time.perf_counter()
    # Slow cases first, so that no core idles at the end.
    jobs.sort(key=lambda job: list(RUNS).index(job[0].section) != 1)
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for i, table in enumerate(pool.imap_unordered(one_case, jobs), 1):
            is_model = table["section"].iloc[0] == "models"
            parts.append(table.assign(asked=options.model_reps if is_model else options.reps))
            pd.concat(parts).to_csv(csv, index=False)
            print(f"{i} of {len(jobs)} cases after {time.perf_counter() - start:.0f} s", flush=True)
    table = pd.concat(parts)
    table[["coverage", "width", "reps", "n", "seconds"]] = table[["coverage", "width", "reps", "n", "seconds"]].apply(
        pd.to_numeric, errors="coerce"
    )
    is_asked = table["asked"].astype(int) == table["section"].map(asked).fillna(options.reps).astype(int)
    table = table[is_asked]  # the CSV may hold runs of another length too
    text = report(table, [(c.section, c.estimand, c.n, c.predictions) for c in cases()], options)
    options.output.with_suffix(".md").write_text(text, encoding="utf-8")
    if (table["section"] == "stored").any():
        draw_figure(table, options.output.with_suffix(".png"))
    print(text)


if __name__ == "__main__":
    main()
