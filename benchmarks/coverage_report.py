"""The report and the figure of benchmarks/coverage.py, from what it counted."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import pandas as pd
from machine import describe

LEVEL, N_UNLABELED = 0.90, 1_000
METHODS = ["classical", "imputed", "ppi", "ppi++", "synsurr", "shrunk"]
QUALITIES = ["useless", "biased", "good"]
SIZES = {"mean": (20, 50, 200), "slope": (20, 50, 200), "logistic slope": (50, 100, 200), "median": (20, 50, 200)}
ALSO = {"slope": (30, 100)}
"""Sizes that the tables have beside those of the figure."""
HIGH, LEAST_SHOWN = 1.2, 0.7

HEAD = """# Coverage of the intervals

Written by `python benchmarks/coverage.py`; every number is a measurement on simulated rows whose truth is known.
Nominal coverage {level:.0%}. Each cell: coverage, and in brackets the mean width relative to the classical interval.
**Bold**: more than four Monte Carlo errors away from nominal.

- {machine}; {seconds:.0f} s of processor time, processes of one thread.
- {reps:,} repetitions of each case (Monte Carlo error of a coverage at nominal {errors[0]:.4f}), {model_reps:,} where a
  model is fitted ({errors[1]:.4f}). Seeded by case and repetition.

![coverage by method, estimand, labeled rows and quality of predictions](coverage.png)
"""
GLANCE = """
## At a glance

Least and greatest coverage over useless, biased and good predictions (Monte Carlo error {error:.3f}); last column: mean
width of shrunk, the default, with good predictions, relative to labels alone.
"""
STORED = """
## Predictions that exist already (N = {n_unlabeled:,} unlabeled rows)

Heteroskedastic outcome, nonlinear in x; slopes are those of the best linear (logistic: of y > {high}) approximation.
ppi_py's logistic loss has no minimum in some draws of few labeled rows; its cell is the mean over the others.
`useless`: independent noise; `biased`: wrong level, wrong sign, wrong shape; `good`: outcome plus noise (correlation
.97). All methods as `InferenceResult.compare()` gives them; `auto` is what `infer` chooses, `narrowest` the valid
method with the narrowest interval in each draw, which is no method to use. Last column: `compat="ppi_py"`. The slope at
n = 20 to 50 is a hard case (leverage, curvature and noise grow together): there the classical HC3 interval itself
covers less, and the others are to be read against it. Imputation covers only where predictions happen to be unbiased.
"""
MODELS = """
## Models fitted inside the analysis

`5 folds`: what `infer(..., predictor=model)` does. `on one half`: fitted on half of the labels, used with the other
half. `in-sample`: fitted on the very rows it corrects (double dipping), the mistake that cross-fitting prevents.
Forest: n = 150, N = 1,500; in-context model (`{checkpoint}`, one member): n = 60, N = 300.
"""
DESIGNS = """
## Labels that were not drawn at random from all rows

`with the design` passes it to `infer`, `ignored` does not. Width relative to the other column. The estimated
probabilities are a hard case: neither they nor the predictions are right on average given the features.
"""
SHARES = """
## Shares with few events

Predicted probabilities of correlation about .3 and .6; N = {n_unlabeled:,}. `auto` takes the exact interval below 10
events, the score interval below 30, the t interval from there on. Draws without any event (last column) count: their
interval is [0, upper].
"""


def report(table: pd.DataFrame, order: list[tuple], options: argparse.Namespace) -> str:
    """All tables, from a line for each case and method; `order` holds (section, estimand, n, predictions) of cases."""
    errors = [math.sqrt(LEVEL * (1 - LEVEL) / reps) for reps in (options.reps, options.model_reps)]
    names = ["section", "estimand", "n", "predictions"]
    seconds = table.groupby(names)["seconds"].first().sum()
    place = {case: i for i, case in enumerate(order)}
    table = table.assign(place=[place[case] for case in table[names].itertuples(index=False, name=None)])
    table = table.sort_values("place", kind="stable")
    stored, models, design, share = (table[table["section"] == s] for s in ("stored", "models", "designs", "shares"))
    head = HEAD.format(
        level=LEVEL, machine=describe("numpy", "scipy", "pandas", "scikit-learn"), seconds=seconds,
        reps=options.reps, model_reps=options.model_reps, errors=errors,
    )  # fmt: skip
    lines = [head.rstrip(), GLANCE.format(error=errors[0]), *at_a_glance(stored), outside(table)]
    lines += [STORED.format(n_unlabeled=N_UNLABELED, high=HIGH)]
    lines += as_markdown(stored, [*METHODS, "auto", "narrowest", "ppi++ as ppi_py"])
    lines += [MODELS.format(checkpoint=options.checkpoint), *as_markdown(models, [*METHODS, "auto"])]
    lines += [DESIGNS, *as_markdown(design, ["with the design", "ignored"], base="ignored")]
    lines += [
        SHARES.format(n_unlabeled=N_UNLABELED),
        *as_markdown(share, ["classical", "auto", "exact", "score", "t", "no event"]),
    ]
    return "\n".join([*lines, ""])


def as_markdown(table: pd.DataFrame, methods: list[str], base: str = "classical") -> list[str]:
    """One line for each case, one column for each method: coverage, and relative width in brackets."""
    shown = [c for c in ("estimand", "n", "predictions") if len(table) and not table[c].isin(["", 0]).all()]
    lines = ["| " + " | ".join([*shown, *methods]) + " |", "|---" * (len(shown) + len(methods)) + "|"]
    for _, case in table.groupby(["estimand", "n", "predictions"], sort=False):
        case = case.set_index("method")
        cells = [str(case[c].iloc[0]) for c in shown]
        for method in methods:
            cells.append(_cell(case.loc[method], case.loc[base, "width"]) if method in case.index else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _cell(row: pd.Series, base: float) -> str:
    if row.name == "no event":
        return f"{row['coverage']:.0%}" if row["coverage"] else ""
    text = f"{row['coverage']:.3f} ({row['width'] / base:.2f})"
    off = abs(row["coverage"] - LEVEL) > 4 * math.sqrt(LEVEL * (1 - LEVEL) / row["reps"])
    return f"**{text}**" if off else text


def at_a_glance(stored: pd.DataFrame) -> list[str]:
    """One line for each estimand and n: least and greatest coverage over the kinds of predictions; README's table."""
    shown = [*METHODS, "ppi++ as ppi_py"]
    lines = ["| estimand | n | " + " | ".join(shown) + " | width, good predictions |", "|---" * (len(shown) + 3) + "|"]
    for (estimand, n), part in stored.groupby(["estimand", "n"], sort=False):
        cells = []
        for method in shown:
            own = part.loc[part["method"] == method, "coverage"]
            spread = sorted({f"{own.min():.2f}", f"{own.max():.2f}"})
            cells.append("-".join(x.removeprefix("0") for x in spread) if len(own) else "")
        good = part[part["predictions"] == "good"].set_index("method")["width"]
        lines.append(f"| {estimand} | {n} | " + " | ".join(cells) + f" | {good['synsurr'] / good['classical']:.2f} |")
    return lines


