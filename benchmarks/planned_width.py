"""How often a planned interval turns out as narrow as it was planned, by default and with `chance=0.8`.

    python benchmarks/planned_width.py          # writes planned_width.md; 90 s

A first batch of labels is analysed, an interval of .7 of its width is planned, and a fresh table of the planned size is
drawn and analysed. The first batch and the fresh table both scatter, so both plans see the same draws.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd

from icl.inference import OLS, Estimand, Mean, infer, plan
from icl.pages.table import Row, Table

LEVEL, SHRUNK, N_ROWS = 0.9, 0.7, 3_000
CASES: tuple[tuple[Estimand, str, int], ...] = (
    (Mean("y"), "normal", 60), (Mean("y"), "normal", 200), (Mean("y"), "exponential", 60), (OLS("y ~ x"), "normal", 60),
    (OLS("y ~ x"), "normal", 200),
)  # fmt: skip
OUT = Path(__file__).with_suffix(".md")


def draw(n: int, N: int, noise: str, rng: np.random.Generator) -> pd.DataFrame:
    """n labeled and N unlabeled rows; predictions correlate at .95 with the outcome."""
    x, e, u = rng.normal(size=(3, n + N))
    if noise == "exponential":
        e = rng.exponential(size=n + N) - 1
    table = pd.DataFrame({"x": x, "y": 1 + x + e, "f": x + 0.8 * e + 0.5 * u})
    table.loc[n:, "y"] = np.nan
    return table


def width(estimand: Estimand, table: pd.DataFrame) -> float:
    """Of the last parameter."""
    return float(np.ptp(infer(estimand, table, predictions="f", level=LEVEL).interval().iloc[-1]))


def study(estimand: Estimand, noise: str, n: int, reps: int, seed: int) -> Row:
    """Share of repetitions that reach the width, and the chance that plans gave."""
    rng = np.random.default_rng([seed, n])
    reached: dict[float | None, list[bool]] = {None: [], 0.8: []}
    said = []
    for _ in range(reps):
        first = infer(estimand, draw(n, N_ROWS, noise, rng), predictions="f", level=LEVEL)
        wanted = SHRUNK * float(np.ptp(first.interval().iloc[-1]))
        for chance, hits in reached.items():
            planned = plan(first, wanted, term=first.estimate.index[-1], chance=chance)
            hits.append(width(estimand, draw(planned.n_labeled, planned.n_unlabeled, noise, rng)) <= wanted)
            said += [planned.chance] if chance is None else []
    rates = [f"{np.mean(hits):.2f}" for hits in reached.values()]
    return Row([str(estimand), noise, f"{n}", f"{np.mean(said):.2f}", *rates])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--reps", type=int, default=300)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    rows = [study(*case, given.reps, given.seed) for case in CASES]
    columns = ["estimand", "noise", "first labels", "chance said", "reached", "reached, chance=0.8"]
    error = np.sqrt(0.25 / given.reps)
    note = f"{given.reps} repetitions a row, seed {given.seed}; Monte Carlo error at most {error:.3f}."
    table = Table("", columns, rows, n_labels=2, note=note)
    head = "# Planned widths\n\nWritten by `python benchmarks/planned_width.py`; every number is measured.\n\n"
    OUT.write_text(head + table.to_markdown() + "\n", encoding="utf-8")
    print(table.to_text())


if __name__ == "__main__":
    main()
