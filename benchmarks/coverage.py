"""Coverage and width of 90% intervals: methods x estimands x labeled rows x quality of the predictions.

python benchmarks/coverage.py                 # 5 minutes of a free core; writes benchmarks/coverage.md
python benchmarks/coverage.py --reps 200 --output /tmp/coverage.md
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import math
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from icl.inference import OLS, Mean, infer

LEVEL = 0.90
N_UNLABELED = 1_000
METHODS = ["classical", "imputed", "ppi", "ppi++", "synsurr"]
ESTIMANDS = {"mean": (Mean("y"), "y", 1.0), "slope": (OLS("y", covariates=["x"]), "x", 0.8)}


HEAD = """# Coverage of the intervals

Written by `python benchmarks/coverage.py`; every number is a measurement on simulated rows whose truth is known.
Nominal coverage {level:.0%}. Each cell: coverage, and in brackets the median width relative to the classical interval.
**Bold**: more than four Monte Carlo errors away from nominal.

- {date}; {machine}; {seconds:.0f} s.
- Seeds: the number of labeled rows n (stored predictions), 7 (forests). {reps:,} and {forest_reps:,} repetitions;
  Monte Carlo error at nominal {errors[0]:.4f} and {errors[1]:.4f}.

## Predictions that exist already (N = {n_unlabeled:,} unlabeled rows)

Heteroskedastic outcome, nonlinear in x; the slope is that of the best linear approximation. `useless`: independent
noise; `biased`: wrong level, wrong sign, wrong shape; `good`: outcome plus noise (correlation .97). All methods as
`InferenceResult.compare()` gives them; `synsurr` is what `weight="auto"` takes. Last column: `compat="ppi_py"`.
The slope is a hard case at n = 20 and 50 (leverage, curvature and noise grow together): there the classical HC3
interval itself covers .87, and the others are to be read against it.
Imputation covers only where predictions happen to be unbiased.
"""

FORESTS = """
## A random forest fitted inside the analysis (mean, N = 1,500)

