"""Coverage of intervals at .90 and .95, their width, bias and seconds, case by case.

python -m benchmarks.estimands                     # whatever is not done yet: benchmarks/estimands.csv and .md
python -m benchmarks.estimands --only effect --minutes 9

Finished cases stay in the CSV. Repetition r of a case draws from the seed (name of the case, r), so that two checkouts
see the same rows. Peers (DoubleML, EconML, lifelines) run where they are installed, on the very same rows.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
import zlib
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy

import numpy as np
import pandas as pd

from benchmarks.estimands import CASES
from benchmarks.estimands.case import Case

HERE = Path(__file__).parents[1] / "estimands.csv"
LEVELS = (0.90, 0.95)


def run(case: Case, n_reps: int, stop: float) -> pd.DataFrame | None:
    """One row for each method; None if the time is over before the last repetition, which then waits in a file."""
    beside = HERE.with_name(f"estimands.{zlib.crc32(case.name.encode())}.part")
    rows = pd.read_csv(beside).to_dict("records") if beside.exists() else []
    for r in range(max((row["r"] for row in rows), default=-1) + 1, n_reps):
        if time.monotonic() > stop:
            pd.DataFrame(rows).to_csv(beside, index=False)
            return None
        rng = np.random.default_rng([zlib.crc32(case.name.encode()), r])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows += [{"method": name, "r": r, **values} for name, values in case.draw(rng).items()]
    pd.DataFrame(rows).to_csv(beside, index=False)
    frame = pd.DataFrame(rows)
    out = []
    for method, part in frame.groupby("method", sort=False):
        told = part.dropna(subset=["estimate"])
        error = told["estimate"] - told["truth"]
        line = {
            "group": case.group,
            "case": case.name,
            "method": method,
            "n_reps": len(part),
            "refused": len(part) - len(told),
        }
        for level in LEVELS:
            low, high = told[f"low{level:g}"], told[f"high{level:g}"]
            line[f"cover{level:g}"] = ((low <= told["truth"]) & (told["truth"] <= high)).mean()
        line |= {
            "width90": (told["high0.9"] - told["low0.9"]).mean(), "bias": error.mean(), "sd": error.std(),
            "seconds": told["seconds"].median() if "seconds" in told else np.nan,
        }  # fmt: skip
        out.append(line)
    return pd.DataFrame(out)


def report(table: pd.DataFrame) -> str:
    lines = [
        "# Estimands beyond means and regressions: coverage and width", "",
        "Two-sided coverage of 90% and 95% intervals over `reps` seeded repetitions (one Monte Carlo error of .90: "
        ".0095 at 1,000, .021 at 200, .030 at 100), mean width at .90, bias and deviation of the estimate, median "
        "seconds of one analysis. `refused`: repetitions that were answered with an error instead of an interval. "
        "Written by `python -m benchmarks.estimands`, which takes cases with fewer repetitions than they ask for "
        "further.",
    ]  # fmt: skip
    for group, part in table.groupby("group", sort=False):
        lines += ["", f"## {group}", "", "| case | method | reps | refused | .90 | .95 | width | bias | sd | seconds |"]
        lines.append("|---|---|---|---|---|---|---|---|---|---|")
        for row in part.itertuples():
            told = row.n_reps - row.refused
            c90, c95 = (f"{v:.3f}" if told else "" for v in (row.cover90, row.cover95))
            rest = [f"{v:.3g}" if np.isfinite(v) else "" for v in (row.width90, row.bias, row.sd, row.seconds)]
            cells = [row.case, row.method, row.n_reps, row.refused or "", c90, c95, *rest]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", default="", help="cases whose group or name holds one of these, separated by semicolons"
    )
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--reps", type=int, default=10**9, help="at most so many; a later run with more adds to them")
    parser.add_argument("--again", action="store_true", help="run finished cases again")
    arguments = parser.parse_args()
    stop = time.monotonic() + 60 * arguments.minutes
    for case in CASES:
        if not any(part.strip() in f"{case.group}: {case.name}" for part in arguments.only.split(";")):
            continue
        done = pd.read_csv(HERE) if HERE.exists() else pd.DataFrame(columns=["case", "n_reps"])
        n_reps = min(case.n_reps, arguments.reps)
        if (done.loc[done["case"] == case.name, "n_reps"] >= n_reps).any() and not arguments.again:
            continue
        found = run(case, n_reps, stop)
        if found is None:
            print(f"time is over at {case.name}")
            break
        print(found.round(4).to_string(index=False), flush=True)
        found = found.rename(columns={"cover0.9": "cover90", "cover0.95": "cover95"})
        done = pd.read_csv(HERE) if HERE.exists() else done  # another process may have added cases
        table = pd.concat([done[done["case"] != case.name], found], ignore_index=True)
        order = {c.name: i for i, c in enumerate(CASES)}
        table = table.sort_values("case", key=lambda names: names.map(order), kind="stable")
        table.to_csv(HERE, index=False, float_format="%.6g")
        HERE.with_suffix(".md").write_text(report(table))


if __name__ == "__main__":
    main()
