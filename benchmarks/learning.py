"""Scores on real tables against synthetic tasks seen: is a longer run worth it?

    python benchmarks/learning.py --tables FOLDER --out checkpoints/base RELEASE [RELEASE ...]

Every RELEASE is a folder with provenance.json (tasks_seen) and the results.csv that benchmarks/quality.py wrote there,
of one run at several steps. Only (table, seed) cells that all of them and the baselines answered count. Writes
OUT/results-learning.md and .png.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pandas as pd

from benchmarks import compare

SHOWN = ("linear", "rf", "lgbm", "catboost")


def read_snapshot(folder: Path) -> tuple[int, pd.DataFrame]:
    """Tasks seen and scores, the model named by them."""
    missing = [name for name in ("provenance.json", "results.csv") if not (folder / name).is_file()]
    if missing:
        sys.exit(f"{folder} lacks {' and '.join(missing)}; score it with benchmarks/quality.py --out {folder}.")
    seen = json.loads((folder / "provenance.json").read_text(encoding="utf-8")).get("tasks_seen")
    if not isinstance(seen, int):
        sys.exit(f"{folder / 'provenance.json'} does not say tasks_seen, a whole number.")
    return seen, pd.read_csv(folder / "results.csv").assign(model=f"{seen:,} tasks")


def curve(snapshots: dict[int, pd.DataFrame], baselines: pd.DataFrame, task: str, families: pd.Series) -> pd.DataFrame:
    """Average scores by model as in results.md: every snapshot, then the baselines that are shown."""
    own = [frame.model.iloc[0] for _, frame in sorted(snapshots.items())]
    scores = pd.concat([*snapshots.values(), baselines[baselines.model.isin(SHOWN)]])
    for name in own:  # cells that one snapshot lacks are left out for all
        scores = scores.merge(compare.cells_of(scores, name, task))
    table = compare.score_table(compare.common_cells(scores, own[-1], task), own[-1], task, families)
    return table.drop(columns="ours better on").reindex([*own, *(m for m in SHOWN if m in table.index)])


def main(arguments: list[str] | None = None) -> None:
    from matplotlib.figure import Figure

    from icl.pages.figures import plot_learning_curve

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="+", type=Path)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    snapshots = dict(map(read_snapshot, options.releases))
    if len(snapshots) < len(options.releases):
        sys.exit("two of the releases saw the same number of tasks; pass one run at several steps.")
    baselines = pd.read_csv(options.tables / "baselines.csv")
    families = pd.read_csv(options.tables / "index.csv").set_index("name").family
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    lines = ["# Scores on real tables against tasks seen", ""]
    for ax, (task, label) in zip(figure.subplots(1, 2), (("clf", "mean ROC AUC"), ("reg", "median R2"))):
        table = curve(snapshots, baselines, task, families)
        lines += [compare.markdown(table, "model"), ""]
        main_score = table.iloc[:, 0].to_numpy()
        others = dict(zip(table.index[len(snapshots) :], main_score[len(snapshots) :]))
        plot_learning_curve(sorted(snapshots), main_score[: len(snapshots)], others, ax, label)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results-learning.md").write_text("\n".join(lines), encoding="utf-8")
    figure.savefig(options.out / "results-learning.png", dpi=110)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
