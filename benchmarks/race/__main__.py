"""Race networks against each other at an equal budget of processor time, on real tables.

    python -m benchmarks.race --tables FOLDER --candidates alternating,column-row --budget-seconds 600
    python -m benchmarks.race --time --candidates alternating,column-row
    python -m benchmarks.race --report

Candidates named together train side by side in one process of one thread, each step going to the one that has used
least: all see the same tasks and the same load. Then each is scored on the real tables of FOLDER (layout: see
`benchmarks/tables.py`) and one line is appended to OUT/runs.csv. What has its line is skipped, an interrupted run goes
on, and a run with another budget goes on from where the decay of the first began, if it still can: 150, 300, 600 in
turn cost little more than 600.
`--time` measures predictions side by side, `--report` writes benchmarks/race.md. See `candidates.py` for the names.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch

from benchmarks.race.candidates import CANDIDATES
from benchmarks.race.report import report
from benchmarks.race.scoring import choose_tables, prediction_costs, score
from benchmarks.race.training import Recipe, Run, train, validate

ROOT = Path(__file__).parents[2]
RUNS, TABLES, TIMES = "runs.csv", "tables.csv", "times.csv"


def append(rows: pd.DataFrame, path: Path) -> None:
    """Append; columns are those of the file if there is one."""
    if path.exists():
        rows = rows.reindex(columns=pd.read_csv(path, nrows=0).columns)
    rows.to_csv(path, mode="a", header=not path.exists(), index=False)


def race(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    identity = {"seed": options.seed, "budget_s": options.budget_seconds, "batch_cells": options.batch_cells}
    finished, names = options.out / RUNS, options.candidates
    if finished.exists():
        done = pd.read_csv(finished)
        done = done[(done[list(identity)] == list(identity.values())).all(axis=1)]
        names = [name for name in names if name not in set(done.candidate)]
    if not names:
        print("all of these are finished already")
        return
    tables = choose_tables(options.tables, options.max_cells)
    recipe = Recipe.read(options.config, options.batch_cells)
    runs = [Run(name, CANDIDATES[name], recipe, options.seed) for name in names]
    states = options.out / f"states-{options.batch_cells}"
    states.mkdir(exist_ok=True)
    for run in runs:
        run.resume(states, options.budget_seconds)
    train(runs, options.budget_seconds, states, log=lambda line: print(line, flush=True))
    for run in runs:
        run.save(states, options.budget_seconds)  # scores can be made again
    for run in runs:
        line = {"candidate": run.name} | identity | run.facts() | validate(run.model, recipe)
        scores = score(run.model, run.name, options.tables, tables)
        scores = scores.rename(columns={"seed": "split", "model": "candidate"}).assign(**identity)
        append(scores, options.out / TABLES)
        append(pd.DataFrame([line]), finished)
        main = f"AUC {scores.auc.mean():.4f}, median R2 {scores.r2.median():.4f}"
        print(f"{run.name} seed {run.seed}: {line['tasks']} tasks, {main}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.race", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=Path, help="folder of real tables; needed to race and to report baselines")
    parser.add_argument("--candidates", "--candidate", default="alternating,column-row", help="names, by commas")
    parser.add_argument("--budget-seconds", type=float, default=600.0, help="processor seconds of each candidate")
    parser.add_argument("--seed", type=int, default=0, help="of initial weights and training tasks")
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "nano.yaml")
    parser.add_argument(
        "--batch-cells", type=int, default=1_500, help="cells of a batch; a short run learns more from small batches"
    )
    parser.add_argument("--max-cells", type=int, default=20_000, help="largest table that is scored; 0: all")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "race")
    parser.add_argument("--time", action="store_true", help="measure prediction times of the candidates")
    parser.add_argument("--report", action="store_true", help="write benchmarks/race.md")
    options = parser.parse_args()
    options.candidates = options.candidates.split(",")
    unknown = [name for name in options.candidates if name not in CANDIDATES]
    if unknown:
        parser.error(f"no candidate {', '.join(unknown)}; there are {', '.join(CANDIDATES)}.")
    options.out.mkdir(parents=True, exist_ok=True)
    if options.time:
        sizes = Recipe.read(options.config).sizes
        # Untrained: what a pass costs does not depend on the weights.
        models = {name: CANDIDATES[name].build(sizes).eval() for name in options.candidates}
        times = prediction_costs(models)
        times.to_csv(options.out / TIMES, index=False)
        print(times.pivot(index="candidate", columns="size", values="wall_s"))
    elif options.report:
        text = report(options.out / RUNS, options.out / TABLES, options.out / TIMES, options.tables)
        (options.out.parent / "race.md").write_text(text)
        print(text)
    elif options.tables is None:
        parser.error("--tables is missing: the folder of real tables that candidates are scored on.")
    else:
        race(options)


if __name__ == "__main__":
    main()
