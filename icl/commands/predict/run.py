"""The work of `icl predict`: labelled rows from one file, predictions for the rows of another, streamed."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from icl.commands.options import as_options
from icl.commands.outputs import check_output
from icl.commands.predict import page
from icl.commands.predict.labelled import Labelled, read_labelled
from icl.commands.predict.request import Request
from icl.pages.escape import without_formulas
from icl.pages.progress import progress
from icl.tables.files import TableFile, open_table
from icl.tables.source import TEXT
from icl.tables.writer import TableWriter

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from icl.estimators.baseline import BaselineCheck

CHUNK_ROWS = 10_000
PREVIEW_ROWS = 10
# The linear baseline is tried on contexts of at most this many rows: it costs five of them.
MOST_CHECKED_ROWS = 2_000
# Rows of a file that does not tell how many it has.
_MANY_QUERIES = 10_000
# Of fit and prediction, with intervals: ten folds are fitted and asked too.
_INTERVAL_COST = 10


@dataclass
class Tally:
    """Targets of the test file where it has them, and what was predicted."""

    truth: list[np.ndarray] = field(default_factory=list)
    predicted: list[np.ndarray] = field(default_factory=list)
    inside: list[np.ndarray] = field(default_factory=list)


def run_predict(train: str, test: str, request: Request, console: Any) -> int:
    """Predict every row of `test`, write or show the answers; returns how many rows.

    Raises:
        ValueError, OSError: for what cannot be read, used or written, found before the work begins where possible.
    """
    started = time.perf_counter()
    if request.engine != "local":
        raise ValueError(f"--engine {request.engine} works on a folder of Parquet files; {test} is one file.")
    if train == test == "-":
        raise ValueError("the standard input can be read once; name a file for one of the two.")
    writer = None
    if request.output is not None:
        check_output("--output", request.output, (train, test, request.checkpoint))
        writer = TableWriter(request.output)
    train_file, test_file = open_table(train, request), open_table(test, request)
    same = train_file.path.resolve() == test_file.path.resolve()
    with progress(console) as step:
        step("reading", None)
        labelled = read_labelled(train_file, test_file, request, same)
        step("loading the model", None)
        n_queries = labelled.n_unlabelled if same else test_file.count_rows()
        model, notes = fit(labelled, request, n_queries, started)
        page.show_facts(console, train_file, labelled, request, model, same)
        page.show_notes(console, [*labelled.table.notes, *labelled.table.notes_on(request.target), *notes])
        if request.check and request.time_budget is None and len(labelled.y) <= MOST_CHECKED_ROWS:
            step("trying a linear baseline", None)
            page.show_check(console, *check(model))
        advance = step("predicting", n_queries)
        tally, preview, n_rows = Tally(), None, 0
        notes = []
        with writer or contextlib.nullcontext(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for out in answered(model, labelled, test_file, request, same, writer, tally):
                if preview is None:
                    preview = out.head(PREVIEW_ROWS)
                n_rows += len(out)
                advance(len(out))
            notes = list(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, UserWarning)))
        if not same:
            notes += [f"{test_file.path.name}: {sentence}" for sentence in test_file.said]
    page.show_notes(console, notes)
    scored = scores(labelled.task, tally, request.interval)
    n_scored, seconds = sum(map(len, tally.truth)), time.perf_counter() - started
    page.show_end(
        console, request, labelled, preview, scored, n_scored, n_rows, writer.path if writer else None, seconds
    )
    return n_rows


def answered(
    model, labelled: Labelled, file: TableFile, request: Request, same: bool, writer: TableWriter | None, tally: Tally
) -> Iterator[pd.DataFrame]:
    """Rows of a file with the answers beside them, part by part, each as it is written."""
    from icl.estimators.answers import beside

    for rows, shown in query_chunks(file, labelled, request, same, writer):
        found = answer_rows(model, labelled, rows, request, tally)
        if writer and writer.kind == TEXT:
            found = without_formulas(found)  # the rows of the file itself stay as they are
        out = beside(shown, dict(found))
        if writer:
            writer.write(out)
        yield out


def answer_rows(model, labelled: Labelled, rows: pd.DataFrame, request: Request, tally: Tally) -> pd.DataFrame:
    """The columns asked for, a line for each row; counts what is needed for scores where the target is known."""
    import numpy as np
    import pandas as pd

    from icl.estimators.answers import Wanted, answers

    wanted = Wanted(request.proba, tuple(map(float, request.quantiles)), request.interval)
    found = answers(model, rows[list(labelled.X.columns)], wanted)
    truth = rows[request.target] if request.target in rows else pd.Series(np.nan, index=rows.index)
    known = truth.notna().to_numpy()
    if labelled.task == "regression":
        numbers = pd.to_numeric(truth, errors="coerce").to_numpy(dtype=float)
        known = known & ~np.isnan(numbers)
        if found.inside is not None:
            lower, upper = found.inside.T
            tally.inside.append(((lower <= numbers) & (numbers <= upper))[known])
        tally.truth.append(numbers[known])
    else:
        codes = _codes(truth, model.classes_)
        known = known & (codes >= 0)
        if found.inside is not None:
            tally.inside.append(found.inside[known, codes[known]])
        tally.truth.append(codes[known])
    tally.predicted.append(found.predicted[known])
    return pd.DataFrame(found.columns, index=rows.index)


def query_chunks(
    file: TableFile, labelled: Labelled, request: Request, same: bool, writer: TableWriter | None
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Rows to answer, and the same rows as they shall stand beside the answers."""
    # From text to text the cells pass through as they are: 007 stays 007, and 1.10 stays 1.10.
    raw = writer is not None and writer.kind == TEXT and file.kind == TEXT and not request.only_predictions
    done = 0
    for rows, untouched in labelled.table.pairs_of(file, CHUNK_ROWS, labelled.X.columns):
        shown = untouched if raw else rows
        if same:
            wanted = rows[request.target].isna().to_numpy()
            rows, shown = rows[wanted], shown[wanted]
        missing = [name for name in labelled.X.columns if name not in rows]
        if missing:
            raise ValueError(f"{file.path} has no column {missing[0]!r} after {done} rows.")
        if request.only_predictions:
            shown = rows[[name for name in request.id if name in rows]]
        done += len(rows)
        if len(rows) or done == 0:
            yield rows, shown


