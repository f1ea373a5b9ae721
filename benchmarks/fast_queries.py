"""What fast queries cost in accuracy: a release answered by its reader, beside the same release answered in full.

    python benchmarks/fast_queries.py --tables FOLDER [--checkpoint base] [--jobs 2] [--limit 20] [--fresh]

Scores the reader (`icl.network.reader`) on the tables and splits of benchmarks/quality.py, whose scores of CHECKPOINT
it compares with, and of nano where those are of as many members. One row a table goes to OUT/results-fast.csv as it is
done, so an interrupted run continues. Writes OUT/results-fast.md.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pandas as pd

from benchmarks import compare
from benchmarks.machine import describe
from benchmarks.options import SCORING, complete, shared_parser
from benchmarks.tables import TITLES, ResultFile, in_parallel, ours, read_index, score_cell, weights_of

ROOT = Path(__file__).parents[1]
MEMBERS = "auto"
BASELINES = ("catboost", "linear")
WORST = 8
"""Tables listed where the reader loses most."""


def score(options) -> pd.DataFrame:
    """Score what OUT lacks; returns every row of results-fast.csv."""
    from icl.releases.names import READER, resolve_checkpoint
    from icl.releases.reader_file import load_reader

    load_reader(options.checkpoint)  # says at once what is wrong with it
    digest = hashlib.sha256((resolve_checkpoint(options.checkpoint) / READER).read_bytes()).hexdigest()[:8]
    mark = {"weights": digest, "members": MEMBERS, "model": f"{options.whole}, fast"}
    results = ResultFile(options.out / "results-fast.csv", ["dataset", "seed"], mark, options.fresh)
    factory = ours(options.checkpoint, MEMBERS, fast_queries=True)

    def answer(record: dict) -> dict:
        row, _, _ = score_cell(options.tables, record, factory, "raw", 0)
        return {"dataset": row.pop("dataset"), "task": row.pop("task")} | row | mark

    records = read_index(options.tables, options.tiers, options.datasets, options.limit).to_dict("records")
    for row in in_parallel(answer, [r for r in records if (r["name"], 0) not in results], options.jobs):
        results.add(row)
        results.save()
        print(f"{row['dataset']:45s} {row.get('auc', row.get('r2', float('nan'))):.4f} {row['error']}", flush=True)
    return results.frame()


def _whole(folder: Path, checkpoint: str) -> pd.DataFrame:
    """Scores of a release answered in full, by benchmarks/quality.py."""
    scores = pd.read_csv(folder / "results.csv", dtype={"weights": str, "members": str})
    if set(scores.weights) != {weights_of(checkpoint)} or set(scores.members) != {MEMBERS}:
        raise SystemExit(f"{folder}/results.csv is of other weights or members: run benchmarks/quality.py first.")
    return scores


def report(fast: pd.DataFrame, options) -> str:
    own = fast.model.iloc[0]
    baselines = pd.read_csv(options.tables / "baselines.csv")
    beside = [_whole(options.out, options.checkpoint), baselines[baselines.model.isin(BASELINES)]]
    nano = pd.read_csv(ROOT / "checkpoints" / "nano" / "results.csv", dtype={"members": str})
    if options.whole != "icl-nano" and set(nano.members) == {MEMBERS}:
        beside.append(nano)
    scores = pd.concat([fast, *(b[b.seed == 0] for b in beside)])
    index = pd.read_csv(options.tables / "index.csv").set_index("name")
    lines = [
        f"# {own}: the reader against the whole network",
        "",
        "`python benchmarks/fast_queries.py`. Splits and metrics of `results.md`: at most 1,000 context and 1,000 "
        f"query rows, seed 0, members {MEMBERS}. Gains are positive where the reader is better, with the 95 % interval "
        "of a paired bootstrap over families of tables; * excludes 0. How much faster it is: benchmarks/speed.md.",
        "",
        describe("torch", "scikit-learn"),
        "",
    ]
    for task, title in TITLES.items():
        common = compare.common_cells(scores, own, task)
        if common.empty:
            continue
        families = index.family
        metric = compare.METRICS[task][0]
        gain = compare.by_table(common, metric, bound=True)
        gain = (gain[own] - gain[options.whole]).sort_values()
        lines += [f"## {title}: {common.dataset.nunique()} tables", ""]
        lines += [compare.markdown(compare.score_table(common, own, task, families), "model"), ""]
        lines += ["Mean gain of the reader:", ""]
        lines += [compare.markdown(compare.difference_table(common, own, task, families), "over"), ""]
        said = "; ".join(f"{name} {value:+.3f}" for name, value in gain.head(WORST).items())
        quantiles = ", ".join(f"{gain.quantile(q):+.4f}" for q in (0.1, 0.25, 0.5, 0.75, 0.9))
        lines += [f"Its {metric} less that of the network, quantiles .1, .25, .5, .75, .9 over tables: {quantiles}."]
        lines += [f"Most is lost on {said}.", ""]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    names = [name for name in SCORING if name not in ("name", "n_estimators", "seeds")]
    options = complete(shared_parser(__doc__, *names, checkpoint="base").parse_args(arguments))
    options.whole = f"icl-{Path(options.checkpoint).name}"
    text = report(score(options), options)
    (options.out / "results-fast.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
