"""Seconds of fit and prediction by `quality`, beside the network alone and the default of an earlier commit.

    git worktree add ../before 0d4dd31
    python benchmarks/levels.py [--checkpoint base] [--before ../before] [--shapes 500x10x250,1000x20x1000]
        [--out benchmarks]

Writes OUT/levels.md, anew after every shape. Two classes that trees, kernel and ridge can all see something of; one
core, contenders in turn, medians of CPU seconds, which other work on the machine disturbs less than those on the wall.
The default of the commit before answers in a process of its own, with its own weights. What the qualities reach on real
tables stands in benchmarks/talent.md.
"""

from __future__ import annotations

import os
import subprocess
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
    "network alone": {"companions": ()},
    "fast": {"quality": "fast"},
    "default": {"quality": "default"},
    "best": {"quality": "best"},
}
TURNS = 3

# Runs in the folder of the commit before, whose code knows nothing of this page: one line a shape in, seconds out.
_WORKER = """
import sys, time, warnings
import torch
from sklearn.datasets import make_classification
from icl import ICLClassifier
warnings.simplefilter("ignore")
torch.set_num_threads(1)
print("ready", flush=True)
for line in sys.stdin:
    n_context, n_features, n_query, n_informative = map(int, line.split())
    X, y = make_classification(n_context + n_query, n_features, n_informative=n_informative, random_state=0)
    start = time.process_time()
    ICLClassifier("base").fit(X[:n_context], y[:n_context]).predict_proba(X[n_context:])
    print(time.process_time() - start, flush=True)
"""


class Before:
    """The default of the commit that lies in `folder`, in a process of its own."""

    def __init__(self, folder: Path):
        environment = os.environ | {"PYTHONPATH": str(folder.resolve())}
        command = [sys.executable, "-c", _WORKER]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=folder, env=environment, stdin=pipe, stdout=pipe, text=True)
        if self._line() != "ready":
            raise SystemExit(f"{folder} could not start; its message is above.")

    def seconds(self, *shape: int) -> float:
        assert self._process.stdin is not None
        print(*shape, file=self._process.stdin, flush=True)
        return float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def measure(checkpoint: str, before: Before | None, n_context: int, n_features: int, n_query: int) -> list[dict]:
    """A row for each contender."""
    n_informative = max(2, n_features // 3)
    X, y = make_classification(n_context + n_query, n_features, n_informative=n_informative, random_state=0)
    names = ["before", *CONTENDERS] if before else [*CONTENDERS]
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(TURNS + 1):  # the first warms up
        for name in names:
            if name == "before":
                assert before is not None
                seconds = before.seconds(n_context, n_features, n_query, n_informative)
            else:
                start = time.process_time()
                model = ours(checkpoint, **CONTENDERS[name])("clf").fit(X[:n_context], y[:n_context])
                model.predict_proba(X[n_context:])
                seconds = time.process_time() - start
            if turn:
                taken[name].append(seconds)
    shape = f"{n_context:,} x {n_features}, {n_query:,} queries"
    medians = {name: float(np.median(seconds)) for name, seconds in taken.items()}
    reference = names[0]
    return [
        {"shape": shape, "contender": k, "seconds": s, f"of {reference}": s / medians[reference]}
        for k, s in medians.items()
    ]


def main(arguments: list[str] | None = None) -> None:
    parser = shared_parser(__doc__, "checkpoint", "out", checkpoint="base", out=Path("benchmarks"))
    parser.add_argument("--before", type=Path, help="folder of an earlier commit, whose default is the reference")
    parser.add_argument(
        "--shapes", default="500x10x250,1000x20x1000,1000x50x500,5000x20x1000", help="context x columns x queries, ..."
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    before = options.before and Before(options.before)
    shapes = [tuple(map(int, shape.split("x"))) for shape in options.shapes.split(",")]
    rows: list[dict] = []
    for shape in shapes:
        rows += measure(options.checkpoint, before, *shape)
        _write(rows, options)


def _write(rows: list[dict], options) -> None:
    lines = ["# Fit and prediction by `quality`", ""]
    lines += [f"{options.checkpoint}; one core, medians of {TURNS} turns, CPU seconds. `benchmarks/levels.py`"]
    if options.before:
        commit = subprocess.run(
            ["git", "log", "-1", "--format=%h, %cs, %s"], cwd=options.before, capture_output=True, text=True
        )
        lines[-1] += f"; before: the default of {commit.stdout.strip()}, with its weights"
    lines += ["", describe("torch", "scikit-learn"), "", markdown(pd.DataFrame(rows))]
    text = "\n".join(lines) + "\n"
    (options.out / "levels.md").write_text(text, encoding="utf-8")
    print(text, flush=True)


if __name__ == "__main__":
    main()
