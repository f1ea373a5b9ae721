"""Rows to predict that lack cells which the labelled rows have: companions as they are, with gaps filled, and doubt.

    python benchmarks/surprise.py --tables FOLDER [--datasets A,B] [--jobs 2]

Of each table at most 500 labelled rows and 500 to predict, seed 0; of the latter a share of the cells, drawn at
random, is missing. Companions are asked as the rows stand, with gaps filled (`icl.prediction.companions.surprise`),
and so with members told what gaps leave open (`icl.prediction.doubt`), the default; beside them the network alone,
four members. Writes OUT/surprise.md and .csv.
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd
import torch

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
    """Each score of each contender at each share of gaps."""
    from icl import ICLClassifier, ICLRegressor
    from icl.prediction.companions.surprise import Surprise
    from icl.prediction.doubt import Doubt

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

    def losses(model, rows) -> dict[str, float]:
        if not is_class:
            told, unit = model.predict_distribution(rows), y[known].std()
            true = torch.as_tensor(y_new)
            return {
                "squared error": float(np.mean((told.mean.numpy() - y_new) ** 2) / y_new.var()),
                "CRPS": float(told.crps(true).mean()) / unit,
                "NLL": float(np.log(unit) - told.log_prob(true).clamp_min(-50).mean()),
            }
        probs = np.full((len(rows), int(y.max()) + 1), 1e-7)
        probs[:, model.classes_] = np.maximum(model.predict_proba(rows), 1e-7)
        return {"log loss": float(-np.log(probs / probs.sum(1, keepdims=True))[np.arange(len(rows)), y_new].mean())}

    def as_they_stand(self, rows, ask, mean=None):
        return ask(rows)

    def no_doubt(self, members, voices, rows):
        return [*members, *(torch.from_numpy(self._said(voice, rows)[:, :-1]) for voice in voices)]

    found = []
    for share in SHARES:
        gappy = X_new.mask(np.random.default_rng(1).random(X_new.shape) < share) if share else X_new
        scored = {"default": losses(models["default"], gappy), "alone": losses(models["alone"], gappy)}
        with patch.object(Surprise, "answered", as_they_stand):
            scored["as they stand"] = losses(models["default"], gappy)
        with patch.object(Doubt, "heard", no_doubt):
            scored["filled"] = losses(models["default"], gappy)
        for score in scored["default"]:
            row = {"dataset": name, "score": score, "gaps": share}
            found.append(row | {contender: own[score] for contender, own in scored.items()})
            print(found[-1], flush=True)
    return found


def report(frame: pd.DataFrame) -> str:
    lines = [
        "# New rows that lack cells which the labelled rows have",
        "",
        f"At most {ROWS} labelled rows, {ROWS} to predict, of which a share of the cells is missing at random; means "
        "over tables, of numbers in units of the target's standard deviation. `as they stand`: companions are asked as "
        "the rows are; `filled`: with gaps filled; `default`: and members are told what gaps leave open; `alone`: the "
        "network without companions, four members; `worse`: tables on which the default has more than alone. "
        "`benchmarks/surprise.py`",
        "",
        describe("torch", "scikit-learn", "numpy"),
        "",
    ]
    names = ["as they stand", "filled", "default", "alone"]
    for score in ("log loss", "squared error", "CRPS", "NLL"):
        part = frame[frame.score == score]
        if part.empty:
            continue
        means = part.groupby("gaps")[names].mean().round(3).reset_index()
        worse = part.assign(worse=part.default > part.alone).groupby("gaps").worse.mean()
        means["worse"] = [f"{share:.0%}" for share in worse]
        lines += [f"## {part.dataset.nunique()} tables, {score}", "", compare.markdown(means), ""]
        if score in ("log loss", "squared error"):
            single = part[part.gaps == 0.3].set_index("dataset")[names]
            lines += [
                "With three tenths of the cells missing:",
                "",
                compare.markdown(single.round(3).reset_index()),
                "",
            ]
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
    frame = pd.DataFrame(rows).sort_values(["score", "dataset", "gaps"])
    frame.to_csv(options.out / "surprise.csv", index=False, float_format="%.5f")
    (options.out / "surprise.md").write_text(report(frame), encoding="utf-8")
    print(report(frame))


if __name__ == "__main__":
    main()
