"""Shapley values of a prediction: against the closed form, against shap's kernel explainer, and how long they take.

    pip install '.[peers]'; python benchmarks/explain.py          # writes benchmarks/explain.md

The game is the same for both: columns that are not known are missing cells. For shap that is a background of one row
without any cell.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import shap
from machine import describe

from icl import ICLRegressor

HERE = Path(__file__).parent


def linear(n: int, n_columns: int, seed: int):
    rng = np.random.default_rng(seed)
    slope = rng.normal(size=n_columns)
    X = rng.normal(size=(n, n_columns))
    return X, X @ slope + 0.1 * rng.normal(size=n), slope


def closed_form() -> list[str]:
    """A linear task of independent columns: what a column adds is b (x - its mean)."""
    lines = [
        "| checkpoint | labelled rows | R2 of exact values with b (x - mean) | largest gap, in sd of y |",
        "|---|---|---|---|",
    ]
    for checkpoint in ("nano", "base"):
        for n in (100, 400):
            X, y, slope = linear(n + 20, 5, seed=n)
            found = ICLRegressor(checkpoint).fit(X[:n], y[:n]).explain(X[n:])
            form = slope * (X[n:] - X[:n].mean(0))
            gap = np.abs(found.values - form).max() / y.std()
            r2 = 1 - np.square(found.values - form).sum() / np.square(form).sum()
            lines.append(f"| {checkpoint} | {n} | {r2:.4f} | {gap:.3f} |")
    return lines


def beside_shap() -> list[str]:
    """Both sampled, against the exact values of the same model; 10 rows of 9 columns."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(310, 9))
    y = X[:, 0] * X[:, 1] + np.abs(X[:, 2]) + X[:, 3:6].sum(1) + 0.3 * rng.normal(size=310)
    model = ICLRegressor("nano").fit(X[:300], y[:300])
    rows = X[300:]
    exact = model.explain(rows, budget=512)
    lines = [
        "| sets of columns asked | RMSE, icl | RMSE, shap | seconds, icl | seconds, shap |",
        "|---|---|---|---|---|",
    ]
    size = np.sqrt(np.square(exact.values).mean())
    for budget in (72, 144, 288):
        started = time.process_time()
        ours = model.explain(rows, budget=budget)
        of_ours = time.process_time() - started
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of one row whose cells are all missing
            started = time.process_time()
            peer = shap.KernelExplainer(model.predict, np.full((1, 9), np.nan))
            theirs = peer.shap_values(rows, nsamples=budget, l1_reg=False, silent=True)
            of_theirs = time.process_time() - started
        errors = [np.sqrt(np.square(v - exact.values).mean()) / size for v in (ours.values, theirs)]
        lines.append(f"| {budget} | {errors[0]:.3f} | {errors[1]:.3f} | {of_ours:.1f} | {of_theirs:.1f} |")
    return lines


def seconds() -> list[str]:
    X, y, _ = linear(1050, 20, seed=1)
    lines = [
        "| checkpoint | sets of columns for each row | seconds of CPU | largest standard error, in sd of y |",
        "|---|---|---|---|",
    ]
    for checkpoint in ("nano", "base"):
        model = ICLRegressor(checkpoint).fit(X[:1000], y[:1000])
        model.predict(X[1000:])
        started = time.process_time()
        found = model.explain(X[1000:])
        took = time.process_time() - started
        lines.append(f"| {checkpoint} | {found.n_coalitions} | {took:.0f} | {found.std_errors.max() / y.std():.3f} |")
    return lines


def main() -> None:
    warnings.filterwarnings("ignore", message="X differs from the rows of fit")
    parts = [
        "# Explanations",
        "",
        f"`python benchmarks/explain.py`, on {describe('torch', 'shap')}, one thread; CPU seconds, machine shared.",
        "",
        "Shapley values of the mean, by leaving cells missing over the cached context.",
        "",
        "## A linear task has a closed form",
        "",
        "All 32 sets of columns are asked, so what is left is the model's, which does not know the line.",
        "",
        *closed_form(),
        "",
        "## Beside shap's kernel explainer, in one run",
        "",
        "The same model and game; RMSE from the exact values, relative to their size.",
        "",
        *beside_shap(),
        "",
        "## 50 rows of 20 columns, 1,000 labelled rows, default budget",
        "",
        *seconds(),
        "",
    ]
    (HERE / "explain.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
