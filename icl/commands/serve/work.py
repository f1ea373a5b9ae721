"""What the routes of `icl serve` do, without HTTP: bytes of a file and what is asked in, plain values out."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from icl.commands.estimate.run import make_predictor
from icl.commands.options import ModelOptions
from icl.commands.serve.limits import ServeOptions
from icl.estimators.classifier import ICLClassifier
from icl.estimators.regressor import ICLRegressor
from icl.inference import infer
from icl.inference.estimands.reading import read_estimand
from icl.tables.files import open_table
from icl.tables.reader import ReadTable, read_file
from icl.tables.roles import check_target, why_unused
from icl.tables.target import choose_task, tidy

MOST_SHOWN = 500  # rows of predictions in one answer


@dataclass(frozen=True)
class Problem:
    """A table with a target, ready to be predicted."""

    X: pd.DataFrame
    y: pd.Series
    X_new: pd.DataFrame
    task: str
    unused: dict[str, str]
    names: pd.Series | None
    """Of the rows of `X_new`, where a column names rows."""
    notes: list[str]
    """What was read otherwise than it stands."""

    def heads(self, n: int) -> list[dict[str, Any]]:
        """Number and name of the first rows to predict."""
        found = [{"row": _plain(index)} for index in self.X_new.index[:n]]
        if self.names is not None:
            found = [{**head, "name": _plain(name)} for head, name in zip(found, self.names)]
        return found


def columns(content: bytes, options: ServeOptions) -> dict[str, Any]:
    """What each column of a file was taken for."""
    read = _read(content, options)
    table = read.frame
    return {
        "n_rows": len(table),
        "columns": [{**row, "n_missing": int(table[row["column"]].isna().sum()) if row["column"] in table else 0}
                    for row in read.summary().astype(str).to_dict("records")],
        "notes": read.notes,
    }  # fmt: skip


def predict(content: bytes, target: str, coverage: float, options: ServeOptions) -> dict[str, Any]:
    """Predictions of the rows without a target, with conformal intervals or sets."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        problem = _problem(content, target, options)
        model = _model(problem, options).fit(problem.X, problem.y)
        rows = problem.X_new.head(MOST_SHOWN)
        found = _classes(model, rows, coverage) if problem.task == "classification" else _numbers(model, rows, coverage)
        baseline = str(model.check_baseline()) if len(problem.X) <= 2_000 else None
    return {
        "task": problem.task,
        "n_labelled": len(problem.X),
        "n_to_predict": len(problem.X_new),
        "coverage": coverage,
        "not_used": problem.unused,
        "predictions": [{**head, **values} for head, values in zip(problem.heads(len(rows)), found)],
        "baseline": baseline,
        "notes": [*problem.notes, *_said(told)],
    }


def explain(content: bytes, target: str, n_rows: int, options: ServeOptions) -> dict[str, Any]:
    """Shapley values of the first rows without a target."""
    problem = _problem(content, target, options)
    if n_rows > options.most_explained:
        raise ValueError(f"rows={n_rows} is more than {options.most_explained} (--most_explained).")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = _model(problem, options).fit(problem.X, problem.y)
        rows = problem.X_new.head(n_rows)
        why = model.explain(rows, budget=128)
        if why.output_names is not None:  # of the class that is predicted
            classes = why.predictions.argmax(1)
            shown = [why.of(why.output_names[c]).to_frame(i) for i, c in enumerate(classes)]
            predicted = [why.output_names[c] for c in classes]
        else:
            shown, predicted = [why.to_frame(i) for i in range(len(rows))], why.predictions.tolist()
    return {
        "task": problem.task,
        "is_exact": why.is_exact,
        "rows": [
            {
                **head,
                "prediction": _plain(answer),
                "columns": [
                    {"column": str(name), "cell": _plain(row["cell"]), "adds": float(row["value"]),
                     "std_error": float(row["std_error"])}
                    for name, row in frame.iterrows()
                ],
            }
            for head, answer, frame in zip(problem.heads(len(rows)), predicted, shown)
        ],
        "notes": [*problem.notes, *_said(told)],
    }  # fmt: skip


