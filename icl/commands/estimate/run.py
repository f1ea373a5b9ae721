"""The work of `icl estimate`: table from a file, estimand from a line of text, answer on screen or in a file."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable, Collection
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icl.commands.console import status
from icl.commands.options import ModelOptions, as_options
from icl.commands.outputs import check_output, write_output
from icl.tables.reading import read_names, read_words

if TYPE_CHECKING:
    import pandas as pd

    from icl.commands.estimate.request import Request
    from icl.inference import Estimand, InferenceResult
    from icl.tables.reader import ReadTable
    from icl.tables.reading import Reading

WRITERS = (".json", ".csv", ".md", ".html")
_DISPARITY = "disparity: equal opportunity: approved by sex, outcome=repaid"
PREDICTORS = ("icl", "rf", "none")


def read_rows(path: str, unlabeled: str | None, reading: Reading) -> tuple[ReadTable, pd.DataFrame | None]:
    """The table in a file, and the unlabeled rows in another, read alike."""
    from icl.tables.files import open_table
    from icl.tables.reader import read_file

    table, rest = read_file(open_table(path, reading)), None
    if not len(table.frame):
        raise ValueError(f"{path} has no rows.")
    if unlabeled is not None:
        [rest] = table.chunks_of(open_table(unlabeled, reading), None, table.frame.columns)
        if not len(rest):
            raise ValueError(f"{unlabeled} has no rows.")
    return table, rest


def without_names(
    table: pd.DataFrame, rest: pd.DataFrame | None, estimand: Estimand, named: Collection[str | None]
) -> tuple[pd.DataFrame, pd.DataFrame | None, list[str]]:
    """Both tables without the columns that only name rows or hold free text, unless the command names them; and why."""
    from icl.tables.roles import why_unused

    used = {*named, *estimand.outcome_columns, *estimand.covariate_columns}
    found = {name: why for name in table if name not in used and (why := why_unused(table[name]))}
    said = [f"column {name} is not used: {why}" for name, why in found.items()]
    return (
        table.drop(columns=list(found)),
        None if rest is None else rest.drop(columns=list(found), errors="ignore"),
        said,
    )


def make_predictor(name: str, estimand: Estimand, table: pd.DataFrame, options: ModelOptions) -> Any:
    """`icl`: our in-context model, `rf`: a random forest; classifiers where the outcome is a class. Of several names,
    separated by commas, a list."""
    if len(names := read_words(name)) > 1:
        if "none" in names:
            raise ValueError(f"predictor {name!r} names none beside others; say none alone, or leave it out.")
        return [make_predictor(one, estimand, table, options) for one in names]
    from icl.inference import Logistic, Mean, Multinomial, Shares

    is_class = isinstance(estimand, (Logistic, Multinomial, Shares)) or (
        isinstance(estimand, Mean) and _is_binary(estimand, table)
    )
    if name == "none":
        return None
    if name == "icl":
        from icl import ICLClassifier, ICLRegressor

        return (ICLClassifier if is_class else ICLRegressor)(**options.estimator())
    if name != "rf":
        raise ValueError(f"predictor {name!r} is unknown; use {', '.join(PREDICTORS)}, or --predictions COLUMN.")
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    dates = ["datetime", "datetimetz"]
    columns = make_column_transformer(
        (FunctionTransformer(_days, feature_names_out="one-to-one"), make_column_selector(dtype_include=dates)),
        (codes, make_column_selector(dtype_exclude=["number", "bool", *dates])),
        remainder="passthrough",
    )
    forest = (RandomForestClassifier if is_class else RandomForestRegressor)(
        200, min_samples_leaf=3, random_state=options.seed
    )
    return make_pipeline(columns, forest)


def run_estimate(path: str, request: Request, console: Any) -> InferenceResult:
    """The answer to what is asked about the table in a file, shown and written.

    Raises:
        ValueError, OSError: for what cannot be read, used or written, found before the work begins where possible.
    """
    from icl.inference import Design, Transport, infer
    from icl.inference.estimands.reading import read_estimand
    from icl.pages.escape import terminal

    for output in request.output:
        check_kind(output)
        check_output("--output", output, (path, request.unlabeled, request.checkpoint))
    read, rest = read_rows(path, request.unlabeled, request)
    table = read.frame
    features, predictions = (read_names(n, table.columns) for n in (request.features, request.predictions))
    request = replace(request, features=features, predictions=predictions)
    estimand = read_estimand(request.estimand, request.outcome, request.event, table)
    notes = [*read.notes, *(note for name in estimand.outcome_columns for note in read.notes_on(str(name)))]
    design = Design(
        probability=request.probability, strata=request.strata, clusters=request.clusters, weights=request.row_weights
    )
    if request.shift != "none":
        own = {field.name: getattr(design, field.name) for field in fields(design)}
        design = Transport(**own, shift=request.shift)
    table, rest, unused = without_names(table, rest, estimand, request.named_columns)
    predictor = None if request.predictions else make_predictor(request.predictor, estimand, table, request)
    # One name is one column; a list of them is several predictions, or classes.
    predicted: Any = [*request.predictions] or None
    if len(request.predictions) == 1:
        predicted = request.predictions[0]
    weight: float | str = request.weight
    with contextlib.suppress(ValueError):
        weight = float(weight)
    rows: dict[str, Any] = {"table": table} if rest is None else {"labeled": table, "unlabeled": rest}
    if request.missing != "refuse":
        rows, predictor, design = _with_gaps(request, estimand, rows, predictor, design, console)
    rule: list[str] = []
    with status(f"Estimating {estimand} ..."), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        models: dict[str, Any] = {
            "predictor": predictor,
            "predictions": predicted,
            "features": list(request.features) or None,
        }
        options: dict[str, Any] = {"design": design, "seed": request.seed, "level": request.level}
        if request.equalize is None:
            missing = "patterns" if request.missing == "patterns" else "refuse"
            result = infer(estimand, **rows, **models, **options, weight=weight, folds=request.folds, missing=missing)
        else:
            result, rule = _equalized(request, estimand, rows, models | options)
    console.print(result.to_console())
    for line in rule:
        console.print(terminal(line), soft_wrap=True)
    warned = (str(w.message) for w in caught if issubclass(w.category, UserWarning))
    for note in dict.fromkeys([*notes, *unused, *warned]):
        console.print(terminal(f"note: {as_options(note)}"))
    for output in request.output:
        write(result, output)
        if output != "-":
            console.print(terminal(f"wrote {output}"))
    return result


def _equalized(request: Request, estimand: Estimand, rows: dict[str, Any], options: dict[str, Any]) -> tuple[Any, list]:
    """The disparity that is left by thresholds for each group, and the rule in words."""
    from icl.inference import Disparity, equalize

    if not isinstance(estimand, Disparity):
        raise ValueError(f"--equalize is for a disparity, not for {estimand}; for instance --estimand {_DISPARITY!r}.")
    if list(rows) != ["table"] or request.missing != "refuse":
        raise ValueError("--equalize takes one table without --unlabeled and --missing; put all rows into it.")
    if request.weight != "auto" or request.folds != type(request).folds:
        raise ValueError("--equalize takes no --weight and no --folds; leave them out.")
    if estimand.outcome_column is None:
        options |= {"predictor": None}  # decisions are all known
    bound = {} if request.bound is None else {"bound": request.bound}
    rule = equalize(estimand, rows["table"], str(request.equalize), **bound, **options)
    return rule.remaining, ["", "The answer above is what remains of the disparity.", *rule.summary().splitlines()]


def _with_gaps(
    request: Request, estimand: Estimand, rows: dict[str, Any], predictor: Any, design: Any, console: Any
) -> tuple:
    """Rows, predictor and design of an analysis that uses rows which lack covariates."""
    if "table" not in rows:
        raise ValueError(f"--missing {request.missing} takes one table, with a missing outcome for unlabeled rows.")
    if request.missing == "patterns":
        return rows, None, None if design.is_simple else design
    from icl.joint.cost import imputation_time
    from icl.joint.impute import impute
    from icl.pages.escape import terminal

    options: dict[str, Any] = {"keep": list(estimand.outcome_columns), "checkpoint": request.checkpoint}
    if (needs := imputation_time(rows["table"], **options)).fits:
        console.print(terminal(f"gaps: {needs}"))
    with status("Imputing ..."):
        table = impute(rows["table"], seed=request.seed, **options)
    if agreement := table.agreement():
        console.print(terminal(f"gaps: {agreement}"))
    return {"table": table}, predictor, design


def write(result: InferenceResult, path: str) -> None:
    """The result as .json, .csv (broom's columns), .md or .html; as JSON on the standard output, "-"."""
    from icl.pages import escape

    check_kind(path)
    writers: dict[str, Callable[[], str]] = {
        ".json": lambda: json.dumps(result.to_dict(), indent=1) + "\n",
        ".csv": lambda: escape.csv(result.to_frame()),
        ".md": result.to_markdown,
        ".html": result.to_html,
    }
    write_output(path, writers[_suffix(path)]())


def check_kind(path: str) -> None:
    """ValueError for a kind of file that cannot be written."""
    if _suffix(path) not in WRITERS:
        raise ValueError(f"output {path!r} is no {', '.join(WRITERS)} file; choose one of these endings.")


def _suffix(path: str) -> str:
    return ".json" if path == "-" else Path(path).suffix.lower()


def _days(dates: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    days = {
        name: (pd.to_datetime(cells, utc=True) - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)
        for name, cells in dates.items()
    }
    return pd.DataFrame(days, index=dates.index)


def _is_binary(estimand: Any, table: pd.DataFrame) -> bool:
    if estimand.event is not None:
        return True
    column = estimand.outcome_columns[0]
    return column in table.columns and set(table[column].dropna().unique().tolist()) <= {0, 1}
