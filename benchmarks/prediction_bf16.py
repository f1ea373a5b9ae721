"""A forward pass in float32 and in bf16 on this machine's CPU, side by side: seconds, and how far the scores move.

    python benchmarks/prediction_bf16.py [--checkpoint base] [--out benchmarks]

Writes OUT/prediction_bf16.md. One core; contenders in turn, medians of CPU seconds, which other work on the machine
disturbs less than those on the wall. bf16 became an option of prediction only if it gained 1.4 times at equal scores.
"""

from __future__ import annotations

import contextlib
import copy
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss

from benchmarks.compare import markdown
from benchmarks.machine import describe
from benchmarks.options import shared_parser
from icl.releases.folder import load_release

SHAPES = ((500, 10, 250), (1_000, 20, 1_000), (1_000, 50, 500))
TURNS = 5


def contenders(model) -> dict:
    """Name -> (model, context manager under which it runs)."""
    return {
        "float32": (model, contextlib.nullcontext),
        "autocast": (model, lambda: torch.autocast("cpu", torch.bfloat16)),
        "all in bf16": (copy.deepcopy(model).to(torch.bfloat16), contextlib.nullcontext),
    }


def measure(model, shape: tuple[int, int, int]) -> list[dict]:
    """A row for each contender: seconds, log loss on the query rows, largest distance of a probability from float32."""
    n_context, n_features, n_query = shape
    X, y = make_classification(
        n_context + n_query, n_features, n_informative=n_features // 2, flip_y=0.1, random_state=0
    )
    X_BRF, y_BN = torch.from_numpy(X[None]), torch.from_numpy(y[None, :n_context])
    flags = torch.zeros(1, n_features, dtype=torch.bool)
    seconds, probs = {}, {}
    entrants = contenders(model)
    for turn in range(TURNS + 1):  # the first warms up
        for name, (entrant, manager) in entrants.items():
            start = time.process_time()
            with torch.inference_mode(), manager():
                scores = entrant(X_BRF.to(entrant.dtype), y_BN, flags, torch.tensor([2]))
            if turn:
                seconds.setdefault(name, []).append(time.process_time() - start)
            probs[name] = torch.softmax(scores[0, :, :2].double(), -1).numpy()
    base = float(np.median(seconds["float32"]))
    return [
        {
            "context, columns, queries": " x ".join(f"{size:,}" for size in shape),
            "in": name,
            "seconds": float(np.median(taken)),
            "times as fast": base / float(np.median(taken)),
            "log loss": log_loss(y[n_context:], probs[name]),
            "furthest probability": float(np.abs(probs[name] - probs["float32"]).max()),
        }
        for name, taken in seconds.items()
    ]


def main(arguments: list[str] | None = None) -> None:
    parser = shared_parser(__doc__, "checkpoint", "out", checkpoint="base", out=Path("benchmarks"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = load_release(options.checkpoint, "cpu")
    rows = [row for shape in SHAPES for row in measure(model, shape)]
    units = "with" if torch.cpu._is_amx_tile_supported() else "without"
    lines = ["# Prediction in bf16 on a CPU", ""]
    lines += [f"{options.checkpoint}; one core, {units} bf16 matrix units; medians of {TURNS} turns, CPU seconds."]
    lines += [f"{describe('torch')}. Less than 1.4 times as fast: float32 stays, and no option was made of it."]
    lines += ["", markdown(pd.DataFrame(rows)), ""]
    text = "\n".join(lines) + "\n"
    (options.out / "prediction_bf16.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