def estimate(content: bytes, estimand: str, outcome: str | None, options: ServeOptions) -> dict[str, Any]:
    """An estimate with its interval; rows without an outcome count through their predictions."""
    read = _read(content, options)
    table = read.frame
    asked = read_estimand(estimand, outcome, None, table)
    notes = [*read.notes, *(note for name in asked.outcome_columns for note in read.notes_on(str(name)))]
    needed = {*asked.outcome_columns, *asked.covariate_columns}
    unused = {str(name): why for name in table if name not in needed and (why := why_unused(table[name]))}
    table = table.drop(columns=[name for name in table if str(name) in unused])
    own = ModelOptions(checkpoint=options.checkpoint, members=options.members, seed=options.seed, device=options.device)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = infer(asked, table, predictor=make_predictor("icl", asked, table, own), seed=options.seed)
        answer = result.to_dict()
    return {**_finite(answer), "summary": result.summary(), "not_used": unused, "notes": [*notes, *_said(told)]}


# How gzip, zip (and Excel), bzip2, xz, zstandard, Parquet, Feather and Arrow files begin.
_NOT_TEXT = (b"\x1f\x8b", b"PK", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PAR1", b"FEA1", b"ARROW1")


def _read(content: bytes, options: ServeOptions) -> ReadTable:
    if content.startswith(_NOT_TEXT):  # a few kB of them may stand for gigabytes
        raise ValueError("the file is compressed or binary; send CSV or TSV.")
    read = read_file(open_table(content))
    table = read.frame
    if len(table) > options.most_rows or table.shape[1] > options.most_columns:
        raise ValueError(
            f"the table has {len(table):,} rows and {table.shape[1]:,} columns; this server takes "
            f"{options.most_rows:,} (--most_rows) and {options.most_columns:,} (--most_columns)."
        )
    return read


def _problem(content: bytes, target: str, options: ServeOptions) -> Problem:
    read = _read(content, options)
    table = read.frame
    if target not in table.columns:
        raise ValueError(
            f"target: the table has no column {target[:80]!r}; it has {', '.join(map(str, table.columns[:12]))}."
        )
    notes = [*read.notes, *read.notes_on(target)]
    known = table[target].notna()
    if not known.any() or known.all():
        lack = "no row has" if not known.any() else "every row has"
        raise ValueError(f"{lack} a value of {target!r}: rows with one are learnt from, rows without are predicted.")
    y = tidy(table.loc[known, target])
    check_target(y, target, "auto")
    task, _ = choose_task(y, "auto")
    unused = {str(n): why for n in table if n != target and (why := why_unused(table[known][n]))}
    X = table.drop(columns=[target, *(name for name in table if str(name) in unused)])
    naming = next((name for name in table if str(name) in unused and table[name].is_unique), None)
    names = None if naming is None else table[~known][naming]
    return Problem(X[known], y, X[~known], task, unused, names, notes)


def _model(problem: Problem, options: ServeOptions) -> Any:
    return (ICLClassifier if problem.task == "classification" else ICLRegressor)(**options.estimator())


def _numbers(model: Any, rows: pd.DataFrame, coverage: float) -> list[dict[str, Any]]:
    ends = model.predict_interval(rows, coverage)
    return [
        {"prediction": _plain(p), "lower": _plain(low), "upper": _plain(high)}
        for p, (low, high) in zip(model.predict(rows), ends)
    ]


def _classes(model: Any, rows: pd.DataFrame, coverage: float) -> list[dict[str, Any]]:
    probs, sets = model.predict_proba(rows), model.predict_set(rows, coverage)
    names = [str(name) for name in model.classes_]
    return [
        {
            "prediction": names[p.argmax()],
            "probability": float(p.max()),
            "set": [n for n, inside in zip(names, s) if inside],
        }
        for p, s in zip(probs, sets)
    ]


def _said(told: list) -> list[str]:
    return list(dict.fromkeys(str(one.message) for one in told if issubclass(one.category, UserWarning)))


def _plain(value: Any) -> Any:
    """A number, a text or None; JSON has no infinity."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        return str(value).removesuffix(" 00:00:00")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return _plain(value)
