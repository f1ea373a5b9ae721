"""Coverage and width of 90% intervals on the processes that once broke them, beside labels alone.

python benchmarks/attacks.py                                   # writes benchmarks/attacks.csv and .md
PYTHONPATH=/path/to/another/checkout python benchmarks/attacks.py --label before    # adds a column

Cases are seeded by name and repetition, so that two checkouts see the same rows. Work is done in pieces of repetitions,
each a line of the CSV; finished ones stay, `--minutes` stops after the piece that reaches it.
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
from attack_cases import Case, cases

from icl.inference import Statistic, infer
from icl.inference.results.intervals import bounds

LEVEL, PIECE = 0.90, 250


def run(case: Case, repetitions: range) -> dict[str, float]:
    """Sums over repetitions: of the share of terms covered by the default and by labels alone, of widths; refusals.

    A repetition that one of the two refuses is left out of both, and counted.
    """
    seed = zlib.crc32(f"{case.finding}/{case.name}/{case.n}".encode())
    covered, width, refused = [], [], 0
    for r in repetitions:
        try:
            result = infer(case.estimand, case.table([seed, r]), **case.options)
            solver = result._solver
            pair = [bounds(solver, answer, LEVEL) for answer in (result._answer, solver.under(0.0))]
        except ValueError:  # the sample has no event, no cluster with labels, ...
            refused += 1
            continue
        at = slice(None) if case.term is None else [list(result.estimate.index).index(case.term)]
        pair = [(lower[at], upper[at]) for lower, upper in pair]
        covered.append([np.mean((lower <= case.truth) & (case.truth <= upper)) for lower, upper in pair])
        wide = np.array([upper - lower for lower, upper in pair])
        width.append(wide[:, np.isfinite(wide).all(axis=0)].sum(axis=1))
    hits, widths = (np.array(part).reshape(-1, 2) for part in (covered, width))
    return {
        "refused": refused,
        "covered": hits[:, 0].sum(),
        "labels": hits[:, 1].sum(),
        "covered_squares": (hits[:, 0] ** 2).sum(),
        "labels_squares": (hits[:, 1] ** 2).sum(),
        "difference_squares": ((hits[:, 0] - hits[:, 1]) ** 2).sum(),
        "width": widths[:, 0].sum(),
        "labels_width": widths[:, 1].sum(),
    }


def _error(total: float, squares: float, n: float) -> float:
    return float(np.sqrt(max(squares / n - (total / n) ** 2, 0) / n))


def verdict(row: pd.Series) -> str:
    """Empty where the case holds what was promised: see the head of the report."""
    n, labels = row["answered"], row["labels"] / row["answered"]
    error = np.sqrt(LEVEL * (1 - LEVEL) / n)
    gap = (row["covered"] - row["labels"]) / n
    paired = _error(row["covered"] - row["labels"], row["difference_squares"], n)
    short = row["covered"] / n < LEVEL - 4 * error if labels >= LEVEL - 4 * error else gap < -2 * paired
    wide = row["width"] / row["labels_width"] > 1.05
    return " and ".join(word for word, is_it in (("short", short), ("wide", wide)) if is_it)


def report(pieces: pd.DataFrame) -> str:
    labels = list(dict.fromkeys(pieces["label"]))
    order = {(case.finding, case.name, case.n): i for i, case in enumerate(cases())}
    sums = pieces.groupby(["finding", "case", "n", "label"], sort=False).sum(numeric_only=True)
    sums["answered"] = sums["reps"] - sums["refused"]
    head = " | ".join(f"{x} | difference | width" for x in labels)
    lines = [
        "# What once broke the intervals",
        "",
        '90% intervals of the default (`weight="auto"`, unless the case names another) and of labels alone, on the',
        "same rows. +-: one Monte Carlo error. Difference: to labels alone, with its paired error. Width: mean, over",
        'that of labels alone. Last column, about the last of the versions: "short" where coverage lies more than 4',
        "errors below .90 although that of labels alone does not, or where theirs does and the difference is below -2",
        'errors; "wide" above 1.05. Cases called held out were written down before the estimators were measured on',
        "them. Before: commit 0a7b393. Written by `benchmarks/attacks.py`.",
        "",
        f"| finding | case | n | repetitions (refused) | labels alone | {head} | |",
        "|---|---|---|---|---|" + "---|---|---|" * len(labels) + "---|",
    ]
    keys = dict.fromkeys(key[:3] for key in sums.index)
    for key in sorted(keys, key=lambda key: order.get(key, len(order))):
        part = sums.xs(key, level=(0, 1, 2))
        counts, alone, cells, said = [], "", [], ""
        for x in labels:
            if x not in part.index:
                cells, said = [*cells, "", "", ""], "not run"
                continue
            row = part.loc[x]
            n = row["answered"]
            counts.append(f"{row['reps']:g}" + (f" ({row['refused']:g})" if row["refused"] else ""))
            alone = f"{row['labels'] / n:.3f}"
            gap, paired = (row["covered"] - row["labels"]), row["difference_squares"]
            cells += [
                f"{row['covered'] / n:.3f} +- {_error(row['covered'], row['covered_squares'], n):.3f}",
                f"{gap / n:+.3f} +- {_error(gap, paired, n):.3f}",
                f"{row['width'] / row['labels_width']:.2f}",
            ]
            said = verdict(row)
        size = key[2] or ""
        shown = [key[0], key[1], str(size), ", ".join(dict.fromkeys(counts)), alone, *cells, said]
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=2_000)
    parser.add_argument("--label", default="now", help="column: which code is measured")
    parser.add_argument("--only", default="", help="cases whose finding and name contain this")
    parser.add_argument("--minutes", type=float, default=np.inf, help="stop after the piece that reaches this")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(""), help="stem of .csv and .md")
    options = parser.parse_args()
    csv, start = options.output.with_suffix(".csv"), time.monotonic()
    rows = pd.read_csv(csv, dtype={"finding": str}).to_dict("records") if csv.is_file() else []
    done = {(row["label"], row["finding"], row["case"], row["n"], row["first"]) for row in rows}
    # Piece by piece over all cases, so that an early stop leaves every case with some repetitions.
    for first in range(0, options.reps, PIECE):
        for case in cases():
            if time.monotonic() - start > 60 * options.minutes:
                break
            key = {"label": options.label, "finding": case.finding, "case": case.name, "n": case.n, "first": first}
            if tuple(key.values()) in done or options.only not in f"{case.finding}: {case.name}":
                continue
            # The bootstrap takes twenty times as long.
            last = options.reps // 4 if isinstance(case.estimand, Statistic) else options.reps
            repetitions = range(first, min(first + PIECE, last))
            if not repetitions:
                continue
            rows.append(key | {"reps": len(repetitions)} | run(case, repetitions))
            pd.DataFrame(rows).round(6).to_csv(csv, index=False)
    options.output.with_suffix(".md").write_text(report(pd.DataFrame(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
