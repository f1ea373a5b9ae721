"""Draw the training curve of a run.

    python benchmarks/curve.py runs/nano/log/version_*/metrics.csv --out checkpoints/nano

Joins the logs of a run that was resumed (later parts win where steps overlap) into OUT/curve.csv and draws
OUT/curve.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from icl.pages.figures import plot_training_curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    parts = [pd.read_csv(path) for path in options.logs]
    for k in range(len(parts) - 1):
        parts[k] = parts[k][parts[k].step < parts[k + 1].step.min()]
    log = pd.concat(parts, ignore_index=True)
    options.out.mkdir(parents=True, exist_ok=True)
    log.round(5).to_csv(options.out / "curve.csv", index=False)
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    plot_training_curve(log, axes)
    figure.savefig(options.out / "curve.png", dpi=110)


if __name__ == "__main__":
    main()