def outside(table: pd.DataFrame) -> str:
    """The cells of the default (`auto`, or `with the design`) that are more than four Monte Carlo errors off."""
    own = table[table["method"].isin(["auto", "with the design"]) & ~table["predictions"].str.endswith("in-sample")]
    off = own[abs(own["coverage"] - LEVEL) > 4 * np.sqrt(LEVEL * (1 - LEVEL) / own["reps"].astype(float))]
    cells = [f"{c.estimand} n = {c.n} {c.predictions} {c.coverage:.3f}" for c in off.itertuples()]
    return (
        f"\nOf the default's {len(own)} cells in the tables below (reuse of rows left out), these are more than four "
        f"Monte Carlo errors off: {'; '.join(cells) or 'none'}."
    )


def draw_figure(table: pd.DataFrame, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    table = table[(table["section"] == "stored") & table["method"].isin([*METHODS, "auto", "ppi++ as ppi_py"])]
    methods = [m for m in [*METHODS, "ppi++ as ppi_py"] if m != "imputed"]
    figure, axes = plt.subplots(1, len(SIZES), figsize=(13, 4.2), sharex=True, layout="constrained")
    colors = dict(zip(QUALITIES, ("0.5", "tab:orange", "tab:blue"), strict=True))
    for ax, estimand in zip(axes, SIZES, strict=True):
        part = table[table["estimand"] == estimand]
        error = math.sqrt(LEVEL * (1 - LEVEL) / part["reps"].iloc[0])
        ax.axvspan(LEVEL - 4 * error, LEVEL + 4 * error, color="0.92", zorder=0)
        ax.axvline(LEVEL, color="black", lw=0.8)
        for j, method in enumerate(methods):
            for i, (n, marker) in enumerate(zip(SIZES[estimand], "osD", strict=True)):
                for k, quality in enumerate(QUALITIES):
                    row = part[(part["method"] == method) & (part["n"] == n) & (part["predictions"] == quality)]
                    if len(row):
                        x, y = max(row["coverage"].iloc[0], LEAST_SHOWN), -j - 0.26 * (i - 1) - 0.07 * (k - 1)
                        ax.plot(x, y, marker=marker, ms=4.5, color=colors[quality], ls="", clip_on=False, alpha=0.85)
        for j in range(1, len(methods)):
            ax.axhline(0.5 - j, color="0.85", lw=0.6, zorder=0)
        ax.set(title=f"{estimand}, n = {', '.join(map(str, SIZES[estimand]))}", ylim=(-len(methods) + 0.4, 0.6))
        ax.set_yticks(-np.arange(len(methods)), methods if ax is axes[0] else [""] * len(methods))
        ax.tick_params(axis="y", length=0)
        ax.spines[["top", "right", "left"]].set_visible(False)
    axes[0].set_xlim(LEAST_SHOWN, 1.0)
    axes[0].set_xticks([0.75, 0.8, 0.85, 0.9, 0.95, 1.0], ["", "0.80", "", "0.90", "", "1.00"])
    figure.supxlabel(
        f"coverage of {LEVEL:.0%} intervals (grey band: four Monte Carlo errors; left edge: {LEAST_SHOWN:.2f} or less)"
    )
    handles = [plt.Line2D([], [], marker="o", ls="", color=c, label=f"{q} predictions") for q, c in colors.items()]
    handles += [
        plt.Line2D([], [], marker=m, ls="", color="0.3", label=f"{w} n")
        for w, m in zip(("small", "middle", "large"), "osD")
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=6, frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
