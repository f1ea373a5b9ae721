"""Coverage of a slope where events are few: Wald intervals and penalised likelihood, on the same labels.

python benchmarks/rare_events.py           # writes benchmarks/rare_events.md; finished pieces stay in the .csv
"""

from __future__ import annotations

import argparse
import os
import time
import zlib
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy

import numpy as np
import pandas as pd

from icl.inference import Logistic, Poisson, infer

LEVEL, PIECE = 0.95, 100
FAMILIES = {"logistic": Logistic, "Poisson": Poisson}
CELLS = [
    # family, labels, chance (or rate) at x = 0, slope
    ("logistic", 60, 0.05, 0.0),
    ("logistic", 200, 0.02, 0.0),
    ("logistic", 200, 0.02, 0.8),
    ("logistic", 100, 0.30, 0.8),
    ("Poisson", 30, 0.05, 0.0),
    ("Poisson", 60, 0.05, 0.0),
    ("Poisson", 60, 0.05, 0.8),
]
WAYS, KEY = ("ml", "firth"), ("family", "n", "base", "slope")


def draw(family: str, n: int, base: float, slope: float, rng: np.random.Generator) -> dict:
    x = rng.normal(size=n)
    if family == "Poisson":
        return {"x": x, "y": rng.poisson(base * np.exp(slope * x)) * 1.0}
    odds = base / (1 - base) * np.exp(slope * x)
    return {"x": x, "y": (rng.random(n) < odds / (1 + odds)) * 1.0}


def piece(cell: tuple, first: int) -> list[dict]:
    """For each way what became of `PIECE` repetitions: sums, one line each."""
    family, n, base, slope = cell
    seed, found = zlib.crc32(repr(cell).encode()), {way: [] for way in WAYS}
    samples = events = 0
    for r in range(first, first + PIECE):
        table = draw(*cell, np.random.default_rng([seed, r]))
        if not table["y"].any() or table["y"].all():
            continue
        samples, events = samples + 1, events + table["y"].sum()
        for way in WAYS:
            try:
                bounds = infer(FAMILIES[family]("y", ["x"], method=way), table, level=LEVEL).interval().loc["x"]
            except ValueError:  # separated: no finite coefficients
                continue
            found[way].append(
                [slope < bounds["lower"], slope > bounds["upper"], np.log(bounds["upper"] - bounds["lower"])]
            )
    lines = []
    for way in WAYS:
        below, above, width = np.array(found[way]).reshape(-1, 3).sum(axis=0)
        facts = {"first": first, "way": way, "samples": samples, "events": events, "answers": len(found[way])}
        sums = {"below": below, "above": above, "log_width": width}
        lines.append(dict(zip(KEY, cell, strict=True)) | facts | sums)
    return lines


def report(lines: pd.DataFrame) -> str:
    text = [
        "# Slopes from few events",
        "",
        f"Nominal {LEVEL:g}, two-sided, labels alone; repetitions without any event, which both ways refuse, are left",
        'out. "ml" is the default of `Logistic` and `Poisson` (sandwich HC3, t), "firth" is `method="firth"`',
        "(penalised likelihood, profile intervals). Below, above: the truth lies below or above the interval (nominal",
        ".025 each). +-: one Monte Carlo error. Width: geometric mean. No answer: share of samples that separate.",
        "Written by `benchmarks/rare_events.py`.",
        "",
        "| family | labels | at 0 | slope | events | way | answers | covered | below | above | width | no answer |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (*cell, way), part in lines.groupby([*KEY, "way"], sort=False):
        total = part.sum(numeric_only=True)
        m, low, high = total["answers"], total["below"] / total["answers"], total["above"] / total["answers"]
        covered = 1 - low - high
        cells = [
            *(f"{v:g}" if isinstance(v, (int, float)) else v for v in cell),
            f"{total['events'] / total['samples']:.1f}",
        ]
        cells += [way, f"{m:g}", f"{covered:.3f} +- {np.sqrt(covered * (1 - covered) / m):.3f}", f"{low:.3f}"]
        cells += [f"{high:.3f}", f"{np.exp(total['log_width'] / m):.2f}", f"{1 - m / total['samples']:.3f}"]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=1_000)
    parser.add_argument("--minutes", type=float, default=np.inf, help="stop after the piece that reaches this")
    options = parser.parse_args()
    stem, start = Path(__file__).with_suffix(""), time.monotonic()
    csv = stem.with_suffix(".csv")
    rows = pd.read_csv(csv).to_dict("records") if csv.is_file() else []
    done = {(*(row[name] for name in KEY), row["first"]) for row in rows}
    for first in range(0, options.reps, PIECE):
        for cell in CELLS:
            if (*cell, first) not in done and time.monotonic() - start < 60 * options.minutes:
                rows += piece(cell, first)
                pd.DataFrame(rows).round(4).to_csv(csv, index=False)
    stem.with_suffix(".md").write_text(report(pd.DataFrame(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