`5 folds`: what `infer(..., predictor=forest)` does. `on one half`: fitted on half of the labels, used with the other
half. `in-sample`: fitted on the very rows it corrects (double dipping), the mistake that cross-fitting prevents.
"""


def draw(n_reps: int, n_rows: int, seed: int) -> dict[str, np.ndarray]:
    """(n_reps, n_rows) heteroskedastic outcomes, nonlinear in x; mean 1, best linear slope 0.8; three predictions."""
    rng = np.random.default_rng(seed)
    x, noise, other = rng.normal(size=(3, n_reps, n_rows))
    y = 1 + 0.8 * x + 0.4 * (x**2 - 1) + (0.6 + 0.4 * np.abs(x)) * noise
    biased = 5 - 0.5 * y + x + 0.3 * x**2 + 0.5 * other
    return {"x": x, "y": y, "useless": other, "biased": biased, "good": y + 0.3 * other}


def stored_predictions(n_reps: int) -> Iterator[dict]:
    """Predictions that exist already, of three qualities, at three numbers of labeled rows."""
    for n in (20, 50, 200):
        data = draw(n_reps, n + N_UNLABELED, seed=n)
        data["y"][:, n:] = np.nan
        for quality in ("useless", "biased", "good"):
            for name, (estimand, term, truth) in ESTIMANDS.items():
                for r in range(n_reps):
                    table, f = {"x": data["x"][r], "y": data["y"][r]}, data[quality][r]
                    case = {"estimand": name, "n": n, "predictions": quality}
                    rows = infer(estimand, table, predictions=f, level=LEVEL).compare().xs(term, level="term")
                    yield from (case | {"method": m} | score(rows.loc[m], truth) for m in METHODS)
                    peer = infer(estimand, table, predictions=f, level=LEVEL, compat="ppi_py").interval().loc[term]
                    yield case | {"method": "ppi++ as ppi_py"} | score(peer, truth)


def fitted_forests(n_reps: int) -> Iterator[dict]:
    """A random forest fitted on the labeled rows: cross-fitted, on half of them, or in-sample (double dipping)."""
    from sklearn.ensemble import RandomForestRegressor

    n, N = 150, 1_500
    rng = np.random.default_rng(7)
    for r in range(n_reps):
        X = rng.normal(size=(n + N, 5))
        y = 1 + X[:, 0] + np.sin(2 * X[:, 1]) + X[:, 2] * X[:, 3] + rng.normal(size=n + N)
        table = pd.DataFrame(X, columns=[f"x{j}" for j in range(5)]).assign(y=np.where(np.arange(n + N) < n, y, np.nan))
        forest = RandomForestRegressor(20, random_state=r)
        case = {"estimand": "mean", "n": n}
        result = infer(Mean("y"), table, predictor=forest, level=LEVEL, seed=r)
        rows = result.compare().xs("y", level="term")
        yield from (case | {"predictions": "forest, 5 folds", "method": m} | score(rows.loc[m], 1.0) for m in METHODS)
        half = n // 2
        features = table.drop(columns="y")
        f = forest.fit(features[:half], y[:half]).predict(features)
        rows = infer(Mean("y"), table[half:], predictions=f[half:], level=LEVEL).compare().xs("y", level="term")
        kept = ("ppi", "ppi++", "synsurr")
        yield from (case | {"predictions": "forest on one half", "method": m} | score(rows.loc[m], 1.0) for m in kept)
        f = forest.fit(features[:n], y[:n]).predict(features)
        rows = infer(Mean("y"), table, predictions=f, level=LEVEL).compare().xs("y", level="term")
        yield from (case | {"predictions": "forest, in-sample", "method": m} | score(rows.loc[m], 1.0) for m in kept)


def score(row: pd.Series, truth: float) -> dict:
    return {"covered": row["lower"] <= truth <= row["upper"], "width": row["upper"] - row["lower"]}


def tabulate(records: Iterator[dict]) -> pd.DataFrame:
    """Coverage with its Monte Carlo error, and median width relative to the classical interval of the same case."""
    keys = ["estimand", "n", "predictions", "method"]
    groups = pd.DataFrame(records).groupby(keys, sort=False)
    out = groups.agg(coverage=("covered", "mean"), width=("width", "median"), reps=("covered", "size")).reset_index()
    out["error"] = np.sqrt(out["coverage"] * (1 - out["coverage"]) / out["reps"])
    classical = out[out["method"] == "classical"].drop_duplicates(["estimand", "n"])
    out = out.merge(classical[["estimand", "n", "width"]], on=["estimand", "n"], suffixes=("", "_classical"))
    out["relative"] = out["width"] / out["width_classical"]
    return out


def as_markdown(table: pd.DataFrame, methods: list[str]) -> list[str]:
    """One line for each case, one column for each method: coverage, and relative width in brackets."""
    lines = ["| estimand | n | predictions | " + " | ".join(methods) + " |", "|---" * (3 + len(methods)) + "|"]
    for (estimand, n, predictions), case in table.groupby(["estimand", "n", "predictions"], sort=False):
        cells = []
        for method in methods:
            row = case[case["method"] == method]
            cells.append("" if row.empty else _cell(row.iloc[0]))
        lines.append(f"| {estimand} | {n} | {predictions} | " + " | ".join(cells) + " |")
    return lines


def _cell(row: pd.Series) -> str:
    text = f"{row['coverage']:.3f} ({row['relative']:.2f})"
    off = abs(row["coverage"] - LEVEL) > 4 * math.sqrt(LEVEL * (1 - LEVEL) / row["reps"])
    return f"**{text}**" if off else text


def machine() -> str:
    """CPU model, cores in use and the versions that matter."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        model = next((s.split(":")[1].strip() for s in info.read_text().splitlines() if "model name" in s), model)
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("numpy", "scipy", "pandas", "scikit-learn"))
    return f"{model}, {os.cpu_count()} cores (one used), Python {platform.python_version()}, {versions}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=2_000, help="repetitions of each case with stored predictions")
    parser.add_argument("--forest-reps", type=int, default=500, help="repetitions of each case with a forest")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    start = time.perf_counter()
    stored = tabulate(stored_predictions(options.reps))
    print(f"stored predictions done after {time.perf_counter() - start:.0f} s", flush=True)
    forests = tabulate(fitted_forests(options.forest_reps))
    seconds = time.perf_counter() - start
    errors = [math.sqrt(LEVEL * (1 - LEVEL) / reps) for reps in (options.reps, options.forest_reps)]
    lines = [
        HEAD.format(
            level=LEVEL, date=datetime.date.today().isoformat(), machine=machine(), seconds=seconds,
            reps=options.reps, forest_reps=options.forest_reps, errors=errors, n_unlabeled=N_UNLABELED,
        ),
        *as_markdown(stored, [*METHODS, "ppi++ as ppi_py"]),
        FORESTS,
        *as_markdown(forests, METHODS),
        "",
    ]  # fmt: skip
    options.output.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
