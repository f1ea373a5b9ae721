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

from benchmarks.finetune_domains import SIZES, SPLITS, runs
from benchmarks.finetune_report import ARMS, report
from benchmarks.tables import ResultFile, load_protocol, ours, read_index, score_cell
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
    for run in runs(options.census, options.tables):
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
