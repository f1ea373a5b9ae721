"""Which ingredients of the prior matter: drop or shift one at a time, at an equal budget of tasks, on real tables.

    python -m benchmarks.ablation run --tables FOLDER --seeds 0,1
    python -m benchmarks.ablation report

`run` trains and scores what OUT lacks, one variant after the other, in one process of one thread; killed in the middle
it goes on with the run it was in. Variants and their names: `ingredients.py`. `report` writes benchmarks/ablation.md
from the variants that have all seeds. FOLDER: see `benchmarks/tables.py`.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.ablation.ingredients import INGREDIENTS
from benchmarks.ablation.report import report
from benchmarks.ablation.results import complete, run_all
from benchmarks.ablation.training import ROOT, choose_tables, read_recipe, score_variant, start_from, train_variant


def study(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    recipe = read_recipe(options.config, options.batch_cells, options.most_cells, options.rate_factor)
    start, tables = start_from(options.start), choose_tables(options.tables, options.max_cells)
    say = partial(print, flush=True)

    def measure(variant: str, seed: int) -> tuple[dict[str, Any], pd.DataFrame]:
        run = train_variant(variant, seed, recipe, start, options.budget_tasks, say)
        scores = score_variant(run, options.tables, tables)
        say(f"{variant} seed {seed}: log loss {scores.logloss.mean():.4f}, CRPS {scores.crps.mean():.4f}")
        facts = run.facts()
        kept = {"tasks": facts["tasks"], "steps": facts["steps"], "train_loss": facts["train_loss"]}
        return kept | {"cpu_s": round(facts["cpu_s"], 1)}, scores

    settings = ("start", "budget_tasks", "batch_cells", "most_cells", "rate_factor", "max_cells")
    run_all(options.out, {name: getattr(options, name) for name in settings}, options.variants, options.seeds, measure)


def whole_numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run, write = commands.add_parser("run"), commands.add_parser("report")
    for command in (run, write):
        command.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "ablation", help="folder of the scores")
    run.add_argument("--tables", type=Path, required=True, help="folder of real tables")
    run.add_argument("--variants", default=",".join(INGREDIENTS), help="names, by commas")
    run.add_argument("--seeds", default="0,1", help="by commas; of weights (from scratch) and tasks")
    run.add_argument("--start", default="nano", help="scratch, or the release that every variant goes on from")
    run.add_argument("--budget-tasks", type=int, default=400, help="tasks of each run")
    run.add_argument("--batch-cells", type=int, default=3_000, help="cells of a batch, of which a step has three")
    run.add_argument("--most-cells", type=int, default=1_500, help="cells of a training task")
    run.add_argument("--rate-factor", type=float, default=0.1, help="multiplies the rates of the configuration")
    run.add_argument("--max-cells", type=int, default=6_000, help="largest table that is scored")
    run.add_argument("--config", type=Path, default=ROOT / "configs" / "nano.yaml")
    write.add_argument("--seeds", help="by commas; default: those of the full mixture")
    write.add_argument("--page", type=Path, default=ROOT / "benchmarks" / "ablation.md")
    options = parser.parse_args(arguments)
    if options.command == "report":
        text = report(*complete(options.out, options.seeds and whole_numbers(options.seeds)))
        options.page.write_text(text, encoding="utf-8")
        print(text)
        return
    options.variants = options.variants.split(",")
    options.seeds = whole_numbers(options.seeds)
    if unknown := [name for name in options.variants if name not in INGREDIENTS]:
        parser.error(f"no variant {', '.join(unknown)}; there are {', '.join(INGREDIENTS)}.")
    study(options)


if __name__ == "__main__":
    main()
