"""`icl generate`: synthetic rows of a file."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import Any, Literal

from jsonargparse.typing import NonNegativeInt, PositiveInt

from icl.commands.console import make_console, status
from icl.commands.options import refuse_idle
from icl.commands.outputs import check_ending, check_output
from icl.commands.preview import cells_of
from icl.tables.reading import Reading, read_words

PREVIEW_ROWS = 10


def generate(
    table: str,
    rows: PositiveInt | None = None,
    given: str = "",
    constraints: str = "",
    output: str = "",
    seed: NonNegativeInt = 0,
    orders: PositiveInt | Literal["auto"] = "auto",
    model: Literal["network", "quick"] = "network",
    checkpoint: str | None = None,
    **reading,
) -> None:
    """Draw synthetic rows that look like those of a file, on conditions if you like; nothing is trained.

    Columns keep their kind and their gaps. Look at what `icl audit` says before you use rows or pass them on: synthetic
    is not anonymous. For example: icl generate people.csv --rows 500 --given sex=F,age=60..80 --output new.csv

    Args:
        table: CSV, TSV, Parquet, Feather or Excel file with the rows to learn from; - for the standard input.
        rows: to draw; default as many as there are.
        given: conditions, separated by commas (one with a comma in double quotes): sex=F for a value, age=60..80 for a
            range (one side may be left out), region=north|east for several values, income= for a missing cell. Dates
            are read in the order of day, month and year that the file has, or as 2020-03-31.
        constraints: between columns, separated by semicolons, which every row keeps: "start <= end; height > 0".
        output: file for the rows; - for the standard output; default: the first rows are shown. Text stays as it is in
            the table, =1+1 too, which a spreadsheet calculates when it opens a CSV; dates are written as 2020-03-31,
            numbers as 1234.5.
        seed: the same seed, file and options give the same rows.
        orders: of the columns, over which rows are shared out; time grows with them.
        model: the in-context network, or a straight part and a small forest, which are quick.
        checkpoint: name of a shipped checkpoint or path of a release folder; default: the best one shipped.
    """
    how = Reading(**reading)
    if model == "quick":
        refuse_idle("with --model quick", checkpoint=(checkpoint, None))
    if output:
        check_output("--output", output, (table,))
        check_ending(output)
    from icl.joint.cost import generation_time
    from icl.joint.synthetic.chain import unfit_columns
    from icl.joint.synthetic.generate import generate as draw
    from icl.pages.escape import terminal
    from icl.pages.table import Row, Table
    from icl.tables.files import open_table
    from icl.tables.reader import read_file
    from icl.tables.writer import TableWriter

    console = make_console(output)
    file = read_file(open_table(table, how))
    read, formats = file.frame, {taken.name: taken.format for taken in file.columns}
    unfit = unfit_columns(read)
    read = read.drop(columns=list(unfit))
    for name, why in unfit.items():
        console.print(terminal(f"left out {name}: {why}"))
    wanted = [part.strip() for part in constraints.split(";") if part.strip()]
    options: dict[str, Any] = {} if checkpoint is None else {"checkpoint": checkpoint}
    conditions = read_conditions(given, read, formats)
    fixed = [name for name, value in (conditions or {}).items() if not isinstance(value, tuple | list)]
    needs = generation_time(read, rows, given=fixed, orders=orders, model=model, **options)
    console.print(terminal(str(needs)))
    with status("Drawing rows ..."):
        drawn = draw(read, rows, conditions, seed, constraints=wanted, orders=orders, model=model, **options)
    if output:
        with TableWriter(output) as writer:
            writer.write(drawn)  # all text is a level or name of the file's own: it stays as it is
        next_step = shlex.join(["icl", "audit", table, output, *_said(how)])
        said = f"wrote {len(drawn):,} rows to {output}; what they are worth: {next_step}"
        console.print(terminal(said), soft_wrap=True)  # one line, to be copied
        return
    shown = drawn.head(PREVIEW_ROWS)
    columns = [cells_of(shown.iloc[:, j]) for j in range(shown.shape[1])]
    cells = [Row(list(row)) for row in zip(*columns)]
    more = f"First {len(shown)} of {len(drawn):,} rows; --output FILE keeps them all."
    console.print(Table("Synthetic rows", [*map(str, drawn.columns)], cells, n_labels=0, note=more))


# jsonargparse looks for the shortest address of a function: under this name it would meet `icl.generate`, and torch.
generate.__qualname__ = "generate_command"


def _said(how: Reading) -> list[str]:
    """The options of reading that are not the default, as a command takes them."""
    words = []
    for option in fields(how):
        value = getattr(how, option.name)
        if value != option.default:
            words += [f"--{option.name}", value if isinstance(value, str) else ",".join(value)]
    return words


def read_conditions(text: str, table: Any, formats: Mapping[Any, Any] | None = None) -> Any:
    """sex=F,age=60..80,region=north|east as `icl.generate` takes it, in the kinds of the table's columns.

    Args:
        formats: how the file writes the dates and numbers of a column; conditions are written alike, or as 2020-03-31
            and 3.5 are.
    Raises:
        ValueError: for what names no column, or is no value of it.
    """
    found: dict[str, Any] = {}
    for part in read_words(text):
        name, sign, value = part.partition("=")
        if not sign or name not in table:
            known = ", ".join(map(str, list(table.columns)[:12]))
            raise ValueError(f"--given takes NAME=VALUE for columns of the file; got {part!r}. It has {known}.")
        if name in found:
            raise ValueError(
                f"--given names {name!r} twice; write a range as {name}=1..9, several values as {name}=a|b."
            )
        cell = partial(_cell, column=table[name], name=name, format=(formats or {}).get(name))
        low, dots, high = value.partition("..")
        if dots:
            found[name] = tuple(cell(side) if side else None for side in (low, high))
        elif "|" in value:
            found[name] = [cell(one) for one in value.split("|")]
        else:
            found[name] = cell(value) if value else None
    return found or None


def _cell(text: str, column: Any, name: str, format: Any) -> Any:
    """One value as a cell of the column."""
    import pandas as pd

    seen = column.dropna()
    for level in seen.unique() if column.dtype.kind not in "iufmM" else ():
        if str(level) == text:
            return level
    if column.dtype.kind == "M":
        return _moment(text, name, format)
    if column.dtype.kind not in "iuf" or isinstance(column.dtype, pd.CategoricalDtype):
        return text
    read = {float(value): value for value in (*_as_in_file(text, format), _number(text)) if value is not None}
    if len(read) > 1:
        raise ValueError(
            f"--given asks for {text!r} in {name}, which may be {' or '.join(f'{v:g}' for v in sorted(read))}, as the "
            f"file writes {format}; write it without marks between thousands."
        )
    if not read:
        raise ValueError(f"--given asks for {text!r} in {name}, which holds numbers.")
    return read.popitem()[1]


def _number(text: str) -> float | None:
    for kind in (int, float):  # a float would lose the last digits of a large whole number
        with contextlib.suppress(ValueError):
            return kind(text)
    return None


def _as_in_file(text: str, format: Any) -> list[Any]:
    """What the text says in the notation of a column of the file; nothing if it is another one."""
    import pandas as pd

    if format is None:
        return []
    values, wrong = format.read(pd.Series([text], dtype="str"))
    return [] if wrong[0] or values.isna()[0] else values.tolist()


def _moment(text: str, name: str, format: Any) -> Any:
    """A date in the order of day, month and year that the column of the file has; others as they stand."""
    from icl.tables.dates import Dates, look_for_dates

    for found in _as_in_file(text, format):
        return found
    if isinstance(format, Dates) and format.order in ("dmy", "mdy"):  # 1/2/2020 where the file has 1.2.2020
        dates, odd = look_for_dates({text: 1}, name, format.order)
        for found in _as_in_file(text, dates) if not odd else ():
            return found
    return text
