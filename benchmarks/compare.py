"""Paired comparison of models over tables: means, wins, bootstrap intervals, and where a model is bad.

Scores are tidy frames with the columns dataset, task, model, seed, error and the metrics of the protocol. Models are
compared on exactly the (table, seed) cells that all of them answered. Seeds are averaged inside a table and tables
inside a family (tables that share rows), so that every family counts once.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.tables import METRICS
from icl.pages.table import Row, Table

LOWER_IS_BETTER = {"logloss", "brier", "ece", "nrmse", "nll", "crps"}
PAIRED = {"clf": ["auc", "logloss", "brier"], "reg": ["r2", "crps", "nll"]}
BOUNDS = {"r2": (0.0, 1.0), "nll": (-np.inf, 10.0), "logloss": (0.0, 10.0)}
"""One table's score counts for no more than this in a mean: R2 below 0 is useless, however far below."""
N_RESAMPLES = 10_000


def answered(scores: pd.DataFrame, task: str) -> pd.DataFrame:
    """The rows of a task without an error."""
    return scores[(scores.task == task) & (scores.error.isna() | (scores.error == ""))]


def common_cells(scores: pd.DataFrame, own: str, task: str, share: float = 0.98) -> pd.DataFrame:
    """Rows of the models that answered at least `share` of the cells that `own` did, on the cells that all answered."""
    scores = answered(scores, task).merge(cells_of(scores, own, task))
    main = scores.pivot_table(index=["dataset", "seed"], columns="model", values=METRICS[task][0])
    complete = [m for m in main if main[m].notna().mean() > share]
    kept = main[complete].dropna().index.to_frame(index=False)
    return scores[scores.model.isin(complete)].merge(kept)


def cells_of(scores: pd.DataFrame, model: str, task: str) -> pd.DataFrame:
    rows = answered(scores, task)
    return rows.loc[rows.model == model, ["dataset", "seed"]].drop_duplicates()


def by_family(values: pd.DataFrame, families: pd.Series) -> pd.DataFrame:
    """Means over the tables of each family; `values` and `families` are indexed by table."""
    return values.groupby(families.reindex(values.index)).mean()


def by_table(scores: pd.DataFrame, metric: str, bound: bool = False) -> pd.DataFrame:
    """(tables, models) means over seeds, cut off at `BOUNDS` on request."""
    values = scores.pivot_table(index="dataset", columns="model", values=metric)
    return values.clip(*BOUNDS[metric]) if bound and metric in BOUNDS else values


def bootstrap_mean(differences: np.ndarray, level: float = 0.95, seed: int = 0) -> tuple[float, float, float]:
    """Mean of (n,) paired differences, and its percentile bootstrap interval over the n units."""
    n = len(differences)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), N_RESAMPLES)
    low, high = np.quantile(counts @ differences / n, [(1 - level) / 2, (1 + level) / 2])
    return float(differences.mean()), float(low), float(high)


def score_table(scores: pd.DataFrame, own: str, task: str, families: pd.Series) -> pd.DataFrame:
    """One row for each model: average scores over families and the share of tables on which `own` is better.

    Means for classification; medians for regression, with the mean R2 (at least 0 a table) beside them.
    """
    metrics = METRICS[task]
    columns = {}
    for metric in metrics:
        values = by_family(by_table(scores, metric), families)
        columns[metric if task == "clf" else f"median {metric}"] = values.mean() if task == "clf" else values.median()
    main = by_table(scores, metrics[0])
    if task == "clf":
        columns["auc, each table"] = main.mean()
        columns["logloss, each table"] = by_table(scores, "logloss").mean()
    else:
        columns["median r2, each table"] = main.median()
        columns["median crps, each table"] = by_table(scores, "crps").median()
        columns["mean r2"] = by_family(by_table(scores, "r2", bound=True), families).mean()
    table = pd.DataFrame(columns)
    wins = [f"{(main[own] > main[m]).mean() + (main[own] == main[m]).mean() / 2:.0%}" for m in table.index]
    table["ours better on"] = ["" if m == own else share for m, share in zip(table.index, wins)]
    return table.sort_values(table.columns[0], ascending=False)


def difference_table(scores: pd.DataFrame, own: str, task: str, families: pd.Series) -> pd.DataFrame:
    """Mean gain of `own` over each model that has the metric, positive where `own` is better, with its interval."""
    rows: dict[str, dict[str, str]] = {}
    for metric in PAIRED[task]:
        values = by_family(by_table(scores, metric, bound=True), families)
        sign = -1 if metric in LOWER_IS_BETTER else 1
        for model in values.columns.drop(own):
            gain = (sign * (values[own] - values[model])).dropna().to_numpy()
            if len(gain):
                rows.setdefault(model, {})[metric] = gain_text(gain)
    order = score_table(scores, own, task, families).index
    return pd.DataFrame(rows).T.reindex([m for m in order if m in rows]).reindex(columns=PAIRED[task])


