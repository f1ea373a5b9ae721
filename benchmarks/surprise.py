"""Rows to predict that lack cells which the labelled rows have: the default before and with what fills them.

    python benchmarks/surprise.py --tables FOLDER [--datasets A,B] [--jobs 2]

Of each table at most 500 labelled rows and 500 to predict, seed 0; of the latter a share of the cells, drawn at
random, is missing. Companions are asked as the rows stand (before), and with gaps filled
(`icl.prediction.companions.surprise`); beside them the network alone, four members. Writes OUT/surprise.md and .csv.
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
from benchmarks.tables import in_parallel, load_protocol

SHARES = (0.0, 0.05, 0.1, 0.3, 0.6)
ROWS = 500
# Ten with classes and ten with numbers whose labelled rows have no gaps, of both halves (`talent.is_development`).
TABLES = (
    "vehicle,qsar-biodeg,segment,diabetes,kc1,car,mfeat-zernike,maternal_health_risk,splice,tic-tac-toe,"
    "airfoil,boston,elevators,parkinsons_updrs,cpu_act,wine_quality_red_reg,space_ga,bodyfat,abalone,house_8L"
)


def scores(options, name: str) -> list[dict]:
    """Log loss, or squared error as a share of the variance, of each contender at each share of gaps."""
    from icl import ICLClassifier, ICLRegressor
    from icl.prediction.companions.surprise import Surprise

    protocol = load_protocol(options.tables)
    record = pd.read_csv(options.tables / "index.csv").set_index("name").loc[name]
    X, y = protocol.load(record)
    is_class = record["task"] == "clf"
    y = np.unique(y.astype(str), return_inverse=True)[1] if is_class else y.to_numpy(float)
    known, new = protocol.split(y, record["task"], 0, ROWS, ROWS)
    shown = protocol.Prep("raw").fit(X.iloc[known])
    X_known, X_new, y_new = shown.transform(X.iloc[known]), shown.transform(X.iloc[new]), y[new]
    kind = ICLClassifier if is_class else ICLRegressor
    settings: dict[str, dict] = {"default": {}, "alone": {"companions": (), "n_estimators": 4}}
    models = {
        key: kind(options.checkpoint, random_state=0, **own).fit(X_known, y[known]) for key, own in settings.items()
    }

    def loss(model, rows) -> float:
        if not is_class:
            return float(np.mean((model.predict(rows) - y_new) ** 2) / y_new.var())
        probs = np.full((len(rows), int(y.max()) + 1), 1e-7)
        probs[:, model.classes_] = np.maximum(model.predict_proba(rows), 1e-7)
        return float(-np.log(probs / probs.sum(1, keepdims=True))[np.arange(len(rows)), y_new].mean())

    found = []
    for share in SHARES:
        gappy = X_new.mask(np.random.default_rng(1).random(X_new.shape) < share) if share else X_new
        row = {"dataset": name, "task": record["task"], "gaps": share, "alone": loss(models["alone"], gappy)}
        row["filled"] = loss(models["default"], gappy)
        answered = Surprise.answered
        try:
            Surprise.answered = lambda self, rows, ask, mean=None: ask(rows)
            row["before"] = loss(models["default"], gappy)
        finally:
            Surprise.answered = answered
        found.append(row)
        print(row, flush=True)
    return found


def report(frame: pd.DataFrame) -> str:
    lines = [
        "# New rows that lack cells which the labelled rows have",
        "",
        f"At most {ROWS} labelled rows, {ROWS} to predict, of which a share of the cells is missing at random; means "
        "over tables of the log loss, or of the squared error as a share of the variance. `before`: companions are "
        "asked as the rows stand; `filled`: with gaps filled, the default since; `alone`: the network without "
        "companions, four members. `benchmarks/surprise.py`",
        "",
        describe("torch", "scikit-learn", "numpy"),
        "",
    ]
    names = ["before", "filled", "alone"]
    for task, said in (("clf", "log loss"), ("reg", "squared error")):
        part = frame[frame.task == task]
        if part.empty:
            continue
        means = part.groupby("gaps")[names].mean().reset_index()
        means["filled worse than alone"] = (
            part.assign(worse=part.filled > part.alone).groupby("gaps").worse.mean().values
        )
        lines += [f"## {part.dataset.nunique()} tables, {said}", "", compare.markdown(means.round(3)), ""]
        single = part[part.gaps == 0.1].set_index("dataset")[names]
        lines += ["With a tenth of the cells missing:", "", compare.markdown(single.round(3).reset_index()), ""]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = shared_parser(
        __doc__, "tables", "checkpoint", "datasets", "jobs", checkpoint="base", datasets=TABLES, jobs=1
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args(arguments)
    # The switch to what was before is one for all: in processes of their own, not in threads.
    work = lambda name: scores(options, name)
    rows = [row for part in in_parallel(work, options.datasets.split(","), options.jobs, "processes") for row in part]
    frame = pd.DataFrame(rows).sort_values(["task", "dataset", "gaps"])
    frame.to_csv(options.out / "surprise.csv", index=False, float_format="%.5f")
    (options.out / "surprise.md").write_text(report(frame), encoding="utf-8")
    print(report(frame))


if __name__ == "__main__":
    main()
