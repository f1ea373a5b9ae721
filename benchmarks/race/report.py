"""What the race found, as Markdown."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from benchmarks.compare import markdown
from benchmarks.machine import describe
from benchmarks.race.candidates import CANDIDATES

REFERENCE = "alternating"
BASELINES = ("linear", "rf", "lgbm", "catboost")


def report(runs_file: Path, tables_file: Path, times_file: Path, folder: Path | None) -> str:
    """Markdown of the files that `python -m benchmarks.race` writes; `folder` adds the baselines of the same splits."""
    runs, tables = pd.read_csv(runs_file), pd.read_csv(tables_file)
    # A race interrupted between its two files scores a table twice.
    tables = tables.drop_duplicates(["candidate", "seed", "budget_s", "batch_cells", "dataset"], keep="last")
    tables = tables.assign(clipped_r2=tables.r2.clip(lower=0))
    parts = []
    for (budget, cells), group in runs.groupby(["budget_s", "batch_cells"], sort=False):
        mine = tables[(tables.budget_s == budget) & (tables.batch_cells == cells)]
        parts += [f"## {group.cpu_s.median():.0f} processor seconds each", "", *_race(group, mine, folder), ""]
    times = _times(pd.read_csv(times_file)) if times_file.exists() else []
    raced = set(runs.candidate)
    changes = [f"- `{name}`: {c.change}" for name, c in CANDIDATES.items() if name in raced and name != REFERENCE]
    head = ["# Architecture race", "", describe("torch"), "", _HOW, "", "Differences from `alternating`:", "", *changes]
    return "\n".join([*head, "", *parts, *times])


def _race(runs: pd.DataFrame, tables: pd.DataFrame, folder: Path | None) -> list[str]:
    rows, known = [], []
    for run in runs.itertuples():
        mine = tables[(tables.candidate == run.candidate) & (tables.seed == run.seed)].set_index("dataset")
        reference = tables[(tables.candidate == REFERENCE) & (tables.seed == run.seed)].set_index("dataset")
        row = {
            "candidate": run.candidate,
            "seed": run.seed,
            "parameters": f"{run.parameters / 1e6:.2f}M",
            "tasks": f"{run.tasks:,}",
            "prior loss, classes": f"{run.val_clf:.4f}",
            "prior loss, numbers": f"{run.val_reg:.4f}",
        }
        known.append(mine)
        row |= _metrics(mine)
        for metric, label in (("auc", "AUC"), ("clipped_r2", "R2")):
            gap = (mine[metric] - reference[metric]).dropna()
            own = run.candidate == REFERENCE or not len(gap)
            row[f"{label} against {REFERENCE}"] = "" if own else f"{gap.mean():+.4f} ± {gap.sem():.4f}"
        rows.append(row)
    text = [markdown(pd.DataFrame(rows).fillna(""))]
    if folder is not None:
        names = set(tables.dataset)
        baselines = pd.read_csv(folder / "baselines.csv")
        baselines = baselines[(baselines.seed == 0) & baselines.dataset.isin(names)]
        baselines = baselines.assign(clipped_r2=baselines.r2.clip(lower=0))
        lines = [{"baseline": b} | _metrics(baselines[baselines.model == b]) for b in BASELINES]
        text += [
            "",
            "Baselines on the same splits:",
            "",
            markdown(pd.DataFrame(lines)),
        ]
    n = known[0].task.value_counts()
    return [f"{n.get('clf', 0)} classification and {n.get('reg', 0)} regression tables.", "", *text]


def _times(costs: pd.DataFrame) -> list[str]:
    labels = {"gflop": "GFLOP", "wall_s": "s", "cpu_s": "cpu s"}
    wide = costs.pivot(index="candidate", columns="size", values=list(labels))
    wide = wide.reindex([name for name in CANDIDATES if name in wide.index])
    wide.columns = [f"{size}, {labels[kind]}" for kind, size in wide.columns]
    load = f"Load average while this was measured: {costs.load.max():.1f}."
    return ["## Cost of a prediction", "", f"{_TIMES} {load}", "", markdown(wide.map("{:.3g}".format), "candidate"), ""]


def _metrics(scores: pd.DataFrame) -> dict[str, str]:
    classes, numbers = scores[scores.task == "clf"], scores[scores.task == "reg"]
    means = {
        "AUC": classes.auc.mean(),
        "log loss": classes.logloss.mean(),
        "median R2": numbers.r2.median(),
        "mean R2": numbers.clipped_r2.mean(),
    }
    return {name: "" if math.isnan(value) else f"{value:.4f}" for name, value in means.items()}


_HOW = """Each candidate starts from scratch and gets the same processor seconds of one thread for everything: sampling
tasks (the default mixture, shapes of `configs/nano.yaml` in batches of 1,500 cells), forward, backward, updates. Rates
warm up over 20 s and fall linearly to 0 over the last 30% of the budget; no weight averaging. Candidates of one seed
that share a process take turns, so they meet the same load. Scores: public benchmark tables of at most 20,000 cells,
first split, at most 1,000 context rows, one member. Prior loss: nats per query on the same held-out tasks. Mean R2
counts a negative R2 as 0. The ± is the standard error over tables of the difference to `alternating` with the same
seed; it leaves out what another seed would change, which the rows of different seeds show."""

_TIMES = """One member, two classes, `context x features + query`; two threads, the least of several passes, candidates
taking turns; *cpu s* is the processor time of both threads."""
