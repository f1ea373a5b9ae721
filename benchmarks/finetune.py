"""Does fine-tuning on a domain's tables help on other tables of it, and what does it cost elsewhere?

    python benchmarks/finetune.py --tables FOLDER --census FILE [--checkpoint nano] [--out runs/finetune]

Four domains, each with tables that no part of training, choice of rate or early stopping ever sees:

    census    adults of California with an income (2019): a table is an ancestry group, the target is the income;
              every other one of the 48 largest groups trains, the others test
    marriage  the same people with another question: are they married, given income and all else
    defects   software-defect tables of NASA (pc1, pc3, pc4, kc1, kc2, jm1): two are left out at a time, in three folds;
              rows that stand twice in a table, or in two tables, are dropped
    thyroid   six questions about the patients of one clinic (allbp, allhyper, allrep, dis, hypothyroid, sick): has the
              patient that condition or not; two questions are left out at a time, in three folds. The six tables of
              the folder hold the very same patients, four of them with numbers replaced by codes in the order of text;
              here all have the measurements. Patients (rows that differ) are dealt to two halves, once: training
              tables hold the one, test tables the other, so no test patient is trained on under any question. The
              seventh table of the family, ann-thyroid, is left out: it holds mostly the same patients and a question
              of the six, in units that do not match exactly. Kinds of a condition are merged, because the rarest have
              ten rows among all patients.

Three checkpoints are scored on the same rows: the one to start from, the fine-tuned one, and one that took the same
number of steps at the same rate on tasks of the prior only. The general benchmark is the protocol of FOLDER (see
benchmarks/tables.py), on a fixed subset: `--general` classification tables of tier 1 with at most 1,500 rows, spread
over the sizes, none of the domains. Models and scores go to OUT as they are done, so an interrupted run continues; the
report goes to benchmarks/finetune.md and lists every domain, whatever it shows.

Fixed before any score of marriage, thyroid, or defects with 200 steps was seen: the tables, folds and halves; 200 steps
at most and everything else by default in every domain; the main metric (R2 of census, AUC of the others) at both sizes
of context; 2 splits of each test table of census and marriage (24 tables), 5 of defects and thyroid (6 tables, so that
the noise of splits does not hide a small gain). A domain shows a gain at a size if the 95 % interval (paired bootstrap
over tables) of the main metric's gain lies above zero both over the base and over the prior-only steps. An earlier run
of defects (100 steps, 2 splits) is reported as it was, from the folders of `--earlier`. Hyperparameters are tuned on
none of the test tables. One default was changed after that, before any score of thyroid or of defects with 200 steps,
and on census training groups alone: few held-out tables are asked twenty tasks (icl/finetuning/held_out.py); census and
marriage hold out five tables and stay as they were.
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
from icl.estimators.compare import score_table
from icl.finetuning import FinetuneConfig, finetune
from icl.finetuning.held_out import REPLAY_SHAPES
from icl.finetuning.method import merged_state
from icl.finetuning.rate import short_run
from icl.finetuning.stream import Alternating, replay_priors
from icl.finetuning.tables import encode_tables
from icl.releases.folder import load_release, save_release
from icl.releases.names import PROVENANCE
from icl.training.stream import TaskStream

DEFECTS = ("pc1", "pc3", "pc4", "kc1", "kc2", "jm1")
FOLDS = (("pc1", "kc2"), ("pc3", "kc1"), ("pc4", "jm1"))
CONDITIONS = ("allbp", "allhyper", "allrep", "dis", "hypothyroid", "sick")
ARMS = ("base", "prior only", "fine-tuned")
MAIN = {"census": "r2", "marriage": "auc", "defects": "auc", "thyroid": "auc"}
SPLITS = {"census": 2, "marriage": 2, "defects": 5, "thyroid": 5}
"""Splits of each test table into context and query rows; few tables need more."""
SIZES = {"census": (50, 200), "marriage": (50, 200), "defects": (100, 400), "thyroid": (100, 400)}
"""Context rows that the test tables are scored with."""
N_RUNS = {"census": 1, "marriage": 1, "defects": len(FOLDS), "thyroid": len(CONDITIONS) // 2}
N_GROUPS, GROUP_ROWS, MOST_ROWS = 48, 600, 2_000


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
    """The tables without the rows that stand twice in one or in two of them, at most 2,000 rows each."""
    whole = {name: pd.read_parquet(folder / "clf" / f"{name}.parquet").drop_duplicates() for name in DEFECTS}
    # Names of columns differ, their order does not; the tables have 21 or 37 of them.
    cells = {name: [tuple(row) for row in table.drop(columns="target").to_numpy()] for name, table in whole.items()}
    rng = np.random.default_rng(0)
    tables = {}
    for name, table in whole.items():
        elsewhere = {row for other in DEFECTS if other != name for row in cells[other]}
        table = table[[row not in elsewhere for row in cells[name]]]
        tables[name] = table.iloc[rng.permutation(len(table))[:MOST_ROWS]].reset_index(drop=True)
    return tables


def thyroid_tables(folder: Path) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """Six questions about one half of the patients, and the same six about the other half.

    Four of the tables hold codes: the position of each value among the sorted texts of its column. Coding the
    measurements alike finds every patient again.
    """
    whole = {name: pd.read_parquet(folder / "clf" / f"{name}.parquet") for name in CONDITIONS}
    patients = whole["sick"].drop(columns="target")
    code = {}
    for column in patients:
        texts = sorted({_text(value) for value in patients[column]})
        code[column] = {text: float(k) for k, text in enumerate(texts)}

    def keys(table: pd.DataFrame, coded: bool) -> list[tuple]:
        parts = [table[c] if coded else [code[c][_text(value)] for value in table[c]] for c in patients]
        return list(zip(*parts, strict=True))

    key = pd.Series(keys(patients, False))
    first = (~key.duplicated()).to_numpy()
    patients, key = patients[first].reset_index(drop=True), key[first].reset_index(drop=True)
    order = np.random.default_rng(0).permutation(len(patients))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    found: tuple[dict, dict] = {}, {}
    for name, table in whole.items():
        coded = name not in ("hypothyroid", "sick")
        label = pd.Series(table.target.to_numpy(), keys(table, coded))
        label = key.map(label[~label.index.duplicated()].astype(str))
        condition = np.where(label == label.mode()[0], "none", "condition")
        for part, half in zip(found, halves, strict=True):
            rows = half[label[half].notna()]
            part[name] = patients.iloc[rows].assign(target=condition[rows]).reset_index(drop=True)
    return found


def _text(value) -> str:
    return value if isinstance(value, str) else "?" if pd.isna(value) else f"{value:g}"


def runs(options) -> list[dict]:
    """Every fine-tuning run: its name, its domain, the tables that train and those that test."""
    census = census_tables(options.census)
    married = {name: _married(table) for name, table in census.items()}
    defects = defect_tables(options.tables)
    known, fresh = thyroid_tables(options.tables)
    found = [("census", census, census, list(census)[1::2]), ("marriage", married, married, list(census)[1::2])]
    found += [(f"defects-{k}", defects, defects, fold) for k, fold in enumerate(FOLDS)]
    found += [(f"thyroid-{k}", known, fresh, CONDITIONS[2 * k : 2 * k + 2]) for k in range(N_RUNS["thyroid"])]
    return [
        {
            "run": name,
            "domain": name.split("-")[0],
            "train": {n: t for n, t in training.items() if n not in left_out},
            "test": {n: testing[n] for n in left_out},
        }
        for name, training, testing, left_out in found
    ]


def config_of(run: dict, options) -> FinetuneConfig:
    task = "regression" if run["domain"] == "census" else "auto"
    return FinetuneConfig(target="target", task=task, max_rows=options.max_rows)


def train(run: dict, options) -> Path:
    """Folder of the tuned checkpoint; one that is there is not trained again."""
    tuned = options.out / run["run"]
    if not (tuned / PROVENANCE).is_file():
        say = lambda line: print(f"{run['run']}: {line}", flush=True)
        finetune(options.checkpoint, run["train"], config_of(run, options), out=tuned, report=say)
    return tuned


def train_control(run: dict, options) -> Path:
    """Folder of the checkpoint after as many steps at the same rate on tasks of the prior alone."""
    control = options.out / f"{run['run']}-prior"
    if not (control / PROVENANCE).is_file():
        started = time.monotonic()
        config = config_of(run, options)
        found = json.loads((options.out / run["run"] / PROVENANCE).read_text())["finetuning"]
        start = load_release(options.checkpoint)
        priors = [Alternating(replay_priors(start.config))] * (config.batch_tables + 1)
        alone = replace(config, replay=0.0, batch_tables=len(priors))
        stream = TaskStream(priors, REPLAY_SHAPES, seed=1)
        steps = max(found["best_step"], 1)
        model = short_run(copy.deepcopy(start), stream, alone, found["lr"], steps)
        plain = copy.deepcopy(start)
        plain.load_state_dict(merged_state(model))
        save_release(plain, control, {"steps": steps, "wall_seconds": round(time.monotonic() - started)})
    return control


def score_domain(run: dict, arms: dict, options) -> pd.DataFrame:
    """Scores of the arms on the test tables; done cells are kept."""
    results = ResultFile(options.out / f"{run['run']}.csv", ["table", "seed", "n", "arm"])
    tables = encode_tables(run["test"], config_of(run, options), 10)
    for seed in range(SPLITS[run["domain"]]):
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
    index = index[(index.task == "clf") & (index.n <= 1_500) & ~index.family.isin(["nasa-defects", "thyroid"])]
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


def domain_table(domain: str, scores: pd.DataFrame) -> str:
    """A line for each number of context rows and metric: means of the arms, gains with their intervals."""
    rows = []
    for n in SIZES[domain]:
        for metric in (MAIN[domain], "nll" if MAIN[domain] == "r2" else "log_loss"):
            part = scores[scores.n == n]
            row = {"context rows": n, "metric": metric, "tables": part.table.nunique()}
            row |= {arm: f"{part[part.arm == arm].groupby('table')[metric].mean().mean():.4f}" for arm in ARMS}
            row["gain over base"] = gain_text(gains(scores, metric, "base", n))
            row["over prior only"] = gain_text(gains(scores, metric, "prior only", n))
            rows.append(row)
    return markdown(pd.DataFrame(rows))


def verdicts(folder: Path) -> str:
    """A line for each domain and number of context rows: is the main metric up over both others, and what it cost."""
    base = pd.read_csv(folder / "general-base.csv").set_index("dataset").auc
    rows = []
    for domain, names in scored(folder).items():
        scores = pd.concat([pd.read_csv(folder / f"{name}.csv") for name in names])
        general = [pd.read_csv(folder / f"general-{name}.csv").set_index("dataset").auc - base for name in names]
        for n in SIZES[domain]:
            over = [gains(scores, MAIN[domain], other, n) for other in ("base", "prior only")]
            shown = all(bootstrap_mean(gain)[1] > 0 for gain in over)
            row = {"domain": domain, "context rows": n, "metric": MAIN[domain]}
            row |= {"gain over base": gain_text(over[0]), "over prior only": gain_text(over[1])}
            row["shown"] = ("yes" if shown else "no") if len(names) == N_RUNS[domain] else (
                f"{len(names)} of {N_RUNS[domain]} folds are scored"
            )  # fmt: skip
            row["general AUC, points"] = f"{100 * pd.concat(general).mean():+.2f}"
            rows.append(row)
    return markdown(pd.DataFrame(rows))


def cost_table(folder: Path, names: list[str]) -> str:
    """A line for each run: what was chosen, what it did to other tables, how long it took."""
    base = pd.read_csv(folder / "general-base.csv").set_index("dataset").auc
    rows = []
    for name in names:
        facts = json.loads((folder / name / PROVENANCE).read_text())
        found = facts["finetuning"]
        change = (pd.read_csv(folder / f"general-{name}.csv").set_index("dataset").auc - base).dropna().to_numpy()
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
    return markdown(pd.DataFrame(rows))


def scored(folder: Path) -> dict[str, list[str]]:
    """Domain -> its runs of which FOLDER holds all scores."""
    found: dict[str, list[str]] = {}
    for domain in MAIN:
        names = sorted(file.stem for file in folder.glob(f"{domain}*.csv"))
        if names := [n for n in names if (folder / f"general-{n}.csv").is_file()]:
            found[domain] = names
    return found


def sections(folder: Path, level: str, conditions: str) -> list[str]:
    """All that FOLDER holds."""
    lines = []
    for domain, names in scored(folder).items():
        scores = pd.concat([pd.read_csv(folder / f"{name}.csv") for name in names])
        config = json.loads((folder / names[0] / PROVENANCE).read_text())["finetuning"]["config"]
        said = (
            f"Splits of a test table: {scores.seed.nunique()}. At most {config['steps']} steps, tasks of at most "
            f"{config['max_rows']} rows, replay {config['replay']:g}, L2-SP {config['l2_sp']:g}."
        )
        lines += [f"{level} {domain}: test tables", "", said, "", domain_table(domain, scores), ""]
    names = [name for names in scored(folder).values() for name in names]
    base = pd.read_csv(folder / "general-base.csv")
    text = f"General AUC: {len(base)} tables, change in points (hundredths of AUC); base {base.auc.mean():.4f}. "
    return lines + [f"{level} What it cost", "", f"{text}{conditions}", "", cost_table(folder, names), ""]


def report(options) -> str:
    domains = scored(options.out)
    wide = pd.read_csv(options.out / "general-base.csv").dataset
    lines = [
        f"# Fine-tuning on {len(domains)} domains",
        "",
        f"census: adults of California with an income (2019); a table is {GROUP_ROWS} people of an ancestry group, the "
        f"target is the income; of the {N_GROUPS} largest groups every other one trains, the others test. marriage: "
        f"the same people, the target is whether they are married. defects: software-defect tables of NASA "
        f"({', '.join(DEFECTS)}), two left out at a time. thyroid: six questions about the patients of one clinic "
        f"({', '.join(CONDITIONS)}: has the patient the condition?), two left out at a time; the six tables hold the "
        f"very same patients, so half of the patients are in training tables only, the other half in test tables "
        f"only. No part of training, choice of rate or early stopping sees a test table. *Prior only* took as many "
        f"steps at the same rate on tasks of the synthetic prior alone. Domains, folds, splits and metrics were fixed "
        f"before the scores were seen, but for census and the earlier run below (docstring of the script); every "
        f"domain that was scored is listed.",
        "",
        f"Base: {options.checkpoint} (weights {weights_of(options.checkpoint)}). Full fine-tuning; rate and step "
        f"chosen on tables held out from the training tables. Scores: means over the splits of a table, then over "
        f"tables; 4 members; as many query rows as are left, at most 1,000. Intervals: 95 %, paired bootstrap over "
        f"tables (with six tables somewhat too narrow); * excludes 0.",
        "",
        describe("torch", "lightning", "scikit-learn"),
        "",
        "## Is a gain shown?",
        "",
        "Yes where the intervals of the main metric's gain over the base and over the prior-only steps lie above zero.",
        "",
        verdicts(options.out),
        "",
        *sections(options.out, "##", f"Minutes: {options.conditions}."),
    ]
    for folder in options.earlier:
        said = (
            "Where one table was held out, rate and step rested on four of its tasks, not on twenty, and rows that "
            "stand in two defect tables were not dropped."
        )
        lines += ["## An earlier run, as it was", "", said, ""]
        lines += sections(folder, "###", f"Minutes: {options.conditions}.")
    lines += ["Tables of the general benchmark: " + ", ".join(wide) + ".", ""]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True, help="folder of the benchmark tables")
    parser.add_argument("--census", type=Path, required=True, help="acs_2019_CA.parquet")
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--max_rows", type=int, default=300)
    parser.add_argument("--general", type=int, default=24, help="tables of the general benchmark")
    parser.add_argument("--only", default="", help="runs, separated by commas: census, defects-0, ...")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--conditions", default="two cores", help="what else the machine did, for the report")
    parser.add_argument("--train_only", action="store_true", help="tune, say the minutes, score nothing")
    parser.add_argument("--out", type=Path, default=Path("runs/finetune"))
    parser.add_argument("--earlier", type=Path, nargs="*", default=[], help="folders of other settings to list")
    parser.add_argument("--report", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args(arguments)
    load_protocol(options.tables)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    wanted = options.only.split(",") if options.only else None
    if not options.train_only:
        score_general("base", options.checkpoint, options)
    for run in runs(options):
        name = run["run"]
        if wanted and name not in wanted:
            continue
        tuned = train(run, options)
        if options.train_only:
            facts = json.loads((tuned / PROVENANCE).read_text())
            print(f"{name}: {facts['wall_seconds'] / 60:.1f} minutes on {options.threads} threads", flush=True)
            continue
        score_domain(
            run, dict(zip(ARMS, (options.checkpoint, train_control(run, options), tuned), strict=True)), options
        )
        score_general(name, tuned, options)
        text = report(options)
        options.report.write_text(text, encoding="utf-8")
        print(text, flush=True)


if __name__ == "__main__":
    main()
