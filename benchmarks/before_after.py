"""Two runs of benchmarks/quality.py over the tables that both scored, side by side: what a change of the default did.

    python benchmarks/before_after.py --tables FOLDER --before checkpoints/base/results.csv --after DIR/results.csv

Writes OUT/PAGE: means (medians where it says so) over tables, for the half that choices were made on and the other
half (as in benchmarks/talent.py), for few rows, and the tables that gain and lose most.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pandas as pd

from benchmarks.compare import markdown
from benchmarks.options import shared_parser
from benchmarks.talent import is_development

SHOWN = {"clf": ["auc", "acc", "logloss", "brier"], "reg": ["r2", "crps", "nll"]}
MAIN = {"clf": "logloss", "reg": "crps"}
FEW = 250


def summary(both: pd.DataFrame, task: str) -> pd.DataFrame:
    """A row for each group of tables: how many, and each score before and after."""
    part = both[both.task_before == task]
    groups = {
        "all": part.index == part.index,
        "development half": part.development,
        "the other half": ~part.development,
        f"fewer than {FEW} rows": part.n_train_before < FEW,
    }
    rows = []
    for name, chosen in groups.items():
        own = part[chosen]
        row: dict = {"tables": name, "number": len(own)}
        for score in SHOWN[task]:
            least = 0.0 if score == "r2" else None
            row |= {f"{score} {when}": own[f"{score}_{when}"].clip(lower=least).mean() for when in ("before", "after")}
        if task == "reg":
            row |= {f"median r2 {when}": own[f"r2_{when}"].median() for when in ("before", "after")}
        rows.append(row)
    return pd.DataFrame(rows)


def single(both: pd.DataFrame, task: str, n: int = 10) -> pd.DataFrame:
    """The tables whose main score fell and rose most."""
    main = MAIN[task]
    names = ["auc", "logloss"] if task == "clf" else ["r2", "crps"]
    part = both[both.task_before == task].copy()
    part["change"] = part[f"{main}_after"] - part[f"{main}_before"]
    part = part.sort_values("change")
    shown = pd.concat([part.head(n), part.tail(n)]).drop_duplicates("dataset")
    columns = [f"{name}_{when}" for name in names for when in ("before", "after")]
    return shown[["dataset", "n_train_before", *columns, "change"]].rename(columns={"n_train_before": "rows"})


def main(arguments: list[str] | None = None) -> None:
    parser = shared_parser(__doc__, "tables", "out", out=Path("benchmarks"))
    parser.add_argument("--before", type=Path, required=True, help="results.csv of quality.py")
    parser.add_argument("--after", type=Path, required=True, help="the same of the new default")
    parser.add_argument("--title", default="The default before and with the blend")
    parser.add_argument("--page", default="blend.md", help="what to write in OUT")
    options = parser.parse_args(arguments)
    frames = [pd.read_csv(path, dtype={"members": str}) for path in (options.before, options.after)]
    both = frames[0].merge(frames[1], on=["dataset", "seed"], suffixes=("_before", "_after"))
    family = pd.read_csv(options.tables / "index.csv").set_index("name").family
    both["development"] = [is_development(family[name]) for name in both.dataset]
    lines = [f"# {options.title}", ""]
    lines += [
        f"`{options.before}` and `{options.after}`: {len(both)} tables that both scored, seed 0, each table once."
    ]
    lines += ["An R2 counts as at least 0. NLL: the mass of an atom is spread over its bin, as others spread theirs."]
    for task, title in {"clf": "Classification", "reg": "Regression"}.items():
        if not (both.task_before == task).any():
            continue
        lines += ["", f"## {title}", "", markdown(summary(both, task)), ""]
        lines += [f"Tables whose {MAIN[task]} fell and rose most:", "", markdown(single(both, task))]
    text = "\n".join(lines) + "\n"
    (options.out / options.page).write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
