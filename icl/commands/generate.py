"""`icl generate`: synthetic rows of a file."""

from __future__ import annotations

from typing import Any, Literal

from jsonargparse.typing import NonNegativeInt, PositiveInt

from icl.commands.console import make_console, status
from icl.commands.outputs import check_output
from icl.tables.reading import Reading

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
        given: conditions, separated by commas: sex=F for a value, age=60..80 for a range (one side may be left out),
            region=north|east for several values, income= for a missing cell.
        constraints: between columns, separated by semicolons, which every row keeps: "start <= end; height > 0".
        output: file for the rows; - for the standard output; default: the first rows are shown.
        seed: the same seed, file and options give the same rows.
        orders: of the columns, over which rows are shared out; time grows with them.
        model: the in-context network, or a straight part and a small forest, which are quick.
        checkpoint: name of a shipped checkpoint or path of a release folder; default: the best one shipped.
    """
    how = Reading(**reading)
    if output:
        check_output("--output", output, (table,))
    from icl.joint.synthetic.chain import unfit_columns
    from icl.joint.synthetic.generate import generate as draw
    from icl.pages.escape import terminal
    from icl.pages.table import Row, Table
    from icl.tables.files import open_table
    from icl.tables.reader import read_file
    from icl.tables.writer import TableWriter

    console = make_console(output)
    read = read_file(open_table(table, how)).frame
    unfit = unfit_columns(read)
    read = read.drop(columns=list(unfit))
    for name, why in unfit.items():
        console.print(terminal(f"left out {name}: {why}"))
    wanted = [part.strip() for part in constraints.split(";") if part.strip()]
    options: dict[str, Any] = {} if checkpoint is None else {"checkpoint": checkpoint}
    conditions = read_conditions(given, read)
    from icl.joint.cost import generation_time

    fixed = [name for name, value in (conditions or {}).items() if not isinstance(value, tuple | list)]
    needs = generation_time(read, rows, given=fixed, orders=orders, model=model, **options)
    console.print(terminal(str(needs)))
    with status("Drawing rows ..."):
        drawn = draw(read, rows, conditions, seed, constraints=wanted, orders=orders, model=model, **options)
    if output:
        with TableWriter(output) as writer:
            writer.write(drawn)
        console.print(
            terminal(f"wrote {len(drawn):,} rows to {output}; what they are worth: icl audit {table} {output}")
        )
        return
    shown = drawn.head(PREVIEW_ROWS)
    cells = [Row(["" if value != value else str(value) for value in row]) for row in shown.itertuples(index=False)]
    more = f"First {len(shown)} of {len(drawn):,} rows; --output FILE keeps them all."
    console.print(Table("Synthetic rows", [*map(str, drawn.columns)], cells, n_labels=0, note=more))


# jsonargparse looks for the shortest address of a function: under this name it would meet `icl.generate`, and torch.
generate.__qualname__ = "generate_command"


def read_conditions(text: str, table: Any) -> Any:
    """sex=F,age=60..80,region=north|east as `icl.generate` takes it, in the kinds of the table's columns."""
    found: dict[str, Any] = {}
    for part in (part.strip() for part in text.split(",")):
        if not part:
            continue
        name, sign, value = part.partition("=")
        if not sign or name not in table:
            known = ", ".join(map(str, list(table.columns)[:12]))
            raise ValueError(f"--given takes NAME=VALUE for columns of the file; got {part!r}. It has {known}.")
        if name in found:
            raise ValueError(
                f"--given names {name!r} twice; write a range as {name}=1..9, several values as {name}=a|b."
            )
        column = table[name]
        low, dots, high = value.partition("..")
        if dots:
            found[name] = tuple(_cell(side, column, name) if side else None for side in (low, high))
        elif "|" in value:
            found[name] = [_cell(one, column, name) for one in value.split("|")]
        else:
            found[name] = _cell(value, column, name) if value else None
    return found or None


def _cell(text: str, column: Any, name: str) -> Any:
    """One value as a cell of the column."""
    import pandas as pd

    seen = column.dropna()
    for level in seen.unique() if column.dtype.kind not in "iufmM" else ():
        if str(level) == text:
            return level
    if column.dtype.kind not in "iuf" or isinstance(column.dtype, pd.CategoricalDtype):
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--given asks for {text!r} in {name}, which holds numbers.") from None
