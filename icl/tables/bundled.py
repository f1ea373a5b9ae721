"""The small real tables that scikit-learn carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def bundled_tables() -> dict[str, pd.DataFrame]:
    """Seven tables that scikit-learn carries, each with a column `target`: four of classes, three of amounts."""
    from sklearn import datasets

    frames = {name: getattr(datasets, f"load_{name}")(as_frame=True).frame for name in ("iris", "wine", "digits")}
    frames["breast_cancer"] = datasets.load_breast_cancer(as_frame=True).frame
    frames["diabetes"] = datasets.load_diabetes(as_frame=True).frame
    amounts = {"wine": "alcohol", "breast_cancer": "mean smoothness"}
    for name, column in amounts.items():
        frames[f"{name}_{column.split()[-1]}"] = frames[name].drop(columns="target").rename(columns={column: "target"})
    return frames
