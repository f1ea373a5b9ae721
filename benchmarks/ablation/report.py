"""The page `benchmarks/ablation.md`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.ablation.compare import Differences
from benchmarks.ablation.ingredients import CONTROL, FULL, INGREDIENTS, PLANTED
from benchmarks.compare import markdown
from benchmarks.machine import describe

HOW = """\
Each variant is the default mixture with one ingredient dropped or shifted. All begin with the same weights ({start}),
see the same shapes of tasks in the same order and, where the ingredient is not touched, the same tasks; all get
{budget:,} tasks (not seconds, so the machine's load does not enter) and the same schedule. Scored on real tables by the
network alone: first split of the protocol, one member, no companions; {n_clf} tables with classes and {n_reg} of
numbers, one a family, of at most {cells:,} cells. {n_dev} of them are the development half (an even checksum of the
name); how budget and rate were chosen is in [records/ablation](records/ablation/README.md).

*Loss* is log loss, or CRPS in standard deviations of the target, in per cent of the full mixture's mean over the
tables of that kind, paired by table and seed; above 0, the change did harm. Intervals are 95%, of a bootstrap that
draws tables and the deviations of the seeds; those of all variants are drawn from together, since {n_seeds} seeds of
one say little about spread."""

MANY = """\
**How many would exclude 0 by chance.** {n} intervals of 95%: {by_chance:.1f} of {n} are expected to exclude 0 where
nothing differs, and the comparisons share the runs of the full mixture, so false ones come together. {n_out} do
(*alone* or *for all*); {n_all} still do with Bonferroni's intervals (*for all*), of which any excludes 0 falsely in at
most 5% of such studies. Between seeds the mean difference of one and the same variant varies by {spread:.2f} points
(standard deviation, pooled); half an interval is {floor:.1f} points wide in the median, and what is smaller cannot be
told from chance here. `{control}` changes nothing but the tasks drawn: its {control_mean} is chance. For scale:
`{planted}`, from which nothing can be learnt, costs {planted_mean}."""

LIMITS = """\
A network that goes on from a release knows that release's prior already: an ingredient it has long learnt can be left
out for {budget:,} tasks at no cost, and a variant can look good because it moves the network less. All runs begin with
the same weights, so what other weights would change is in no interval. The tables are small ones. Each family is
dropped with the share it has (a quarter of the batches at most, a twentieth at least), so a family without effect here
may be rare, and not useless."""


def report(runs: pd.DataFrame, scores: pd.DataFrame) -> str:
    """Markdown of runs that all have the same seeds."""
    differences = Differences.of(scores)
    table, level, facts = differences.intervals(), _levels(scores), runs.iloc[0]
    known = scores.drop_duplicates("dataset").set_index("dataset").reindex(differences.tables)
    is_clf, is_dev = (known.task == "clf").to_numpy(), known.development.to_numpy(bool)
    parts = {"classes": is_clf, "numbers": ~is_clf, "development half": is_dev, "other half": ~is_dev}
    seeds, budget = sorted(runs.seed.unique()), int(facts.budget_tasks)
    how = HOW.format(
        start="untrained" if facts.start == "scratch" else f"those of {facts.start}", budget=budget,
        n_clf=is_clf.sum(), n_reg=(~is_clf).sum(), n_dev=is_dev.sum(), cells=int(facts.max_cells), n_seeds=len(seeds),
    )  # fmt: skip
    said = (
        f"From what helps to what harms; `{PLANTED}`, which was planted to do harm, is {_place(table, PLANTED)}. The "
        "four columns after the interval are parts of the loss in per cent, the last four differences of scores. Full "
        f"mixture: {'; '.join(f'{metric} {value:.4f}' for metric, value in level.loc[FULL].items())} (mean over tables "
        f"and seeds {', '.join(map(str, seeds))}; an R2 below 0 counts as 0)."
    )
    changes = "\n".join(f"- `{name}`: {INGREDIENTS[name].change}" for name in table.index)
    left = [name for name in INGREDIENTS if name not in {*table.index, FULL}]
    made = (
        f"{len(runs)} runs, {runs.cpu_s.sum() / 60:.0f} processor minutes of training. The commands are in "
        "`benchmarks/ablation/__main__.py`, raw scores in `benchmarks/ablation/scores.csv`."
        + (f" Not run with these seeds yet: {', '.join(left)}." if left else "")
    )
    paragraphs = [
        "# Which ingredients of the prior matter", describe("torch", "numpy"), how, "## Ranked", said,
        markdown(_ranked(differences, table, parts, level)), _multiplicity(differences, table),
        "## What this cannot say", LIMITS.format(budget=budget), "## The variants", changes, made,
    ]  # fmt: skip
    return "\n\n".join(paragraphs) + "\n"


def _ranked(
    differences: Differences, table: pd.DataFrame, parts: dict[str, np.ndarray], level: pd.DataFrame
) -> pd.DataFrame:
    of_part = {part: differences.only(chosen).means() for part, chosen in parts.items()}
    rows = []
    for place, (name, row) in enumerate(table.iterrows(), start=1):
        marks = [_excludes_0(row[f"{kind}low"], row[f"{kind}high"]) for kind in ("all_", "")]
        line = {"rank": place, "variant": name, "loss, %": f"{row['mean']:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"}
        line["excludes 0"] = "for all" if marks[0] else "alone" if marks[1] else ""
        line |= {part: f"{means[name]:+.2f}" for part, means in of_part.items()}
        line["seed by seed"] = " ".join(f"{value:+.1f}" for value in row.seeds)
        line |= {metric: f"{level.loc[name, metric] - level.loc[FULL, metric]:+.4f}" for metric in level}
        rows.append(line)
    return pd.DataFrame(rows)


def _multiplicity(differences: Differences, table: pd.DataFrame) -> str:
    n_out, n_all = (sum(map(_excludes_0, table[f"{of}low"], table[f"{of}high"])) for of in ("", "all_"))
    control, planted = (
        f"{table.loc[name, 'mean']:+.2f}" if name in table.index else "(not run)" for name in (CONTROL, PLANTED)
    )
    return MANY.format(
        n=len(table), by_chance=0.05 * len(table), n_out=n_out, n_all=n_all, spread=differences.seed_spread(),
        floor=(table.high - table.low).astype(float).median() / 2, control=CONTROL, control_mean=control,
        planted=PLANTED, planted_mean=planted,
    )  # fmt: skip


def _levels(scores: pd.DataFrame) -> pd.DataFrame:
    """Means over tables and seeds, a row for each variant."""
    metrics = scores.assign(r2=scores.r2.clip(lower=0))
    table = metrics.groupby("variant")[["logloss", "auc", "crps", "r2"]].mean()
    return table.set_axis(["log loss", "AUC", "CRPS", "R2"], axis=1)


def _excludes_0(low: float, high: float) -> bool:
    return not low <= 0 <= high


def _place(table: pd.DataFrame, name: str) -> str:
    if name not in table.index:
        return "not among them"
    place = table.index.get_loc(name) + 1
    return "last, as it must be" if place == len(table) else f"number {place} of {len(table)}, not last"