def gain_text(gain: np.ndarray) -> str:
    """Mean gain with its interval; fewer than five units say too little for one."""
    if len(gain) < 5:
        return f"{gain.mean():+.4f}"
    mean, low, high = bootstrap_mean(gain)
    return f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]" + ("" if low <= 0 <= high else " *")


def partial_table(scores: pd.DataFrame, own: str, task: str, families: pd.Series, minimum: int = 5) -> pd.DataFrame:
    """Models that answered too few cells for the main comparison, each beside `own` on its own cells."""
    complete = set(common_cells(scores, own, task).model)
    rows = []
    for model in sorted(set(answered(scores, task).model) - complete):
        pair = common_cells(scores[scores.model.isin([own, model])], own, task, share=0)
        if pair.dataset.nunique() < minimum or model not in set(pair.model):
            continue
        row = {"model": model, "tables": pair.dataset.nunique()}
        for metric in PAIRED[task]:
            values = by_family(by_table(pair, metric, bound=True), families)
            if model in values:
                row |= {metric: f"{values[model].mean():.4f}", f"ours {metric}": f"{values[own].mean():.4f}"}
        rows.append(row)
    return pd.DataFrame(rows)


def groupings(index: pd.DataFrame, task: str) -> dict[str, pd.Series]:
    """Which group each table belongs to, by what a user knows of a table beforehand."""

    def cut(values: pd.Series, edges: list[float], labels: list[str]) -> pd.Series:
        return pd.cut(values, [-np.inf, *edges, np.inf], labels=labels, right=False)

    n_context = (index.n // 2).clip(upper=1000)
    groups = {
        "context rows": cut(n_context, [101, 301, 1000], ["up to 100", "101-300", "301-999", "1,000"]),
        "columns": cut(index.p, [6, 16, 41], ["up to 5", "6-15", "16-40", "over 40"]),
        "categorical columns": cut(index.n_categorical / index.p, [1e-9, 0.5, 1], ["none", "< 50%", "50-99%", "all"]),
        "missing cells": cut(index.n_missing_cells, [1], ["none", "some"]),
    }
    if task == "clf":
        groups["classes"] = cut(index.n_classes, [3, 6], ["2", "3-5", "6-10"])
        groups["rarest class"] = cut(
            index.minority_frac, [0.02, 0.1, 0.3], ["under 2%", "2-10%", "10-30%", "30% or more"]
        )
    return groups


def group_table(scores: pd.DataFrame, own: str, task: str, index: pd.DataFrame, others: list[str]) -> pd.DataFrame:
    """By group of tables: our mean score, and our mean gain over each of `others` with its standard error.

    Args:
        index: a row for each table, indexed by name, with the columns of index.csv.
    """
    metric = METRICS[task][0]
    values = by_table(scores, metric, bound=True)
    others = [m for m in others if m in values]
    rows = []
    for what, group in groupings(index, task).items():
        for label in group.cat.categories:
            part = by_family(values.loc[values.index.isin(group.index[group == label])], index.family)
            if not len(part):
                continue
            row = {"split by": what, "group": label, "families": len(part)}
            row[f"ours, {metric}"] = f"{part[own].mean():.3f}"
            for model in others:
                gain = part[own] - part[model]
                error = gain.std() / len(gain) ** 0.5
                row[f"over {model}"] = f"{gain.mean():+.3f}" + (f" ± {error:.3f}" if len(gain) > 1 else "")
            rows.append(row)
    return pd.DataFrame(rows)


def largest_losses(scores: pd.DataFrame, own: str, task: str, index: pd.DataFrame, n: int = 10) -> pd.DataFrame:
    """The tables on which the best other model is furthest ahead of `own`."""
    metric = METRICS[task][0]
    values = by_table(scores, metric)
    others = values.drop(columns=own)
    loss = (others.max(axis=1) - values[own]).sort_values(ascending=False).head(n)
    rows = []
    for name in loss.index:
        facts = index.loc[name]
        row = {"table": name, "rows": f"{facts.n:,}", "columns": facts.p, "categorical": facts.n_categorical}
        if task == "clf":
            row |= {"classes": int(facts.n_classes), "rarest class": f"{facts.minority_frac:.1%}"}
        row |= {f"ours, {metric}": f"{values.loc[name, own]:.3f}", "best other": f"{others.loc[name].max():.3f}"}
        row |= {"which": others.loc[name].idxmax(), "behind": f"{loss[name]:.3f}"}
        row["median other"] = f"{others.loc[name].median():.3f}"
        rows.append(row)
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame, index: str = "") -> str:
    """A GitHub table; numbers to four digits, an empty cell for what is missing."""
    if index:
        table = table.rename_axis(index).reset_index()

    def text(value) -> str:
        if isinstance(value, float):
            return "" if np.isnan(value) else f"{value:.4f}"
        return str(value)

    rows = [Row([text(v) for v in row]) for row in table.itertuples(index=False)]
    return Table("", list(map(str, table.columns)), rows).to_markdown()
