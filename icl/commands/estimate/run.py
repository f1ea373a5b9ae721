"""The work of `icl estimate`: table from a file, estimand from a line of text, answer on screen or in a file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from icl.inference import Estimand, InferenceResult

WRITERS = (".json", ".csv", ".md", ".html")
PREDICTORS = ("icl", "rf", "none")


def read_table(path: str) -> pd.DataFrame:
    """The table in a file; ValueError or FileNotFoundError with advice if there is none."""
    from icl.tables.files import open_table

    frame = open_table(path).read()
    if not len(frame):
        raise ValueError(f"{path} has no rows.")
    return frame


def make_predictor(
    name: str, estimand: Estimand, table: pd.DataFrame, checkpoint: str | None, members: int, seed: int
) -> Any:
    """`icl`: our in-context model, `rf`: a random forest; classifiers where the outcome is a class."""
    from icl.inference import Logistic, Mean, Multinomial

    is_class = isinstance(estimand, (Logistic, Multinomial)) or (
        isinstance(estimand, Mean) and _is_binary(estimand, table)
    )
    if name == "none":
        return None
    if name == "icl":
        from icl import ICLClassifier, ICLRegressor

        return (ICLClassifier if is_class else ICLRegressor)(checkpoint, n_estimators=members, random_state=seed)
    if name != "rf":
        raise ValueError(f"predictor {name!r} is unknown; use {', '.join(PREDICTORS)}, or --predictions COLUMN.")
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    columns = make_column_transformer(
        (codes, make_column_selector(dtype_exclude=["number", "bool"])), remainder="passthrough"
    )
    forest = (RandomForestClassifier if is_class else RandomForestRegressor)(200, min_samples_leaf=3, random_state=seed)
    return make_pipeline(columns, forest)


def run_estimate(
    table: pd.DataFrame,
    unlabeled: pd.DataFrame | None,
    estimand: Estimand,
    *,
    predictor: Any,
    predictions: str | None,
    features: list[str] | None,
    weight: str,
    design: Any,
    folds: int,
    seed: int,
    level: float,
) -> InferenceResult:
    """`infer` with what the command was given."""
    from icl.inference import infer

    rows = {"table": table} if unlabeled is None else {"labeled": table, "unlabeled": unlabeled}
    with contextlib.suppress(ValueError):
        weight = float(weight)
    return infer(
        estimand,
        **rows,
        predictor=predictor,
        predictions=predictions,
        features=features,
        weight=weight,
        design=design,
        folds=folds,
        seed=seed,
        level=level,
    )


def write(result: InferenceResult, path: str) -> None:
    """The result as .json, .csv (broom's columns), .md or .html."""
    from icl.atomic import write_atomically
    from icl.pages import escape

    check_output(path)
    writers: dict[str, Callable[[], str]] = {
        ".json": lambda: json.dumps(result.to_dict(), indent=1) + "\n",
        ".csv": lambda: escape.csv(result.to_frame()),
        ".md": result.to_markdown,
        ".html": result.to_html,
    }
    write_atomically(Path(path), writers[Path(path).suffix.lower()]())


def check_output(path: str) -> None:
    """ValueError for a kind of file that cannot be written, FileNotFoundError for a folder that is not there."""
    if Path(path).suffix.lower() not in WRITERS:
        raise ValueError(f"output {path!r} is no {', '.join(WRITERS)} file; choose one of these endings.")
    if not Path(path).resolve().parent.is_dir():
        raise FileNotFoundError(f"the folder of output {path!r} does not exist; create it first.")


def _is_binary(estimand: Any, table: pd.DataFrame) -> bool:
    if estimand.event is not None:
        return True
    column = estimand.outcome_columns[0]
    return column in table.columns and set(table[column].dropna().unique().tolist()) <= {0, 1}
