"""What `icl.imputation_time` and `icl.generation_time` say beforehand, beside what the calls take.

    python -m benchmarks.joint_cost [--output benchmarks/joint_cost.md]

Simulated tables of numbers and levels, a fifth of the cells of every second column missing; an idle machine is needed.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

import icl
from benchmarks.machine import describe

# Rows, columns, and columns of levels among them.
IMPUTED = [(200, 8, 2), (1_000, 4, 0), (2_000, 6, 3), (1_000, 20, 5)]
# Rows of the table, columns, columns of levels, rows drawn.
GENERATED = [(200, 4, 1, 200), (1_000, 8, 2, 1_000), (1_000, 8, 2, 10_000), (500, 20, 6, 500)]


def simulated(n: int, width: int, n_levels: int, gaps: bool) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=n)
    numbers = pd.DataFrame({f"x{j}": shared + rng.normal(size=n) for j in range(width)})
    for j in range(n_levels):
        numbers[f"x{j}"] = pd.cut(numbers[f"x{j}"], 3 + j, labels=[f"level {k}" for k in range(3 + j)]).astype(object)
    if gaps:
        for j in range(0, width, 2):
            numbers.loc[rng.random(n) < 0.2, f"x{j}"] = None
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    lines = [
        "# Time of imputing and generating, beforehand and measured",
        "",
        f"`python -m benchmarks.joint_cost`. {describe('torch', 'scikit-learn')} Simulated tables; defaults, but for "
        "`m=5` and, where it says so, models without the network.",
        "",
        "| call | said | seconds | ratio |",
        "|---|--:|--:|--:|",
    ]

    def told(call: str, said, work) -> None:
        start = time.perf_counter()
        work()
        took = time.perf_counter() - start
        lines.append(f"| {call} | {said.seconds:.1f} | {took:.1f} | {took / said.seconds:.2f} |")
        print(lines[-1], flush=True)

    icl.impute(simulated(60, 3, 1, True), m=2)  # what is loaded and compiled first
    for n, width, n_levels in IMPUTED:
        table = simulated(n, width, n_levels, True)
        for budget in (4e6, 0) if (n, width) == (2_000, 6) else (4e6,):
            said = icl.imputation_time(table, 5, budget=budget)
            name = f"impute {n:,} x {width} ({n_levels} of levels)" + ("" if budget else ", simpler models")
            told(name, said, partial(icl.impute, table, 5, budget=budget))
    for n, width, n_levels, rows in GENERATED:
        table = simulated(n, width, n_levels, False)
        for model in ("network", "quick") if (n, rows) == (1_000, 10_000) else ("network",):
            said = icl.generation_time(table, rows, model=model)
            name = f"generate {rows:,} rows from {n:,} x {width} ({n_levels} of levels)"
            name += "" if model == "network" else ", simpler models"
            told(name, said, partial(icl.generate, table, rows, model=model))
    options.output.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
