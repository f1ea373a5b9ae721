"""Does fine-tuning on a domain's tables help on other tables of it, and what does it cost elsewhere?

    python benchmarks/finetune.py --tables FOLDER --census FILE [--checkpoint nano] [--out runs/finetune]

Two domains, each with tables that no part of training, choice of rate or early stopping ever sees:

    census    adults of California with an income (2019): a table is an ancestry group, the target is the income;
              every other one of the 48 largest groups trains, the others test
    marriage  the same people with another question: are they married, given income and all else
    defects   software-defect tables of NASA (pc1, pc3, pc4, kc1, kc2, jm1): two are left out at a time, in three folds

Three checkpoints are scored on the same rows: the one to start from, the fine-tuned one, and one that took the same
number of steps at the same rate on tasks of the prior only. The general benchmark is the protocol of FOLDER (see
benchmarks/tables.py), on a fixed subset: `--general` classification tables of tier 1 with at most 1,500 rows, spread
over the sizes, none of the defects family. Models and scores go to OUT as they are done, so an interrupted run
continues; the report goes to benchmarks/finetune.md.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
import torch

from benchmarks.compare import bootstrap_mean, markdown
from benchmarks.machine import describe
from benchmarks.tables import ResultFile, load_protocol, ours, read_index, score_cell, weights_of
from icl.checkpoint import PROVENANCE, load_release, save_release
from icl.compare import score_table
from icl.data import TaskStream
from icl.finetuning import FinetuneConfig, finetune
from icl.finetuning.data import Alternating, replay_priors
from icl.finetuning.holdout import REPLAY_SHAPES
from icl.finetuning.method import merged_state
from icl.finetuning.rate import short_run
from icl.finetuning.tables import encode_tables

DEFECTS = ("pc1", "pc3", "pc4", "kc1", "kc2", "jm1")
FOLDS = (("pc1", "kc2"), ("pc3", "kc1"), ("pc4", "jm1"))
ARMS = ("base", "prior only", "fine-tuned")
MAIN = {"census": "r2", "marriage": "auc", "defects": "auc"}
N_GROUPS, GROUP_ROWS, MOST_ROWS = 48, 600, 2_000
STEPS = {"census": 200, "marriage": 200, "defects": 100}
"""Of a run at most; six tables give less to learn than twenty-four."""
SIZES = {"census": (50, 200), "marriage": (50, 200), "defects": (100, 400)}
"""Context rows that the test tables are scored with."""


def census_tables(file: Path) -> dict[str, pd.DataFrame]:
    """One table for each of the largest ancestry groups: 600 adults with an income."""
    people = pd.read_parquet(file).drop(columns="INTERCEPT")
    people = people[(people.AGEP >= 18) & (people.PINCP > 0)].rename(columns={"PINCP": "target"})
    groups = people.ANC1P.value_counts().index[:N_GROUPS]
    rng = np.random.default_rng(0)
    tables = {}
    for group in groups:
        rows = people[group == people.ANC1P].drop(columns="ANC1P")
        tables[f"ancestry_{group}"] = rows.iloc[rng.permutation(len(rows))[:GROUP_ROWS]].reset_index(drop=True)
    return tables


def _married(table: pd.DataFrame) -> pd.DataFrame:
    """The same people; the target is whether they are married (code 0 of MAR)."""
    people = table.rename(columns={"target": "PINCP"}).drop(columns="MAR")
    return people.assign(target=np.where(table.MAR == 0, "married", "not"))


def defect_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables without the rows that occur twice or in two of them, at most 2,000 rows each."""
    rng = np.random.default_rng(0)
    tables = {}
    for name in DEFECTS:
        table = pd.read_parquet(folder / "clf" / f"{name}.parquet").drop_duplicates()
        tables[name] = table.iloc[rng.permutation(len(table))[:MOST_ROWS]].reset_index(drop=True)
    return tables


def runs(options) -> list[dict]:
    """Every fine-tuning run: its name, its domain, the tables that train and those that test."""
    census = census_tables(options.census)
    names = list(census)
    defects = defect_tables(options.tables)
    found = [{"run": "census", "domain": "census", "test": names[1::2], "tables": census}]
    married = {name: _married(table) for name, table in census.items()}
    found.append({"run": "marriage", "domain": "marriage", "test": names[1::2], "tables": married})
    for k, left_out in enumerate(FOLDS):
        found.append({"run": f"defects-{k}", "domain": "defects", "test": list(left_out), "tables": defects})
    return [r | {"train": [n for n in r["tables"] if n not in r["test"]]} for r in found]


