"""The labelled rows of `icl predict`, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from icl.commands.predict.request import Request
from icl.tables.files import TableFile, did_you_mean
from icl.tables.reader import ReadTable, read_file
from icl.tables.roles import check_target, why_unused
from icl.tables.target import choose_task, tidy

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Labelled:
    """The labelled rows, and how the rows to predict must look."""

    X: pd.DataFrame
    y: pd.Series
    task: str
    why: str
    table: ReadTable  # how its columns are read
    unused: dict[str, str]  # column -> reason
    n_unlabelled: int

    @property
    def dates(self) -> list:
        return [name for name in self.X if self.X[name].dtype.kind == "M"]


def read_labelled(train_file: TableFile, test_file: TableFile, request: Request, same: bool) -> Labelled:
    """The rows of the train file that have a target, with the columns that the test file has too."""
    read = read_file(train_file)
    table = read.frame
    _check_columns(train_file, list(table.columns), request)
    read.notes_on(request.target)
    known = table[request.target].notna()
    if not known.any():
        raise ValueError(f"column {request.target!r} of {train_file.path} is missing in all {len(table)} rows.")
    if same and known.all():
        raise ValueError(
            f"{train_file.path} is given twice, to predict its rows without {request.target!r}, but none lacks it."
        )
    y = tidy(table.loc[known, request.target])
    check_target(y, request.target, request.task)
    task, why = choose_task(y, request.task)
    if task == "regression" and y.dtype.kind not in "iufb":
        raise ValueError(
            f"--task regression needs numbers, and column {request.target!r} holds {y.iloc[0]!r}; "
            f"use --task classification."
        )
    if task == "classification" and y.dtype.kind == "f":
        y = y.astype(str)  # amounts that are wanted as labels
    for option, given in (("--quantiles", request.quantiles), ("--proba", request.proba)):
        wanted = "regression" if option == "--quantiles" else "classification"
        if given and task != wanted:
            raise ValueError(f"{option} is for {wanted}, but this is {task}: {why}.")
    unused = {name: "names rows" for name in request.id if name in table}
    test_columns = set(next(test_file.chunks(100)).columns)
    for name in table.columns:
        if name == request.target or name in unused:
            continue
        if name not in test_columns:
            unused[name] = f"not in {test_file.path.name}"
        elif why_not := why_unused(table.loc[known, name]):
            unused[name] = why_not
    X = table.loc[known].drop(columns=[request.target, *unused])
    for name in sorted(map(str, test_columns - set(table.columns))):
        unused[name] = f"not in {train_file.path.name}"
    if X.shape[1] == 0:
        raise ValueError(
            f"{train_file.path} and {test_file.path} share no column to predict from: "
            + "; ".join(f"{name} ({why})" for name, why in list(unused.items())[:6])
        )
    return Labelled(X, y, task, why, read, unused, int((~known).sum()))


def _check_columns(file: TableFile, columns: list, request: Request) -> None:
    shown = ", ".join(map(str, columns[:12])) + (f" and {len(columns) - 12} more" if len(columns) > 12 else "")
    if not request.target:
        raise ValueError(f"--target is missing: name the column to predict, one of {shown}.")
    for option, name in [("--target", request.target), *(("--id", name) for name in request.id)]:
        if name not in columns:
            near = did_you_mean(name, columns)
            raise ValueError(f"{option} {name}: {file.path} has no such column{near or '.'} It has {shown}.")
    if request.target in request.id:
        raise ValueError(f"--id {request.target} is the target; name another column.")
