"""Everything that a release's numbers come from, in one run that can be interrupted and continued.

    python benchmarks/evaluate.py --tables FOLDER [--peer FILE] [--checkpoint nano] [--seeds 0] [--out checkpoints/nano]

Runs, in this order, and writes to OUT:

    quality        results.md, .csv                scores on real tables beside the baselines
    calibration    results-calibration.md, .png    PIT, coverage and reliability on the same tables
    small_tables   results-small.md                the tables cut to 50 and 200 context rows
    peer           results-peer.md                 beside TabPFN v2's stored answers; needs --peer
    oracle         results-oracle.md               nats to the exact posterior predictive

Cells that were scored before with the same weights are not scored again, unless --fresh is given. `--only` runs some.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.options import complete, shared_parser
from benchmarks.tables import load_protocol

STAGES = ("quality", "calibration", "small_tables", "peer", "oracle")


def stages(options) -> dict[str, list[str]]:
    """Arguments of each stage's `main`."""
    common = ["--checkpoint", options.checkpoint, "--out", str(options.out)]
    tables = [*common, "--tables", str(options.tables)]
    scored = [*tables, "--n_estimators", str(options.n_estimators)]
    scored += ["--jobs", str(options.jobs), "--limit", str(options.limit), *(["--fresh"] if options.fresh else [])]
    return {
        "quality": [*scored, "--seeds", options.seeds],
        "calibration": tables,
        "small_tables": scored,
        "peer": [*common, "--peer", str(options.peer)],
        "oracle": common,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = shared_parser(
        __doc__, "tables", "peer", "checkpoint", "n_estimators", "seeds", "limit", "jobs", "fresh", "out"
    )
    parser.add_argument("--only", default=",".join(STAGES), help="stages, separated by commas")
    options = complete(parser.parse_args(arguments))
    chosen = options.only.split(",")
    if unknown := sorted(set(chosen) - set(STAGES)):
        sys.exit(f"there is no stage {', '.join(unknown)}; choose from {', '.join(STAGES)}.")
    load_protocol(options.tables)  # a wrong folder fails now, not after the first stage
    if "peer" in chosen and options.peer is None:
        print("peer is left out: no --peer FILE was given.", flush=True)
        chosen.remove("peer")
    spent = {}
    for name, stage_arguments in stages(options).items():
        if name in chosen:
            print(f"== {name}", flush=True)
            start = time.monotonic()
            importlib.import_module(f"benchmarks.{name}").main(stage_arguments)
            spent[name] = time.monotonic() - start
    print("; ".join(f"{name} {seconds:.0f} s" for name, seconds in spent.items()))


if __name__ == "__main__":
    main()
