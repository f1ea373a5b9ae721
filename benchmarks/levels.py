"""Seconds of fit and prediction by `quality`, beside the network alone and with ridge columns only, the default before.

    python benchmarks/levels.py [--checkpoint base] [--shapes 500x10x250,1000x20x1000] [--out benchmarks]

Writes OUT/levels.md. Two classes that trees, kernel and ridge can all see something of; one core, contenders in turn,
medians of CPU seconds, which other work on the machine disturbs less than those on the wall. What the qualities reach
on real tables stands in benchmarks/talent.md.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import make_classification

from benchmarks.compare import markdown
from benchmarks.machine import describe
from benchmarks.options import shared_parser
from benchmarks.tables import ours

CONTENDERS: dict[str, dict] = {
    "network alone, 4 members": {"n_estimators": 4, "companions": ()},
    "ridge columns, 4 members": {"n_estimators": 4, "companions": ("ridge",), "quality": "fast"},
    "fast": {"quality": "fast"},
    "default": {"quality": "default"},
    "best": {"quality": "best"},
}
RIDGE = "ridge columns, 4 members"
TURNS = 3


def measure(checkpoint: str, n_context: int, n_features: int, n_query: int) -> list[dict]:
    """A row for each contender."""
    n_informative = max(2, n_features // 3)
    X, y = make_classification(n_context + n_query, n_features, n_informative=n_informative, random_state=0)
    taken: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for turn in range(TURNS + 1):  # the first warms up
        for name, options in CONTENDERS.items():
            start = time.process_time()
            model = ours(checkpoint, **options)("clf").fit(X[:n_context], y[:n_context])
            model.predict_proba(X[n_context:])
            if turn:
                taken[name].append(time.process_time() - start)
    ridge = float(np.median(taken[RIDGE]))
    shape = f"{n_context:,} x {n_features}, {n_query:,} queries"
    medians = {name: float(np.median(seconds)) for name, seconds in taken.items()}
    return [{"shape": shape, "contender": k, "seconds": s, "of ridge's": s / ridge} for k, s in medians.items()]


def main(arguments: list[str] | None = None) -> None:
    parser = shared_parser(__doc__, "checkpoint", "out", checkpoint="base", out=Path("benchmarks"))
    parser.add_argument("--shapes", default="500x10x250,1000x20x1000", help="context x columns x queries, ...")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    shapes = [tuple(map(int, shape.split("x"))) for shape in options.shapes.split(",")]
    rows = [row for shape in shapes for row in measure(options.checkpoint, *shape)]
    lines = ["# Fit and prediction by `quality`", ""]
    lines += [f"{options.checkpoint}; one core, medians of {TURNS} turns, CPU seconds. `benchmarks/levels.py`"]
    lines += ["", describe("torch", "scikit-learn"), "", markdown(pd.DataFrame(rows))]
    text = "\n".join(lines) + "\n"
    (options.out / "levels.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
