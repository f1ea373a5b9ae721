"""Each companion by itself on the tables of benchmarks/quality.py, beside the default's scores on the same splits.

    python benchmarks/each_companion.py --tables FOLDER [--scores checkpoints/base/results.csv]

A companion sees the context as the estimators show it; probabilities and numbers are its own, without the network.
Rows are scored as they are done, so an interrupted run continues. Writes benchmarks/each_companion.csv and .md.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd

from benchmarks import compare
from benchmarks.machine import describe
from benchmarks.options import shared_parser
from benchmarks.tables import TITLES, ResultFile, read_index, score_cell
from icl.prediction.companions.columns import KINDS
from icl.prediction.companions.protocol import Labelled
from icl.tables.encoder import TableEncoder

NAMES = ("kernel", "trees", "boosting")


class Alone:
    """What the protocol asks of an estimator."""

    def __init__(self, name: str, task: str):
        self.name, self.task = name, task

    def fit(self, X, y) -> Alone:
        self.encoder = TableEncoder("benchmark").fit(X)
        cells_NF = self.encoder.transform(X)
        if self.task == "clf":
            self.classes_, codes = np.unique(y, return_inverse=True)
            self.labelled = Labelled(cells_NF, self.encoder.n_levels_, codes, len(self.classes_))
        else:
            self.loc, self.scale = float(np.mean(y)), float(np.std(y)) or 1.0
            self.labelled = Labelled(cells_NF, self.encoder.n_levels_, (y - self.loc) / self.scale, None)
        self.fitted = KINDS[self.name].fit(self.labelled, 0, False)
        return self

    def predict_proba(self, X) -> np.ndarray:
        shares_MT = self.labelled.shares(self.fitted(self.encoder.transform(X)))
        if shares_MT.shape[1] == 1:
            return np.concatenate([1 - shares_MT, shares_MT], 1)
        return np.maximum(shares_MT, 1e-6) / np.maximum(shares_MT, 1e-6).sum(1, keepdims=True)

    def predict(self, X) -> np.ndarray:
        return self.fitted(self.encoder.transform(X))[:, 0] * self.scale + self.loc


def score(options, own: pd.DataFrame) -> pd.DataFrame:
    index = read_index(options.tables, options.tiers)
    results = ResultFile(options.out / "each_companion.csv", ["dataset", "model", "seed"], {}, options.fresh)
    known = set(own.dataset)
    for record in index.to_dict("records"):
        for name in NAMES:
            if record["name"] not in known or (record["name"], name, 0) in results:
                continue
            row, _, _ = score_cell(options.tables, record, lambda task, name=name: Alone(name, task), "raw", 0)
            results.add({"dataset": row.pop("dataset"), "task": row.pop("task"), "model": name} | row)
            results.save()
    return results.frame()


def report(own: pd.DataFrame, theirs: pd.DataFrame, options) -> str:
    index = pd.read_csv(options.tables / "index.csv").set_index("name")
    us = own.model.iloc[0]
    lines = ["# The default beside each of its companions", ""]
    lines += ["Splits, scores and groups as in `checkpoints/base/results.md`, seed 0; gains are ours over theirs,"]
    lines += [f"positive where ours is better, with 95 % intervals over families. {describe('torch', 'scikit-learn')}"]
    for task, title in TITLES.items():
        scores = compare.common_cells(pd.concat([own, theirs]), us, task)
        lines += ["", f"## {title}: {scores.dataset.nunique()} tables", ""]
        lines += [compare.markdown(compare.score_table(scores, us, task, index.family), "model"), ""]
        lines += ["Mean gain of ours:", ""]
        lines += [compare.markdown(compare.difference_table(scores, us, task, index.family), "over"), ""]
        lines += ["By kind of table, ± one standard error:", ""]
        lines += [compare.markdown(compare.group_table(scores, us, task, index, list(NAMES))), ""]
        lines += ["The ten tables furthest behind the best of the three:", ""]
        lines += [compare.markdown(compare.largest_losses(scores, us, task, index))]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = shared_parser(__doc__, "tables", "tiers", "fresh")
    here = Path(__file__).parent
    parser.add_argument("--scores", type=Path, default=here.parent / "checkpoints" / "base" / "results.csv")
    parser.add_argument("--out", type=Path, default=here, help="folder of the two files")
    options = parser.parse_args(arguments)
    own = pd.read_csv(options.scores)
    own = own[own.seed == 0]
    text = report(own, score(options, own), options)
    (options.out / "each_companion.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