def fit(labelled: Labelled, request: Request, n_queries: int | None, started: float) -> tuple[Any, list[str]]:
    """The fitted estimator, and what it warned of; of a budget it gets what is left, intervals thought of."""
    from icl import ICLClassifier, ICLRegressor

    settings = request.estimator() | {"fast_queries": request.fast}
    if request.time_budget is not None:
        left = max(request.time_budget - (time.perf_counter() - started), 0.1)
        settings["time_budget"] = left / (1 if request.interval is None else _INTERVAL_COST), n_queries or _MANY_QUERIES
    model = (ICLRegressor if labelled.task == "regression" else ICLClassifier)(**settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(labelled.X, labelled.y)
    said = [str(w.message) for w in caught if issubclass(w.category, UserWarning)]
    if model.left_out_:
        said.append(f"left out to keep --time_budget {request.time_budget:g}: {'; '.join(model.left_out_)}")
    return model, [as_options(s.replace("; check_baseline() does so with a linear one", "")) for s in said]


def check(model) -> tuple[BaselineCheck, list[str]]:
    from icl.estimators.baseline import BetterBaselineWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check = model.check_baseline()
    return check, [str(w.message) for w in caught if issubclass(w.category, BetterBaselineWarning)]


def _codes(truth: pd.Series, classes: np.ndarray) -> np.ndarray:
    """Position of each label among the classes, -1 where it is none; 1, 1.0 and "1" are one label."""
    import numpy as np

    def text(value) -> str:
        return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() else str(value)

    known = {text(label): code for code, label in enumerate(classes.tolist())}
    return np.array([known.get(text(value), -1) for value in truth.tolist()], dtype=np.int64)


def scores(task: str, tally: Tally, interval: float | None) -> list[tuple[str, str]]:
    """Names and values of the scores; none without known targets."""
    import numpy as np

    from icl.network.metrics import class_scores, number_scores

    if not tally.truth or sum(map(len, tally.truth)) == 0:
        return []
    truth, predicted = np.concatenate(tally.truth), np.concatenate(tally.predicted)
    if task == "regression":
        found = number_scores(predicted, truth)
        names, digits = {"r2": "R2", "rmse": "RMSE", "mae": "mean absolute error"}, {"r2": ".3f"}
    else:
        found = class_scores(predicted, truth, least=1e-15)
        names, digits = {"accuracy": "accuracy", "auc": "ROC AUC", "log_loss": "log loss"}, dict.fromkeys(found, ".3f")
        if predicted.shape[1] > 2:
            del names["auc"]
    rows = [(name, f"{found[key]:{digits.get(key, '.4g')}}") for key, name in names.items() if np.isfinite(found[key])]
    if tally.inside and interval is not None:
        kind = "interval" if task == "regression" else "set"
        rows.append((f"inside the {100 * interval:g}% {kind}", f"{np.concatenate(tally.inside).mean():.1%}"))
    return rows