def train(run: dict, options) -> dict[str, Path]:
    """Folders of the three checkpoints; those that are there are not trained again."""
    config = FinetuneConfig(target="target", steps=STEPS[run["domain"]], max_rows=options.max_rows, seed=0)
    if run["domain"] == "census":
        config = replace(config, task="regression")
    tuned = options.out / run["run"]
    if not (tuned / PROVENANCE).is_file():
        tables = {name: run["tables"][name] for name in run["train"]}
        finetune(
            options.checkpoint, tables, config, out=tuned, report=lambda s: print(f"{run['run']}: {s}", flush=True)
        )
    control = options.out / f"{run['run']}-prior"
    facts = json.loads((tuned / PROVENANCE).read_text())
    if not (control / PROVENANCE).is_file():
        started = time.monotonic()
        start = load_release(options.checkpoint)
        priors = [Alternating(replay_priors(start.config))] * (config.batch_tables + 1)
        alone = replace(config, replay=0.0, batch_tables=len(priors))
        stream = TaskStream(priors, REPLAY_SHAPES, seed=1)
        steps = max(facts["finetuning"]["best_step"], 1)
        model = short_run(copy.deepcopy(start), stream, alone, facts["finetuning"]["lr"], steps)
        plain = copy.deepcopy(start)
        plain.load_state_dict(merged_state(model))
        save_release(plain, control, {"steps": steps, "wall_seconds": round(time.monotonic() - started)})
    return dict(zip(ARMS, (options.checkpoint, control, tuned), strict=True))


def score_domain(run: dict, arms: dict, options) -> pd.DataFrame:
    """Scores of the arms on the test tables; done cells are kept."""
    results = ResultFile(options.out / f"{run['run']}.csv", ["table", "seed", "n", "arm"])
    config = FinetuneConfig(target="target", task="regression" if run["domain"] == "census" else "auto")
    tables = encode_tables({n: run["tables"][n] for n in run["test"]}, config, 10)
    for seed in range(options.seeds):
        for table in tables:
            for n in SIZES[run["domain"]]:
                if all((table.name, seed, n, arm) in results for arm in arms):
                    continue
                fresh = np.ones(len(table), dtype=bool)
                _, scores = score_table(table, fresh, list(arms.values()), seed, max_context=n)
                for arm, metrics in zip(arms, scores, strict=True):
                    values = {name: value for name, (value, _) in metrics.items()}
                    results.add({"table": table.name, "seed": seed, "n": n, "arm": arm} | values)
                results.save()
    return results.frame()


def score_general(name: str, checkpoint, options) -> pd.DataFrame:
    """The protocol's scores on the fixed subset of the general benchmark, seed 0."""
    results = ResultFile(options.out / f"general-{name}.csv", ["arm", "dataset"])  # runs may go on side by side
    index = read_index(options.tables, "1")
    index = index[(index.task == "clf") & (index.n <= 1_500) & (index.family != "nasa-defects")]
    chosen = index.iloc[np.linspace(0, len(index) - 1, options.general).round().astype(int)]
    factory = ours(str(checkpoint), 4)
    for record in chosen.to_dict("records"):
        if (name, record["name"]) not in results:
            row, _, _ = score_cell(options.tables, record, factory, "raw", 0)
            results.add({"arm": name} | row)
            results.save()
    return results.frame()


def gains(scores: pd.DataFrame, metric: str, other: str, n: int) -> np.ndarray:
    """(tables,) gain of the fine-tuned arm over `other` with n context rows, seeds averaged; positive is better."""
    values = scores[scores.n == n].pivot_table(index="table", columns="arm", values=metric)
    return ((values["fine-tuned"] - values[other]) * (-1 if metric in ("log_loss", "nll") else 1)).to_numpy()


def gain_text(gain: np.ndarray, scale: float = 1.0) -> str:
    mean, low, high = bootstrap_mean(gain * scale)
    return f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]" + ("" if low <= 0 <= high else " *")


