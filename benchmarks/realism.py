"""How well a forest tells the default mixture from real tables, and by what; before and after a change.

    python benchmarks/realism.py --tables FOLDER --label "what changed"

FOLDER holds index.csv and the tables (see `python -m priors realism --help`). Writes benchmarks/realism.md and .png;
each run adds a line to the history at the end of realism.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from benchmarks.machine import describe
from priors.cli import build_prior
from priors.realism import compare
from priors.realism_report import draw_report, headline, write_report

HISTORY = "## History"


def history(file: Path) -> list[str]:
    """Lines that earlier runs left."""
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line for line in lines[lines.index(HISTORY) :] if line.startswith("| 2")] if HISTORY in lines else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--prior", default="mixture")
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--label", required=True, help="what this run measures; a line of the history")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    result = compare(lambda task: build_prior(options.prior, task, strict=False), options.tables, options.n,
                     options.seed, options.prior)  # fmt: skip
    seconds = time.perf_counter() - start
    line = f"| {datetime.date.today()} | {options.label} | {options.prior} | {options.n} | {headline(result)} |"
    lines = [
        write_report(result),
        f"![distributions of the meta-features]({options.out.with_suffix('.png').name})",
        "",
        f"{describe('torch', 'scikit-learn', 'numpy')}; one core, {seconds:.0f} s.",
        "",
        HISTORY,
        "",
        "| date | state | prior | tasks | AUC |",
        "|---|---|---|---|---|",
        *history(options.out),
        line,
    ]
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    draw_report(result).savefig(options.out.with_suffix(".png"), dpi=70)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
