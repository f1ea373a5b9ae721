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
KINDS = ("mean", "share", "median", "quantile", "ols", "logistic", "poisson", "multinomial")
PREDICTORS = ("icl", "rf", "none")
EXAMPLES = (
    "mean: income", "mean: income by region", "share: answer = yes", "median: income", "quantile: 0.9: income",
    "ols: income ~ age + C(sex)", "logistic: owns_home ~ age", "poisson: visits ~ age", "multinomial: party ~ age",
)  # fmt: skip


def read_table(path: str) -> pd.DataFrame:
    """The table in a file; ValueError or FileNotFoundError with advice if there is none."""
    from icl.tables.files import open_table

    frame = open_table(path).read()
    if not len(frame):
        raise ValueError(f"{path} has no rows.")
    return frame


def read_estimand(text: str, outcome: str | None, event: str | None, table: pd.DataFrame) -> Estimand:
    """What to estimate, from a line such as `ols: income ~ age + C(sex)` or `quantile: 0.9: income`.

    Args:
        text: kind, then what it needs; see EXAMPLES. Outcome and left side of a formula may be left to `outcome`.
        outcome: column of the outcome.
        event: value of the outcome that is counted, for shares and logistic regression.
        table: used to turn `event` into the type of its column.
    """
    from icl.inference import OLS, Logistic, Mean, Multinomial, Poisson, Quantile

    kind, _, rest = (part.strip() for part in text.partition(":"))
    kind = kind.lower()
    if kind not in KINDS:
        raise ValueError(f"estimand {text!r} starts with {kind!r}; known are {', '.join(KINDS)}. {_examples()}")
    if kind in ("ols", "logistic", "poisson", "multinomial"):
        left, tilde, right = (part.strip() for part in rest.partition("~"))
        if not tilde:
            left, right = "", rest
        left = _one_outcome(left, outcome, text)
        if not right:
            raise ValueError(
                f"estimand {text!r} has no covariates; write for instance '{kind}: {left} ~ age + C(sex)'."
            )
        formula = f"{left} ~ {right}"
        if kind == "logistic":
            return Logistic(formula, event=None if event is None else _typed(event, left, table))
        return {"ols": OLS, "poisson": Poisson, "multinomial": Multinomial}[kind](formula)
    if kind == "quantile":
        number, _, rest = (part.strip() for part in rest.partition(":"))
        try:
            q = float(number)
        except ValueError:
            raise ValueError(
                f"estimand {text!r} has no fraction; write for instance 'quantile: 0.9: income'."
            ) from None
        return Quantile(_one_outcome(rest, outcome, text), q)
    if kind == "median":
        return Quantile(_one_outcome(rest, outcome, text), 0.5)
    column, _, by = (part.strip() for part in f"{rest} ".partition(" by "))
    column, equals, value = (part.strip() for part in column.partition("="))
    event = value if equals else event
    column = _one_outcome(column, outcome, text)
    if kind == "share" and event is None:
        raise ValueError(f"estimand {text!r} does not say which value to count; write 'share: {column} = yes'.")
    return Mean(column, None if event is None else _typed(event, column, table), by or None)


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


def _one_outcome(found: str, outcome: str | None, text: str) -> str:
    if found and outcome and found != outcome:
        raise ValueError(f"estimand {text!r} is about {found!r}, but --outcome is {outcome!r}; leave one of them out.")
    if not found and not outcome:
        raise ValueError(f"estimand {text!r} names no outcome; add it there or with --outcome. {_examples()}")
    return found or str(outcome)


def _typed(event: str, column: str, table: pd.DataFrame) -> Any:
    """The value of `column` that `event` spells: 1 for "1" where the column holds numbers."""
    if column not in table.columns:
        return event
    for value in table[column].dropna().unique().tolist():
        if str(value) == event or (isinstance(value, float) and value.is_integer() and str(int(value)) == event):
            return value
    return event


def _is_binary(estimand: Any, table: pd.DataFrame) -> bool:
    if estimand.event is not None:
        return True
    column = estimand.outcome_columns[0]
    return column in table.columns and set(table[column].dropna().unique().tolist()) <= {0, 1}


def _examples() -> str:
    return "Examples: " + "; ".join(repr(e) for e in EXAMPLES) + "."
