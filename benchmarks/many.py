"""`icl.predict_many` beside a loop: 100 tables of 100 labelled rows, 20 rows to predict, 5 columns.

python benchmarks/many.py          # writes benchmarks/many.md
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
from machine import describe

import icl
from icl import ICLRegressor

HERE = Path(__file__).parent
REPEATS, N_TABLES = 3, 100


def tables() -> list:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(N_TABLES):
        X = rng.normal(size=(120, 5))
        y = X @ rng.normal(size=5) + 0.3 * rng.normal(size=120)
        made.append((X[:100], y[:100], X[100:]))
    return made


def timed(work) -> tuple[float, list]:
    started = time.process_time()
    answers = work()
    return time.process_time() - started, answers


def main() -> None:
    made = tables()
    lines = ["| estimator | a loop | predict_many | times faster | largest difference |", "|---|---|---|---|---|"]
    for model in (ICLRegressor(), ICLRegressor("nano"), ICLRegressor("nano", n_estimators=1, companions=())):
        icl.predict_many(made[:2], model)
        loop, together, gap = [], [], 0.0
        for _ in range(REPEATS):
            took, one = timed(lambda model=model: [model.fit(X, y).predict(new) for X, y, new in made])
            loop.append(took)
            took, all_ = timed(lambda model=model: icl.predict_many(made, model))
            together.append(took)
            gap = max(gap, *(float(np.abs(a - b).max()) for a, b in zip(one, all_)))
        a, b = statistics.median(loop), statistics.median(together)
        lines.append(f"| `{model}` | {a:.1f} s | {b:.1f} s | {a / b:.2f} | {gap:.1e} |")
    page = [
        "# Many tables at once",
        "",
        f"`python benchmarks/many.py`, on {describe('torch')}, one thread: seconds of CPU for {N_TABLES} tables",
        f"(100 labelled rows, 20 to predict, 5 columns), medians of {REPEATS}, side by side; the machine was shared.",
        "",
        *lines,
        "",
        "Passes are bound by arithmetic here: one table of 100 rows and four members fills them. What is saved is the",
        "cost of starting a pass. Not measured on a GPU.",
        "",
    ]
    (HERE / "many.md").write_text("\n".join(page), encoding="utf-8")


if __name__ == "__main__":
    main()