def report(done: list[dict], general: pd.DataFrame, options) -> str:
    lines = [
        "# Fine-tuning on two domains",
        "",
        f"census: adults of California with an income (2019); a table is {GROUP_ROWS} people of an ancestry group, the "
        f"target is the income; of the {N_GROUPS} largest groups every other one trains, the others test. marriage: "
        f"the same people, the target is whether they are married. defects: "
        f"software-defect tables of NASA ({', '.join(DEFECTS)}), two left out at a time. No part of training, choice "
        f"of rate or early stopping sees a test table. *Prior only* took as many steps at the same rate on tasks of "
        f"the synthetic prior alone.",
        "",
        f"Base: {options.checkpoint} (weights {weights_of(options.checkpoint)}). At most {STEPS['census']} (defects "
        f"{STEPS['defects']}) steps, tasks of at most {options.max_rows} rows, everything else by default: full "
        f"fine-tuning, rate and step chosen on tables held out from the training tables. Test tables: {options.seeds} "
        f"splits each, averaged; 4 members; as many query rows as are left, at most 1,000. Intervals: 95 %, paired "
        f"bootstrap over tables; * excludes 0.",
        "",
        describe("torch", "lightning", "scikit-learn"),
        "",
    ]
    for domain, main in MAIN.items():
        own = [d for d in done if d["run"]["domain"] == domain]
        if not own:
            continue
        scores = pd.concat([d["scores"] for d in own])
        second = "nll" if main == "r2" else "log_loss"
        rows = []
        for n in SIZES[domain]:
            for metric in (main, second):
                part = scores[scores.n == n]
                row = {"context rows": n, "metric": metric, "tables": part.table.nunique()}
                row |= {arm: f"{part[part.arm == arm].groupby('table')[metric].mean().mean():.4f}" for arm in ARMS}
                row["gain over base"] = gain_text(gains(scores, metric, "base", n))
                row["over prior only"] = gain_text(gains(scores, metric, "prior only", n))
                rows.append(row)
        lines += [f"## {domain}: test tables", "", markdown(pd.DataFrame(rows)), ""]
    rows = []
    wide = general.pivot_table(index="dataset", columns="arm", values="auc")
    for d in done:
        name = d["run"]["run"]
        facts, found = d["facts"], d["facts"]["finetuning"]
        change = (wide[name] - wide["base"]).dropna().to_numpy()
        rows.append(
            {
                "run": name,
                "training tables": len(found["tables"]),
                "rate": f"{found['lr']:g}",
                "best step": f"{found['best_step']} of {found['steps_run']}",
                "held-out loss": f"{found['held_out_loss']['before']:.4f} to {found['held_out_loss']['after']:.4f}",
                "prior loss": f"{found['prior_loss']['after'] - found['prior_loss']['before']:+.4f}",
                "general AUC, points": gain_text(change, 100),
                "minutes": f"{facts['wall_seconds'] / 60:.1f}",
            }
        )
    text = f"General AUC: {len(wide)} tables, change in points (hundredths of AUC); base {wide['base'].mean():.4f}. "
    lines += ["## What it cost", "", f"{text}Minutes: {options.conditions}.", "", markdown(pd.DataFrame(rows)), ""]
    lines += ["Tables of the general benchmark: " + ", ".join(wide.index) + ".", ""]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True, help="folder of the benchmark tables")
    parser.add_argument("--census", type=Path, required=True, help="acs_2019_CA.parquet")
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--max_rows", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3, help="splits of each test table")
    parser.add_argument("--general", type=int, default=24, help="tables of the general benchmark")
    parser.add_argument("--only", default="", help="runs, separated by commas: census, defects-0, ...")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--conditions", default="two cores", help="what else the machine did, for the report")
    parser.add_argument("--out", type=Path, default=Path("runs/finetune"))
    parser.add_argument("--report", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args(arguments)
    load_protocol(options.tables)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    wanted = options.only.split(",") if options.only else None
    done, general = [], [score_general("base", options.checkpoint, options)]
    for run in runs(options):
        if wanted and run["run"] not in wanted:
            continue
        arms = train(run, options)
        scores = score_domain(run, arms, options)
        general.append(score_general(run["run"], arms["fine-tuned"], options))
        facts = json.loads((arms["fine-tuned"] / PROVENANCE).read_text())
        done.append({"run": run, "scores": scores, "facts": facts})
        text = report(done, pd.concat(general), options)
        options.report.write_text(text, encoding="utf-8")
        print(text, flush=True)


if __name__ == "__main__":
    main()
