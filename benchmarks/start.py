"""How long it takes to begin: commands, and imports beside those of torch and scikit-learn.

    python benchmarks/start.py [--repeats 9]

Each line is a process of its own, in turn with the others; medians. Writes benchmarks/start.md.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import describe

PYTHON = [sys.executable, "-c"]
REFERENCE = "import torch, sklearn.ensemble, pandas"
ICL = str(Path(sys.executable).with_name("icl"))
# Estimates from predictions in the file: nothing of torch may be loaded.
TABLE = "y,f,x\n" + "".join(f"{k % 7 if k % 3 else ''},{k % 5},{k % 11}\n" for k in range(60))
LINES = {
    "icl --help": [ICL, "--help"],
    "icl estimate, predictions in the file": [ICL, "estimate", "-", "--estimand", "mean: y", "--predictions", "f"],
    "import icl": [*PYTHON, "import icl"],
    "import icl.inference": [*PYTHON, "import icl.inference"],
    "from icl import ICLRegressor": [*PYTHON, "from icl import ICLRegressor"],
    REFERENCE: [*PYTHON, REFERENCE],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    took: dict[str, list[float]] = {name: [] for name in LINES}
    for _ in range(options.repeats + 1):  # the first fills the cache of files
        for name, command in LINES.items():
            start = time.perf_counter()
            done = subprocess.run(command, input=TABLE, capture_output=True, text=True)
            took[name].append(time.perf_counter() - start)
            if done.returncode:
                raise SystemExit(f"{name} failed: {done.stderr}")
    median = {name: statistics.median(seconds[1:]) for name, seconds in took.items()}
    for name, seconds in median.items():
        print(f"{seconds:5.2f}  {name}")
    lines = [
        "# How long it takes to begin",
        "",
        f"`python benchmarks/start.py`, medians of {options.repeats} processes each, in turn. {describe('torch')}.",
        "",
        "| | seconds | of the last line |",
        "|---|--:|--:|",
        *(f"| `{name}` | {seconds:.2f} | {seconds / median[REFERENCE]:.2f} |" for name, seconds in median.items()),
        "",
    ]
    Path(__file__).with_suffix(".md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
